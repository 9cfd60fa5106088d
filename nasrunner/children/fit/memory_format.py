"""How a child's images lie in memory: channel after channel, or pixel after pixel."""

from collections.abc import Mapping

import torch
from torch import nn

from nasrunner.children.inputs import Inputs
from nasrunner.core import InShape

_KNOWN = ("torch.nn.modules.", "nasrunner.spaces.")


def is_channels_last(choice: bool | str, network: nn.Module, in_shape: InShape) -> bool:
    """Tells whether a network is trained in torch's channels-last format: what convolutions prefer.

    A user's own module may call ``view`` on images, which only the usual format allows.

    Args:
        choice: ``trainer.channels_last``; ``auto``: where all layers are torch's or ours.
        network: the child's.
        in_shape: shape of one example; only images have the format, (channels, height, width), and
            of several inputs those that are images.
    """
    shapes = in_shape.values() if isinstance(in_shape, Mapping) else [in_shape]
    if all(len(shape) != 3 for shape in shapes):
        return False
    if choice == "auto":
        return all(type(layer).__module__.startswith(_KNOWN) for layer in network.modules())
    return bool(choice)


def laid_out(x: Inputs) -> Inputs:
    """Returns the images (B, C, H, W) in the channels-last format; other inputs as they are."""
    if isinstance(x, Mapping):
        return {n: _laid_out(each) if each.ndim == 4 else each for n, each in x.items()}
    return _laid_out(x)


def _laid_out(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)
