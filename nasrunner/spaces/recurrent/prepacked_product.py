"""Many products with the same large matrix, which is laid out for the CPU's kernels once."""

from collections.abc import Callable

import torch

# R = rows, I, O = size of a row before and after

LEAST = 2**20
"""Elements of matrices from which on laying them out pays: fewer stay in the cache."""


def product_with(
    weight_OI: torch.Tensor, num_rows: int, beside: int = 0
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Gives x Wᵀ for rows x, (R, I) to (R, O), without a derivative.

    A product of few rows takes as long as reading the matrix: half as long from oneDNN's layout.
    Its operators are not public, but torch.compile calls them: a build without them multiplies as
    usual.

    Args:
        weight_OI: must not change while the function is used.
        num_rows: R.
        beside: elements of other matrices, whose products are in between.
    """
    if not is_packable(weight_OI, beside):
        weight_IO = weight_OI.t()
        return lambda x_RI: x_RI @ weight_IO
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI, num_rows)

    def product(x_RI: torch.Tensor) -> torch.Tensor:
        product_RO: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x_RI, packed, None, "none", [], ""
        )
        return product_RO

    return product


def is_packable(weight: torch.Tensor, beside: int = 0) -> bool:
    """Tells whether a matrix is large enough to be laid out, with those beside it, and can be."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.numel() + beside >= LEAST
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
