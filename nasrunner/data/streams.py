"""Batches of a text for truncated back-propagation through time."""

from collections.abc import Iterator

import torch

from nasrunner.data.loader import Batch

# N = number of targets, B = streams, L = targets of a stream, T = steps of a batch


class StreamLoader:
    """Cuts a text into streams of the same length and yields them side by side, T steps at a time.

    Row b of a batch goes on where row b of the batch before ended, so that a network that keeps
    its state between batches reads each stream in order; nothing is shuffled. Mikolov et al. 2010
    and Zaremba et al. 2014 (arXiv:1409.2329) train like this.

    Each target is one of exactly one batch, but for the last N mod B of the text, which no stream
    has: fewer than one a stream. Where T does not divide L, the last batch has fewer steps. The
    first token of a stream is predicted from the token before it, but without what came earlier.

    Args:
        tokens: (N + 1,): the targets are all but the first token, the inputs all but the last.
        batch_size: streams, >= 1.
        num_steps: steps a batch, >= 1.
    """

    def __init__(self, tokens: torch.Tensor, batch_size: int, num_steps: int) -> None:
        self.batch_size = batch_size
        self.num_steps = num_steps
        length = (len(tokens) - 1) // batch_size
        num_used = batch_size * length
        self.x_BL = tokens[:num_used].view(batch_size, length)
        self.y_BL = tokens[1 : num_used + 1].view(batch_size, length)

    def __len__(self) -> int:
        """Batches a pass."""
        return -(-self.x_BL.shape[1] // self.num_steps)

    def __iter__(self) -> Iterator[Batch]:
        if len(self):  # torch splits empty streams into one empty batch
            parts = (torch.split(each, self.num_steps, dim=1) for each in (self.x_BL, self.y_BL))
            yield from zip(*parts, strict=True)
