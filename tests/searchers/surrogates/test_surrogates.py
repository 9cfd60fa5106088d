import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nasrunner.core import SearchSpace
from nasrunner.core.order import rollout
from nasrunner.searchers.surrogates import gaussian_process as processes
from nasrunner.searchers.surrogates.acquisition import (
    ExpectedImprovement,
    ExploreGreedy,
    Portfolio,
    ThompsonSampling,
)
from nasrunner.searchers.surrogates.encoding import Encoding
from nasrunner.searchers.surrogates.forest import Forest
from nasrunner.searchers.surrogates.gaussian_process import GaussianProcess
from nasrunner.searchers.surrogates.kernels import factored
from nasrunner.searchers.surrogates.ngrams import NgramRidge, basic_modules, ngrams, ridge
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space

RNG = np.random.default_rng(0)
UNITS = {"affine": {"units": {"oneof": [8, 16, 32]}}}


def gaussian_process(space: SearchSpace, **changes: Any) -> GaussianProcess:
    arguments: dict[str, Any] = {"decays": [2.0], "noises": [0.1]}
    return GaussianProcess(**{**arguments, **changes}, space=space)


def forest(space: SearchSpace, **changes: Any) -> Forest:
    arguments: dict[str, Any] = {"num_trees": 20, "max_features": 1.0, "min_leaf": 1}
    return Forest(**{**arguments, **changes}, space=space)


def ngram_ridge(space: SearchSpace, **changes: Any) -> NgramRidge:
    arguments: dict[str, Any] = {"max_length": 2, "min_occurrences": 2, "penalty": 1.0}
    return NgramRidge(**{**arguments, **changes}, space=space)


# --- encoding


def test_an_ordered_decision_is_one_feature_and_any_other_one_for_each_option() -> None:
    encoding = Encoding(parse_space({"concat": [UNITS, {"or": ["relu", "tanh", "elu"]}]}))
    genotypes = [{"0/affine/units": 0, "1/or": 2}, {"0/affine/units": 1, "1/or": 0}]
    encoding.fit(genotypes)
    half = 0.5 * math.sqrt(2)
    np.testing.assert_allclose(encoding.transform(genotypes), [[0, 0, 0, 1], [half, 1, 0, 0]])


def test_an_inactive_decision_is_neutral_and_says_so() -> None:
    encoding = Encoding(parse_space({"optional": UNITS}))
    genotypes = [{"optional": 0}, {"optional": 1, "optional/affine/units": 2}]
    encoding.fit(genotypes)
    half, whole = 0.5 * math.sqrt(2), math.sqrt(2)
    # empty, affine; units, units inactive
    np.testing.assert_allclose(encoding.transform(genotypes), [[1, 0, half, 1], [0, 1, whole, 0]])


def test_repeated_decisions_count_together_as_shares_of_their_kind() -> None:
    space = parse_space({"repeat": {"times": {"oneof": [1, 2]}, "body": {"or": ["relu", "elu"]}}})
    encoding = Encoding(space)
    genotypes = [
        {"repeat/times": 0, "repeat/0/or": 1},
        {"repeat/times": 1, "repeat/0/or": 0, "repeat/1/or": 1},
    ]
    encoding.fit(genotypes)
    np.testing.assert_allclose(encoding.transform(genotypes)[:, -2:], [[0, 1], [0.5, 0.5]])


def test_a_decision_that_no_fitted_genotype_has_is_left_out() -> None:
    encoding = Encoding(parse_space({"optional": UNITS}))
    encoding.fit([{"optional": 0}])
    rows = encoding.transform([{"optional": 1, "optional/affine/units": 2}])
    np.testing.assert_array_equal(rows, [[0, 1]])


def test_architectures_are_as_far_apart_as_decisions_differ() -> None:
    space = load_space("nasbench_macro")
    first = space.walk(lambda decision: 0)
    path = next(iter(first))
    genotypes = [first, {**first, path: 1}, {**first, path: 2}, dict.fromkeys(first, 1)]
    encoding = Encoding(space)
    encoding.fit(genotypes)
    rows = encoding.transform(genotypes)
    halves = 0.5 * ((rows - rows[0]) ** 2).sum(axis=1)
    np.testing.assert_allclose(halves, [0, 1, 1, 8])


# --- n-grams


def test_ngrams_of_a_sentence_by_hand() -> None:
    assert ngrams(["a", "b", "a", "b"], 3) == {
        ("a",): 2,
        ("b",): 2,
        ("a", "b"): 2,
        ("b", "a"): 1,
        ("a", "b", "a"): 1,
        ("b", "a", "b"): 1,
    }
    assert ngrams(["a"], 4) == Counter({("a",): 1})


def test_a_sentence_holds_the_basic_modules_in_the_order_they_are_applied() -> None:
    block = {"concat": ["relu", {"dropout": {"p": 0.5}}]}
    fork = {"fork": {"merge": "add", "branches": ["tanh", "elu"]}}
    parts = [{"maybe_swap": ["batch_norm", block]}, {"residual": "gelu"}, fork, "torch.nn.GLU"]
    parts[-1] = {"_target_": "torch.nn.GLU"}  # a user's own module
    space = parse_space({"concat": [*parts, {"repeat": {"times": {"oneof": [0]}, "body": UNITS}}]})
    frozen = space.freeze({"0/maybe_swap": 1, "4/repeat/times": 0})
    sentence = ["relu", "dropout", "batch_norm", "gelu", "tanh", "elu", "GLU"]
    assert list(basic_modules(frozen)) == sentence


def test_rare_ngrams_are_no_features() -> None:
    space = parse_space({"concat": ["relu", {"or": ["tanh", "elu"]}]})
    surrogate = ngram_ridge(space)
    surrogate.fit([{"1/or": 0}, {"1/or": 0}, {"1/or": 1}], np.array([1.0, 1.0, 0.0]), RNG)
    assert set(surrogate.columns) == {("relu",), ("tanh",), ("relu", "tanh")}


@pytest.mark.parametrize("rows", [[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]])
def test_ridge_is_the_closed_form_whichever_system_is_smaller(rows: list[list[float]]) -> None:
    x, y = np.array(rows), np.array([1.0, 0.0, 2.0])[: len(rows)]
    (a, b), (_, d) = x.T @ x + 3 * np.eye(2)
    by_hand = np.array([[d, -b], [-b, a]]) / (a * d - b * b) @ (x.T @ y)
    np.testing.assert_allclose(ridge(x, y, 3.0), by_hand)


def test_ridge_on_ngrams_by_hand() -> None:
    space = parse_space({"optional": "relu"})
    surrogate = ngram_ridge(space, max_length=1, min_occurrences=1, penalty=0.5)
    surrogate.fit([{"optional": 0}, {"optional": 1}], np.array([0.0, 4.0]), RNG)
    # columns empty, relu, length; centred rows ∓(½, -½, 0), targets ∓2: w = 2 / (1 + 0.5) (-1, 1)
    mean, std = surrogate.predict([{"optional": 0}, {"optional": 1}])
    np.testing.assert_allclose(mean, [2 - 4 / 3, 2 + 4 / 3])
    np.testing.assert_array_equal(std, [0, 0])


# --- Gaussian process


def test_a_gaussian_process_of_one_kernel_by_hand() -> None:
    surrogate = gaussian_process(parse_space({"or": ["relu", "tanh", "elu"]}))
    surrogate.fit([{"or": 0}, {"or": 1}], np.array([1.0, -1.0]), RNG)
    # k = e^-2 between different options; K = [[1.1, k], [k, 1.1]] takes (1, -1) to (1.1 - k) of it
    k = math.exp(-2)
    weight = 1 / (1.1 - k)
    variance = weight  # maximises the likelihood: yᵀ K⁻¹ y / 2
    mean, std = surrogate.predict([{"or": 0}, {"or": 2}])
    np.testing.assert_allclose(mean, [(1 - k) * weight, 0], atol=1e-12)
    left = 1 - 2 * k * k / (1.1 + k)
    np.testing.assert_allclose(std[1], math.sqrt(variance * left))


def test_decays_are_relative_to_the_largest_distance() -> None:
    """Children that differ a little are told apart as well as those that differ much."""
    surrogate = gaussian_process(parse_space(UNITS))
    surrogate.fit([{"affine/units": 0}, {"affine/units": 1}], np.array([1.0, -1.0]), RNG)
    # a quarter apart, so 4 x 2 x 1/4 in the exponent for neighbours, and 8 for the other two
    k, far = math.exp(-2), math.exp(-8)
    mean, _ = surrogate.predict([{"affine/units": 0}, {"affine/units": 2}])
    np.testing.assert_allclose(mean, [(1 - k) / (1.1 - k), (far - k) / (1.1 - k)])


def test_the_likelier_kernels_count_more() -> None:
    space = load_space("nasbench_macro")
    rng = np.random.default_rng(0)
    genotypes = [space.walk(lambda d: int(rng.integers(len(d.options)))) for _ in range(60)]
    smooth = np.array([float(sum(g.values())) for g in genotypes])
    mixed = gaussian_process(space, decays=[0.5, 50.0], noises=[0.001, 0.5])
    mixed.fit(genotypes, smooth - smooth.mean(), RNG)
    alone = gaussian_process(space, decays=[0.5], noises=[0.001])
    alone.fit(genotypes, smooth - smooth.mean(), RNG)
    new = [space.walk(lambda d: int(rng.integers(len(d.options)))) for _ in range(20)]
    np.testing.assert_allclose(mixed.predict(new)[0], alone.predict(new)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["nasbench201", "mlp"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_kernels_that_half_of_the_children_leave_over_are_the_mixture_of_all(
    name: str, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, rng = load_space(name), np.random.default_rng(0)
    genotypes = [rollout(space, rng) for _ in range(260)]
    rewards = np.array([np.mean([i == 0 for i in g.values()]) for g in genotypes])
    targets = (rewards - rewards.mean()) / rewards.std() + rng.normal(0, noise, size=260)
    grid = {"decays": [0.5, 1.0, 2.0, 4.0, 8.0], "noises": [0.001, 0.01, 0.1, 0.4]}
    tried, log_likelihoods = list[tuple[int, int]](), processes.log_likelihoods

    def counted(grid: Sequence[Any], distances: Any, targets: np.ndarray) -> np.ndarray:
        tried.append((len(grid), len(targets)))
        return log_likelihoods(grid, distances, targets)

    monkeypatch.setattr(processes, "log_likelihoods", counted)
    predictions = []
    for few in (200, 260):
        monkeypatch.setattr(processes, "_FEW", few)
        surrogate = gaussian_process(space, **grid)
        surrogate.fit(genotypes, targets, RNG)
        predictions.append(surrogate.predict(genotypes[:20]))
    halves, left_over, every = tried
    assert halves == (20, 130)
    assert left_over[0] < 12
    assert left_over[1] == 260
    assert every == (20, 260)
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_children", [60, 260])
def test_single_precision_leaves_the_mixture_as_it_is(
    num_children: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, rng = load_space("mlp"), np.random.default_rng(0)
    genotypes = [rollout(space, rng) for _ in range(num_children)]
    targets = np.array([np.mean([i == 0 for i in g.values()]) for g in genotypes])
    targets = (targets - targets.mean()) / targets.std() + rng.normal(0, 0.3, num_children)
    grid = {"decays": [0.5, 1.0, 2.0, 4.0, 8.0], "noises": [0.001, 0.01, 0.1, 0.4]}

    def in_double(grid: Sequence[Any], *others: Any) -> np.ndarray:
        return np.array([kernel.log_likelihood for kernel in factored(grid, *others)])

    predictions = []
    for log_likelihoods in (processes.log_likelihoods, in_double):
        monkeypatch.setattr(processes, "log_likelihoods", log_likelihoods)
        surrogate = gaussian_process(space, **grid)
        surrogate.fit(genotypes, targets, RNG)
        predictions.append(surrogate.predict(genotypes[:20]))
    np.testing.assert_array_equal(*predictions)


# --- what all surrogates have in common


@pytest.mark.parametrize("make", [gaussian_process, forest, ngram_ridge])
@pytest.mark.parametrize("text", ["relu", {"or": ["relu", "tanh"]}])
def test_one_child_and_equal_children_can_be_fitted(make: Any, text: Any) -> None:
    space = parse_space(text)
    genotype = space.walk(lambda decision: 0)
    for number in (1, 3):
        surrogate = make(space)
        surrogate.fit([genotype] * number, np.zeros(number), RNG)
        mean, std = surrogate.predict([genotype])
        np.testing.assert_allclose(mean, [0], atol=1e-9)
        assert np.isfinite(std).all()


@pytest.mark.parametrize("make", [gaussian_process, forest])
@pytest.mark.parametrize("name", ["mlp", "small_cnn", "deepconv"])
def test_a_rule_of_values_is_learnt_in_a_conditional_space(make: Any, name: str) -> None:
    """The rule: the share of all answers, whichever are asked, that are the first option."""
    space = load_space(name)
    rng = np.random.default_rng(1)
    genotypes = [space.walk(lambda d: int(rng.integers(len(d.options)))) for _ in range(250)]
    rewards = np.array([np.mean([i == 0 for i in g.values()]) for g in genotypes])
    targets = (rewards - rewards.mean()) / rewards.std()
    surrogate = make(space, decays=[0.5, 2.0]) if make is gaussian_process else make(space)
    surrogate.fit(genotypes[:200], targets[:200], np.random.default_rng(0))
    mean, _ = surrogate.predict(genotypes[200:])
    assert np.corrcoef(mean, targets[200:])[0, 1] > 0.5


def test_a_forest_is_surer_of_what_it_has_seen() -> None:
    space = load_space("nasbench_macro")
    low, high = space.walk(lambda d: 0), space.walk(lambda d: 1)
    surrogate = forest(space)
    surrogate.fit([low] * 10 + [high] * 10, np.repeat([0.0, 1.0], 10), np.random.default_rng(0))
    between = {**low, **dict(list(high.items())[:4])}
    mean, std = surrogate.predict([low, high, between])
    np.testing.assert_allclose(mean[:2], [0, 1])
    assert std[2] > std[0] == std[1] == 0


@pytest.mark.parametrize("name", ["decays", "noises"])
def test_a_gaussian_process_needs_kernels(name: str) -> None:
    with pytest.raises(ValueError, match=rf"surrogate.{name} must hold at least one number"):
        gaussian_process(parse_space("relu"), **{name: []})


# --- acquisitions


def test_expected_improvement_by_hand() -> None:
    score = ExpectedImprovement()(
        np.array([1.0, 2.0, 0.0, 3.0]), np.array([1.0, 2.0, 1.0, 0.0]), 1.0, RNG
    )
    # σ (z Φ(z) + φ(z)) at z = 0; ½; -1; and without uncertainty 3 - 1
    expected = [0.39894228, 2 * (0.5 * 0.69146246 + 0.35206533), 0.24197072 - 0.15865525, 2.0]
    np.testing.assert_allclose(score, expected, rtol=1e-6)


def test_expected_improvement_tells_hopeless_candidates_apart() -> None:
    score = ExpectedImprovement()(np.array([-20.0, -19.0]), np.ones(2), 0.0, RNG)
    assert 0 < score[0] < score[1]


def test_explore_greedy_ranks_by_the_mean_or_draws_in_the_given_share() -> None:
    mean, acquisition = np.arange(4.0), ExploreGreedy(0.25)
    rng = np.random.default_rng(0)
    best = [int(acquisition(mean, np.zeros(4), 0.0, rng).argmax()) for _ in range(800)]
    # 3/4 of them greedy, and a quarter of the rest by chance: 0.8125, standard deviation 0.0138
    assert best.count(3) / 800 == pytest.approx(0.8125, abs=0.055)
    assert {0, 1, 2} <= set(best)


def test_thompson_sampling_proposes_the_less_certain_too() -> None:
    mean, std = np.array([0.0, -1.0]), np.array([0.0, 1.0])
    rng = np.random.default_rng(0)
    wins = [int(ThompsonSampling()(mean, std, 0.0, rng).argmax()) for _ in range(800)]
    # P(N(-1, 1) > 0) = 0.1587, standard deviation of the share 0.0129
    assert np.mean(wins) == pytest.approx(0.1587, abs=0.052)


def test_a_portfolio_asks_each_of_its_acquisitions_equally_often() -> None:
    mean, std = np.array([1.0, 0.0]), np.array([0.0, 3.0])
    greedy_and_improving = Portfolio([ExploreGreedy(0.0), ExpectedImprovement()])
    rng = np.random.default_rng(0)
    # greedy takes the first; of the second 3 φ(⅓) - Φ(-⅓) = 0.76 is expected above the best, 1
    best = [int(greedy_and_improving(mean, std, 1.0, rng).argmax()) for _ in range(400)]
    assert np.mean(best) == pytest.approx(0.5, abs=0.1)  # four standard deviations


def test_an_empty_portfolio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"acquisition.acquisitions must hold at least one"):
        Portfolio([])
