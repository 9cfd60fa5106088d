"""The contract of surrogates: what a user's own class needs, be it derived from it or not."""

import functools
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nasrunner.core import Genotype, Searcher, SearchSpace
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate
from nasrunner.searchers.wrappers.filter import Filter
from nasrunner.searchers.wrappers.predicted import Predicted
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.surrogates.test_network_views import SPACE, networks_of
from tests.searchers.surrogates.test_smbo import smbo
from tests.searchers.worlds import Loop


class Plain:
    """Has what must be there, derived from nothing."""

    def __init__(self, *, space: SearchSpace) -> None:
        self.num_fits = 0

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.num_fits += 1

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        sums = np.array([float(sum(genotype.values())) for genotype in genotypes])
        return sums, np.ones(len(genotypes))


class Derived(Plain, Surrogate):
    """The same, derived from the contract."""


class Looking(Plain):
    """Derived from nothing, with all that a searcher may set or read."""

    networks: Any = None
    noise: float | None = None
    looks_at_networks = True

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        super().fit(genotypes, targets_N, rng)
        self.seen = self.networks, self.noise


class Unfit:
    def __init__(self, *, space: SearchSpace) -> None:
        pass

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(genotypes)), np.ones(len(genotypes))


def filtered(space: SearchSpace, make: Callable[..., Any]) -> Searcher:
    return Filter(
        searcher=RandomSearch,
        num_estimates=4,
        num_trained=2,
        proxy=None,
        surrogate=make,
        space=space,
        seed=0,
    )


def predicted(space: SearchSpace, make: Callable[..., Any]) -> Searcher:
    return Predicted(
        searcher=RandomSearch,
        predictor=make,
        quantile=0.5,
        honest_share=0.1,
        num_trained_first=4,
        max_history=10,
        refit_growth=0,
        space=space,
        seed=0,
    )


def searched(space: SearchSpace, make: Callable[..., Any]) -> Searcher:
    return smbo(space, surrogate=make)


def test_a_class_of_ones_own_proposes_the_same_derived_or_not() -> None:
    space = parse_space(SPACE)
    found = []
    for make in (Plain, Derived):
        searcher = smbo(space, surrogate=make, num_random=3)
        searcher.see(networks_of(space))
        loop = Loop(searcher).play([(True, 0, False), (False, 0, False)] * 12)
        found.append([event["proposed"] for event in loop.events if "proposed" in event])
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_a_class_that_is_no_surrogate_is_shown_networks_and_noise_where_it_has_them() -> None:
    space = parse_space(SPACE)
    networks, rng = networks_of(space), np.random.default_rng(0)
    surrogate = make_surrogate(Looking, space, "surrogate")
    surrogate.networks, surrogate.noise = networks, 0.25
    genotype = space.walk(lambda decision: 0)
    surrogate.fit([genotype], np.zeros(1), rng)
    assert surrogate.inner.seen == (networks, 0.25)  # type: ignore[attr-defined]
    assert surrogate.looks_at_networks
    plain = make_surrogate(Plain, space, "surrogate")
    plain.networks = networks
    plain.fit([genotype], np.zeros(1), rng)
    assert not plain.looks_at_networks
    assert not hasattr(plain.inner, "networks")  # type: ignore[attr-defined]


def test_a_snapshot_leaves_the_networks_out_of_every_surrogate() -> None:
    surrogate = Derived(space=parse_space(SPACE))
    surrogate.networks = networks_of(parse_space(SPACE))
    assert pickle.loads(pickle.dumps(surrogate)).networks is None


def test_by_default_networks_are_not_looked_at() -> None:
    assert not Derived(space=parse_space(SPACE)).looks_at_networks


@pytest.mark.parametrize(
    ("make", "argument"),
    [(searched, "surrogate"), (filtered, "surrogate"), (predicted, "predictor")],
)
def test_what_is_no_surrogate_is_refused_before_the_first_child(
    make: Callable[..., Searcher], argument: str
) -> None:
    space = parse_space(SPACE)
    with pytest.raises(ValueError, match=rf"{argument} must make .*; Unfit has no fit$"):
        make(space, Unfit)
    with pytest.raises(ValueError, match=r"; int has no fit and no predict$"):
        make(space, functools.partial(lambda space: 3))
    with pytest.raises(ValueError, match=rf"{argument} must be a partial that takes a space"):
        make(space, {"_target_": "a.B"})  # type: ignore[arg-type]
