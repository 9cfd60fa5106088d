"""A study that begins with what is known: on the record, before the first proposal, replayable."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrunner.core import KnownOutcome, LedgerError
from nasrunner.core.ledger.events import read_event
from nasrunner.core.ledger.known import EarlierStudy, GivenGenotype, Known
from nasrunner.core.order import rollout
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import read_events
from tests.searchers.worlds import make_searcher
from tests.study.test_loop import Crash, Run, events, with_rules
from tests.toys import ToyExecutor, chain, toy_reward

SPACE = chain()


def genotypes(count: int, seed: int) -> list[dict[str, int]]:
    rng = np.random.default_rng(seed)
    return [rollout(SPACE, rng) for _ in range(count)]


GIVEN = genotypes(3, seed=1)
KNOWN = Known(
    tuple(GivenGenotype(each, ("0/affine/units",)) for each in GIVEN),
    (
        EarlierStudy(
            "before",
            "/somewhere/before",
            tuple(KnownOutcome(g, toy_reward(g), i) for i, g in enumerate(genotypes(12, seed=2))),
            {"failed": 2},
            ("data.root (a there, b here)",),
        ),
    ),
)


class Listening(RandomSearch):
    """Notes what it is told, in order."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.told: list[Any] = []

    def register(self, proposal: Any) -> None:
        super().register(proposal)
        self.told.append(proposal.index)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        self.told.append([outcome.child for outcome in outcomes])


def run(folder: Path, known: Known | None = KNOWN, dies_after: int | None = None, **given: Any):
    session = Run(folder, **given)
    session.study.known = known
    if dies_after is not None:
        note, left = session.study._note, [dies_after]

        def die(event: Any) -> None:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            note(event)

        session.study._note = die  # type: ignore[method-assign]
    try:
        session.run()
    except Crash:
        assert dies_after is not None
    return session


def test_it_is_recorded_once_then_learnt_and_given_architectures_come_first(tmp_path: Path) -> None:
    session = run(tmp_path, searcher=Listening)
    kinds = [event["event"] for event in read_events(tmp_path / "ledger.jsonl")[0]]
    assert kinds[:3] == ["study", "known", "proposed"]
    assert kinds.count("known") == 1
    assert session.study.searcher.told[:4] == [list(range(12)), 0, 1, 2]
    proposed = events(tmp_path, "proposed")
    assert [each["genotype"] for each in proposed[:3]] == GIVEN
    assert [each["notes"] for each in proposed[:4]] == [{"given": i} for i in range(3)] + [{}]


def test_the_event_survives_json(tmp_path: Path) -> None:
    run(tmp_path)
    (record,) = events(tmp_path, "known")
    assert read_event(json.loads(json.dumps(record)), {}) == KNOWN


def test_given_children_spend_budget_and_known_outcomes_are_no_children(tmp_path: Path) -> None:
    session = run(tmp_path)
    (summary,) = session.recorder.summaries
    assert summary.counts == {"completed": 20}
    assert len(events(tmp_path, "outcome")) == 20
    trained = {outcome.proposal.hash for outcome in session.recorder.outcomes}
    assert {child["hash"] for child in summary.best} <= trained
    assert summary.began_with == (
        "12 of 14 outcomes of before (the others: 2 failed), 3 architectures given"
    )


def test_a_known_architecture_is_trained_as_any_other(tmp_path: Path) -> None:
    """Rewards of another study may be of another training."""
    first = genotypes(12, seed=2)[0]
    known = dataclasses.replace(KNOWN, given=(GivenGenotype(first),))
    session = run(tmp_path, known)
    assert session.executor.num_trained == 20
    assert session.study.history.outcomes[0].reused_from is None


def test_best_children_say_their_answers_and_that_they_were_given(tmp_path: Path) -> None:
    (summary,) = run(tmp_path, rules=with_rules(max_children=3)).recorder.summaries
    assert [child["given"] for child in summary.best] == [True] * 3
    best = max(GIVEN, key=toy_reward)
    assert summary.best[0]["answers"] == {path: index + 1 for path, index in best.items()}


@pytest.mark.parametrize("name", ["evolution", "smbo", "mcts", "local_search", "exhaustive"])
@pytest.mark.parametrize("dies_after", [1, 2, 3, 5, 9])
def test_a_study_that_is_killed_goes_on_as_if_it_was_not(
    tmp_path: Path, name: str, dies_after: int
) -> None:
    """Once it stands in the ledger, the earlier study is asked no more."""

    def make(**given: Any) -> Any:
        return make_searcher(name, given["space"], given["seed"])

    rules = with_rules(max_children=8)
    for part in ("whole", "parts"):
        (tmp_path / part).mkdir()
    run(tmp_path / "whole", searcher=make, rules=rules)
    run(tmp_path / "parts", searcher=make, rules=rules, dies_after=dies_after)
    known = KNOWN if dies_after == 1 else None
    run(tmp_path / "parts", known, searcher=make, rules=rules)
    for kind in ("known", "proposed", "outcome"):
        assert events(tmp_path / "parts", kind) == events(tmp_path / "whole", kind)


def test_workers_that_end_in_any_order_get_what_was_given_first(tmp_path: Path) -> None:
    run(tmp_path, executor=ToyExecutor(4))
    assert [each["genotype"] for each in events(tmp_path, "proposed")[:3]] == GIVEN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda event: event.pop("given"), "its 'given' is missing"),
        (lambda event: event["studies"][0].pop("name"), "its 'studies' cannot be"),
        (lambda event: event["studies"][0]["outcomes"][0].pop("reward"), "its 'studies' cannot be"),
        (lambda event: event["given"][0].update(genotype={"a": "b"}), "its 'given' cannot be"),
    ],
)
def test_a_damaged_event_is_told(tmp_path: Path, change: Any, message: str) -> None:
    run(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_text().splitlines()
    event = json.loads(lines[1])
    change(event)
    path.write_text("\n".join([lines[0], json.dumps(event), *lines[2:]]) + "\n")
    with pytest.raises(LedgerError, match=f"damaged in line 2 of .*{message}"):
        read_events(path)


def test_what_was_known_before_cannot_come_after_a_child(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")
    with pytest.raises(LedgerError, match=r"in line 3 of .*before the first child comes after it"):
        read_events(path)
