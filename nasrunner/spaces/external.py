"""A user's own ``nn.Module`` as a module of a space, named by its dotted path."""

import inspect
import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nasrunner.core.decision import Address, Choose, Decision, shown
from nasrunner.core.questions import Question
from nasrunner.core.shapes import InShape, TokenShape, each_input
from nasrunner.core.space import (
    Shape,
    Space,
    decisions_of_value,
    questions_of_value,
    resolve_value,
    size_of_value,
)

_STOPPED = (128 + signal.SIGHUP, 128 + signal.SIGTERM)
"""Exit codes of a process that was told to stop."""


def _is_from_outside(error: BaseException) -> bool:
    """Whether a signal ends the process, and not the code that happens to run."""
    is_told = isinstance(error, SystemExit) and error.code in _STOPPED
    return isinstance(error, KeyboardInterrupt) or is_told


def _zeros(shape: Shape) -> torch.Tensor:
    """Two examples."""
    dtype = torch.int64 if isinstance(shape, TokenShape) else torch.float32
    return torch.zeros(2, *shape, dtype=dtype)


@dataclass(frozen=True)
class External(Space):
    """Wraps a class that is no Space; its output shape is found by running it once.

    A constructor with an ``in_shape`` argument is given the shape of one example. The forward
    pass must accept a batch of any size. Of several inputs the constructor is given a shape by
    name, and the forward pass a dict of tensors.

    Attributes:
        module: the user's class.
        arguments: (argument, ``OneOf`` or its value) pairs for its constructor.
    """

    module: type[nn.Module]
    arguments: tuple[tuple[str, Any], ...] = ()

    def title(self) -> str:
        return self.module.__name__

    def shown_arguments(self) -> Iterator[tuple[str, Any]]:
        yield from self.arguments

    def resolve(self, ask: Choose, at: Address) -> Space:
        place = self._place_of_class(at)
        arguments = tuple(
            (name, resolve_value(value, ask, place / name)) for name, value in self.arguments
        )
        return External(self.module, arguments, path=place.path)

    def questions(self, at: Address) -> Iterator[Question]:
        place = self._place_of_class(at)
        for name, value in self.arguments:
            yield from questions_of_value(value, place / name)

    def size(self) -> int:
        return math.prod(size_of_value(value) for _, value in self.arguments)

    def decisions(self, at: Address) -> Iterator[Decision]:
        place = self._place_of_class(at)
        for name, value in self.arguments:
            yield from decisions_of_value(value, place / name)

    @property
    def takes_inputs(self) -> bool:
        return not self.module.__module__.startswith("torch.nn.")  # torch's layers take tensors

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        arguments = dict(self.arguments)
        if "in_shape" in inspect.signature(self.module).parameters:
            arguments["in_shape"] = each_input(in_shape, lambda shape: shape)  # a dict is its own
        try:
            layer = self.module(**arguments)
            was_training = layer.training
            with torch.no_grad():
                out = layer.eval()(each_input(in_shape, _zeros))
        except BaseException as error:  # a user's code raises what it likes
            if _is_from_outside(error):
                raise
            raise ValueError(f"{type(error).__name__}: {error}") from error
        layer.train(was_training)
        if not isinstance(out, torch.Tensor) or out.shape[:1] != (2,):
            raise ValueError("its forward pass must return one tensor with the batch first")
        return layer, tuple(out.shape[1:])

    def text(self) -> str:
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.arguments)
        return f"{self.title()}({given})" if given else self.title()

    def _place_of_class(self, at: Address) -> Address:
        """Paths carry the user's class, not the word ``external``."""
        return Address(
            at.path.removesuffix(self.name()) + self.title(),
            at.kind.removesuffix(self.name()) + self.title(),
        )
