"""The root of what a study searches: training hyperparameters beside a network."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nasrunner.core.decision import Address, Choose, Decision, shown
from nasrunner.core.questions import Question
from nasrunner.core.shapes import InShape, Shape
from nasrunner.core.space import (
    Pruning,
    Space,
    decisions_of_value,
    enter,
    questions_of,
    questions_of_value,
    resolve_module,
    resolve_value,
    size_of_value,
)

if TYPE_CHECKING:
    from torch import nn
CHILD_GROUPS = ("data", "task", "optimizer", "scheduler", "trainer")
"""The groups a child is trained with; ``hyperparameters`` of a space are keys in them."""


@dataclass(frozen=True)
class SearchSpace(Space):
    """The root of a study's space: training hyperparameters, and the network.

    DeepArchitect's UserHyperparams (arXiv:1704.08792, figure 7): training settings are searched
    together with the architecture.

    Attributes:
        hyperparameters: (dotted key of the child's configuration, ``OneOf`` or its value) pairs.
        network: the module the child's network is built from.
    """

    hyperparameters: tuple[tuple[str, Any], ...]
    network: Space

    is_transparent: ClassVar[bool] = True

    @classmethod
    @functools.cache
    def is_one_operation(cls) -> bool:
        return False

    def resolve(self, ask: Choose, at: Address) -> "SearchSpace":
        place = at / "hyperparameters"
        settings = tuple(
            (key, resolve_value(value, ask, place / key)) for key, value in self.hyperparameters
        )
        network = resolve_module(self.network, ask, enter(self.network, at))
        return SearchSpace(settings, network, path=at.path)

    def pruned(self, prune: Pruning) -> "SearchSpace":
        network = prune(self.network)
        return self if network is self.network else dataclasses.replace(self, network=network)

    def questions(self, at: Address) -> Iterator[Question]:
        place = at / "hyperparameters"
        for key, value in self.hyperparameters:
            yield from questions_of_value(value, place / key)
        yield from questions_of(self.network, enter(self.network, at))

    def size(self) -> int:
        return self._size

    @functools.cached_property
    def _size(self) -> int:
        settings = math.prod(size_of_value(value) for _, value in self.hyperparameters)
        return settings * self.network.size()

    def decisions(self, at: Address) -> Iterator[Decision]:
        for key, value in self.hyperparameters:
            yield from decisions_of_value(value, at / "hyperparameters" / key)
        yield from self.network.decisions(enter(self.network, at))

    def freeze(self, genotype: Mapping[str, int]) -> "SearchSpace":
        frozen = super().freeze(genotype)
        assert isinstance(frozen, SearchSpace)
        return frozen

    @property
    def takes_inputs(self) -> bool:
        return True

    def make(self, in_shape: InShape) -> tuple["nn.Module", Shape]:
        return self.network.build(in_shape)

    def text(self) -> str:
        values = dict(self.hyperparameters)
        referred = {f"${{{key}}}": value for key, value in values.items()}
        settings = ", ".join(
            f"{key}={shown(referred.get(value, value) if isinstance(value, str) else value)}"
            for key, value in values.items()
        )
        return f"{self.network.text()} | {settings}" if settings else self.network.text()
