"""The contract of surrogates, and how a searcher makes one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.space import Space

# N = children, C = candidates


class Surrogate(ABC):
    """Predicts rewards from genotypes; made with ``space=``.

    Attributes:
        networks: the space's, set before the first fit; None: they cannot be looked at.
        noise: set before each fit: the variance of a reward's noise relative to that of what is
            predicted, where repeated trainings show it; else None.
        implied: set before the first fit: paths of decisions that the others' answers imply, which
            those that read answers one by one leave out.
    """

    networks: Networks | None = None
    noise: float | None = None
    implied: Collection[str] = ()

    @property
    def looks_at_networks(self) -> bool:
        """Whether it compares children by their networks, so that each must have a possible one."""
        return False

    @abstractmethod
    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Forgets what it was fitted to before, and learns from these children alone.

        Args:
            genotypes: at least one; the same may occur twice.
            targets_N: their rewards, or scores of the same order, around zero.
            rng: the only source of randomness.
        """

    @abstractmethod
    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean (C,) and standard deviation (C,) of the targets of other children."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns its state without the networks, which are set again after it was restored."""
        return {**self.__dict__, "networks": None}


class _Adapted(Surrogate):
    """Makes a surrogate of an object that has ``fit`` and ``predict`` but is none by class.

    The object's ``networks``, ``noise`` and ``implied`` are set, and its ``looks_at_networks`` is
    read, if it has them.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def looks_at_networks(self) -> bool:
        return bool(getattr(self.inner, "looks_at_networks", False))

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        self._pass_on()
        self.inner.fit(genotypes, targets_N, rng)

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        self._pass_on()
        mean_C, std_C = self.inner.predict(genotypes)
        return mean_C, std_C

    def _pass_on(self) -> None:
        for name in ("networks", "noise", "implied"):
            if hasattr(self.inner, name):
                setattr(self.inner, name, getattr(self, name))


def make_surrogate(make: Callable[..., Any], space: Space, argument: str) -> Surrogate:
    """Makes the surrogate of a searcher.

    Args:
        make: makes it from ``space=``; what it makes need not be derived from ``Surrogate``.
        space: what the genotypes are of.
        argument: of the searcher that ``make`` is, for messages.

    Raises:
        ValueError: ``make`` cannot be called, or what it makes cannot be fitted or asked.
    """
    if not callable(make):
        raise ValueError(f"{argument} must be a partial that takes a space: set _partial_: true")
    made = make(space=space)
    if isinstance(made, Surrogate):
        return made
    missing = [name for name in ("fit", "predict") if not callable(getattr(made, name, None))]
    if missing:
        raise ValueError(
            f"{argument} must make something with fit(genotypes, targets, rng) and "
            f"predict(genotypes); {type(made).__name__} has no {' and no '.join(missing)}"
        )
    return _Adapted(made)
