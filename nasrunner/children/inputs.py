"""What goes into a child's network: one tensor, or several by name."""

from collections.abc import Mapping

import torch

from nasrunner.core.shapes import InShape, dtypes_of

# B = batch

Inputs = torch.Tensor | Mapping[str, torch.Tensor]
"""The inputs of a batch: (B, ...), or such tensors by name."""

InDtype = str | Mapping[str, str]
"""Torch's name of the type of an example's numbers, or names by input; see ``data.in_dtype``."""


def is_of_tokens(in_dtype: InDtype) -> bool:
    """Tells whether an example is one sequence of tokens, with an output for each of them."""
    return in_dtype == "int64"


def zeros(
    num_examples: int, in_shape: InShape, in_dtype: InDtype, device: str | None = None
) -> Inputs:
    """Returns a batch of zeros.

    Args:
        num_examples: B.
        in_shape: shape of one example.
        in_dtype: as of ``data.in_dtype``.
        device: torch's name of it; None: the default one.
    """

    def made(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        return torch.zeros(num_examples, *shape, dtype=getattr(torch, dtype), device=device)

    if isinstance(in_shape, Mapping):
        dtypes = dtypes_of(in_shape, in_dtype)
        return {name: made(shape, dtypes[name]) for name, shape in in_shape.items()}
    assert isinstance(in_dtype, str)
    return made(in_shape, in_dtype)
