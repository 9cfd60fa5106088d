from nasrunner.core import Proposal
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space


def visited(searcher: ExhaustiveSearch) -> list[tuple[int, ...]]:
    return [tuple(p.genotype.values()) for p in iter(searcher.propose, None)]


def test_each_of_the_24_architectures_of_figure1_is_visited_once() -> None:
    searcher = ExhaustiveSearch(space=load_space("figure1"), seed=0)
    proposals: list[Proposal] = list(iter(searcher.propose, None))
    assert len({proposal.hash for proposal in proposals}) == len(proposals) == 24


def test_a_conditional_space_is_visited_in_lexicographic_order() -> None:
    repeat = {"times": {"oneof": [0, 1, 2]}, "body": {"optional": "relu"}}
    searcher = ExhaustiveSearch(space=parse_space({"repeat": repeat}), seed=0)
    assert visited(searcher) == [(0,), (1, 0), (1, 1), (2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)]


def test_a_space_without_decisions_is_visited_once() -> None:
    assert visited(ExhaustiveSearch(space=parse_space("relu"), seed=0)) == [()]


def test_an_exhausted_searcher_stays_exhausted() -> None:
    searcher = ExhaustiveSearch(space=parse_space("relu"), seed=0)
    assert [searcher.propose() is None for _ in range(3)] == [False, True, True]
