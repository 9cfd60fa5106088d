"""What network morphisms know of torch's layers."""

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import torch
from torch import nn


class Leaf(NamedTuple):
    """A layer of torch's that an operation consists of.

    Attributes:
        prefix: what the names of its weights begin with in the network.
        layer: it.
    """

    prefix: str
    layer: nn.Module


def leaves(prefix: str, layer: nn.Module) -> Iterator[Leaf]:
    """Yields the layers of an operation, which are applied one after the other."""
    if type(layer) is nn.Sequential:
        for name, child in layer.named_children():
            yield from leaves(f"{prefix}{name}.", child)
    else:
        yield Leaf(prefix, layer)


POOLS = (
    *(nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)

LINEAR_MAPS = (nn.Linear, *CONVOLUTIONS)

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

_KEEP_CHANNELS = (
    *POOLS,
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh),
    *(nn.Identity, nn.ConstantPad1d, nn.ConstantPad2d),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d),
)

_KEEP_WHAT_IS_POSITIVE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Identity)

_MAKE_POSITIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid)


def keeps_channels(layer: nn.Module) -> bool:
    """Tells whether a layer without weights makes each channel of the same channel of its input."""
    return type(layer) in _KEEP_CHANNELS


def is_convolution(layer: nn.Module) -> TypeGuard[nn.Conv1d | nn.Conv2d]:
    """Tells whether a layer is a convolution of torch's own, and of no class below it."""
    return type(layer) in CONVOLUTIONS


def mixes_channels(layer: nn.Module) -> bool:
    """Tells whether a layer is a linear map from all channels to all."""
    return type(layer) is nn.Linear or (is_convolution(layer) and layer.groups == 1)


def is_depthwise(layer: nn.Module) -> bool:
    """Tells whether a layer is a convolution of each channel for itself."""
    return is_convolution(layer) and layer.groups == layer.in_channels == layer.out_channels


def has_settings_of(layer: nn.Module, other: nn.Module) -> bool:
    """Tells whether two linear maps differ in nothing but the numbers of their channels."""
    names = ("kernel_size", "stride", "padding", "dilation")
    is_same = all(getattr(layer, name, None) == getattr(other, name, None) for name in names)
    return is_same and (layer.bias is None) == (other.bias is None)


def makes_zero_of_zero(layer: nn.Module) -> bool:
    """Tells whether zeros come out of a layer without weights if zeros come in."""
    if isinstance(layer, nn.ConstantPad1d | nn.ConstantPad2d):
        return layer.value == 0
    return type(layer) in _KEEP_CHANNELS and type(layer) is not nn.Sigmoid


def is_positive(layer: nn.Module, is_positive_before: bool) -> bool:
    """Tells whether nothing below zero comes out of a layer."""
    if type(layer) in _MAKE_POSITIVE:
        return True
    keeps = (*_KEEP_WHAT_IS_POSITIVE, *POOLS, nn.Flatten, nn.ReLU6)
    return is_positive_before and type(layer) in keeps


def can_be_identity(layer: nn.Module, is_positive_before: bool) -> bool:
    """Tells whether a layer passes its input on, once its weights are set by ``make_identity``.

    Args:
        layer: a new one.
        is_positive_before: whether nothing below zero comes in.
    """
    if isinstance(layer, BATCH_NORMS):
        return layer.affine and layer.track_running_stats
    if type(layer) is nn.Linear:
        return layer.in_features == layer.out_features
    if is_convolution(layer):
        kernel, padding = layer.kernel_size, layer.padding
        return (
            layer.in_channels == layer.out_channels
            and layer.groups == 1
            and set(layer.stride) == {1}
            and all(size % 2 for size in kernel)
            and padding
            == tuple(d * (k - 1) // 2 for d, k in zip(layer.dilation, kernel, strict=True))
        )
    if isinstance(layer, nn.Identity):
        return True
    return is_positive_before and type(layer) in _KEEP_WHAT_IS_POSITIVE


def make_identity(layer: nn.Module) -> None:
    """Sets a new layer's weights so that it passes its input on, in evaluation mode."""
    with torch.no_grad():
        if isinstance(layer, BATCH_NORMS):
            # Its statistics are the first ones: mean 0, variance 1.
            layer.weight.fill_(math.sqrt(1.0 + layer.eps))
            layer.bias.zero_()
        elif isinstance(layer, LINEAR_MAPS):
            init = nn.init.eye_ if isinstance(layer, nn.Linear) else nn.init.dirac_
            init(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()


def can_be_zero(layer: nn.Module) -> bool:
    """Tells whether a layer has weights that make it zero, whatever comes in."""
    is_norm = isinstance(layer, BATCH_NORMS) and layer.affine
    return is_norm or isinstance(layer, LINEAR_MAPS)


def make_zero(layer: nn.Module) -> None:
    """Sets a layer's weights so that zeros come out of it."""
    assert isinstance(layer, (*LINEAR_MAPS, *BATCH_NORMS))
    with torch.no_grad():
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
