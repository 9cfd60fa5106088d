from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Genotype, Outcome, Proposal, Searcher, SearchSpace
from nasrunner.core.order import key_of, rollout
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.surrogates.acquisition import ExploreGreedy
from nasrunner.searchers.surrogates.candidates import Candidates, _sample
from nasrunner.searchers.surrogates.smbo import Smbo, choose_history, normal_scores, standardised
from nasrunner.searchers.surrogates.surrogate import Surrogate
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, load_space, make_searcher, one_by_one, run


class CountZeros(Surrogate):
    """Predicts the number of answers that are the first option; notes what it is fitted to."""

    def __init__(self, *, space: SearchSpace) -> None:
        self.fits: list[tuple[list[Genotype], list[float]]] = []

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.fits.append((list(genotypes), targets_N.tolist()))

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        zeros = [sum(index == 0 for index in genotype.values()) for genotype in genotypes]
        return np.array(zeros, dtype=float), np.zeros(len(genotypes))


def smbo(space: SearchSpace, seed: int = 0, **changes: Any) -> Smbo:
    arguments: dict[str, Any] = {
        "num_random": 3,
        "max_history": 30,
        "refit_growth": 0.0,
        "use_ranks": False,
        "surrogate": CountZeros,
        "acquisition": ExploreGreedy(0.0),
        "candidates": Candidates(10, 10, 3, 0.5),
    }
    return Smbo(**{**arguments, **changes}, space=space, seed=seed)


def fits(searcher: Smbo) -> list[tuple[list[Genotype], list[float]]]:
    assert isinstance(searcher.surrogate, CountZeros)
    return searcher.surrogate.fits


def num_right(proposal: Proposal) -> float:
    """Of 8 answers; 1 / 6,561 of all architectures get all 8."""
    return float(sum(index == 2 for index in proposal.genotype.values()))


def best_of(searcher: Searcher, num_children: int) -> float:
    best = 0.0
    for _ in range(num_children):
        proposal = searcher.propose()
        assert proposal is not None
        best = max(best, num_right(proposal))
        searcher.observe(Outcome(proposal, "completed", num_right(proposal)))
    return best


def test_smbo_finds_in_40_children_what_random_search_does_not() -> None:
    space = load_space("nasbench_macro")
    found = [best_of(make_searcher("smbo", "nasbench_macro", seed), 40) for seed in range(5)]
    random = [best_of(RandomSearch(space=space, seed=seed), 40) for seed in range(5)]
    assert found == [8] * 5
    assert np.mean(random) < 6.5


def test_the_ngram_surrogate_learns_which_modules_are_good() -> None:
    """The reward is the share of relu among the hidden layers of the MLP space."""

    def reward(proposal: Proposal, space: SearchSpace) -> float:
        values = list(space.values(proposal.genotype).values())
        return values.count("relu") / sum(isinstance(value, str) for value in values)

    space, means = load_space("mlp"), []
    for seed in range(4):
        searcher, rewards = make_searcher("smbo_ngrams", "mlp", seed), []
        for _ in range(60):
            proposal = searcher.propose()
            assert proposal is not None
            rewards.append(reward(proposal, space))
            searcher.observe(Outcome(proposal, "completed", rewards[-1]))
        means.append((np.mean(rewards[:10]), np.mean(rewards[-30:])))
    first, last = np.mean(means, axis=0)
    assert last > 1.5 * first


def test_the_candidate_of_the_highest_score_is_proposed() -> None:
    searcher = smbo(load_space("nasbench_macro"))
    zeros = [list(p.genotype.values()).count(0) for p in run(searcher, 20)]
    # of 8 answers 2.7 are zero by chance, with a standard deviation of 1.3
    assert np.mean(zeros[3:]) > 4.5


def test_nothing_is_proposed_twice_while_anything_is_left() -> None:
    searcher = smbo(load_space("figure1"))  # 24 architectures
    in_flight = [searcher.propose() for _ in range(4)]
    hashes = {p.hash for p in in_flight if p is not None} | {p.hash for p in run(searcher, 20)}
    assert len(hashes) == 24


def test_a_failed_child_is_not_proposed_again() -> None:
    space = parse_space({"or": ["relu", "tanh", "elu"]})
    searcher = smbo(space, num_random=1)
    for reward in (None, 1.0, None):
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(Outcome(proposal, "failed" if reward is None else "completed", reward))
    proposed = {p["genotype"]["or"] for p in Loop(smbo(space)).play(one_by_one(3)).proposals}
    assert proposed == {0, 1, 2}


@pytest.mark.parametrize("text", ["relu", {"or": ["relu", "tanh"]}])
def test_an_exhausted_space_is_proposed_again(text: Any) -> None:
    assert len(run(smbo(parse_space(text)), 8)) == 8


def test_random_children_until_enough_rewards_have_arrived() -> None:
    searcher = smbo(load_space("mlp"))
    in_flight = [searcher.propose() for _ in range(6)]
    for proposal in in_flight[:2]:
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", 0.5))
    searcher.propose()
    assert fits(searcher) == []
    assert in_flight[2] is not None
    searcher.observe(Outcome(in_flight[2], "completed", 0.5))
    searcher.propose()
    assert [len(genotypes) for genotypes, _ in fits(searcher)] == [3, 3 + 4]  # in flight are four


def test_children_in_flight_are_fitted_with_what_is_predicted_without_them() -> None:
    searcher = smbo(load_space("mlp"))
    run(searcher, 3)
    waiting = searcher.propose()
    run(searcher, 1)
    searcher.suggest(5)
    (without, rewarded), (genotypes, targets) = fits(searcher)[-2:]
    assert waiting is not None
    assert genotypes == [*without, waiting.genotype]
    assert len(without) == 4
    believed, _ = searcher.surrogate.predict([waiting.genotype])
    assert targets == [*rewarded, *believed]
    assert believed[0] != 0
    assert np.mean(rewarded) == pytest.approx(0)


def test_children_in_flight_at_the_first_reward_are_fitted_with_it() -> None:
    searcher = smbo(load_space("mlp"), num_random=1, refit_growth=1.0)
    first, waiting = searcher.propose(), searcher.propose()
    assert first is not None
    assert waiting is not None
    searcher.observe(Outcome(first, "completed", 0.5))
    searcher.suggest(2)
    assert fits(searcher)[-1][0] == [first.genotype, waiting.genotype]


def test_the_surrogate_is_fitted_when_the_rewards_have_grown_enough() -> None:
    searcher = smbo(load_space("mlp"), refit_growth=0.5, max_history=1000)
    run(searcher, 31)
    # after 1, 2, 3, 5, 8, 12, 18 and 27 rewards; the first three proposals are random
    assert [len(genotypes) for genotypes, _ in fits(searcher)] == [3, 5, 8, 12, 18, 27]


def test_the_surrogate_is_fitted_after_each_of_the_first_rewards() -> None:
    searcher = smbo(load_space("mlp"), refit_growth=0.5, refit_each_until=6, max_history=1000)
    run(searcher, 10)
    assert [len(genotypes) for genotypes, _ in fits(searcher)] == [3, 4, 5, 6, 9]


def test_a_long_history_is_replayed_without_fitting_and_fitted_once() -> None:
    whole = Loop(smbo(load_space("mlp"))).play(one_by_one(40))
    resumed = smbo(load_space("mlp"))
    Loop(resumed).replay(whole.events)
    assert fits(resumed) == []
    assert resumed.suggest(40) == whole.searcher.suggest(40)
    assert len(fits(resumed)) == 1


def test_what_is_fitted_does_not_depend_on_when_suggestions_were_asked_for() -> None:
    make = partial(smbo, load_space("mlp"), refit_growth=0.5)
    asked, unasked = make(), make()
    whole = Loop(asked).play([*one_by_one(13), (True, 0, False), (True, 0, False)])
    Loop(unasked).replay(whole.events)
    assert asked.suggest(15) == unasked.suggest(15)
    assert fits(asked)[-1] == fits(unasked)[-1]


def test_no_more_than_the_bound_is_fitted() -> None:
    searcher = smbo(load_space("mlp"))
    run(searcher, 80)
    assert max(len(genotypes) for genotypes, _ in fits(searcher)) == 30


def test_the_history_fitted_is_the_best_the_newest_and_some_of_the_others() -> None:
    rewards = np.array([9.0, 0, 1, 2, 8, 3, 4, 5, 6, 7, 0, 1])
    # a third of 6 each: best 0 and 4, newest 10 and 11, others the first and last of 1, 2, 3, 5-9
    assert choose_history(rewards, 6).tolist() == [0, 1, 4, 9, 10, 11]
    assert choose_history(rewards, 12).tolist() == list(range(12))


def test_every_bound_is_used_up_also_where_the_best_are_the_newest() -> None:
    rewards = np.arange(100.0)
    for bound in range(3, 100):
        assert len(choose_history(rewards, bound)) == bound


def test_normal_scores_by_hand() -> None:
    # quantiles 1/8, 3/8, and 3/4 for the two that share ranks 3 and 4
    scores = normal_scores(np.array([5.0, -1e9, 5.0, 0.0]), np.array([0, 1, 3]))
    np.testing.assert_allclose(scores, [0.67448975, -1.15034938, -0.31863936])


def test_equal_rewards_are_standardised_to_zero() -> None:
    np.testing.assert_array_equal(standardised(np.full(4, 0.1)), np.zeros(4))
    np.testing.assert_allclose(standardised(np.array([1.0, 3.0])), [-1, 1])


def test_mutations_start_from_the_best_distinct_children() -> None:
    searcher = smbo(parse_space({"or": ["relu", "tanh", "elu", "gelu"]}), max_history=9)
    for index, (answer, reward) in enumerate([(0, 0.9), (1, 0.5), (0, 0.9), (2, 0.1), (3, 0.4)]):
        proposal = Proposal(index, {"or": answer})
        searcher.register(proposal)
        searcher.observe(Outcome(proposal, "completed", reward))
    assert searcher._parents() == [{"or": 0}, {"or": 1}, {"or": 3}]


def test_the_parents_are_the_best_of_all_rewards_whenever_these_arrive() -> None:
    space, rng = load_space("figure1"), np.random.default_rng(0)
    searcher, known = smbo(space), list[tuple[float, Genotype]]()
    for index in range(200):
        proposal = Proposal(index, rollout(space, rng))
        searcher.register(proposal)
        known.append((float(rng.integers(20)), proposal.genotype))
        searcher.observe(Outcome(proposal, "completed", known[-1][0]))
        best: list[Genotype] = []
        for _, genotype in sorted(known, key=lambda each: -each[0]):
            if genotype not in best:
                best.append(genotype)
        assert searcher._parents() == best[:3]


def test_answers_to_change_are_drawn_as_numpy_chooses() -> None:
    for seed in range(300):
        ours, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
        size = seed % 40 + 1
        num_chosen = seed // 40 * 5 % size + 1
        chosen = _sample(size, num_chosen, ours)
        assert chosen == set(numpys.choice(size, size=num_chosen, replace=False).tolist())
        assert ours.bit_generator.state == numpys.bit_generator.state


def test_a_mutation_differs_from_its_parent_in_the_answers_changed_and_their_consequences() -> None:
    space, rng = load_space("small_cnn"), np.random.default_rng(0)
    parent = space.walk(lambda decision: int(rng.integers(len(decision.options))))
    drawn = Candidates(0, 200, 1, 0.0).draw(space, [parent], set(), rng)
    assert len(drawn) > 15
    for child in drawn:
        space.freeze(child)
        assert sum(child[path] != parent[path] for path in child.keys() & parent.keys()) == 1


def test_more_changes_change_more_answers() -> None:
    space, rng = load_space("nasbench_macro"), np.random.default_rng(0)
    parent = space.walk(lambda decision: 0)
    drawn = Candidates(0, 300, 1, 0.5).draw(space, [parent], set(), rng)
    numbers = [sum(index > 0 for index in child.values()) for child in drawn]
    assert {1, 2, 3, 4} <= set(numbers)


def test_candidates_leave_out_what_is_taken_and_what_was_drawn_before() -> None:
    space, rng = load_space("figure1"), np.random.default_rng(0)
    every = Candidates(200, 0, 1, 0.0).draw(space, [], set(), rng)
    assert len(every) == len(set(map(key_of, every))) == 24
    taken = set(map(key_of, every[1:]))
    for _ in range(20):
        assert Candidates(1, 0, 1, 0.0).draw(space, [], taken, rng) == [every[0]]


def test_a_surrogate_must_be_a_partial() -> None:
    with pytest.raises(ValueError, match="surrogate must be a partial that takes a space"):
        smbo(load_space("mlp"), surrogate=None)


def test_there_must_be_candidates() -> None:
    with pytest.raises(ValueError, match="num_rollouts or num_mutations must be >= 1, got 0 and 0"):
        Candidates(0, 0, 1, 0.0)


def test_a_mistake_in_a_part_names_its_key() -> None:
    config = {
        "_target_": "nasrunner.searchers.surrogates.smbo.Smbo",
        "num_random": 1,
        "max_history": 3,
        "refit_growth": 0,
        "use_ranks": True,
        "surrogate": {
            "_target_": "nasrunner.searchers.surrogates.forest.Forest",
            "_partial_": True,
            "num_trees": 1,
            "max_features": 1.0,
            "min_leaf": 1,
        },
        "acquisition": {"_target_": "nasrunner.searchers.surrogates.acquisition.ThompsonSampling"},
        "candidates": {
            "_target_": "nasrunner.searchers.surrogates.candidates.Candidates",
            "num_rollouts": 1,
            "num_mutations": 0,
            "num_parents": 1,
            "more_changes": 0.0,
        },
    }
    with pytest.raises(
        ConfigError, match=r"searcher\.surrogate\.num_trees must be int >= 2, got 1"
    ):
        construct(config, "searcher", space=load_space("figure1"), seed=0)


def test_a_budget_within_the_random_start_is_pointed_out() -> None:
    searcher = smbo(load_space("mlp"))
    assert "random search" in str(searcher.advice(3))
    assert searcher.advice(4) is None
    assert searcher.advice(None) is None


def told_of_repeats(spread: float | None, num_children: int = 20) -> Any:
    """The surrogate of ``searcher=smbo`` after children whose trainings differed so much."""
    searcher = make_searcher("smbo", load_space("mlp"), seed=0)
    rng = np.random.default_rng(0)
    rewards = rng.permutation(np.linspace(0.1, 0.9, num_children))
    for reward in rewards:
        proposal = searcher.propose()
        assert proposal is not None
        known = {} if spread is None else {"reward_std": spread, "trainings": 4.0}
        searcher.observe(Outcome(proposal, "completed", float(reward), known))
    searcher.suggest(num_children)
    assert isinstance(searcher, Smbo)
    return searcher.surrogate, float(rewards.var())


def test_the_noise_that_repeated_trainings_show_is_the_surrogates() -> None:
    surrogate, variance = told_of_repeats(spread=0.2)
    assert surrogate.noise == pytest.approx(0.01 / (variance - 0.01))
    known = {one.kernel.shape.noise for one in surrogate._mixture}
    assert known == {surrogate.noise}
    surrogate, _ = told_of_repeats(spread=1e-6)
    assert {one.kernel.shape.noise for one in surrogate._mixture} == {min(surrogate.noises)}
    surrogate, _ = told_of_repeats(spread=None)
    assert surrogate.noise is None
    assert {one.kernel.shape.noise for one in surrogate._mixture} <= set(surrogate.noises)


def test_noise_as_large_as_the_rewards_differ_leaves_little_to_learn() -> None:
    surrogate, variance = told_of_repeats(spread=10.0)
    assert surrogate.noise == pytest.approx(10)
    assert variance < 1
