"""Surrogates that see networks: what is compared, what is not, and what a resumed study keeps."""

import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import Genotype, Outcome, Proposal, Searcher, SearchSpace, SpaceError
from nasrunner.core.network.known import Description
from nasrunner.core.order import rollouts
from nasrunner.searchers.surrogates.gaussian_process import GaussianProcess
from nasrunner.searchers.surrogates.network_encoding import NetworkEncoding
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, make_searcher

UNITS = {"affine": {"units": {"oneof": [8, 16, 32, 64]}}}
SPACE = {"concat": [UNITS, "relu", UNITS, {"or": ["relu", "tanh"]}, {"affine": {"units": 3}}]}
VIEWS = ["genotype", "network", "kinds", "both"]


def networks_of(space: SearchSpace, *, identifies: bool = True) -> SpaceNetworks:
    return SpaceNetworks(space, (16,), "float32", identifies=identifies)


def gaussian_process(space: SearchSpace, views: list[str]) -> GaussianProcess:
    return GaussianProcess(decays=[0.5, 2.0], noises=[0.001], views=views, space=space)


def capacity(space: SearchSpace, genotypes: Sequence[Genotype]) -> np.ndarray:
    """A reward that is of the networks alone: how narrow the narrowest layer is."""
    values = [space.values(genotype).values() for genotype in genotypes]
    return np.array([min(v for v in each if isinstance(v, int)) for each in values], dtype=float)


def test_a_reward_that_is_of_networks_is_predicted_better_by_them() -> None:
    space = parse_space(SPACE)
    genotypes = rollouts(space, np.random.default_rng(0), 60)
    rewards = np.log(capacity(space, genotypes))
    targets = (rewards - rewards.mean()) / rewards.std()
    errors = {}
    for views in (["genotype"], VIEWS):
        process = gaussian_process(space, views)
        process.networks = networks_of(space)
        process.fit(genotypes[:20], targets[:20], np.random.default_rng(0))
        mean, _ = process.predict(genotypes[20:])
        errors[len(views)] = float(((mean - targets[20:]) ** 2).mean())
    assert errors[4] < 0.5 * errors[1]
    assert process.shares()["genotype"] < 0.5


def test_without_networks_and_where_all_look_the_same_genotypes_alone_count() -> None:
    space = parse_space({"concat": [{"or": ["relu", "tanh"]}] * 3})
    genotypes = rollouts(space, np.random.default_rng(0), 8)
    targets = np.linspace(-1, 1, 8)

    class Alike:
        identifies = False

        def describe(self, given: Sequence[Genotype]) -> Description:
            rows = np.ones((len(given), 2))
            return Description(("a", "b"), rows, np.ones(len(given), dtype=bool))

        def identity(self, genotype: Genotype) -> str:
            return "one"

    found = []
    for networks in (None, Alike()):
        process = gaussian_process(space, VIEWS)
        process.networks = networks
        process.fit(genotypes, targets, np.random.default_rng(0))
        found.append(process.predict(genotypes[:3]))
        assert process.shares() == pytest.approx(
            {"genotype": 1.0, "network": 0, "kinds": 0, "both": 0}
        )
    plain = gaussian_process(space, ["genotype"])
    plain.fit(genotypes, targets, np.random.default_rng(0))
    for mean, std in found:
        np.testing.assert_array_equal(mean, plain.predict(genotypes[:3])[0])
        np.testing.assert_array_equal(std, plain.predict(genotypes[:3])[1])


def test_kinds_tell_operations_apart_by_their_numbers_alone() -> None:
    """Widths that were never seen are predicted by those beside them, and are no new kinds."""
    widths = [4, 8, 16, 32, 64, 128, 256, 512]
    space = parse_space({"concat": [{"affine": {"units": {"oneof": widths}}}, "relu"]})
    given = [{"0/affine/units": index} for index in range(8)]
    targets = np.log(np.array(widths, dtype=float))
    targets = (targets - targets.mean()) / targets.std()
    seen, unseen = [0, 1, 2, 4, 5, 7], [3, 6]
    errors = {}
    for view in ("network", "kinds"):
        process = gaussian_process(space, [view])
        process.networks = networks_of(space)
        process.fit([given[place] for place in seen], targets[seen], np.random.default_rng(0))
        assert process.shares() == {view: pytest.approx(1.0)}
        mean, _ = process.predict([given[place] for place in unseen])
        errors[view] = float(np.abs(mean - targets[unseen]).max())
    assert errors["kinds"] < 0.1
    assert errors["kinds"] < 0.5 * errors["network"]


def test_kinds_are_left_out_where_they_are_all_that_there_is() -> None:
    space = parse_space({"concat": [{"or": ["relu", "tanh"]}] * 3})
    genotypes = rollouts(space, np.random.default_rng(0), 8)
    found = []
    for views in (["network", "kinds"], ["network"]):
        process = gaussian_process(space, views)
        process.networks = networks_of(space)
        process.fit(genotypes, np.linspace(-1, 1, 8), np.random.default_rng(0))
        found.append(process.predict(genotypes))
        assert process.shares()["network"] == pytest.approx(1.0)
    np.testing.assert_array_equal(found[0], found[1])


def test_features_are_standardised_and_those_that_say_the_same_count_once() -> None:
    rows = np.array([[1.0, 2, 5, -1], [2, 4, 5, -2], [4, 8, 5, -4], [np.nan, 8, 5, -4]])
    given = Description(("a", "twice", "same", "minus"), rows, np.ones(4, dtype=bool))
    encoding = NetworkEncoding()
    found = encoding.fit(given, [{"x": 0}] * 4)
    assert found.shape == (4, 2)  # a, and one of twice and minus
    scores = found * np.sqrt(2)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((scores**2).mean(axis=0), 1)
    assert scores[3, 0] == 0  # a number of nothing is the mean
    np.testing.assert_array_equal(encoding.transform(given), found)


def test_settings_have_the_share_of_their_decisions() -> None:
    rows = np.array([[0.0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    names = ("first", "second", "hyperparameters/optimizer.lr")
    paths = ["hyperparameters/optimizer.lr", "b", "c", "d"]
    found = NetworkEncoding().fit(
        Description(names, rows, np.ones(4, dtype=bool)), [dict.fromkeys(paths, 0)] * 4
    )
    assert sorted((found**2).mean(axis=0)) == pytest.approx([1 / 4, 3 / 8, 3 / 8])


def test_the_order_in_which_networks_were_seen_changes_no_row() -> None:
    space = parse_space(SPACE)
    genotypes = rollouts(space, np.random.default_rng(1), 12)
    rows = []
    for before in ([], genotypes[::-1]):
        networks, encoding = networks_of(space), NetworkEncoding()
        for genotype in before:
            networks.describe([genotype])
        encoding.fit(networks.describe(genotypes[:8]), genotypes[:8])
        rows.append(encoding.transform(networks.describe(genotypes)))
    np.testing.assert_array_equal(*rows)


def observe(
    searcher: Searcher, proposal: Proposal, reward: float, identity: str | None = None
) -> None:
    """Tells of a child, whose proposal has the identity that its study gave it."""
    named = dataclasses.replace(proposal, identity=identity)
    searcher.observe(Outcome(named, "completed", reward))


def seeing(space: SearchSpace) -> Searcher:
    searcher = make_searcher("smbo", space)
    searcher.see(networks_of(space))
    return searcher


def test_a_searcher_restored_from_its_pickle_proposes_the_same() -> None:
    space = parse_space(SPACE)
    searcher = seeing(space)
    for _ in range(12):
        proposal = searcher.propose()
        assert proposal is not None
        observe(searcher, proposal, float(capacity(space, [proposal.genotype])[0]))
    restored = pickle.loads(pickle.dumps(searcher))
    assert restored.networks is None
    restored.see(networks_of(space))
    for _ in range(4):
        one, other = searcher.propose(), restored.propose()
        assert one == other
        assert one is not None
        for each in (searcher, restored):
            observe(each, one, float(capacity(space, [one.genotype])[0]))


def test_a_replayed_searcher_proposes_the_same_with_children_in_flight() -> None:
    space = parse_space(SPACE)
    steps = [(step % 3 != 2, step, step % 7 == 6) for step in range(40)]
    whole = Loop(seeing(space)).play(steps)
    for stop in (9, 25):
        events = Loop(seeing(space)).play(steps[:stop]).events
        resumed = Loop(seeing(space)).replay(events).play(steps[stop:])
        assert resumed.proposals == whole.proposals


def test_impossible_networks_are_no_candidates() -> None:
    pool: dict[str, Any] = {"max_pool": {"kernel_size": 2}}
    choice = {"or": ["relu", "tanh", "sigmoid", "flatten"]}
    space = parse_space({"concat": [choice, choice, choice, pool, "flatten"]})
    networks = SpaceNetworks(space, (1, 4, 4), "float32", identifies=True)
    searcher = make_searcher("smbo", space)
    searcher.see(networks)
    flattened = 0
    for index in range(14):
        proposal = searcher.propose()
        assert proposal is not None
        is_flat = 3 in proposal.genotype.values()
        flattened += is_flat and index >= 3
        observe(searcher, proposal, -1.0 if is_flat else float(index))
    assert flattened == 0


def test_a_network_that_was_evaluated_is_not_proposed_in_another_way_of_writing() -> None:
    swap = {"or": ["empty", {"affine": {"units": 4}}]}
    space = parse_space({"concat": [swap, swap, swap, {"affine": {"units": 3}}]})  # 4 networks of 8
    networks = networks_of(space)
    searcher = make_searcher("smbo", space)
    searcher.see(networks)
    seen: list[str] = []
    for index in range(6):
        proposal = searcher.propose()
        assert proposal is not None
        identity = networks.identity(proposal.genotype)
        seen.append(identity)
        observe(searcher, proposal, float(index), identity)
    missing = 4 - len(set(seen[:3]))  # three were drawn at random
    assert len(set(seen[: 3 + missing])) == 4


def test_an_identity_of_an_impossible_network_is_refused() -> None:
    space = parse_space({"concat": ["global_pool", {"or": ["relu", "tanh"]}]})
    with pytest.raises(SpaceError, match="global_pool"):
        networks_of(space).identity(space.walk(lambda decision: 0))
