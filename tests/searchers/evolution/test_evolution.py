import itertools
from typing import Any

import pytest

from nasrunner.core import Outcome, Proposal, SearchSpace
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space, reward_of


def evolution(
    space: SearchSpace, population_size: int, tournament_size: int, seed: int = 0, **variant: Any
) -> RegularizedEvolution:
    return RegularizedEvolution(
        population_size=population_size,
        tournament_size=tournament_size,
        space=space,
        seed=seed,
        **variant,
    )


def step(searcher: RegularizedEvolution, reward: float | None) -> Proposal:
    proposal = searcher.propose()
    assert proposal is not None
    searcher.observe(Outcome(proposal, "failed" if reward is None else "completed", reward))
    return proposal


def members(searcher: RegularizedEvolution) -> list[int | None]:
    return [member.index for member in searcher.population]


def test_the_oldest_member_leaves_even_if_it_is_the_best() -> None:
    searcher = evolution(load_space("mlp"), 3, 1)
    for reward in (0.9, 0.1, 0.2):
        step(searcher, reward)
    assert members(searcher) == [0, 1, 2]
    step(searcher, 0.0)
    assert members(searcher) == [1, 2, 3]


def test_age_counts_from_the_reward_not_from_the_proposal() -> None:
    searcher = evolution(load_space("mlp"), 2, 1)
    first, second, third = (searcher.propose() for _ in range(3))
    for proposal in (second, first, third):
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", 0.5))
    assert members(searcher) == [0, 2]


def test_children_without_a_reward_never_join() -> None:
    searcher = evolution(load_space("mlp"), 3, 2)
    for reward in (0.5, None, None, None, 0.5):
        step(searcher, reward)
    assert members(searcher) == [0, 4]


def test_parents_are_bred_only_after_the_first_population() -> None:
    searcher = evolution(load_space("mlp"), 30, 10)
    proposals = [step(searcher, 0.5) for _ in range(40)]
    assert [p.parent is not None for p in proposals] == [False] * 30 + [True] * 10


def test_the_best_of_a_tournament_is_the_parent() -> None:
    searcher = evolution(load_space("nasbench_macro"), 4, 4)
    for reward in (0.1, 0.9, 0.2, 0.3):
        step(searcher, reward)
    parents = []
    for index in range(4, 204):
        proposal = searcher.suggest(index)
        parents.append(proposal.parent)
    # 4 draws with replacement hold the best of 4 with probability 1 - (3/4)^4 = 0.684
    assert parents.count(1) == pytest.approx(200 * 0.684, abs=3 * 6.6)


def test_a_mutation_changes_one_decision_and_its_consequences_only() -> None:
    space = load_space("small_cnn")
    searcher = evolution(space, 5, 2)
    proposals: list[Proposal] = []
    changes = set()
    for _ in range(200):
        proposals.append(step(searcher, None if proposals and not len(proposals) % 7 else 0.5))
        if proposals[-1].parent is None:
            continue
        child = proposals[-1].genotype
        parent = proposals[proposals[-1].parent].genotype
        changed = [path for path in child.keys() & parent.keys() if child[path] != parent[path]]
        assert len(changed) == 1
        changes.add(changed[0])
    assert len(changes) > 10


def test_a_decision_with_one_option_is_never_the_one_mutated() -> None:
    space = parse_space(
        {
            "concat": [
                {"affine": {"units": {"oneof": [8]}}},
                {"affine": {"units": {"oneof": [8, 16]}}},
            ]
        }
    )
    searcher = evolution(space, 1, 1)
    answers = [list(step(searcher, 0.5).genotype.values()) for _ in range(6)]
    assert all(before != after for before, after in itertools.pairwise(answers))


@pytest.mark.parametrize("space", ["relu", {"affine": {"units": {"oneof": [8]}}}])
def test_a_space_of_one_architecture_proposes_it_again(space: Any) -> None:
    searcher = evolution(parse_space(space), 2, 1)
    genotypes = [step(searcher, 0.5).genotype for _ in range(5)]
    assert genotypes == [genotypes[0]] * 5


def test_evolution_finds_better_children_than_its_first_population() -> None:
    searcher = evolution(load_space("nasbench_macro"), 10, 3)
    rewards = []
    for _ in range(150):
        proposal = searcher.propose()
        assert proposal is not None
        rewards.append(float(sum(proposal.genotype.values())))  # at most 8 * 2
        searcher.observe(Outcome(proposal, "completed", rewards[-1]))
    assert max(rewards[:10]) <= 11
    assert max(rewards) >= 15


def test_a_tournament_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be at most population_size \(5\), got 6"):
        evolution(load_space("mlp"), 5, 6)


def test_a_budget_within_the_first_population_is_pointed_out() -> None:
    searcher = evolution(load_space("mlp"), 100, 25)
    assert "random search" in str(searcher.advice(100))
    assert searcher.advice(101) is None
    assert searcher.advice(None) is None


def test_failures_alone_leave_it_drawing_at_random() -> None:
    searcher = evolution(load_space("mlp"), 2, 2)
    proposals = [step(searcher, None) for _ in range(5)]
    assert all(not proposal.notes for proposal in proposals)
    assert len({reward_of(proposal) for proposal in proposals}) == 5


def test_without_ageing_the_worst_member_leaves_and_of_equal_ones_the_oldest() -> None:
    searcher = evolution(load_space("mlp"), 3, 1, ageing=False)
    for reward in (0.9, 0.1, 0.2):
        step(searcher, reward)
    step(searcher, 0.1)
    assert members(searcher) == [0, 2, 3]
    step(searcher, 0.05)  # itself
    assert members(searcher) == [0, 2, 3]
    step(searcher, 0.3)
    assert members(searcher) == [0, 2, 5]


def test_a_child_of_two_parents_answers_as_either_but_for_one_mutation() -> None:
    searcher = evolution(load_space("nasbench_macro"), 2, 2, crossover=1.0)
    first, second = step(searcher, 0.1), step(searcher, 0.9)
    mixed = 0
    for index in range(2, 102):
        genotype = searcher.suggest(index).genotype
        others = [
            path
            for path, answer in genotype.items()
            if answer not in (first.genotype[path], second.genotype[path])
        ]
        assert len(others) <= 1
        differing = [p for p in genotype if first.genotype[p] != second.genotype[p]]
        taken = {first.genotype[p] == genotype[p] for p in differing if p not in others}
        mixed += len(taken) == 2
    # Of 100 pairs of winners half are of two members; of these nearly all children are mixed.
    assert 30 < mixed < 65


def test_parents_that_answer_other_decisions_have_children_of_the_space() -> None:
    space = load_space("small_cnn")
    searcher = evolution(space, 6, 2, crossover=1.0, ageing=False)
    for index in range(60):
        proposal = step(searcher, reward_of(Proposal(index, {"a": index})))
        space.freeze(proposal.genotype)
        asked = {}
        space.walk(lambda d, g=proposal.genotype, a=asked: a.setdefault(d.path, g[d.path]))
        assert asked == proposal.genotype


def test_without_crossover_nothing_more_is_drawn() -> None:
    """Studies that were begun before there was any go on as they would have."""
    plain, explicit = (
        evolution(load_space("mlp"), 4, 2, **given)
        for given in ({}, {"crossover": 0.0, "ageing": True, "learns": "reward"})
    )
    for index in range(30):
        assert step(plain, index % 7 / 7) == step(explicit, index % 7 / 7)
