import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrunner.core import Outcome, Proposal, Searcher, Status, StudyInfo, Summary
from nasrunner.core.ledger.history import History
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.baseline import SideBySide, compare
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules
from tests.contracts.searchers import Halving, MedianStopping
from tests.contracts.trainers import EPOCHS, EpochsTrainer
from tests.sampling import one_in
from tests.toys import RULES as RULES_OF_20
from tests.toys import ToyExecutor, ToyTrainer, chain

EVOLUTION = functools.partial(RegularizedEvolution, population_size=5, tournament_size=2)
RULES = dataclasses.replace(RULES_OF_20, max_children=30)


class Pair:
    """One session of a search beside random search in one pool, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        rules: Rules = RULES,
        trainer: ToyTrainer | None = None,
        searcher: Callable[..., Searcher] = EVOLUTION,
    ) -> None:
        self.executor = ToyExecutor(slots=3, seed=1)
        self.trainer = trainer or ToyTrainer(chain())
        folder.mkdir(exist_ok=True)
        self.study = self._study(folder, searcher(space=chain(), seed=rules.seed), rules)
        random = RandomSearch(space=chain(), seed=99)
        beside = dataclasses.replace(rules, seed=99, target_reward=None, max_children=None)
        self.baseline = self._study(folder / "baseline", random, beside)
        self.leads: list[int] = []
        self.both = SideBySide(self.study, self.baseline, self.executor)

    def run(self) -> Summary:
        self.executor.on_wait = self._note_lead
        try:
            return self.both.run()
        finally:
            self.study.ledger.close()
            self.baseline.ledger.close()

    def _study(self, folder: Path, searcher, rules: Rules) -> Study:
        folder.mkdir(exist_ok=True)
        return Study(
            space=chain(),
            searcher=searcher,
            trainer=self.trainer,
            executor=self.executor,
            trackers=[],
            ledger=Ledger(folder / "ledger.jsonl"),
            rules=rules,
            info=StudyInfo("toy", folder, {}, rules.max_children),
        )

    def _note_lead(self) -> None:
        self.leads.append(round(self.study.effort - self.baseline.effort))


def events(folder: Path) -> list[tuple]:
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [
        (e["event"], e["index"], json.dumps(e.get("genotype")), e.get("reward"))
        for e in found
        if e["event"] in ("proposed", "outcome")
    ]


def test_both_spend_the_same_budget_and_neither_gets_ahead(tmp_path):
    pair = Pair(tmp_path)
    summary = pair.run()
    assert pair.study.history.num_spent == pair.baseline.history.num_spent == 30
    assert set(pair.leads) <= {0, 1}
    assert summary.baseline is not None
    assert summary.baseline.num_children == (30, 30)
    assert summary.baseline.name == "RandomSearch"


def test_each_search_proposes_what_it_would_alone(tmp_path):
    pair = Pair(tmp_path)
    pair.run()
    alone = RandomSearch(space=chain(), seed=99)
    proposed = [json.loads(e[2]) for e in events(tmp_path / "baseline") if e[0] == "proposed"]
    assert proposed == [alone.propose().genotype for _ in proposed]


def test_a_study_that_stops_early_ends_its_baseline_at_the_same_number(tmp_path):
    pair = Pair(tmp_path, dataclasses.replace(RULES, target_reward=0.8))
    summary = pair.run()
    assert summary.reason == "target_reward=0.8 is reached"
    assert 0 < pair.study.history.num_spent < 30
    assert abs(pair.study.history.num_spent - pair.baseline.history.num_spent) <= 1


def of_lineages(folder: Path, searcher: Callable[..., Searcher] = Halving) -> Pair:
    """24 children are begun, and most are never trained through."""
    rules = dataclasses.replace(RULES, max_children=24)
    return Pair(folder, rules, EpochsTrainer(chain()), searcher)


def epochs_of(study: Study) -> int:
    """How many were trained."""
    return round(sum(outcome.cost_s for outcome in study.history.outcomes))


@pytest.mark.parametrize("searcher", [Halving, MedianStopping])
def test_a_baseline_trains_as_many_epochs_as_a_study_that_does_not_train_through(
    tmp_path: Path, searcher: type[Searcher]
) -> None:
    pair = of_lineages(tmp_path, searcher)
    summary = pair.run()
    spent, beside = epochs_of(pair.study), epochs_of(pair.baseline)
    assert spent < 0.8 * 24 * EPOCHS
    # It is never ahead by more than a child; what is stopped was counted whole while it ran.
    running = 0 if searcher is Halving else pair.executor.slots
    assert 0 <= beside - spent < (1 + running) * EPOCHS
    assert pair.study.history.num_spent == 24
    assert summary.baseline is not None
    assert summary.baseline.efforts == pytest.approx((spent / EPOCHS, beside / EPOCHS))
    assert f"24 and {beside // EPOCHS} children (as many epochs as" in summary.baseline.text()


def test_a_resumed_pair_of_lineages_is_as_long(tmp_path: Path) -> None:
    first = of_lineages(tmp_path)

    def stop_early() -> None:
        if epochs_of(first.study) > 9:
            first.both.stop("later")

    first._note_lead = stop_early  # type: ignore[method-assign]
    first.run()
    assert epochs_of(first.study) < 20
    second = of_lineages(tmp_path)
    second.run()
    assert second.study.history.num_spent == 24
    assert 0 <= epochs_of(second.baseline) - epochs_of(second.study) < EPOCHS


class Crash(Exception):
    """The driver dies."""


@one_in(2, 1, "moment", [1, 7, 31, 50])
def test_a_resumed_pair_ends_as_an_uninterrupted_one(tmp_path, moment):
    (tmp_path / "whole").mkdir()
    Pair(tmp_path / "whole").run()
    (tmp_path / "broken").mkdir()
    first = Pair(tmp_path / "broken")
    waits = iter(range(1000))

    def crash() -> None:
        if next(waits) == moment:
            raise Crash

    first._note_lead = crash
    with pytest.raises(Crash):
        first.run()
    second = Pair(tmp_path / "broken")
    summary = second.run()
    assert summary.baseline is not None
    assert summary.baseline.num_children == (30, 30)
    for folder in ("broken", "broken/baseline"):
        found = events(tmp_path / folder)
        assert sorted(e[1] for e in found if e[0] == "outcome") == list(range(30))


def test_a_baseline_whose_children_all_fail_has_no_difference(tmp_path):
    def failing(proposal: Proposal) -> bool:
        return True

    summary = Pair(tmp_path, trainer=ToyTrainer(chain(), failing=failing)).run()
    assert summary.baseline is not None
    assert summary.baseline.best is None
    assert summary.baseline.text() == (
        "against RandomSearch with 30 children: one of the two has no reward"
    )


Trained = tuple[int, float | None]
"""Units, and the reward."""


def history(*children: Trained, until: int | None = None) -> History:
    """Of these children, in turn."""
    made = History()
    for index, (units, reward) in enumerate(children):
        status: Status = "completed" if until is None else "paused"
        proposal = Proposal(index, {"units": units}, until=until)
        made.add(Outcome(proposal, "failed" if reward is None else status, reward))
    return made


def test_a_repeated_child_is_one_of_the_best_five_only_once():
    trained: list[Trained] = [(0, 0.9)] * 3 + [(1, 0.5), (2, 0.4), (3, 0.3), (4, 0.2)]
    repeating = history(*trained)
    others = history((5, 0.1), (6, 0.1), (7, 0.1), (8, 0.1), (9, 0.1), (9, None))
    found = compare("RandomSearch", repeating, others)
    assert found.num_children == (7, 6)
    assert found.best == pytest.approx(0.8)
    assert found.top_5 == pytest.approx((0.9 + 0.5 + 0.4 + 0.3 + 0.2) / 5 - 0.1)
    assert compare("RandomSearch", history(*trained[:6]), others).top_5 is None
    assert found.text() == (
        "against RandomSearch with 7 and 6 children: best reward +0.8, mean of the best 5 "
        "different children +0.36, in one run of each; what of it is chance shows over seeds "
        "(--multirun seed=1,2,3,4,5)"
    )


def test_a_child_that_was_trained_again_has_the_mean_of_its_rewards():
    found = compare("RandomSearch", history((0, None), (0, 0.6), (0, 0.4)), history((1, 0.4)))
    assert found.best == pytest.approx(0.1)


def test_rewards_after_other_numbers_of_epochs_are_not_compared():
    full, paused = history((0, 0.9)), history((0, 0.5), until=3)
    assert compare("RandomSearch", full, paused).best is None
    found = compare("RandomSearch", paused, history((1, 0.4), until=3), (0.5, 0.5))
    assert found.best == pytest.approx(0.1)
    assert found.text().startswith(
        "against RandomSearch with 1 children (as many epochs as 0.5 that are trained through): "
    )
