"""Another processor's kernels round differently, and choose another option now and then.

What a ledger holds is read and never computed again, so a study goes on on any machine.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Decision, Genotype, Proposal, Searcher, Space, StudyInfo
from nasrunner.study.baseline import SideBySide
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from nasrunner.study.rules import Duplicates
from tests.sampling import one_in
from tests.searchers.worlds import IN_PARTS, ONE_SHOT, SEARCHERS, make_searcher
from tests.toys import RULES, ToyExecutor, ToyTrainer, toy_reward

every_searcher = pytest.mark.parametrize(
    "name", [name for name in SEARCHERS if name not in (*IN_PARTS, *ONE_SHOT)]
)
NUM_CHILDREN = 14


class Crash(Exception):
    """The driver dies."""


def elsewhere(searcher: Searcher) -> Searcher:
    """Lets a searcher choose another option in two of three proposals."""
    suggest = searcher.suggest

    def suggest_there(index: int) -> Proposal | None:
        proposal = suggest(index)
        if proposal is None or index % 3 == 0:
            return proposal
        genotype = rounded(searcher.space_at(index), proposal.genotype, place=index)
        notes = {name: value * (1 + 1e-12) for name, value in proposal.notes.items()}
        notes |= whole_numbers(proposal)
        return dataclasses.replace(proposal, genotype=genotype, notes=notes)

    searcher.suggest = suggest_there  # type: ignore[method-assign]
    return searcher


def whole_numbers(proposal: Proposal) -> dict[str, float]:
    """The notes that rounding leaves as they are."""
    return {name: value for name, value in proposal.notes.items() if value == int(value)}


def rounded(space: Space, genotype: Genotype, place: int) -> Genotype:
    """The next option of one of the last two decisions; what it lacks has its first option."""
    changed = list(genotype)[-1 - place % 2]

    def choose(decision: Decision) -> int:
        if decision.path == changed:
            return (genotype[changed] + 1) % len(decision.options)
        return genotype.get(decision.path, 0)

    return space.walk(choose)


def die_after(num_trained: int, executor: ToyExecutor) -> Callable[[], None]:
    """What kills the driver once so many children have been trained."""

    def die() -> None:
        if executor.num_trained == num_trained:
            raise Crash

    return die


class Session:
    """A session of a study of three workers in a folder.

    Args:
        folder: the study's.
        searcher: as it is here, or elsewhere.
        duplicates: the study's rule for them.
        executor: the workers, where another study shares them.
    """

    def __init__(
        self,
        folder: Path,
        searcher: Searcher,
        duplicates: Duplicates = "reuse",
        executor: ToyExecutor | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.executor = executor or ToyExecutor(slots=3)
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.study = Study(
            space=searcher.space,
            searcher=searcher,
            trainer=ToyTrainer(searcher.space),
            executor=self.executor,
            trackers=[],
            ledger=self.ledger,
            rules=dataclasses.replace(RULES, max_children=NUM_CHILDREN, duplicates=duplicates),
            info=StudyInfo("toy", folder, {}, NUM_CHILDREN),
        )

    def crash(self, num_trained: int) -> None:
        """Runs until so many children have been trained, and dies while three others run."""

        self.executor.on_wait = die_after(num_trained, self.executor)
        with self.ledger, pytest.raises(Crash, match=r"^$"):
            self.study.run()

    def run(self) -> None:
        with self.ledger:
            self.study.run()


def proposals(folder: Path) -> dict[int, Any]:
    events, _ = read_events(folder / "ledger.jsonl")
    return {e["index"]: e["genotype"] for e in events if e["event"] == "proposed"}


def trained(folder: Path) -> set[int]:
    """The children among the proposals; the others are estimates."""
    events, _ = read_events(folder / "ledger.jsonl")
    return {e["index"] for e in events if e["event"] == "proposed" and "kind" not in e}


def rewards(folder: Path) -> dict[int, float]:
    """The reward of each child, of which there is one; duplicates that were replaced left out."""
    events, _ = read_events(folder / "ledger.jsonl")
    outcomes = [e for e in events if e["event"] == "outcome"]
    assert len(outcomes) == len({e["index"] for e in outcomes})
    return {e["index"]: e["reward"] for e in outcomes if e["status"] != "duplicate"}


@every_searcher
@one_in(2, 0, ("space", "duplicates"), [("figure1", "reuse"), ("mlp", "resample")])
def test_a_study_goes_on_with_children_that_its_searcher_would_not_have_proposed(
    tmp_path: Path, name: str, space: str, duplicates: Duplicates
) -> None:
    def session(folder: Path) -> Session:
        return Session(folder, make_searcher(name, space, RULES.seed), duplicates)

    here, copied = tmp_path / "here", tmp_path / "copied"
    there = Session(here, elsewhere(make_searcher(name, space, RULES.seed)), duplicates)
    there.crash(num_trained=5)
    recorded, learnt = proposals(here), rewards(here)
    least = 1 if name == "filter" else 3  # whose rounds may end before all workers have a child
    assert len(recorded) - len(learnt) >= least  # in flight
    shutil.copytree(here, copied)
    session(here).run()
    found, told = proposals(here), rewards(here)
    assert {index: found[index] for index in recorded} == recorded
    assert {index: told[index] for index in learnt} == learnt
    assert all(told[index] == toy_reward(found[index]) for index in told.keys() & trained(here))
    assert len(told.keys() & trained(here)) == NUM_CHILDREN
    session(copied).run()
    assert proposals(copied) == found


def test_a_study_and_its_baseline_go_on_together(tmp_path: Path) -> None:
    folders = [tmp_path / "study", tmp_path / "study" / "baseline"]

    def searchers() -> list[Searcher]:
        return [make_searcher("tpe", "mlp", RULES.seed), make_searcher("random", "mlp", 99)]

    def run_both(asked: list[Searcher], executor: ToyExecutor) -> None:
        study, baseline = (
            Session(folder, searcher, executor=executor)
            for folder, searcher in zip(folders, asked, strict=True)
        )
        with study.ledger, baseline.ledger:
            SideBySide(study.study, baseline.study, executor).run()

    dying = ToyExecutor(slots=3)
    dying.on_wait = die_after(12, dying)
    with pytest.raises(Crash, match=r"^$"):
        run_both([elsewhere(searcher) for searcher in searchers()], dying)
    recorded = [proposals(folder) for folder in folders]
    run_both(searchers(), ToyExecutor(slots=3))
    for folder, before in zip(folders, recorded, strict=True):
        found, told = proposals(folder), rewards(folder)
        assert len(before) >= 6
        assert {index: found[index] for index in before} == before
        assert all(reward == toy_reward(found[index]) for index, reward in told.items())
        assert len(told) == NUM_CHILDREN
