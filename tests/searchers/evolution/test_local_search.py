from typing import Any

import numpy as np
import pytest

from nasrunner.core import Genotype, Outcome, Proposal, SearchSpace
from nasrunner.searchers.evolution.local_search import LocalSearch
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, load_space, one_by_one, reward_of


def local_search(space: SearchSpace, improvement: Any = "first", seed: int = 0) -> LocalSearch:
    return LocalSearch(improvement=improvement, space=space, seed=seed)


def propose(searcher: LocalSearch) -> Proposal:
    proposal = searcher.propose()
    assert proposal is not None
    return proposal


def finish(searcher: LocalSearch, proposal: Proposal, reward: float | None) -> None:
    status = "failed" if reward is None else "completed"
    searcher.observe(Outcome(proposal, status, reward))


def step(searcher: LocalSearch, reward: float | None) -> Proposal:
    proposal = propose(searcher)
    finish(searcher, proposal, reward)
    return proposal


def parent(proposal: Proposal) -> float | None:
    return proposal.parent


def grid(size: int) -> SearchSpace:
    options = {"oneof": list(range(1, size + 1))}
    return parse_space({"concat": [{"affine": {"units": options}}] * 2})


def at(first: int, second: int) -> Genotype:
    return {"0/affine/units": first, "1/affine/units": second}


@pytest.mark.parametrize("improvement", ["first", "best"])
def test_all_neighbours_are_proposed_once_before_another_start(improvement: str) -> None:
    searcher = local_search(load_space("nasbench_macro"), improvement)
    proposals = [step(searcher, 0.5) for _ in range(18)]
    assert [parent(proposal) for proposal in proposals] == [None, *[0] * 16, None]
    start = proposals[0].genotype
    changes = [dict(p.genotype.items() - start.items()) for p in proposals[1:17]]
    assert [len(change) for change in changes] == [1] * 16
    assert len({str(change) for change in changes}) == 16  # 8 decisions, 2 other options each


def test_neighbours_come_in_random_order() -> None:
    orders = set()
    for seed in range(20):
        searcher = local_search(load_space("nasbench_macro"), seed=seed)
        start = step(searcher, 0.5)
        changed = propose(searcher).genotype.items() - start.genotype.items()
        orders.add(next(iter(changed))[0])
    assert len(orders) >= 6  # of 8 decisions


def test_a_neighbour_changes_one_decision_and_its_consequences_only() -> None:
    searcher = local_search(load_space("small_cnn"))
    proposals: dict[int, Proposal] = {}
    drawn = set()
    for _ in range(400):
        proposal = propose(searcher)
        finish(searcher, proposal, reward_of(proposal))
        proposals[proposal.index] = proposal
        if proposal.parent is None:
            continue
        child = proposal.genotype
        source = proposals[proposal.parent].genotype
        changed = [path for path in child.keys() & source.keys() if child[path] != source[path]]
        assert len(changed) == 1
        drawn |= child.keys() - source.keys()
    assert len(drawn) > 10


def test_a_better_neighbour_becomes_the_incumbent_at_once() -> None:
    searcher = local_search(load_space("nasbench_macro"), "first")
    rewards = [0.5, 0.4, 0.5, 0.6, 0.6, 0.7]
    parents = [parent(step(searcher, reward)) for reward in rewards]
    assert [*parents, parent(propose(searcher))] == [None, 0, 0, 0, 3, 3, 5]


def test_the_best_of_all_neighbours_becomes_the_incumbent() -> None:
    searcher = local_search(load_space("nasbench_macro"), "best")
    rewards = [0.5, 0.4, 0.6, 0.9, 0.7, *[0.5] * 12]
    parents = [parent(step(searcher, reward)) for reward in rewards]
    assert parents == [None, *[0] * 16]
    # known of its 16 neighbours are the start and the one with the third option in the same place
    parents = [parent(step(searcher, 0.1)) for _ in range(15)]
    assert parents == [*[3] * 14, None]


@pytest.mark.parametrize("improvement", ["first", "best"])
@pytest.mark.parametrize("seed", range(5))
def test_where_every_climb_leads_to_the_optimum_the_first_one_does(
    improvement: str, seed: int
) -> None:
    searcher = local_search(load_space("nasbench_macro"), improvement, seed)
    proposals = []
    while True:
        proposals.append(propose(searcher))
        reward = float(sum(proposals[-1].genotype.values()))
        finish(searcher, proposals[-1], reward)
        if reward == 16:  # every answer is 2
            break
    assert [parent(proposal) for proposal in proposals].count(None) == 1
    # each of 8 decisions is raised twice at most, and each time 16 neighbours are tried at most
    assert len(proposals) <= 1 + 16 * 16
    assert len({str(proposal.genotype) for proposal in proposals}) == len(proposals)


def test_a_neighbour_known_to_be_better_is_taken_without_being_proposed() -> None:
    searcher = local_search(grid(3))
    tried = [
        (at(0, 0), None, 0.9),
        (at(1, 1), None, 0.3),  # a start: the neighbours of (0, 0) count as proposed
        (at(1, 0), 1, 0.4),  # its neighbour (0, 0) is better
    ]
    incumbents = []
    for index, (genotype, parent, reward) in enumerate(tried):
        proposal = Proposal(index, genotype, parent=parent)
        searcher.register(proposal)
        finish(searcher, proposal, reward)
        assert searcher.incumbent is not None
        incumbents.append(searcher.incumbent[0].index)
    assert incumbents == [0, 1, 0]
    assert sorted(searcher.untried) == [
        ("0/affine/units", 2),
        ("1/affine/units", 1),
        ("1/affine/units", 2),
    ]


def test_workers_get_starts_until_one_has_a_reward_and_then_its_neighbours() -> None:
    searcher = local_search(load_space("nasbench_macro"))
    starts = [propose(searcher) for _ in range(4)]
    assert [parent(proposal) for proposal in starts] == [None] * 4
    finish(searcher, starts[2], 0.5)
    assert parent(propose(searcher)) == 2
    finish(searcher, starts[0], 0.4)
    assert parent(propose(searcher)) == 2
    finish(searcher, starts[3], 0.6)
    assert parent(propose(searcher)) == 3


def exhausted(num_in_flight: int, improvement: str = "first") -> tuple[LocalSearch, list[Proposal]]:
    """A start with the reward 0.5 and all 16 neighbours proposed: some in flight, 0.4 the rest."""
    searcher = local_search(load_space("nasbench_macro"), improvement)
    step(searcher, 0.5)
    for _ in range(16 - num_in_flight):
        step(searcher, 0.4)
    return searcher, [propose(searcher) for _ in range(num_in_flight)]


def test_starts_wait_for_the_last_neighbours_and_the_best_goes_on() -> None:
    searcher, last = exhausted(num_in_flight=2)
    starts = [propose(searcher) for _ in range(3)]
    assert [parent(proposal) for proposal in starts] == [None] * 3
    for start, reward in zip(starts, [0.1, 0.3, 0.2], strict=True):
        finish(searcher, start, reward)
    finish(searcher, last[0], 0.5)
    assert parent(propose(searcher)) is None  # a neighbour may still be better
    finish(searcher, last[1], None)
    assert parent(propose(searcher)) == starts[1].index


def test_a_late_better_neighbour_is_taken_before_any_start() -> None:
    searcher, last = exhausted(num_in_flight=2)
    start = propose(searcher)
    finish(searcher, start, 0.4)
    finish(searcher, last[1], 0.6)
    assert parent(propose(searcher)) == last[1].index
    finish(searcher, last[0], 0.7)  # of the earlier incumbent, and better than the present one
    assert parent(propose(searcher)) == last[0].index


def test_the_best_of_late_neighbours_is_taken_before_any_start() -> None:
    searcher, last = exhausted(num_in_flight=3, improvement="best")
    start = propose(searcher)
    for child, reward in [(last[2], 0.6), (start, 0.45), (last[0], 0.7)]:
        finish(searcher, child, reward)
        assert parent(propose(searcher)) is None
    finish(searcher, last[1], 0.4)
    assert parent(propose(searcher)) == last[0].index


def test_a_start_that_lost_to_another_one_saves_a_start_later() -> None:
    searcher = local_search(load_space("nasbench_macro"))
    starts = [propose(searcher) for _ in range(3)]
    for start, reward in zip(starts, [0.5, 0.1, 0.2], strict=True):
        finish(searcher, start, reward)
    parents = [parent(step(searcher, 0.0)) for _ in range(17)]
    assert parents == [*[0] * 16, 2]


def test_children_without_a_reward_are_passed_over() -> None:
    searcher = local_search(load_space("nasbench_macro"))
    rewards = [None, None, 0.5, None, None, 0.6]
    parents = [parent(step(searcher, reward)) for reward in rewards]
    assert [*parents, parent(propose(searcher))] == [None, None, None, 2, 2, 2, 5]


@pytest.mark.parametrize("improvement", ["first", "best"])
@pytest.mark.parametrize("num_workers", [1, 6])
def test_nothing_is_proposed_twice(improvement: str, num_workers: int) -> None:
    searcher = local_search(load_space("nasbench_macro"), improvement)
    loop = Loop(searcher).play([(True, 0, False)] * num_workers)
    loop.play([(False, 3, False), (True, 0, False)] * 400)
    assert len({str(proposal["genotype"]) for proposal in loop.proposals}) == 400 + num_workers


def test_a_small_space_is_exhausted_with_few_repetitions() -> None:
    loop = Loop(local_search(load_space("figure1"))).play(one_by_one(27))
    assert len({str(proposal["genotype"]) for proposal in loop.proposals}) == 24


@pytest.mark.parametrize("improvement", ["first", "best"])
@pytest.mark.parametrize("num_in_flight", [1, 3])
@pytest.mark.parametrize("are_equal", [True, False])
def test_what_is_kept_of_climbs_among_known_children_changes_none(
    improvement: str, num_in_flight: int, are_equal: bool
) -> None:
    """With equal neighbours and with rewards that differ when a child is trained again."""
    climbs = []
    for forgets in (False, True):
        rng = np.random.default_rng(0)
        searcher = local_search(grid(4), improvement)
        running: list[Proposal] = []
        incumbents = []
        for _ in range(200):
            while len(running) < num_in_flight:
                running.append(propose(searcher))
            child = running.pop(int(rng.integers(num_in_flight)))
            if forgets:
                searcher._ahead.clear()
            reward = float(sum(child.genotype.values()) % 3)
            finish(searcher, child, reward + (0 if are_equal else float(rng.integers(2))))
            incumbents.append((child, searcher.incumbent))
        assert forgets or searcher._ahead
        climbs.append(incumbents)
    assert climbs[0] == climbs[1]


@pytest.mark.parametrize("space", ["relu", {"affine": {"units": {"oneof": [8]}}}])
def test_a_space_of_one_architecture_proposes_it_again(space: Any) -> None:
    searcher = local_search(parse_space(space))
    genotypes = [step(searcher, 0.5).genotype for _ in range(5)]
    assert genotypes == [genotypes[0]] * 5
