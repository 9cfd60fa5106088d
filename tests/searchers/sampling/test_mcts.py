import math
from typing import Any

import numpy as np
import pytest

from nasrunner.core import Outcome, Proposal, Searcher, SearchSpace
from nasrunner.searchers.sampling.mcts import MonteCarloTreeSearch, Node, part, scale_of
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, load_space, one_by_one, reward_of


def mcts(
    space: SearchSpace,
    exploration: float = 0.25,
    branching_factor: int | None = None,
    seed: int = 0,
) -> MonteCarloTreeSearch:
    return MonteCarloTreeSearch(
        exploration=exploration, branching_factor=branching_factor, space=space, seed=seed
    )


def product(*options: list[Any]) -> SearchSpace:
    """A space with one decision for each list of options."""
    return parse_space({"concat": [{"affine": {"units": {"oneof": each}}} for each in options]})


def take(searcher: Searcher, index: int, *answers: int) -> Proposal:
    """Registers a proposal with these answers, whatever the searcher would propose."""
    remaining = iter(answers)
    proposal = Proposal(index, searcher.space.walk(lambda decision: next(remaining)))
    searcher.register(proposal)
    return proposal


def finish(searcher: Searcher, proposal: Proposal, reward: float | None) -> None:
    status = "failed" if reward is None else "completed"
    searcher.observe(Outcome(proposal, status, reward))


def first_answer(proposal: Proposal) -> int:
    return next(iter(proposal.genotype.values()))


def nodes(root: Node) -> list[Node]:
    return [root, *(node for child in root.children.values() for node in nodes(child))]


def height(node: Node) -> int:
    return 1 + max(map(height, node.children.values())) if node.children else 0


def after_four_rewards(exploration: float) -> MonteCarloTreeSearch:
    """The first answer 0 has the reward 0.2, the answer 1 0.6 and 0.5, the answer 2 0.5."""
    searcher = mcts(product([8, 16, 32], [1, 2, 3, 4]), exploration)
    tried = [((0, 0), 0.2), ((1, 0), 0.6), ((2, 0), 0.5), ((1, 1), 0.5)]
    for index, (answers, reward) in enumerate(tried):
        finish(searcher, take(searcher, index, *answers), reward)
    return searcher


# Rewards 0.2, 0.5, 0.5, 0.6: the quartiles are 0.5 and 0.6, so the scale is 0.2. Branch 1 has
# 0.55 + 0.4 c sqrt(2 ln 4 / 2) = 0.55 + 0.4710 c, branch 2 has 0.5 + 0.4 c sqrt(2 ln 4) =
# 0.5 + 0.6660 c: as much where c = 0.2563.


@pytest.mark.parametrize(("exploration", "branch"), [(0.0, 1), (0.25, 1), (0.26, 2), (10.0, 2)])
def test_the_branch_of_the_greatest_upper_confidence_bound_is_taken(
    exploration: float, branch: int
) -> None:
    searcher = after_four_rewards(exploration)
    # with c = 10, branch 0 has 0.2 + 6.66 and branch 2 has 0.5 + 6.66
    assert {first_answer(searcher.suggest(index)) for index in range(4, 24)} == {branch}


@pytest.mark.parametrize("reward", ["pending", None])
def test_a_visit_without_a_reward_counts_as_a_visit_and_not_in_the_mean(reward: Any) -> None:
    searcher = after_four_rewards(exploration=0.25)
    proposal = take(searcher, 4, 1, 2)
    if reward is None:
        finish(searcher, proposal, None)
    # 0.55 + 0.1 sqrt(2 ln 5 / 3) = 0.6536 < 0.5 + 0.1 sqrt(2 ln 5) = 0.6794
    assert {first_answer(searcher.suggest(index)) for index in range(5, 25)} == {2}


def test_a_branch_without_any_reward_has_the_mean_of_its_parent() -> None:
    searcher = mcts(product([8, 16, 32], [1, 2, 3]), exploration=0.0)
    for index, (first, reward) in enumerate([(0, -0.5), (1, None), (2, -0.7)]):
        finish(searcher, take(searcher, index, first, 0), reward)
    # -0.5, (-0.5 - 0.7) / 2 = -0.6, -0.7
    assert first_answer(searcher.suggest(3)) == 0
    finish(searcher, take(searcher, 3, 0, 1), -1.1)
    # (-0.5 - 1.1) / 2 = -0.8, (-1.6 - 0.7) / 3 = -0.77, -0.7
    assert first_answer(searcher.suggest(4)) == 2
    finish(searcher, take(searcher, 4, 2, 1), -1.3)
    finish(searcher, take(searcher, 5, 0, 2), -0.8)
    # all below 0 was proposed, (-2.4 - 2.0) / 5 = -0.88, (-0.7 - 1.3) / 2 = -1.0
    assert first_answer(searcher.suggest(6)) == 1


def test_branches_nobody_took_come_first_and_are_drawn_uniformly() -> None:
    searcher = mcts(product([8, 16, 32, 64], [1, 2]))
    finish(searcher, take(searcher, 0, 2, 0), 1e9)
    drawn = [first_answer(searcher.suggest(index)) for index in range(1, 301)]
    assert drawn.count(2) == 0
    for branch in (0, 1, 3):
        assert drawn.count(branch) == pytest.approx(100, abs=3 * math.sqrt(300 * 2 / 9))


def test_below_the_tree_answers_are_drawn_uniformly_also_among_bisected_options() -> None:
    searcher = mcts(product([8, 16], [1, 2, 3, 4, 5]), branching_factor=2)
    take(searcher, 0, 0, 0)
    drawn = [list(searcher.suggest(index).genotype.values()) for index in range(1, 501)]
    assert {first for first, _ in drawn} == {1}
    counts = [[second for _, second in drawn].count(option) for option in range(5)]
    assert counts == pytest.approx([100] * 5, abs=3 * math.sqrt(500 * 0.2 * 0.8))


def test_workers_spread_over_the_branches_while_no_reward_has_arrived() -> None:
    searcher = mcts(load_space("nasbench_macro"))
    proposals = [searcher.propose() for _ in range(12)]
    prefixes = [tuple(p.genotype.values())[:2] for p in proposals if p is not None]
    for start in range(0, 12, 3):
        assert {first for first, _ in prefixes[start : start + 3]} == {0, 1, 2}
    assert len(set(prefixes[:9])) == 9


def test_the_reward_of_a_child_in_flight_reaches_the_node_it_was_moved_to() -> None:
    searcher = mcts(product([8, 16], [1, 2, 3]))
    first = take(searcher, 0, 1, 2)
    second = take(searcher, 1, 1, 0)
    finish(searcher, second, 0.25)
    finish(searcher, first, 0.75)
    branch = searcher.roots[()].children[1]
    assert (branch.num_visits, branch.num_rewards, branch.sum_rewards) == (2, 2, 1.0)
    assert {b: child.sum_rewards for b, child in branch.children.items()} == {0: 0.25, 2: 0.75}


def test_a_node_passed_on_its_visits_and_rewards_to_its_children() -> None:
    searcher = mcts(load_space("small_cnn"), branching_factor=2)
    steps = [(number % 5 < 3, number % 3, number % 7 == 0) for number in range(400)]
    Loop(searcher).play(steps)
    inner = [node for node in nodes(searcher.roots[()]) if node.children]
    assert len(inner) > 50
    for node in inner:
        children = node.children.values()
        assert node.num_visits == sum(child.num_visits for child in children)
        assert node.num_rewards == sum(child.num_rewards for child in children)
        assert node.sum_rewards == pytest.approx(sum(child.sum_rewards for child in children))


@pytest.mark.parametrize("branching_factor", [None, 2])
def test_nothing_is_proposed_twice_before_everything_was_proposed(
    branching_factor: int | None,
) -> None:
    searcher = mcts(load_space("figure1"), branching_factor=branching_factor)
    loop = Loop(searcher).play([(True, 0, False)] * 4)
    loop.play([(False, 1, False), (True, 0, False), (False, 2, True), (True, 0, False)] * 10)
    assert len({str(proposal["genotype"]) for proposal in loop.proposals}) == 24
    assert len(loop.proposals) == 24
    assert searcher.roots[()].is_done


def test_when_everything_was_proposed_the_best_are_proposed_again() -> None:
    searcher = mcts(product([8, 16, 32, 64]), exploration=0.01)
    for option, reward in enumerate([0.1, 0.9, 0.5, 0.3]):
        finish(searcher, take(searcher, option, option), reward)
    assert [first_answer(searcher.suggest(index)) for index in range(4, 9)] == [1] * 5


@pytest.mark.parametrize("branching_factor", [None, 2])
def test_each_proposal_adds_two_nodes_at_most(branching_factor: int | None) -> None:
    searcher = mcts(load_space("mlp"), branching_factor=branching_factor)
    for num_proposed in range(1, 301):
        proposal = searcher.propose()
        assert proposal is not None
        finish(searcher, proposal, reward_of(proposal))
        assert len(nodes(searcher.roots[()])) <= 2 * num_proposed


@pytest.mark.parametrize("branching_factor", [2, 3])
@pytest.mark.parametrize("num_options", [2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 32])
def test_every_option_is_reached_by_a_logarithm_of_choices(
    num_options: int, branching_factor: int
) -> None:
    searcher = mcts(product(list(range(1, num_options + 1))), branching_factor=branching_factor)
    proposed = [searcher.propose() for _ in range(num_options)]
    assert {first_answer(p) for p in proposed if p is not None} == set(range(num_options))
    levels = next(level for level in range(9) if branching_factor**level >= num_options)
    assert height(searcher.roots[()]) == levels
    branches = max(len(node.children) for node in nodes(searcher.roots[()]))
    assert branches == min(branching_factor, num_options)


def test_options_are_split_into_neighbouring_parts_of_the_same_size() -> None:
    parts = {
        (range(5), 2): [range(3), range(3, 5)],
        (range(2, 10), 3): [range(2, 5), range(5, 8), range(8, 10)],
        (range(4), 4): [range(1), range(1, 2), range(2, 3), range(3, 4)],
    }
    for (options, num_parts), expected in parts.items():
        assert [part(options, number, num_parts) for number in range(num_parts)] == expected


def test_unordered_decisions_are_never_split() -> None:
    searcher = mcts(parse_space({"or": ["relu", "tanh", "sigmoid", "elu"]}), branching_factor=2)
    for option in range(4):
        take(searcher, option, option)
    assert height(searcher.roots[()]) == 1


def test_a_branching_factor_beyond_the_options_restructures_nothing() -> None:
    plain = Loop(mcts(load_space("mlp"))).play(one_by_one(40))
    wide = Loop(mcts(load_space("mlp"), branching_factor=9)).play(one_by_one(40))
    assert plain.events == wide.events


def test_the_units_of_the_reward_change_nothing() -> None:
    found = []
    for factor, offset in [(1.0, 0.0), (64.0, -16.0)]:
        searcher = mcts(load_space("mlp"))
        genotypes = []
        for _ in range(100):
            proposal = searcher.propose()
            assert proposal is not None
            genotypes.append(proposal.genotype)
            finish(searcher, proposal, factor * reward_of(proposal) + offset)
        found.append(genotypes)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("rewards", "scale"),
    [
        ([], 1.0),
        ([70.0], 1.0),
        ([70.0, 70.0, 70.0], 1.0),
        ([10.0, 12.0], 4.0),
        ([0.1, 0.2, 0.3, 0.4], 0.4),
        ([-1e9, 0.2, 0.3, 0.4], 0.4),  # a diverged child
        ([-8.0, 0.0, 0.0, 0.0, 0.0], 8.0),
    ],
)
def test_the_scale_is_twice_the_interquartile_range(rewards: list[float], scale: float) -> None:
    assert scale_of(rewards) == pytest.approx(scale)


def test_it_learns_where_random_search_stays_at_chance() -> None:
    searcher = mcts(load_space("nasbench_macro"))
    rewards = []
    for _ in range(200):
        proposal = searcher.propose()
        assert proposal is not None
        rewards.append(float(sum(proposal.genotype.values())))  # 8 on average, at most 16
        finish(searcher, proposal, rewards[-1])
    assert np.mean(rewards[:20]) < 9
    assert np.mean(rewards[-20:]) > 10


def best_of_60_in_a_bowl(branching_factor: int | None, seed: int) -> float:
    """At most 1, where both of two numbers between 1 and 64 are 48."""
    numbers = list(range(1, 65))
    searcher = mcts(product(numbers, numbers), branching_factor=branching_factor, seed=seed)
    best = -math.inf
    for _ in range(60):
        proposal = searcher.propose()
        assert proposal is not None
        reward = 1 - sum(abs(index - 47) for index in proposal.genotype.values()) / 94
        best = max(best, reward)
        finish(searcher, proposal, reward)
    return best


def test_bisection_shares_what_is_learnt_among_near_options() -> None:
    plain = np.mean([best_of_60_in_a_bowl(None, seed) for seed in range(8)])
    bisected = np.mean([best_of_60_in_a_bowl(2, seed) for seed in range(8)])
    assert 1 - bisected < 0.75 * (1 - plain)


@pytest.mark.parametrize("space", ["relu", {"affine": {"units": {"oneof": [8]}}}])
def test_a_space_of_one_architecture_proposes_it_again(space: Any) -> None:
    loop = Loop(mcts(parse_space(space), branching_factor=2)).play(one_by_one(4))
    assert len(loop.proposals) == 4
    assert len({str(proposal["genotype"]) for proposal in loop.proposals}) == 1
