"""How a child's images lie in memory: channel after channel, or pixel after pixel."""

import torch
from torch import nn

from nasrunner.core import Shape

_KNOWN = ("torch.nn.modules.", "nasrunner.spaces.")


def is_channels_last(choice: bool | str, network: nn.Module, in_shape: Shape) -> bool:
    """Whether a network is trained in torch's channels-last format: what convolutions prefer.

    A user's own module may call ``view`` on images, which only the usual format allows.

    Args:
        choice: ``trainer.channels_last``; ``auto``: where all layers are torch's or ours.
        network: the child's.
        in_shape: shape of one example; only images have the format, (channels, height, width).
    """
    if len(in_shape) != 3:
        return False
    if choice == "auto":
        return all(type(layer).__module__.startswith(_KNOWN) for layer in network.modules())
    return bool(choice)


def laid_out(images: torch.Tensor) -> torch.Tensor:
    """The images (B, C, H, W) in the channels-last format."""
    return images.contiguous(memory_format=torch.channels_last)
