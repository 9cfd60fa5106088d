"""When studies of lineages on small spaces end."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Proposal, Source
from tests.contracts.searchers import Halving
from tests.contracts.trainers import EpochsTrainer
from tests.study.test_loop import Run, with_rules
from tests.toys import ToyExecutor, figure1


def run(folder: Path, searcher: Any, slots: int = 1, **changes: Any) -> Run:
    space = figure1()
    folder.mkdir(exist_ok=True)
    return Run(
        folder,
        space,
        with_rules(**{"max_children": None, "max_fruitless": None, **changes}),
        searcher,
        ToyExecutor(slots),
        EpochsTrainer(space),
    )


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("duplicates", ["resample", "reuse"])
def test_a_search_of_lineages_ends_where_all_of_a_small_space_was_begun(
    tmp_path: Path, slots: int, duplicates: str
) -> None:
    """With no limit on children or fruitless proposals, and half of each rung gone on with."""
    study = run(tmp_path, Halving, slots, duplicates=duplicates)
    reason = study.run().reason
    assert reason == "the space is exhausted: all 24 architectures were begun"
    trained = [o for o in study.recorder.outcomes if o.reused_from is None]
    counts = Counter(o.proposal.until for o in trained)
    assert counts[1] == 24
    assert counts[3] >= 12 > counts[None] >= 6
    assert study.study.searcher.suggest_continuation(0) is None
    roots = [o.proposal.hash for o in trained if o.proposal.is_root]
    assert len(set(roots)) == 24
    again = run(tmp_path, Halving, slots, duplicates=duplicates)
    assert again.run().reason == reason
    assert len([o for o in again.recorder.outcomes if o.reused_from is None]) == 0


def test_each_length_of_training_has_all_of_the_space(tmp_path: Path) -> None:
    """As Hyperband's brackets do, which begin at different rungs."""

    class TwoBrackets(Halving):
        def suggest(self, index: int) -> Proposal:
            proposal = super().suggest(index)
            is_second = proposal.is_root and index % 2
            return Proposal(index, proposal.genotype, until=3) if is_second else proposal

    study = run(tmp_path, TwoBrackets, duplicates="resample")
    assert study.run().reason == "the space is exhausted: all 24 architectures were begun"
    completed = [o.proposal for o in study.recorder.outcomes if o.reused_from is None]
    assert Counter(p.until for p in completed if p.is_root) == {1: 24, 3: 24}


@pytest.mark.parametrize("duplicates", ["resample", "reuse"])
def test_going_on_again_and_again_with_the_same_child_ends(tmp_path: Path, duplicates: str) -> None:
    class Insists(Halving):
        def suggest_continuation(self, index: int) -> Proposal | None:
            sources = (Source(0, "training"),)
            return Proposal(index, self.genotypes[0], until=3, sources=sources) if index else None

    study = run(tmp_path, Insists, duplicates=duplicates, max_children=1)
    assert study.run().reason == "max_children=1 is spent"
    assert len([o for o in study.recorder.outcomes if o.reused_from is None]) == 2
