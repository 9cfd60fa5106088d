"""A user's own ``nn.Module`` as a module of a space, named by its dotted path."""

import inspect
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nasrunner.core.decision import Address, Choose, Decision, shown
from nasrunner.core.machine.memory import least_memory_gb, memory_gb
from nasrunner.core.questions import Question
from nasrunner.core.shapes import InShape, TokenShape, each_input
from nasrunner.core.space import (
    Shape,
    Space,
    decisions_of_value,
    opened,
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


class LooksAtValues(nn.Module):
    """Stands on the meta device for a layer that cannot run there: it looks at values.

    Args:
        layer: with its parameters on the meta device.
        out_shape: of one example, and
        flops: of its forward pass, found by running the layer on the CPU.
    """

    def __init__(self, layer: nn.Module, out_shape: Shape, flops: int) -> None:
        super().__init__()
        self.layer = layer
        self.out_shape = out_shape
        self.nasrunner_flops = flops  # by this name they are counted, see ``count_flops``

    def forward(self, x: Any) -> torch.Tensor:
        first = next(iter(x.values())) if isinstance(x, dict) else x
        return torch.empty(len(first), *self.out_shape, device="meta")


def _run(layer: nn.Module, in_shape: InShape) -> Any:
    """What comes out for two examples of zeros."""
    with torch.no_grad():
        return layer.eval()(each_input(in_shape, _zeros))


def _is_of_meta(error: Exception) -> bool:
    """Whether a layer has failed because it looked at values that the meta device has none of."""
    return torch.get_default_device().type == "meta" and "meta" in str(error)


def _looked_at(
    layer: nn.Module, make: Callable[[], nn.Module], in_shape: InShape
) -> tuple[nn.Module, Any]:
    """Runs a layer on the CPU; what stands for it on the meta device, and what comes out.

    Raises:
        ValueError: this machine has not the memory.
    """
    from torch.utils.flop_counter import FlopCounterMode  # with what it imports: a second

    needed_gb = least_memory_gb(sum(parameter.numel() for parameter in layer.parameters()))
    if needed_gb > (there_gb := memory_gb()):
        raise ValueError(
            "its forward pass looks at values, so that its shapes are found by running it, which "
            f"takes {needed_gb:.3g} GB of this machine's {there_gb:.3g}"
        )
    counter = FlopCounterMode(display=False)
    with torch.device("cpu"), counter:
        out = _run(make(), in_shape)
    shape = tuple(out.shape[1:]) if isinstance(out, torch.Tensor) else ()
    return LooksAtValues(layer, shape, int(counter.get_total_flops()) // 2), out


@dataclass(frozen=True)
class External(Space):
    """Wraps a class that is no Space; its output shape is found by running it once.

    That is done without weights, on the meta device. A class that looks at values there is made
    and run on the CPU instead, where this machine has the memory.

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

        def made(each: tuple[tuple[str, Any], ...]) -> Space:
            return External(self.module, each, path=place.path)

        return opened(arguments, made, ask)

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
            try:
                out = _run(layer, in_shape)
            except Exception as error:
                if not _is_of_meta(error):
                    raise
                layer, out = _looked_at(layer, lambda: self.module(**arguments), in_shape)
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
