"""Writes a network as an ONNX file, and runs the file."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError


def write_onnx(network: nn.Module, in_shape: Shape, path: Path) -> None:
    """Writes a network for batches of any size: input ``x``, output ``y``.

    Args:
        network: in evaluation mode.
        in_shape: of one example.
        path: of the file.

    Raises:
        ExportError: the network does something that has no counterpart in ONNX.
    """
    x = torch.zeros(2, *in_shape)  # torch.export would take a batch of 1 for a constant
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (x,),
                input_names=["x"],
                output_names=["y"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(path)
    except Exception as error:  # torch.export and the exporter raise many classes of their own
        raise ExportError(f"the network cannot be written as ONNX: {_reason(error)}") from error


class OnnxNetwork:
    """An ONNX file, run by onnxruntime on the CPU.

    Args:
        path: of the file.

    Raises:
        ExportError: onnxruntime does not take the file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # type: ignore[import-untyped]  # it has no stubs

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base but this
            raise ExportError(f"onnxruntime does not take the file: {_reason(error)}") from error

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        (y,) = self._session.run(["y"], {"x": x.numpy()})
        return torch.from_numpy(y)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress and its warnings about its own parts from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
