"""Gaussian process over the decisions of a genotype."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import Above
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Description
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.encoding import Encoding
from nasrunner.searchers.surrogates.kernels import (
    Kernel,
    KernelShape,
    View,
    factored,
    log_likelihoods,
)
from nasrunner.searchers.surrogates.network_encoding import NetworkEncoding
from nasrunner.searchers.surrogates.surrogate import Surrogate

# N = genotypes to fit, C = candidates, K = kernels of the mixture, F = features

_LEAST_SHARE = 0.01
"""Kernels that would have less of the mixture are left out of it."""

_FEW = 200
"""Up to so many children every kernel is tried on all; of more, those that half leave over."""

_FAR_BEHIND = 25.0
"""Nats by which a kernel must be less likely on half of the children not to be tried on all.

Those of the mixture were 24 behind at most in 1,000 fits on NAS-Bench-201, NAS-Bench-Macro and the
MLP space, 8 in nearly all.
"""

_MARGIN = 2.0
"""Nats that single precision may be off, for a kernel to be left out of the mixture by it."""


@dataclass(frozen=True)
class _Posterior:
    """One kernel, and its share of the mixture."""

    share: float
    kernel: Kernel


_OF_NETWORKS: tuple[View, ...] = ("network", "kinds")
"""Views with an encoding of networks of their own."""

_BOTH: tuple[View, View] = ("genotype", "network")


class GaussianProcess(Surrogate):
    """Kriging with a mixture of kernels k(x, x') = s² exp(-θ |x - x'|² / 2) and noise ν s².

    Rasmussen & Williams 2006, algorithm 2.1. What two children are compared by is a view:

    * ``genotype``: the features of ``Encoding``. On decisions that are not ordered this is the
      diffusion kernel of Kondor & Lafferty 2002, which falls with the number of decisions that
      differ.
    * ``network``: the features of ``NetworkEncoding``.
    * ``kinds``: these without the counts of single operations, so that operations of one kind
      differ by the numbers in their arguments alone.
    * ``both``: the mean of the distances of genotypes and of networks, in units of their largest.

    The posteriors under all views, θ and ν are mixed in proportion to their marginal likelihood, s²
    maximised over, so that a few children do not make it certain of one kernel. Snoek et al. 2012,
    arXiv:1206.2944, section 3.2, average acquisitions the same way; here the mixture's mean and
    standard deviation are what an acquisition sees.

    Without ``networks``, or while those of all children look the same, genotypes alone count.

    Args:
        decays: θ times the largest |x - x'|² / 2 of the children fitted, each > 0.
        noises: ν, variance of the noise relative to that of the function, each > 0. Where ``noise``
            is known of repeated trainings (``evaluation.repeats``), that alone, but no less than
            the least of these.
        views: what children are compared by, each in kernels of its own.
        space: what the genotypes are of.

    Raises:
        ValueError: there are no decays, noises or views.
    """

    def __init__(
        self,
        *,
        decays: Sequence[Annotated[float, Above(0)]],
        noises: Sequence[Annotated[float, Above(0)]],
        views: Sequence[View] = ("genotype",),
        space: Space,
    ) -> None:
        for name, values in (("decays", decays), ("noises", noises), ("views", views)):
            if not values:
                one = "view" if name == "views" else "number"
                raise ValueError(f"surrogate.{name} must hold at least one {one}, got []")
        # Imported here: the study holds the library it brings to one thread if it is there before
        # the first fit.
        import scipy.linalg.blas  # type: ignore[import-untyped]  # noqa: F401  # ships no types

        self.decays = decays
        self.noises = noises
        self.views = views
        self.encoding = Encoding(space)
        self.network_encodings = {view: NetworkEncoding() for view in _OF_NETWORKS}
        self._rows: dict[View, np.ndarray] = {}
        self._largest: dict[View, float] = {}
        self._mixture: list[_Posterior] = []

    @property
    def looks_at_networks(self) -> bool:
        return any(view != "genotype" for view in self.views)

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Conditions every kernel on the children; draws nothing."""
        self._rows = self._encoded(genotypes)
        distances = {name: _distances(rows, rows) for name, rows in self._rows.items()}
        self._largest = {name: max(float(each.max()), 1e-12) for name, each in distances.items()}
        seen = self._viewed(distances)
        noises = self.noises if self.noise is None else [max(self.noise, min(self.noises))]
        grid = [
            KernelShape(view, decay / max(float(distances_NN.max()), 1e-12), noise)
            for view, distances_NN in seen.items()
            for decay in self.decays
            for noise in noises
        ]
        if len(targets_N) > _FEW:
            every_other = {view: each[::2, ::2] for view, each in seen.items()}
            grid = _within(_FAR_BEHIND, grid, every_other, targets_N[::2])
        grid = _within(_MARGIN - math.log(_LEAST_SHARE), grid, seen, targets_N)
        kernels = factored(grid, seen, targets_N)
        likelihoods_K = np.array([kernel.log_likelihood for kernel in kernels])
        shares_K = np.exp(likelihoods_K - likelihoods_K.max())
        shares_K[shares_K < _LEAST_SHARE * shares_K.sum()] = 0
        shares_K /= shares_K.sum()
        self._mixture = [
            _Posterior(float(share), kernel)
            for share, kernel in zip(shares_K, kernels, strict=True)
            if share > 0
        ]

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean (C,) and standard deviation (C,) of the reward without its noise."""
        from scipy.linalg.blas import dtrsm  # imported when this was made

        rows: dict[View, np.ndarray] = {"genotype": self.encoding.transform(genotypes)}
        if len(self._rows) > 1:
            for view, described in self._described(genotypes).items():
                if view in self._rows:
                    rows[view] = self.network_encodings[view].transform(described)
        seen = self._viewed({name: _distances(own, rows[name]) for name, own in self._rows.items()})
        mean_C, square_C = np.zeros(len(genotypes)), np.zeros(len(genotypes))
        for one in self._mixture:
            shape, factor_NN = one.kernel.shape, one.kernel.factor_NN
            kernel_NC = np.exp(-shape.decay * seen[shape.view])
            # L⁻¹ k, transposed: BLAS takes its matrices column by column
            whitened_NC = dtrsm(
                1.0, factor_NN, kernel_NC.T, side=1, lower=1, trans_a=1, overwrite_b=1
            ).T
            means_C = one.kernel.whitened_N @ whitened_NC
            left_C = np.maximum(0, 1 - (whitened_NC**2).sum(axis=0))
            mean_C += one.share * means_C
            square_C += one.share * (means_C**2 + one.kernel.variance * left_C)
        return mean_C, np.sqrt(np.maximum(0, square_C - mean_C**2))

    def shares(self) -> dict[View, float]:
        """Returns how much of the mixture each view has."""
        found: dict[View, float] = dict.fromkeys(self.views, 0.0)
        for one in self._mixture:
            found[one.kernel.shape.view] = found.get(one.kernel.shape.view, 0.0) + one.share
        return found

    def _encoded(self, genotypes: Sequence[Genotype]) -> dict[View, np.ndarray]:
        """The children's rows by what they are of."""
        self.encoding.fit(genotypes)
        rows: dict[View, np.ndarray] = {"genotype": self.encoding.transform(genotypes)}
        if self.networks is not None and self.looks_at_networks:
            for view, described in self._described(genotypes).items():
                found_NF = self.network_encodings[view].fit(described, genotypes)
                is_known = any(np.array_equal(found_NF, each) for each in rows.values())
                if found_NF.shape[1] and not is_known:
                    rows[view] = found_NF
        return rows

    def _described(self, genotypes: Sequence[Genotype]) -> dict[View, Description]:
        """What each view that is of networks sees of them."""
        assert self.networks is not None
        given = self.networks.describe(genotypes)
        found: dict[View, Description] = {}
        if "network" in self.views or "both" in self.views:
            found["network"] = given
        if "kinds" in self.views:
            found["kinds"] = given.of_kinds
        return found

    def _viewed(self, distances: Mapping[View, np.ndarray]) -> dict[View, np.ndarray]:
        """The distances of each view that there is, from those of genotypes and of networks."""
        seen: dict[View, np.ndarray] = {}
        for view in self.views:
            if view == "both" and "network" in distances:
                halves = (distances[name] / (2 * self._largest[name]) for name in _BOTH)
                seen[view] = np.add(*halves)
            elif view in distances:
                seen[view] = distances[view]
        return seen or {"genotype": distances["genotype"]}


def _within(
    nats: float,
    grid: Sequence[KernelShape],
    distances: Mapping[View, np.ndarray],
    targets_N: np.ndarray,
) -> list[KernelShape]:
    """The kernels that are no more than this less likely than the likeliest."""
    likelihoods_G = log_likelihoods(grid, distances, targets_N)
    is_kept_G = likelihoods_G >= likelihoods_G.max() - nats
    return [shape for shape, is_kept in zip(grid, is_kept_G, strict=True) if is_kept]


def _distances(left_NF: np.ndarray, right_CF: np.ndarray) -> np.ndarray:
    """Half the squared distance of each pair of rows."""
    norms_N, norms_C = (left_NF**2).sum(axis=1), (right_CF**2).sum(axis=1)
    halves: np.ndarray = 0.5 * (norms_N[:, None] + norms_C) - left_NF @ right_CF.T
    halves.clip(0, out=halves)
    return halves
