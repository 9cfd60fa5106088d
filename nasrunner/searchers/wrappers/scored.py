"""A surrogate that sees the scores of estimates beside the networks that they are of."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Bigram, Description, Networks
from nasrunner.core.order import Key, key_of
from nasrunner.searchers.surrogates.acquisition import ThompsonSampling
from nasrunner.searchers.surrogates.smbo import choose_history, normal_scores
from nasrunner.searchers.surrogates.surrogate import Surrogate

# N = networks, F = features, C = candidates, P = proxies

FEWEST = 4
"""Rewards to wait for: of three a surrogate learns no order."""

_MOST = 400
"""Children that a surrogate is fitted to at most; see ``choose_history``."""

Estimates = Mapping[Key, Mapping[str, float]]
"""The scores of the architectures that were estimated, by name."""


class ScoredNetworks:
    """Networks whose estimates' scores stand among their statistics; see ``Networks``.

    A score s counts as asinh(s): a proxy's may be orders of magnitude apart, and negative.

    Args:
        networks: of the space.
        estimates: looked up when networks are described.
    """

    def __init__(self, networks: Networks, estimates: Estimates) -> None:
        self.networks = networks
        self.estimates = estimates
        self.identifies = networks.identifies

    def describe(self, genotypes: Sequence[Genotype]) -> Description:
        given = self.networks.describe(genotypes)
        found = [self.estimates.get(key_of(genotype), {}) for genotype in genotypes]
        names = sorted({name for scores in self.estimates.values() for name in scores})
        scores_NP = np.array([[scores.get(name, np.nan) for name in names] for scores in found])
        scores_NP = scores_NP.reshape(len(genotypes), len(names))
        return Description(
            (*given.names, *(f"estimates/{name}" for name in names)),
            np.column_stack([given.rows_NF, np.arcsinh(scores_NP)]),
            given.is_possible_N,
        )

    def bigrams(self, genotype: Genotype) -> Mapping[Bigram, int]:
        return self.networks.bigrams(genotype)

    def morphism(self, parent: Genotype, child: Genotype) -> Collection[str]:
        return self.networks.morphism(parent, child)

    def identity(self, genotype: Genotype) -> str:
        return self.networks.identity(genotype)


def predicted(
    surrogate: Surrogate,
    trained: Mapping[Key, tuple[Genotype, float]],
    candidates: Sequence[Genotype],
    rng: np.random.Generator,
) -> np.ndarray:
    """Fits a surrogate to the trained children, and draws from its prediction of each candidate.

    Independent Thompson sampling, as several are taken at once: the highest expected improvements
    would all be of one unknown corner. White et al. 2019, arXiv:1910.11858, section 3.

    Args:
        surrogate: compares children; fitted to their rewards' normal scores.
        trained: the children and their rewards, ``FEWEST`` or more, in the order they arrived.
        candidates: to be compared.
        rng: all randomness there may be.

    Returns:
        The draws, higher is better, (C,).
    """
    rewards_N = np.array([reward for _, reward in trained.values()])
    chosen = choose_history(rewards_N, _MOST)
    genotypes = [genotype for genotype, _ in trained.values()]
    targets = normal_scores(rewards_N, chosen)
    surrogate.fit([genotypes[place] for place in chosen], targets, rng)
    mean_C, std_C = surrogate.predict(candidates)
    return ThompsonSampling()(mean_C, std_C, float(targets.max()), rng)
