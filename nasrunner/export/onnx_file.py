"""Writes a network as an ONNX file, and runs the file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError
from nasrunner.export.graph import GraphInputs, reason_of, without_messages


class Normalized(nn.Module):
    """A network of inputs as they are in the data set, which it normalizes itself.

    Args:
        network: of normalized inputs.
        mean, std: of each channel or feature, by which the inputs are normalized.
        in_shape: of one example.
        has_missing: whether NaN stands for a number that is missing, which is 0 once normalized.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        in_shape: Shape,
        *,
        has_missing: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.has_missing = has_missing
        self.mean: torch.Tensor
        self.std: torch.Tensor
        shape = (-1, *[1] * (len(in_shape) - 1))
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalized = (x - self.mean) / self.std
        if self.has_missing:
            normalized = torch.where(normalized.isnan(), 0.0, normalized)
        y: torch.Tensor = self.network(normalized)
        return y

    def raw(self, normalized: torch.Tensor) -> torch.Tensor:
        """Inputs that become these when they are normalized."""
        raw: torch.Tensor = normalized * self.std + self.mean
        return raw


def write_onnx(
    network: nn.Module, in_shape: Shape, path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a network for batches of any size: input ``x``, output ``y``.

    One whose state goes in reads a token of each text, and has an input ``state_0``, … and an
    output ``next_state_0``, … for each of its values.

    Args:
        network: in evaluation mode.
        in_shape: of one example.
        path: of the file.
        metadata: what else the file says of the network, by name.

    Raises:
        ExportError: the network does something that has no counterpart in ONNX.
    """
    given = GraphInputs.of(network, in_shape)
    try:
        with without_messages():
            program = torch.onnx.export(
                network,
                given.arguments,
                input_names=list(given.names),
                output_names=list(given.output_names),
                dynamic_shapes=given.dynamic_shapes,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.model.metadata_props.update(metadata or {})
            program.save(path)
    except Exception as error:  # torch.export and the exporter raise many classes of their own
        raise ExportError(f"the network cannot be written as ONNX: {reason_of(error)}") from error


class OnnxNetwork:
    """An ONNX file, run by onnxruntime on the CPU.

    Args:
        path: of the file.

    Raises:
        ExportError: onnxruntime does not take the file.
    """

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would tell Microsoft of each use
        import onnxruntime  # type: ignore[import-untyped]  # it has no stubs

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base but this
            raise ExportError(f"onnxruntime does not take the file: {reason_of(error)}") from error

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        (y,) = self._session.run(["y"], {"x": x.numpy()})
        return torch.from_numpy(y)

    def step(
        self, x: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns the outputs for one token of each text, and the state after it."""
        given = {f"state_{number}": each.numpy() for number, each in enumerate(state)}
        names = ["y", *(f"next_{name}" for name in given)]
        y, *after = map(torch.from_numpy, self._session.run(names, {"x": x.numpy(), **given}))
        return y, after
