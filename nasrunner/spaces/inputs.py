"""Several inputs by name: the module that picks one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from nasrunner.core.decision import OneOf, options_of, parts_of
from nasrunner.core.errors import SpaceError, suggest
from nasrunner.core.shapes import InShape, shown_inputs
from nasrunner.core.space import Shape, Space, argument_names
from nasrunner.core.tracing import Tracer, V


@dataclass(frozen=True)
class Input(Space):
    """Picks one of the inputs that come in by name: ``input: image``.

    It begins a network of several inputs, or a branch of a ``fork`` that begins one.

    Args:
        label: the name, as in ``data.in_shape``.
    """

    label: str

    unnamed: ClassVar[str] = "label"

    @property
    def takes_inputs(self) -> bool:
        return True

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.pick(x, self.label)

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        if not isinstance(in_shape, Mapping):
            raise ValueError(
                "it picks one of several inputs by name, but one tensor comes in; legal: at the "
                "beginning of the network, or of a branch of a fork there, where data.in_shape "
                "has several inputs"
            )
        if self.label not in in_shape:
            raise ValueError(_unknown(self.label, in_shape))
        return Pick(self.label), in_shape[self.label]

    def text(self) -> str:
        return f"input({self.label})"


class Pick(nn.Module):
    """What ``input`` is built as."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return x[self.label]

    def extra_repr(self) -> str:
        return self.label


def check_picks(space: Space, in_shape: InShape) -> None:
    """Checks that every input which some architecture of a space picks is there.

    Args:
        space: an open space.
        in_shape: of one example, as of ``data.in_shape``.

    Raises:
        SpaceError: one is not.
    """
    for picked in inputs_in(space):
        for label in options_of(picked.label):
            if not isinstance(in_shape, Mapping):
                raise SpaceError(
                    f"input: {label} picks one of several inputs by name, but data.in_shape is "
                    f"{list(in_shape)}, of one input; legal: data.in_shape={{{label}: [...], ...}}"
                )
            if label not in in_shape:
                raise SpaceError(f"input: {_unknown(label, in_shape)}")


def inputs_in(value: Any) -> Iterator[Input]:
    """Yields every ``input`` in a space or in an argument of a module."""
    if isinstance(value, Input):
        yield value
    elif isinstance(value, Space):
        for name in argument_names(type(value)):
            yield from inputs_in(getattr(value, name))
    elif not isinstance(value, OneOf) or value.is_nested:
        for _, part in parts_of(value):
            yield from inputs_in(part)


def _unknown(label: Any, in_shape: Mapping[str, Shape]) -> str:
    return (
        f"there is no input {label!r} among {shown_inputs(in_shape)} of data.in_shape, "
        f"{suggest(str(label), in_shape)}"
    )
