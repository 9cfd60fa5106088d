"""A name for a block of modules, wherever people read of it."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from nasrunner.core.decision import Address, Choose
from nasrunner.core.questions import Question
from nasrunner.core.shapes import InShape
from nasrunner.core.space import Pruning, Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead


@dataclass(frozen=True)
class Named(Space):
    """Calls a module by a name: among the options of a decision, in texts and in pictures.

    Where decisions were made inside the module, texts and pictures show it instead of its name.

    Args:
        label: the name.
        module: what it stands for.
    """

    label: str
    module: Space

    is_transparent: ClassVar[bool] = True

    def resolve(self, ask: Choose, at: Address) -> Space:
        resolved = super().resolve(ask, at)
        if not isinstance(resolved, Named):  # all that its label can be
            return resolved
        return resolved if self.size() == 1 else resolved.module

    def questions(self, at: Address) -> Iterator[Question]:
        yield from super().questions(at)  # what resolve asks, too

    @property
    def takes_inputs(self) -> bool:
        return self.module.takes_inputs

    @property
    def is_zero(self) -> bool:
        return self.module.is_zero

    def pruned(self, prune: Pruning) -> Space:
        module = prune(self.module)
        if module is self.module:
            return self
        if module.is_zero:
            return Dead(self, path=self.path)
        return dataclasses.replace(self, module=module)

    def thread(self, in_shape: InShape, measure: Callable[[Space, InShape], Shape]) -> Shape:
        return measure(self.module, in_shape)

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.run(self.module, x)

    def stands_for(self, tracer: Tracer[Any]) -> Space:
        return self.module

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        return self.module.build(in_shape)

    def text(self) -> str:
        return self.label
