"""ASHA, successive halving and Hyperband: who goes on, as the papers say, and whatever happens."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrunner.core import ConfigError, Outcome, Proposal, Searcher, Source
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.stopping.median_stopping import MedianStopping
from nasrunner.searchers.wrappers.asha import Asha
from nasrunner.searchers.wrappers.filter import Filter
from nasrunner.searchers.wrappers.hyperband import Hyperband
from nasrunner.searchers.wrappers.rungs import AsynchronousBracket, Rungs
from nasrunner.searchers.wrappers.successive_halving import SuccessiveHalving
from tests.contracts.trainers import EPOCHS, METRIC, EpochsTrainer
from tests.study.test_loop import Run, events, with_rules
from tests.toys import ToyExecutor, ToyTrainer, chain

SMALL = functools.partial(RegularizedEvolution, population_size=4, tournament_size=2)
LENGTHS: dict[str, Any] = {
    "rungs": None,
    "min_epochs": 1,
    "max_epochs": EPOCHS,
    "fidelity": None,
    "eta": 2,
}


def asha(**changes: Any) -> Callable[..., Asha]:
    arguments = {"searcher": SMALL, "num_brackets": 1, **LENGTHS, **changes}
    return functools.partial(Asha, **arguments)


def hyperband(**changes: Any) -> Callable[..., Hyperband]:
    return functools.partial(Hyperband, **{"searcher": SMALL, **LENGTHS, **changes})


def halving(**changes: Any) -> Callable[..., SuccessiveHalving]:
    arguments = {"searcher": SMALL, "num_children": 8, **LENGTHS, **changes}
    return functools.partial(SuccessiveHalving, **arguments)


NEVER_STOPS: dict[str, Any] = {
    "metric": None,
    "mode": None,
    "reward": {"metric": METRIC, "mode": "max"},
    "min_epochs": EPOCHS,
    "min_children": 50,
}

KINDS: dict[str, Callable[..., Searcher]] = {
    "asha": asha(),
    "asha_of_two_brackets": asha(num_brackets=2),
    "asha_anew": asha(fidelity={"trainer.max_epochs": [1, 3]}),
    "asha_around_a_filter": asha(
        searcher=functools.partial(
            Filter, searcher=SMALL, num_estimates=4, num_trained=2, proxy=None, surrogate=None
        )
    ),
    "halving": halving(num_children=5, rungs=[1, 3]),
    "hyperband": hyperband(),
}


def run(folder: Path, searcher: Any, slots: int = 1, **changes: Any) -> Run:
    space = chain()
    folder.mkdir(exist_ok=True)
    rules = with_rules(**{"max_children": 8, **changes})
    trainer = EpochsTrainer(space)
    return Run(folder, space, rules, searcher, executor=ToyExecutor(slots), trainer=trainer)


def sources(event: dict[str, Any]) -> list[int]:
    return [each["child"] for each in event.get("sources", ())]


# As the papers have it


def test_hyperbands_brackets_are_those_of_its_algorithm() -> None:
    """Li et al. 2018, algorithm 1 with R = 81, eta = 3: n = ceil(5 / (s + 1) · 3^s)."""
    made = hyperband(eta=3, max_epochs=81)(space=chain(), seed=0)
    assert made.rungs.amounts == (1, 3, 9, 27)
    assert [made.sizes(number) for number in range(6)] == [
        (81, 27, 9, 3, 1),
        (34, 11, 3, 1),
        (15, 5, 1),
        (8, 2),
        (5,),
        (81, 27, 9, 3, 1),
    ]


def begun(searcher: Searcher, rewards: Iterator[float], count: int) -> list[tuple[int | None, Any]]:
    """(until, source) of so many proposals, each of which ends before the next is made."""
    found = []
    for _ in range(count):
        proposal = searcher.propose()
        assert proposal is not None
        found.append((proposal.until, proposal.continues))
        status = "completed" if proposal.until is None else "paused"
        searcher.observe(Outcome(proposal, status, next(rewards)))
    return found


def test_one_worker_of_asha_does_what_its_algorithm_does() -> None:
    """Li et al. 2020, algorithm 2, by hand: r = 1, R = 9, eta = 3, rewards of nine children."""
    searcher = asha(searcher=RandomSearch, eta=3, max_epochs=9)(space=chain(), seed=0)
    rewards = iter([0.3, 0.2, 0.1, 0.31, 0.25, 0.28, 0.1, 0.5, 0.29, 0.4, 0.6])
    assert begun(searcher, rewards, 11) == [
        *[(1, None)] * 3,
        (3, 0),  # 0.3 is the best of three
        *[(1, None)] * 3,
        (3, 5),  # two of six may go on, 0.3 has, and 0.28
        (1, None),
        (3, 8),  # two of seven, 0.3 and now 0.29
        (None, 7),  # 0.5 is the best of three at the second rung
    ]


class Algorithm2:
    """ASHA as its paper writes it, with lists that are sorted whenever they are looked at."""

    def __init__(self, num_rungs: int, eta: int) -> None:
        self.ended: list[dict[int, float]] = [{} for _ in range(num_rungs)]
        self.promoted: list[set[int]] = [set() for _ in range(num_rungs)]
        self.eta = eta

    def get_job(self) -> tuple[int, int] | None:
        for k in reversed(range(len(self.ended) - 1)):
            ranked = sorted(self.ended[k], key=lambda child: (-self.ended[k][child], child))
            for child in ranked[: len(ranked) // self.eta]:
                if child not in self.promoted[k]:
                    return child, k
        return None


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_a_bracket_promotes_whom_the_algorithm_does(eta: int) -> None:
    rng, num_rungs = np.random.default_rng(eta), 4
    ours, theirs = AsynchronousBracket(0, num_rungs - 1, eta), Algorithm2(num_rungs, eta)
    running: list[tuple[int, int]] = []
    num_children = num_promoted = 0
    for _ in range(3000):
        if running and rng.random() < 0.5:
            child, rung = running.pop(int(rng.integers(len(running))))
            if rng.random() < 0.1:
                ours.drop(child, rung)
                continue
            reward = float(rng.integers(30))  # many are equal
            ours.add(child, rung, reward)
            theirs.ended[rung][child] = reward
        due = ours.due(is_closed=False)
        assert due == theirs.get_job()
        if due is None:
            running.append((num_children, 0))
            num_children += 1
        else:
            ours.go_on(*due)
            theirs.promoted[due[1]].add(due[0])
            running.append((due[0], due[1] + 1))
            num_promoted += 1
    assert num_promoted > 100


def test_successive_halving_waits_for_all_of_a_rung_and_begins_the_next_bracket() -> None:
    searcher = halving(num_children=4, rungs=[2], searcher=RandomSearch)(space=chain(), seed=0)
    proposals = [searcher.propose() for _ in range(6)]  # four of the first bracket, two of another
    for each, reward in zip(proposals[:3], (0.1, 0.4, 0.3), strict=True):
        searcher.observe(Outcome(each, "paused", reward))
    assert searcher.suggest(6).sources == ()  # the fourth is still trained
    searcher.observe(Outcome(proposals[3], "paused", 0.2))
    going_on = [searcher.propose() for _ in range(2)]
    assert [each.continues for each in going_on] == [1, 2]
    assert searcher.suggest(8).sources == ()
    assert set(searcher.needs()) == set()
    searcher.observe(Outcome(proposals[4], "paused", 0.9))
    assert set(searcher.needs()) == {4}


def test_a_bracket_that_the_budget_cuts_short_ends_with_those_it_has() -> None:
    searcher = halving(num_children=8, rungs=[1, 3], searcher=RandomSearch)(space=chain(), seed=0)
    for reward in (0.1, 0.3, 0.2):
        searcher.observe(Outcome(searcher.propose(), "paused", reward))
    found = []
    while (proposal := searcher.propose_continuation()) is not None:
        found.append((proposal.until, proposal.continues))
        status = "completed" if proposal.until is None else "paused"
        searcher.observe(Outcome(proposal, status, 0.5))
    assert found == [(3, 1), (3, 2), (3, 0), (None, 5), (None, 3)]  # four and two were planned


# Whole studies


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_each_child_goes_on_once_and_only_if_it_is_good_enough(
    tmp_path: Path, name: str, slots: int
) -> None:
    study = run(tmp_path, KINDS[name], slots, max_children=16)
    study.run()
    proposed = events(tmp_path, "proposed")
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    trained = [event for event in proposed if event.get("kind", "train") == "train"]
    promoted = [each for event in trained for each in sources(event)]
    promoted += [int(e["notes"]["promotes"]) for e in trained if "promotes" in e["notes"]]
    assert promoted
    assert len(set(promoted)) == len(promoted)
    cheapest = {"trainer.max_epochs": 1}
    rung = [e for e in trained if e.get("until") == 1 or e.get("fidelity") == cheapest]
    rewards = {e["index"]: ended[e["index"]]["reward"] for e in rung if e["index"] in ended}
    kept = [rewards[index] for index in promoted if index in rewards]
    left = [reward for index, reward in rewards.items() if index not in promoted]
    assert np.mean(kept) > np.mean(left)
    assert any(event["status"] == "completed" for event in ended.values())


@pytest.mark.parametrize("name", ["asha", "hyperband", "halving"])
def test_the_inner_searcher_counts_and_learns_its_own_children(tmp_path: Path, name: str) -> None:
    study = run(tmp_path, KINDS[name], 3, max_children=12)
    study.run()
    proposed = {event["index"]: event for event in events(tmp_path, "proposed")}
    roots = [index for index, event in proposed.items() if not sources(event)]
    wrapper: Any = study.study.searcher
    assert wrapper.inner.num_proposed == len(roots) == 12
    assert wrapper.inner.pending == {}
    bred = [event for event in proposed.values() if "parent" in event]
    assert bred
    # Evolution breeds from a child; what trained that further may be named for it.
    assert all(event["parent"] < event["index"] for event in bred)


def test_the_inner_searcher_revises_what_was_trained_further() -> None:
    revised: list[tuple[int, str, float | None]] = []

    class Revising(RandomSearch):
        def revise(self, outcome: Outcome) -> None:
            revised.append((outcome.proposal.index, outcome.status, outcome.reward))

    searcher = asha(searcher=Revising, eta=2, rungs=[1])(space=chain(), seed=0)
    begun(searcher, iter([0.1, 0.2, 0.7, 0.3, 0.8]), 5)
    assert revised == [(1, "completed", 0.7), (2, "completed", 0.8)]


@pytest.mark.parametrize(
    "between",
    [
        functools.partial(MedianStopping, **NEVER_STOPS),
        functools.partial(Filter, num_estimates=1, num_trained=1, proxy=None, surrogate=None),
    ],
)
def test_a_wrapper_between_passes_revisions_on(between: Any, tmp_path: Path) -> None:
    learnt: list[int] = []
    revised: list[tuple[int, str]] = []

    class Revising(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            learnt.append(outcome.proposal.index)

        def revise(self, outcome: Outcome) -> None:
            revised.append((outcome.proposal.index, outcome.status))

    run(tmp_path, asha(searcher=functools.partial(between, searcher=Revising)), 3).run()
    continued = [event for event in events(tmp_path, "proposed") if sources(event)]
    assert len(revised) == len(continued) > 0
    assert {index for index, _ in revised} <= set(learnt)
    assert {status for _, status in revised} == {"paused", "completed"}


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize(
    ("make", "num_whole"),
    [(halving(num_children=8), 2), (halving(num_children=16), 2), (hyperband(), 4)],
)
def test_a_bracket_goes_on_where_the_inner_searcher_has_no_more(
    tmp_path: Path, slots: int, make: Any, num_whole: int
) -> None:
    made = functools.partial(make, searcher=ExhaustiveSearch)
    study = Run(
        tmp_path,
        space := chain(2, 3),
        with_rules(max_children=100),
        made,
        executor=ToyExecutor(slots),
        trainer=EpochsTrainer(space),
    )
    summary = study.run()
    assert sum(not sources(event) for event in events(tmp_path, "proposed")) == 9
    assert summary.num_full >= num_whole
    assert summary.reason == "the space is exhausted"


def test_who_was_promoted_or_left_behind_is_not_needed() -> None:
    searcher = halving(num_children=4, rungs=[1], searcher=RandomSearch)(space=chain(), seed=0)
    proposals = [searcher.propose() for _ in range(4)]
    for each in proposals:
        searcher.observe(Outcome(each, "paused", float(each.index)))
    assert set(searcher.needs()) == {2, 3}
    first = searcher.propose()
    assert first.continues == 3
    assert set(searcher.needs()) == {2}  # what goes on keeps its own source


@pytest.mark.parametrize("status", ["failed", "stopped", "reused"])
def test_who_is_not_trained_as_far_as_a_rung_takes_no_place_in_it(status: str) -> None:
    searcher = asha(searcher=RandomSearch, eta=2, rungs=[1])(space=chain(), seed=0)
    first, second = searcher.propose(), searcher.propose()
    given = {"failed": ("failed", 0.9, None), "stopped": ("stopped", 0.9, None)}
    state, reward, source = given.get(status, ("paused", 0.9, 7))
    searcher.observe(Outcome(first, state, reward, reused_from=source))
    searcher.observe(Outcome(second, "paused", 0.1))
    assert searcher.suggest(2).continues is None
    assert searcher.inner.pending == {}


def test_what_the_user_gives_is_trained_to_its_end_and_compared_with_nobody() -> None:
    searcher = asha(searcher=RandomSearch, eta=2, rungs=[1])(space=chain(), seed=0)
    given = Proposal(0, searcher.suggest(0).genotype)
    searcher.register(given)
    searcher.observe(Outcome(given, "completed", 0.99))
    assert begun(searcher, iter([0.1, 0.2, 0.3]), 3) == [(1, None), (1, None), (None, 2)]


def test_a_child_that_ends_by_itself_before_its_rung_goes_on_at_no_cost() -> None:
    searcher = asha(searcher=RandomSearch, eta=2, rungs=[4])(space=chain(), seed=0)
    for reward in (0.5, 0.1):
        searcher.observe(Outcome(searcher.propose(), "completed", reward))
    going_on = searcher.propose()
    assert (going_on.until, going_on.sources) == (None, (Source(0, "training"),))


def test_each_fidelity_is_a_training_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, KINDS["asha_anew"], max_children=14).run()
    proposed = events(tmp_path, "proposed")
    assert all("sources" not in event and "until" not in event for event in proposed)
    asked = [event.get("fidelity", {}).get("trainer.max_epochs") for event in proposed]
    assert {1, 3, None} == set(asked)
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    for event in proposed:
        length = event.get("fidelity", {}).get("trainer.max_epochs", EPOCHS)
        assert len(ended[event["index"]]["curve"][METRIC]) == length


def test_a_summary_of_rungs_by_fidelity_says_what_was_saved_and_how_well_they_rank(
    tmp_path: Path,
) -> None:
    summary = run(tmp_path, KINDS["asha_anew"], max_children=14).run()
    ended = events(tmp_path, "outcome")
    asked = {event["index"]: event.get("fidelity", {}) for event in events(tmp_path, "proposed")}
    trained = [event for event in ended if event["reused_from"] is None]
    lengths = [asked[event["index"]].get("trainer.max_epochs") for event in trained]
    assert [(*each.fidelity.values(), each.num_children) for each in summary.fidelities] == [
        (1, lengths.count(1)),
        (3, lengths.count(3)),
        (lengths.count(None),),
    ]
    assert summary.num_full == lengths.count(None) > 0
    spent = [asked[event["index"]].get("trainer.max_epochs", EPOCHS) for event in ended]
    assert summary.effort == pytest.approx(sum(spent) / EPOCHS, abs=1e-3)
    steps = [(each.fidelity, each.before, each.after) for each in summary.steps]
    assert steps == [("trainer.max_epochs", 1, 3), ("trainer.max_epochs", 3, None)]
    assert sum(each.num_children for each in summary.steps) == lengths.count(3) + lengths.count(
        None
    )


def test_the_best_at_the_highest_fidelity_are_shown_where_none_was_trained_whole(
    tmp_path: Path,
) -> None:
    summary = run(tmp_path, KINDS["asha_anew"], max_children=3).run()
    ended = {event["index"]: event["reward"] for event in events(tmp_path, "outcome")}
    asked = {event["index"]: event["fidelity"] for event in events(tmp_path, "proposed")}
    assert [best["fidelity"] for best in summary.best] == [{"trainer.max_epochs": 3}]
    (best,) = summary.best
    assert asked[best["index"]] == best["fidelity"]
    assert best["reward"] == ended[best["index"]]
    assert summary.reach is not None
    assert summary.reach.about == "trained at trainer.max_epochs=3"


def test_a_budget_of_epochs_ends_a_study(tmp_path: Path) -> None:
    summary = run(tmp_path, asha(), max_children=None, max_epochs_total=40).run()
    assert summary.reason == "max_epochs_total=40 is spent"
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    trained = {index: len(event["curve"][METRIC]) for index, event in ended.items()}
    own = [
        trained[event["index"]] - sum(trained[source] for source in sources(event))
        for event in events(tmp_path, "proposed")
        if ended[event["index"]].get("reused_from") is None
    ]
    assert 40 <= sum(own) < 40 + EPOCHS
    assert sum(own) - own[-1] < 40


@pytest.mark.parametrize("slots", [1, 3])
def test_a_budget_of_epochs_counts_what_earlier_sessions_trained(
    tmp_path: Path, slots: int
) -> None:
    run(tmp_path / "whole", asha(), slots, max_children=None, max_epochs_total=50).run()
    parts = tmp_path / "parts"
    run(parts, asha(), slots, max_children=None, max_epochs_total=20).run()
    run(parts, asha(), slots, max_children=None, max_epochs_total=50).run()
    if slots == 1:
        assert events(parts, "proposed") == events(tmp_path / "whole", "proposed")


def test_a_budget_of_epochs_is_refused_where_nobody_knows_how_many_there_are(
    tmp_path: Path,
) -> None:
    study = Run(tmp_path, rules=with_rules(max_epochs_total=3), trainer=ToyTrainer(chain()))
    with pytest.raises(ConfigError, match="max_epochs_total counts epochs, and ToyTrainer does"):
        study.run()
    assert events(tmp_path, "proposed") == []


def test_a_summary_says_what_was_saved_and_how_well_rungs_rank(tmp_path: Path) -> None:
    summary = run(tmp_path, asha(), max_children=16).run()
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    through = [index for index, event in ended.items() if event["status"] == "completed"]
    assert summary.num_full == len(through)
    own = sum(event["cost_s"] for event in ended.values())
    reused = sum(e["reused_from"] is not None for e in ended.values())
    assert summary.effort == pytest.approx((own + reused * 1) / EPOCHS, abs=0.01)
    (first, *others) = summary.steps
    assert (first.before, first.after) == (1, 2)
    assert [(each.before, each.after) for each in others] == [(2, None)]
    assert f"asked for as many epochs as {summary.effort:.3g} whole tr" in summary.about_ends
    saved = json.loads((tmp_path / "summary.json").read_text())
    assert [each["num_children"] for each in saved["steps"]] == [
        each.num_children for each in summary.steps
    ]


def test_advice_names_the_keys_of_the_searcher_that_gives_it() -> None:
    around = asha(
        rungs=[1],
        searcher=functools.partial(MedianStopping, searcher=SMALL, **NEVER_STOPS),
    )
    told = around(space=chain(), seed=0).advice(2) or ""
    assert "searcher.searcher.searcher.population_size" in told
    assert "searcher.searcher.searcher.searcher" not in told


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": [3, 1]}, r"rungs must be numbers that increase, at least one, got \[3, 1\]"),
        ({"rungs": [1, 1]}, r"rungs must be numbers that increase"),
        ({"rungs": []}, r"rungs must be numbers that increase, at least one, got \[\]"),
        ({"rungs": [0, 2]}, r"rungs must be epochs >= 1"),
        ({"rungs": [1, 6]}, r"rungs must be below max_epochs=6, after which training ends anyway"),
        ({"max_epochs": None}, r"trainer.max_epochs, which it is by default, is null or not there"),
        ({"max_epochs": 1}, r"max_epochs must be at least min_epochs \* eta = 2, or no child is"),
        ({"fidelity": {}}, r"fidelity must be one key of the child's configuration with its num"),
        ({"fidelity": {"a": [1], "b": [2]}}, r"fidelity must be one key"),
        ({"fidelity": {"a": [2, 1]}}, r"fidelity.a must be numbers that increase"),
        ({"fidelity": {"a": [1]}, "rungs": [1]}, r"legal is one of them, the other null"),
    ],
)
@pytest.mark.parametrize("make", [asha, hyperband, halving])
def test_rungs_that_cannot_be_are_refused(make: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)(space=chain(), seed=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"rungs": [2, 4], "min_epochs": 3},
            r"min_epochs=3 is of the first rung .* rungs is \[2, 4\]; legal .* min_epochs=1 or 2$",
        ),
        (
            {"fidelity": {"a": [1, 2]}, "min_epochs": 2},
            r"min_epochs=2 is of the first rung .* fidelity is .* legal with it is min_epochs=1$",
        ),
    ],
)
@pytest.mark.parametrize("make", [asha, hyperband, halving])
def test_epochs_of_the_first_rung_are_ignored_where_it_is_given(
    make: Any, changes: dict[str, Any], told: str
) -> None:
    searcher = make(**changes)(space=chain(), seed=0)
    assert re.match(told, searcher.ignored or "")
    legal = {**changes, "min_epochs": 1}
    assert make(**legal)(space=chain(), seed=0).ignored is None


def test_what_comes_to_nothing_is_refused_or_told() -> None:
    space = chain()
    with pytest.raises(ValueError, match=r"num_children must be at least eta\^2 = 9, or none"):
        halving(num_children=8, eta=3, rungs=[1, 2])(space=space, seed=0)
    with pytest.raises(ValueError, match="num_brackets must be at most 3, the number of rungs wi"):
        asha(num_brackets=4)(space=space, seed=0)
    told = asha(eta=3, rungs=[1, 2])(space=space, seed=0).advice(8)
    assert told is not None
    assert "may train none to its end: at each of 2 rungs one of searcher.eta=3 goes on, so" in told
    assert asha(eta=3, rungs=[1, 2])(space=space, seed=0).advice(9) is None
    assert "less than a bracket" in (halving()(space=space, seed=0).advice(7) or "")
    assert "less than the first bracket" in (hyperband()(space=space, seed=0).advice(3) or "")


@pytest.mark.parametrize("around", [asha, hyperband, halving])
def test_a_wrapper_that_pauses_is_no_inner_searcher(around: Any) -> None:
    with pytest.raises(ValueError, match="does not pass on until, which Asha proposes"):
        around(searcher=asha())(space=chain(), seed=0)
    anew = asha(fidelity={"trainer.max_epochs": [1]})
    with pytest.raises(ValueError, match="does not pass on fidelity, which Asha proposes"):
        around(searcher=anew)(space=chain(), seed=0)


def test_curves_of_several_fidelities_are_not_compared() -> None:
    stopping = functools.partial(MedianStopping, searcher=SMALL, **NEVER_STOPS)
    anew: dict[str, Any] = {"fidelity": {"trainer.max_epochs": [1]}}
    for around in (asha, hyperband, halving):
        with pytest.raises(ValueError, match="fidelity: MedianStopping compares curves, and thos"):
            around(searcher=stopping, **anew)(space=chain(), seed=0)
        with pytest.raises(ValueError, match="MedianStopping does not pass on fidelity, which"):
            stopping(searcher=around(**anew), space=chain(), seed=0)


def test_a_trainer_that_pauses_nothing_is_refused_before_anything_is_recorded(
    tmp_path: Path,
) -> None:
    class Table(ToyTrainer):
        def check(self, proposal: Proposal) -> None:
            if proposal.until is not None:
                raise ConfigError("trainer: a table pauses nothing")

    with pytest.raises(ConfigError, match="a table pauses nothing"):
        Run(tmp_path, searcher=asha(), trainer=Table(chain()))
    assert not (tmp_path / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"max_epochs": 4 * EPOCHS}, r"until=8, which is all of it"),
        ({"rungs": [1, EPOCHS], "max_epochs": None}, r"until=6, which is all of it"),
        (
            {"fidelity": {"trainer.max_epochs": [1, EPOCHS]}},
            r"fidelity=\{'trainer.max_epochs': 6\}, which is all of it",
        ),
        (
            {"fidelity": {"trainer.max_epochs": [1, 8]}},
            r"fidelity=\{'trainer.max_epochs': 8\}, which is more than the 6 epochs of it",
        ),
    ],
)
def test_a_rung_at_the_end_of_a_training_is_refused_before_anything_is_recorded(
    tmp_path: Path, changes: dict[str, Any], asked: str
) -> None:
    with pytest.raises(ConfigError, match=f"Asha asks for a part of a training with {asked}"):
        run(tmp_path, asha(**changes))
    assert not (tmp_path / "ledger.jsonl").read_text()


def test_rungs_of_a_proposal_are_found_again() -> None:
    for rungs in (Rungs((1, 3)), Rungs((0.25, 0.5), "width")):
        asked = [rungs.asked(Proposal(0, {}), rung) for rung in range(rungs.top + 1)]
        assert [rungs.of(each) for each in asked] == [0, 1, 2]
    assert Rungs((1, 3)).of(Proposal(0, {}, until=2)) is None


def test_who_learns_from_rewards_of_several_rungs_is_told() -> None:
    space = chain()
    for made in (hyperband(), asha(num_brackets=2)):
        assert "learns the rewards of children that begin with different rungs" in (
            made(space=space, seed=0).advice(None) or ""
        )
    for made in (asha(), hyperband(searcher=RandomSearch)):
        assert made(space=space, seed=0).advice(None) is None


def test_a_budget_of_trainings_anew_counts_each_of_them() -> None:
    anew = asha(eta=3, fidelity={"trainer.max_epochs": [1, 3]})(space=chain(), seed=0)
    assert anew.advice(13) is None
    assert "so one of about 13" in (anew.advice(12) or "")


@pytest.mark.parametrize(
    "make",
    [
        asha(max_epochs=2 * EPOCHS),
        hyperband(rungs=[1], max_epochs=EPOCHS + 1),
        halving(fidelity={"trainer.max_epochs": [1, 2]}, max_epochs=EPOCHS - 1),
        functools.partial(
            MedianStopping, searcher=asha(rungs=[1], max_epochs=2 * EPOCHS), **NEVER_STOPS
        ),
    ],
)
def test_another_length_of_trainings_than_they_have_is_refused(tmp_path: Path, make: Any) -> None:
    space = chain()
    with pytest.raises(ConfigError, match=r"^searcher.max_epochs=\d+ must be .*, which has 6 by"):
        Run(tmp_path, space, with_rules(), make, trainer=EpochsTrainer(space))
