"""Gaussian process over the decisions of a genotype."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import Above
from nasrunner.core.decision import Genotype
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.encoding import Encoding

# N = genotypes to fit, C = candidates, K = kernels of the mixture, F = features

_LEAST_SHARE = 0.01
"""Kernels that would have less of the mixture are left out of it."""

_FEW = 200
"""Up to so many children every kernel is factored; of more, those that half of them leave over."""

_FAR_BEHIND = 25.0
"""Nats by which a kernel must be less likely on half of the children not to be tried on all.

Those of the mixture were 24 behind at most in 1,000 fits on NAS-Bench-201, NAS-Bench-Macro and the
MLP space, 8 in nearly all.
"""


@dataclass(frozen=True)
class _Kernel:
    """One kernel of the mixture, with the covariance of the children under it factored.

    Attributes:
        decay: θ.
        noise: ν.
        log_likelihood: of the targets, up to a constant, with the likeliest s².
        variance: that s².
        factor_NN: L of L Lᵀ = K + ν I, in units of s².
        whitened_N: L⁻¹ y.
    """

    decay: float
    noise: float
    log_likelihood: float
    variance: float
    factor_NN: np.ndarray
    whitened_N: np.ndarray


@dataclass(frozen=True)
class _Posterior:
    """One kernel, and its share of the mixture."""

    share: float
    kernel: _Kernel


class GaussianProcess:
    """Kriging with a mixture of kernels k(x, x') = s² exp(-θ |x - x'|² / 2) and noise ν s².

    Rasmussen & Williams 2006, algorithm 2.1, over the features of ``Encoding``: on decisions that
    are not ordered this is the diffusion kernel of Kondor & Lafferty 2002, which falls with the
    number of decisions that differ. The posteriors under all pairs of θ and ν are mixed in
    proportion to their marginal likelihood, s² maximised over, so that a few children do not make
    it certain of one kernel. Snoek et al. 2012, arXiv:1206.2944, section 3.2, average acquisitions
    the same way; here the mixture's mean and standard deviation are what an acquisition sees.

    Args:
        decays: θ times the largest |x - x'|² / 2 of the children fitted, each > 0.
        noises: ν, variance of the noise relative to that of the function, each > 0. Where ``noise``
            is known of repeated trainings (``evaluation.repeats``), that alone, but no less than
            the least of these.
        space: what the genotypes are of.

    Raises:
        ValueError: there are no decays or no noises.
    """

    def __init__(
        self,
        *,
        decays: Sequence[Annotated[float, Above(0)]],
        noises: Sequence[Annotated[float, Above(0)]],
        space: Space,
    ) -> None:
        for name, values in (("decays", decays), ("noises", noises)):
            if not values:
                raise ValueError(f"surrogate.{name} must hold at least one number, got []")
        # Imported here: the study holds the library it brings to one thread if it is there before
        # the first fit.
        import scipy.linalg.blas  # type: ignore[import-untyped]  # noqa: F401  # ships no types

        self.decays = decays
        self.noises = noises
        self.encoding = Encoding(space)
        self.noise: float | None = None
        self._rows_NF = np.zeros((0, 0))
        self._mixture: list[_Posterior] = []

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Conditions every kernel on the children; draws nothing."""
        self.encoding.fit(genotypes)
        self._rows_NF = self.encoding.transform(genotypes)
        distances_NN = _distances(self._rows_NF, self._rows_NF)
        largest = max(float(distances_NN.max()), 1e-12)
        noises = self.noises if self.noise is None else [max(self.noise, min(self.noises))]
        grid = [(decay / largest, noise) for decay in self.decays for noise in noises]
        if len(targets_N) > _FEW:
            halves = _factored(grid, distances_NN[::2, ::2], targets_N[::2])
            least = max(half.log_likelihood for half in halves) - _FAR_BEHIND
            grid = [
                each
                for each, half in zip(grid, halves, strict=True)
                if half.log_likelihood >= least
            ]
        kernels = _factored(grid, distances_NN, targets_N)
        likelihoods_K = np.array([kernel.log_likelihood for kernel in kernels])
        shares_K = np.exp(likelihoods_K - likelihoods_K.max())
        shares_K[shares_K < _LEAST_SHARE * shares_K.sum()] = 0
        shares_K /= shares_K.sum()
        self._mixture = [
            _Posterior(share, replace(kernel, factor_NN=np.ascontiguousarray(kernel.factor_NN)))
            for share, kernel in zip(shares_K, kernels, strict=True)
            if share > 0
        ]

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Mean (C,) and standard deviation (C,) of the reward without its noise."""
        from scipy.linalg.blas import dtrsm  # imported when this was made

        distances_NC = _distances(self._rows_NF, self.encoding.transform(genotypes))
        mean_C, square_C = np.zeros(len(genotypes)), np.zeros(len(genotypes))
        for one in self._mixture:
            kernel_NC = np.exp(-one.kernel.decay * distances_NC)
            # L⁻¹ k, transposed: BLAS takes its matrices column by column
            whitened_NC = dtrsm(1.0, one.kernel.factor_NN.T, kernel_NC.T, side=1, overwrite_b=1).T
            means_C = one.kernel.whitened_N @ whitened_NC
            left_C = np.maximum(0, 1 - (whitened_NC**2).sum(axis=0))
            mean_C += one.share * means_C
            square_C += one.share * (means_C**2 + one.kernel.variance * left_C)
        return mean_C, np.sqrt(np.maximum(0, square_C - mean_C**2))


def _factored(
    grid: Sequence[tuple[float, float]], distances_NN: np.ndarray, targets_N: np.ndarray
) -> list[_Kernel]:
    """The kernel of each decay and noise; those of a decay one after another."""
    num_children = len(targets_N)
    squares = float(targets_N @ targets_N)
    bordered = np.empty((num_children + 1, num_children + 1))
    bordered[-1, :-1] = bordered[:-1, -1] = targets_N
    diagonal = bordered.ravel()[: -1 : num_children + 2]
    kernels: list[_Kernel] = []
    for decay, noise in grid:
        if not kernels or kernels[-1].decay != decay:
            np.exp(-decay * distances_NN, out=bordered[:-1, :-1])
            ones_N = diagonal.copy()
        diagonal[:] = ones_N + noise
        bordered[-1, -1] = 2 * squares / noise + 1  # more than yᵀ (K + ν I)⁻¹ y: positive definite
        factor = np.linalg.cholesky(bordered)  # its last row is L⁻¹ y
        factor_NN, whitened_N = factor[:-1, :-1], factor[-1, :-1]
        variance = max(float(whitened_N @ whitened_N) / num_children, 1e-12)
        log_determinant = 2 * np.log(factor_NN.diagonal()).sum()
        log_likelihood = -0.5 * (num_children * math.log(variance) + log_determinant)
        kernels.append(
            _Kernel(decay, noise, float(log_likelihood), variance, factor_NN, whitened_N)
        )
    return kernels


def _distances(left_NF: np.ndarray, right_CF: np.ndarray) -> np.ndarray:
    """Half the squared distance of each pair of rows."""
    norms_N, norms_C = (left_NF**2).sum(axis=1), (right_CF**2).sum(axis=1)
    halves: np.ndarray = 0.5 * (norms_N[:, None] + norms_C) - left_NF @ right_CF.T
    halves.clip(0, out=halves)
    return halves
