"""What surrogates predict of children that they were not fitted to."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nasrunner.calibrate.agreement import PartScores
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.compose.config import config_dir
from nasrunner.compose.construct import construct
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.smbo import normal_scores
from nasrunner.searchers.surrogates.surrogate import Surrogate

NUM_PARTS = 3
NUM_DIVISIONS = 5
"""Children are divided so often, and each part is predicted by who was fitted to the others."""

_FOREST = {
    "_target_": "nasrunner.searchers.surrogates.forest.Forest",
    "num_trees": 100,
    "max_features": 1.0,
    "min_leaf": 1,
}


def surrogates(*, sees_networks: bool) -> dict[str, Mapping[str, Any]]:
    """Returns the surrogates by name, as searchers ship them; no searcher ships the forest."""
    process = _shipped("gaussian_process")
    views = {"genotype": ["genotype"], "network": ["network"], "all": process["views"]}
    if not sees_networks:
        views = {"genotype": ["genotype"]}
    return {
        **{f"GP {name}": {**process, "views": v} for name, v in views.items()},
        "forest": _FOREST,
        "n-grams": _shipped("ngrams"),
        "LSTM": _shipped("lstm"),
    }


def _shipped(surrogate: str) -> dict[str, Any]:
    config = OmegaConf.load(config_dir() / "surrogate" / f"{surrogate}.yaml")
    found = OmegaConf.to_container(config)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items() if key != "_partial_"}


def predicted(
    configured: Mapping[str, Any],
    space: Space,
    networks: Networks | None,
    genotypes: Sequence[Genotype],
    rewards_N: np.ndarray,
    seed: int,
) -> CheapRanking:
    """Returns what a surrogate predicts of each part of the children, fitted to the others.

    Args:
        configured: the surrogate.
        space: what the genotypes are of.
        networks: of the space; None: they are not looked at.
        genotypes: the children.
        rewards_N: theirs; the surrogate is fitted to the normal scores of their ranks.
        seed: of the divisions, equal for all surrogates, and of what they draw.
    """
    surrogate: Surrogate = construct(dict(configured), "surrogate", space=space)
    surrogate.networks = networks
    parts, start_s, num_predicted = [], time.process_time(), 0
    for number, (fitted, left_out) in enumerate(divisions(len(genotypes), seed)):
        targets = normal_scores(rewards_N[fitted], np.arange(len(fitted)))
        rng = np.random.default_rng([seed, number])
        surrogate.fit([genotypes[i] for i in fitted], targets, rng)
        mean, _ = surrogate.predict([genotypes[i] for i in left_out])
        parts.append(PartScores(left_out.tolist(), mean.tolist()))
        num_predicted += len(left_out)
    return CheapRanking(parts, (time.process_time() - start_s) / num_predicted)


def divisions(num_children: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the children that are fitted and those that are left out, each of all parts in
    turn.
    """
    rng = np.random.default_rng([seed, num_children])
    for _ in range(NUM_DIVISIONS):
        part_N = rng.permutation(num_children) % min(NUM_PARTS, num_children // 2)
        for part in range(int(part_N.max()) + 1):
            yield np.flatnonzero(part_N != part), np.flatnonzero(part_N == part)
