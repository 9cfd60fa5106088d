"""Writes a network as a program of torch.export, and runs the file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError
from nasrunner.export.graph import GraphInputs, reason_of, without_messages

METADATA = "metadata.json"
"""What the extra file in the program is called that says what it is."""


def write_pt2(
    network: nn.Module, in_shape: Shape, path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a network for batches of any size; arguments and outputs are as of its forward pass.

    Args:
        network: in evaluation mode.
        in_shape: of one example.
        path: of the file.
        metadata: what else the file says of the network, by name; it is in its extra file
            ``metadata.json``.

    Raises:
        ExportError: the network does something that torch.export cannot trace.
    """
    given = GraphInputs.of(network, in_shape)
    try:
        with without_messages(), torch.no_grad():
            program = torch.export.export(
                network, given.arguments, dynamic_shapes=given.dynamic_shapes, strict=False
            )
            extra = {METADATA: json.dumps(dict(metadata or {}), ensure_ascii=False)}
            torch.export.save(program, path, extra_files=extra)
    except Exception as error:  # torch.export raises many classes of its own
        raise ExportError(
            f"the network cannot be written by torch.export: {reason_of(error)}"
        ) from error


class Pt2Network:
    """A program of torch.export, run by torch.

    Args:
        path: of the file.

    Raises:
        ExportError: torch does not take the file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._run: Any = torch.export.load(path).module()
        except Exception as error:  # it raises nearly anything
            raise ExportError(f"torch does not take the file: {reason_of(error)}") from error

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self._run(x)
        return y

    def step(
        self, x: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns the outputs for one token of each text, and the state after it."""
        y, after = self._run(x, list(state))
        return y, after
