import pytest

from nasrunner.core import Outcome, SpaceError
from nasrunner.searchers.sampling.at_fidelity import AtFidelity
from nasrunner.spaces.language.parsing import parse_space

SPACE = parse_space({"affine": {"units": {"oneof": [4, 8, 16]}}})
PATH = "affine/units"


def test_each_architecture_is_proposed_once_at_the_fidelity() -> None:
    given = [{PATH: 2}, {PATH: 0}]
    searcher = AtFidelity(genotypes=given, fidelity={"data": 0.1}, space=SPACE, seed=0)
    proposals = []
    while (proposal := searcher.propose()) is not None:
        searcher.observe(Outcome(proposal, "completed", reward=0.5))
        proposals.append((proposal.index, proposal.genotype, proposal.fidelity))
    assert proposals == [(0, {PATH: 2}, {"data": 0.1}), (1, {PATH: 0}, {"data": 0.1})]
    assert [each.fidelity for each in searcher.asks_for] == [{"data": 0.1}]


def test_what_is_no_architecture_of_the_space_is_refused() -> None:
    with pytest.raises(SpaceError, match="has 3 options, got index 3"):
        AtFidelity(genotypes=[{PATH: 3}], fidelity={}, space=SPACE, seed=0)
