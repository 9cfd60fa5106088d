"""What a network is traced with when it is written as a graph, for batches of any size."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nasrunner.core.shapes import TokenShape
from nasrunner.core.space import Shape
from nasrunner.export.streamed import Streamed


@dataclass(frozen=True)
class GraphInputs:
    """Inputs that a network is traced with, and what they and its outputs are called.

    Attributes:
        arguments: of its forward pass.
        dynamic_shapes: which of their dimensions may have another size: the batch.
        names: of the inputs: ``x``, and ``state_0``, … where its state goes in.
        output_names: ``y``, and ``next_state_0``, …
    """

    arguments: tuple[Any, ...]
    dynamic_shapes: tuple[Any, ...]
    names: tuple[str, ...]
    output_names: tuple[str, ...]

    @classmethod
    def of(cls, network: nn.Module, in_shape: Shape) -> "GraphInputs":
        """Returns those of a network: of one token at a time where its state goes in.

        Args:
            network: in evaluation mode.
            in_shape: of one example.
        """
        batch = torch.export.Dim("batch")
        dtype = torch.int64 if isinstance(in_shape, TokenShape) else torch.float32
        size = 2  # torch.export would take a batch of 1 for a constant
        if not isinstance(network, Streamed):
            x = torch.zeros(size, *in_shape, dtype=dtype)
            return cls((x,), ({0: batch},), ("x",), ("y",))
        x, state = torch.zeros(size, 1, dtype=dtype), network.begin(size)
        numbers = range(len(state))
        return cls(
            (x, state),
            ({0: batch}, [{0: batch} for _ in numbers]),
            ("x", *(f"state_{number}" for number in numbers)),
            ("y", *(f"next_state_{number}" for number in numbers)),
        )


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Keeps the exporters' progress and warnings about their own parts from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def reason_of(error: BaseException) -> str:
    """Returns the innermost cause in one line: exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
