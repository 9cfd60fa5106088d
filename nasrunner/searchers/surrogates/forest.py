"""Random forest over the decisions of a genotype."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.encoding import Encoding
from nasrunner.searchers.surrogates.surrogate import Surrogate

# N = genotypes to fit, C = candidates, T = trees


class Forest(Surrogate):
    """Regression forest; its trees' spread is the uncertainty. Hutter et al. 2011 (SMAC), sec. 4.1.

    Args:
        num_trees: T, >= 2: one tree has no spread.
        max_features: share of the features looked at for a split, in (0, 1].
        min_leaf: children in a leaf, >= 1.
        space: what the genotypes are of.

    Differs from the paper: scikit-learn's forest, fitted to bootstrap samples of the children.
    """

    def __init__(
        self,
        *,
        num_trees: Annotated[int, AtLeast(2)],
        max_features: Annotated[float, Within("(0, 1]")],
        min_leaf: Annotated[int, AtLeast(1)],
        space: Space,
    ) -> None:
        # Imported here: it takes a second that only this needs, and the study holds the libraries
        # it brings to one thread if they are there before the first fit.
        from sklearn.ensemble import RandomForestRegressor

        self.encoding = Encoding(space)
        self._forest = RandomForestRegressor(
            num_trees, max_features=float(max_features), min_samples_leaf=min_leaf
        )

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Grows the trees anew."""
        self.encoding.fit(genotypes)
        self._forest.set_params(random_state=int(rng.integers(2**32)))
        self._forest.fit(self._rows(genotypes), targets_N)

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean (C,) and standard deviation (C,) over the trees."""
        rows_CF = self._rows(genotypes)
        trees = [tree.tree_.predict(rows_CF)[:, 0] for tree in self._forest.estimators_]
        predictions_TC = np.array(trees)
        return predictions_TC.mean(axis=0), predictions_TC.std(axis=0)

    def _rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        rows = self.encoding.transform(genotypes)
        constant = np.zeros((len(rows), 1))  # a forest needs a feature, also without decisions
        return np.concatenate([rows, constant], axis=1, dtype=np.float32)
