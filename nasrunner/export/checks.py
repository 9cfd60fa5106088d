"""Compares what was written with the network itself, on random inputs."""

from collections.abc import Callable, Sequence

import torch

from nasrunner.core.shapes import TokenShape
from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError

BATCHES = (1, 7)
"""Batches that are compared, in examples."""

TOLERANCE = 1e-4
"""The largest difference of float32 outputs, relative to the largest of them, or to their unit."""


def max_difference(
    what: str,
    network: Callable[[torch.Tensor], torch.Tensor],
    other: Callable[[torch.Tensor], torch.Tensor],
    in_shape: Shape,
    vocabulary: int = 1,
    unit: float = 1.0,
) -> float:
    """Returns the largest absolute difference between two networks' outputs, in evaluation mode.

    Inputs are drawn from the standard normal distribution, or tokens from those there are, with
    seeds of their own.

    Args:
        what: what is compared with the network, for the error message.
        network: the original, in evaluation mode.
        other: takes the same inputs.
        in_shape: of one example.
        vocabulary: tokens are below it, where ``in_shape`` is of tokens.
        unit: of the outputs, > 0: what a difference is relative to where they are smaller.

    Raises:
        ExportError: the difference is too large, an output is not finite, or ``other`` fails.
    """
    largest = 0.0
    for batch in BATCHES:
        generator = torch.Generator().manual_seed(batch)
        if isinstance(in_shape, TokenShape):
            x = torch.randint(vocabulary, (batch, *in_shape), generator=generator)
        else:
            x = torch.randn(batch, *in_shape, generator=generator)
        with torch.no_grad():
            wanted = network(x)
            try:
                found = other(x)
            except Exception as error:  # a runtime raises what it likes
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise ExportError(f"{what} does not run on {batch} examples: {reason}") from error
        if found.shape != wanted.shape:
            raise ExportError(
                f"{what} makes outputs of shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
            )
        difference = float((found - wanted).abs().max())
        limit = TOLERANCE * max(unit, float(wanted.abs().max()))
        if not difference <= limit:  # also where it is not a number
            raise ExportError(
                f"{what} differs from the network by {difference:.3g} on random inputs, more than "
                f"{limit:.3g}"
            )
        largest = max(largest, difference)
    return largest


Step = Callable[[torch.Tensor, Sequence[torch.Tensor]], tuple[torch.Tensor, list[torch.Tensor]]]
"""(tokens (B, T), state before) to (outputs (B, T, V), state after)."""


def by_steps(
    step: Step, begin: Callable[[int], list[torch.Tensor]], num_tokens: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what reads texts (B, T) a few tokens at a time, and hands the state on.

    Args:
        step: reads some tokens.
        begin: makes the state before the first of them, of texts side by side.
        num_tokens: read at a time.
    """

    def run(tokens_BT: torch.Tensor) -> torch.Tensor:
        state, found = begin(len(tokens_BT)), []
        for tokens in torch.split(tokens_BT, num_tokens, dim=1):
            y, state = step(tokens, state)
            found.append(y)
        return torch.cat(found, dim=1)

    return run
