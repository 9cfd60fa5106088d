"""Ridge regression on the n-grams of an architecture's modules."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import Above, AtLeast
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, key_of
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import (
    Space,
    argument_types,
    is_module_type,
    is_modules_type,
)
from nasrunner.searchers.surrogates.surrogate import Surrogate

# N = genotypes to fit, C = candidates, F = features

Ngram = tuple[str, ...]


class NgramRidge(Surrogate):
    """Ridge regression on n-gram counts. Negrinho & Gordon 2017, arXiv:1704.08792, section 5.4.

    The modules of an architecture that hold no other modules, in the order they are applied, are
    a sentence; features are how often each n-gram occurs in it, and its length. The values of the
    modules' arguments and the training hyperparameters play no part: children that differ in these
    alone are one to it. The paper names no numbers; those below are from its authors' code.

    Args:
        max_length: modules in an n-gram, 1 to this, >= 1; 4 in the authors' code.
        min_occurrences: an n-gram that occurred less often in all fitted children together is no
            feature, >= 1; 3 in the authors' code.
        penalty: λ, weight of the squared coefficients, > 0; 1e3 in the authors' code. The intercept
            is not penalised.
        space: what the genotypes are of.

    Differs from the paper: branches of a ``fork`` follow one another in the sentence, since the
    paper's modules have one path. Its authors' code also leaves out the last n-gram of each length.
    """

    def __init__(
        self,
        *,
        max_length: Annotated[int, AtLeast(1)],
        min_occurrences: Annotated[int, AtLeast(1)],
        penalty: Annotated[float, Above(0)],
        space: Space,
    ) -> None:
        self.max_length = max_length
        self.min_occurrences = min_occurrences
        self.penalty = penalty
        self.space = space
        self.columns: dict[Ngram, int] = {}
        self._coefficients_F = np.zeros(1)
        self._means_F = np.zeros(1)
        self._intercept = 0.0
        self._counted: dict[Key, tuple[Counter[Ngram], int]] = {}

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Chooses the features and solves for their coefficients; draws nothing."""
        self._counted = {key_of(g): self._counts(g) for g in genotypes}
        occurrences: Counter[Ngram] = Counter()
        for genotype in genotypes:
            occurrences.update(self._counts(genotype)[0])
        frequent = [n for n, count in occurrences.items() if count >= self.min_occurrences]
        self.columns = {ngram: column for column, ngram in enumerate(frequent)}
        rows_NF = self._rows(genotypes)
        self._means_F = rows_NF.mean(axis=0)
        self._intercept = float(targets_N.mean())
        self._coefficients_F = ridge(
            rows_NF - self._means_F, targets_N - self._intercept, self.penalty
        )

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean (C,), and zeros (C,): a ridge regression has no uncertainty here."""
        mean_C = self._intercept + (self._rows(genotypes) - self._means_F) @ self._coefficients_F
        return mean_C, np.zeros(len(genotypes))

    def _rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """N-gram counts, and in the last column the length."""
        rows_NF = np.zeros((len(genotypes), len(self.columns) + 1))
        for row_F, genotype in zip(rows_NF, genotypes, strict=True):
            counts, row_F[-1] = self._counts(genotype)
            for ngram, count in counts.items():
                if ngram in self.columns:
                    row_F[self.columns[ngram]] = count
        return rows_NF

    def _counts(self, genotype: Genotype) -> tuple[Counter[Ngram], int]:
        """How often each n-gram occurs, and the length; kept for the children fitted last."""
        if (found := self._counted.get(key_of(genotype))) is not None:
            return found
        sentence = list(basic_modules(self.space.freeze(genotype)))
        return ngrams(sentence, self.max_length), len(sentence)


def ridge(rows_NF: np.ndarray, targets_N: np.ndarray, penalty: float) -> np.ndarray:
    """Returns argmin_w |rows w - targets|² + penalty |w|², through the smaller of the two
    systems.
    """
    num_rows, num_features = rows_NF.shape
    if num_features <= num_rows:
        gram_FF = rows_NF.T @ rows_NF + penalty * np.eye(num_features)
        return np.linalg.solve(gram_FF, rows_NF.T @ targets_N)
    gram_NN = rows_NF @ rows_NF.T + penalty * np.eye(num_rows)
    return rows_NF.T @ np.linalg.solve(gram_NN, targets_N)


def ngrams(sentence: Sequence[str], max_length: int) -> Counter[Ngram]:
    """Returns how often each run of 1 to ``max_length`` neighbours occurs."""
    return Counter(
        tuple(sentence[start : start + length])
        for length in range(1, max_length + 1)
        for start in range(len(sentence) - length + 1)
    )


def basic_modules(module: Space) -> Iterator[str]:
    """Yields the names of a frozen architecture's modules without submodules, depth first."""
    if isinstance(module, SearchSpace):
        module = module.network
    holding = _holding(type(module))
    if not holding:
        yield module.title()
    for name in holding:
        held = getattr(module, name)
        for inner in held if isinstance(held, tuple) else (held,):
            yield from basic_modules(inner)


@functools.cache
def _holding(kind: type[Space]) -> tuple[str, ...]:
    """The arguments of a module that are modules or lists of them."""
    types = argument_types(kind)
    return tuple(n for n, t in types.items() if is_module_type(t) or is_modules_type(t))
