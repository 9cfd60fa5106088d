"""Children that are paused and gone on with: what is trained, recorded, counted and kept."""

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import ConfigError, Proposal, Source
from nasrunner.recorded import read_ledger
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.rules import Rules
from tests.contracts.searchers import EverySecond, Halving
from tests.contracts.trainers import EPOCHS, METRIC, EpochsTrainer, accuracy, first_state, step
from tests.study.test_loop import Crash, Run, events, evolution, with_rules
from tests.toys import ToyExecutor, chain

RULES: Rules = with_rules(max_children=8)


def run(folder: Path, searcher: Any = Halving, slots: int = 1, **changes: Any) -> Run:
    space = chain()
    folder.mkdir(exist_ok=True)
    return Run(
        folder,
        space,
        with_rules(**{"max_children": 8, **changes}),
        searcher,
        executor=ToyExecutor(slots),
        trainer=EpochsTrainer(space),
    )


def by_index(folder: Path, kind: str) -> dict[int, dict[str, Any]]:
    return {event["index"]: event for event in events(folder, kind)}


@pytest.mark.parametrize("slots", [1, 3])
def test_a_child_that_was_paused_twice_is_what_one_trained_through_is(
    tmp_path: Path, slots: int
) -> None:
    run(tmp_path, slots=slots).run()
    proposed, ended = by_index(tmp_path, "proposed"), by_index(tmp_path, "outcome")
    through = [index for index, event in ended.items() if event["status"] == "completed"]
    assert through
    for index in through:
        seed, genotype = proposed[index]["seed"], proposed[index]["genotype"]
        state, curve = first_state(genotype), []
        for epoch in range(1, EPOCHS + 1):
            state = step(state, seed, epoch)
            curve.append(accuracy(state, genotype, epoch))
        assert ended[index]["curve"][METRIC] == curve
        assert ended[index]["cost_s"] == EPOCHS - 3


@pytest.mark.parametrize("slots", [1, 3])
def test_a_budget_of_children_counts_lineages(tmp_path: Path, slots: int) -> None:
    summary = run(tmp_path, slots=slots).run()
    proposed = events(tmp_path, "proposed")
    assert sum("sources" not in event for event in proposed) == 8
    went_on = {source["child"] for event in proposed for source in event.get("sources", ())}
    ended = by_index(tmp_path, "outcome")
    stayed = [i for i, event in ended.items() if event["status"] == "paused" and i not in went_on]
    assert summary.counts["paused"] == len(stayed) < 8
    assert summary.counts["completed"] == 8 - len(stayed) > 0
    assert summary.counts["continued"] == len(proposed) - 8 > 0
    assert summary.reason == "max_children=8 is spent"


def test_only_trainings_to_the_end_are_ranked(tmp_path: Path) -> None:
    summary = run(tmp_path).run()
    ended = by_index(tmp_path, "outcome")
    completed = {i for i, event in ended.items() if event["status"] == "completed"}
    assert {best["index"] for best in summary.best} == completed
    assert all("epochs" not in best for best in summary.best)


def test_a_summary_says_how_many_children_were_trained_to_their_ends(tmp_path: Path) -> None:
    study = run(tmp_path)
    study.run()
    ends = {o.proposal.hash for o in study.recorder.outcomes if o.status == "completed"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_full"] == len(ends) > 0
    assert summary["counts"]["continued"] > len(ends)


def test_the_longest_rung_is_shown_where_nothing_reached_the_end(tmp_path: Path) -> None:
    never = functools.partial(Halving, rungs=(1, 3, 5))
    summary = run(tmp_path, never, max_children=4).run()
    ended = by_index(tmp_path, "outcome").values()
    assert {event["status"] for event in ended} == {"paused"}
    assert [best["epochs"] for best in summary.best] == [5] * len(summary.best)
    assert summary.failure is None


def test_a_target_is_reached_by_full_trainings_alone(tmp_path: Path) -> None:
    first = run(tmp_path / "a").run()
    best = max(each["reward"] for each in first.best)
    second = run(tmp_path / "b", target_reward=best).run()
    assert second.reason == f"target_reward={best} is reached"
    rewards = [event["reward"] for event in events(tmp_path / "b", "outcome")]
    assert rewards[-1] == best


def test_a_continuation_has_its_roots_seed_and_an_identity_of_its_own(tmp_path: Path) -> None:
    run(tmp_path).run()
    proposed = by_index(tmp_path, "proposed")
    for event in proposed.values():
        for source in event.get("sources", ()):
            assert event["seed"] == proposed[source["child"]]["seed"]
            assert event["identity"] != proposed[source["child"]]["identity"]
    assert len({event["identity"] for event in proposed.values()}) == len(proposed)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("survived", range(0, 14, 3))
def test_a_driver_that_dies_goes_on_as_if_it_had_not(
    tmp_path: Path, slots: int, survived: int
) -> None:
    whole = tmp_path / "whole"
    run(whole, slots=1).run()
    left = iter(range(survived))

    def die() -> None:
        if next(left, None) is None:
            raise Crash

    parts = run(tmp_path / "parts", slots=slots)
    parts.executor.on_wait = die
    with pytest.raises(Crash):
        parts.run()
    run(tmp_path / "parts", slots=slots).run()
    if slots == 1:
        for kind in ("proposed", "outcome"):
            assert events(tmp_path / "parts", kind) == events(whole, kind)
    proposed = events(tmp_path / "parts", "proposed")
    assert sum("sources" not in event for event in proposed) == 8
    sources = Counter(each["child"] for e in proposed for each in e.get("sources", ()))
    assert set(sources.values()) == {1}


def test_what_nobody_goes_on_with_is_removed_and_what_somebody_may_is_kept(tmp_path: Path) -> None:
    study = run(tmp_path)
    study.run()
    searcher = study.study.searcher
    paused = [o.proposal.index for o in study.recorder.outcomes if o.status == "paused"]
    kept = {index for index in paused if (tmp_path / f"children/{index:04d}/last.ckpt").exists()}
    assert kept == set(searcher.needs())
    assert set(paused) - kept


def test_a_searcher_that_goes_on_is_told_of_each_lineage_once(tmp_path: Path) -> None:
    study = run(tmp_path)
    learnt: list[int] = []
    searcher = study.study.searcher
    plain = searcher.learn
    searcher.learn = lambda outcome: (learnt.append(outcome.proposal.index), plain(outcome))  # type: ignore[method-assign, assignment, func-returns-value]
    study.run()
    proposed = by_index(tmp_path, "proposed")
    assert sorted(learnt) == [i for i, event in proposed.items() if "sources" not in event]
    assert isinstance(searcher, Halving)
    assert sorted(searcher.revised) == [i for i, e in proposed.items() if "sources" in e]


@pytest.mark.parametrize("slots", [1, 3])
def test_the_indices_of_a_wrapped_searcher_stay_dense(tmp_path: Path, slots: int) -> None:
    wrapped = functools.partial(EverySecond, searcher=evolution)
    study = run(tmp_path, wrapped, slots, max_children=20)
    study.run()
    wrapper = study.study.searcher
    assert isinstance(wrapper, EverySecond)
    assert wrapper.inner.num_proposed == 20 == len(wrapper._outer_of)
    proposed = by_index(tmp_path, "proposed")
    roots = [index for index, event in proposed.items() if "sources" not in event]
    assert wrapper._outer_of == roots
    ended = by_index(tmp_path, "outcome")
    trained = [n for n, index in enumerate(roots) if ended[index]["reused_from"] is None]
    assert len(proposed) == 20 + sum(n % 2 == 0 for n in trained)
    bred = [event for event in proposed.values() if "parent" in event and "sources" not in event]
    assert bred
    assert all(event["parent"] in roots for event in bred)


def test_a_wrapped_searcher_proposes_what_it_would_alone(tmp_path: Path) -> None:
    wrapped = functools.partial(EverySecond, searcher=RandomSearch)
    run(tmp_path / "wrapped", wrapped, max_children=10).run()
    run(tmp_path / "alone", RandomSearch, max_children=10).run()
    roots = [e for e in events(tmp_path / "wrapped", "proposed") if "sources" not in e]
    alone = events(tmp_path / "alone", "proposed")
    assert [e["genotype"] for e in roots] == [e["genotype"] for e in alone]
    assert [e["seed"] for e in roots] == [e["seed"] for e in alone]


def test_a_report_reads_a_study_of_lineages(tmp_path: Path) -> None:
    summary = run(tmp_path).run()
    study = read_ledger(tmp_path, {"study": "toy"})
    assert [child.proposal.index for child in study.best(5)] == [b["index"] for b in summary.best]
    assert sum(child.is_evaluation for child in study.children) == 8


def test_what_a_trainer_does_not_do_is_refused_before_it_is_recorded(tmp_path: Path) -> None:
    study = run(tmp_path)

    def check(proposal: Proposal) -> None:
        if proposal.until is not None:
            raise ConfigError("trainer: a table pauses nothing")

    study.study.trainer.check = check  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="a table pauses nothing"):
        study.run()
    assert events(tmp_path, "proposed") == []


def test_a_proposal_goes_on_with_one_training_at_most() -> None:
    both = (Source(0, "training"), Source(1, "training"))
    with pytest.raises(ValueError, match="one training at most"):
        Proposal(2, {}, sources=both)
    with pytest.raises(ValueError, match="until must be at least 1 epoch, got 0"):
        Proposal(2, {}, until=0)


def test_a_proposal_is_read_as_it_was_written() -> None:
    proposal = Proposal(
        7,
        {"a": 1},
        kind="estimate",
        fidelity={"trainer.max_epochs": 3},
        until=2,
        sources=(Source(3, "training"), Source(1, "weights")),
        parent=3,
        seed=5,
        identity="abc",
        notes={"x": 0.5},
    )
    assert Proposal.from_json(json.loads(json.dumps(proposal.to_json()))) == proposal
    earlier = {"index": 1, "genotype": {"a": 0}, "notes": {"parent": 0, "x": 1.0}}
    assert Proposal.from_json(earlier) == Proposal(1, {"a": 0}, parent=0, notes={"x": 1.0})
