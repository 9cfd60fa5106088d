"""The networks that genotypes make, as rows of numbers."""

from collections.abc import Sequence

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Description

# N = networks, F = features

_SETTINGS = "hyperparameters/"
"""What the names of searched settings begin with, as the paths of their decisions do."""

_FARTHEST = 4.0
"""Standard deviations beyond which a feature counts as so far from the others' mean."""


class NetworkEncoding:
    """Turns networks into rows of features, so that alike networks have rows alike.

    The features are those that differ between the networks ``fit`` is given, each standardised
    there; of features that say the same the first in alphabetical order. Searched settings have
    that share of the squared distance which their decisions have of all decisions. A network has
    the mean of a number that is of nothing in it; one that is impossible has the mean of all, and
    says so.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._mean_F = self._scale_F = self._weight_F = np.zeros(0)

    def fit(self, given: Description, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Chooses the features; returns those of these networks, (N, F): none if all are alike.

        Args:
            given: the networks.
            genotypes: what they were made by.
        """
        names, rows_NF = _features(given)
        is_known_NF = ~np.isnan(rows_NF)
        num_known_F = np.maximum(is_known_NF.sum(axis=0), 1)
        mean_F = np.where(is_known_NF, rows_NF, 0.0).sum(axis=0) / num_known_F
        centred_NF = np.where(is_known_NF, rows_NF - mean_F, 0.0)
        scale_F = np.sqrt((centred_NF**2).mean(axis=0))
        differing = np.flatnonzero(scale_F > 1e-9 * (1 + np.abs(mean_F)))
        chosen = differing[_first_of_each(centred_NF[:, differing] / scale_F[differing])]
        self._names = [names[place] for place in chosen]
        self._mean_F, self._scale_F = mean_F[chosen], scale_F[chosen]
        self._weight_F = _weights(self._names, genotypes)
        return self._standardised(names, rows_NF)

    def transform(self, given: Description) -> np.ndarray:
        """Returns the chosen features (N, F) of other networks."""
        return self._standardised(*_features(given))

    def _standardised(self, names: Sequence[str], rows_NF: np.ndarray) -> np.ndarray:
        place = {name: position for position, name in enumerate(names)}
        chosen_NF = rows_NF[:, [place[name] for name in self._names]]
        centred_NF = np.where(np.isnan(chosen_NF), 0.0, chosen_NF - self._mean_F)
        scores_NF = (centred_NF / self._scale_F).clip(-_FARTHEST, _FARTHEST)
        return scores_NF * self._weight_F


def _features(given: Description) -> tuple[list[str], np.ndarray]:
    """Sorts features by name, and adds whether a network is possible as one of them.

    Their order then does not depend on which networks were looked at before.
    """
    names = [*given.names, "possible"]
    rows_NF = np.column_stack([given.rows_NF, given.is_possible_N])
    order = sorted(range(len(names)), key=names.__getitem__)
    return [names[place] for place in order], rows_NF[:, order]


def _first_of_each(scores_NF: np.ndarray) -> list[int]:
    """Returns the columns that no earlier column equals, up to the sign."""
    first: dict[bytes, int] = {}
    for column, scores_N in enumerate(scores_NF.T):
        sign = np.sign(scores_N[np.abs(scores_N) > 1e-6][0])
        first.setdefault((np.round(sign * scores_N, 6) + 0.0).tobytes(), column)
    return list(first.values())


def _weights(names: Sequence[str], genotypes: Sequence[Genotype]) -> np.ndarray:
    """What each feature is multiplied by, so that half of a squared distance is about 1."""
    is_setting_F = np.array([name.startswith(_SETTINGS) for name in names], dtype=bool)
    paths = {path for genotype in genotypes for path in genotype}
    share = sum(path.startswith(_SETTINGS) for path in paths) / max(1, len(paths))
    if not is_setting_F.any() or is_setting_F.all():
        return np.full(len(names), 1 / np.sqrt(max(1, len(names))))
    num_settings = int(is_setting_F.sum())
    of_settings = share / num_settings
    of_others = (1 - share) / (len(names) - num_settings)
    return np.sqrt(np.where(is_setting_F, of_settings, of_others))
