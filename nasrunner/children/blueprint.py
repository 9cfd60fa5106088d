"""A child before it is trained: its size and cost, found out without weights or data."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import nn

from nasrunner.children.inputs import InDtype, Inputs, is_of_tokens, zeros
from nasrunner.core import InShape, SearchSpace, Shape, Space, SpaceError
from nasrunner.core.shapes import TokenShape, as_in_shape, dtypes_of
from nasrunner.core.space import overrides_alone

COUNTED = "nasrunner_flops"
"""Attribute of a module whose floating-point operations were counted before, not by running it."""

OutShape = Shape | int
"""The shape that the output for one example must have; a number is so many in a row."""

Cost = tuple[tuple[int, ...], int]
"""Shape of a layer's output with the batch first, and the floating-point operations it takes."""


@dataclass(frozen=True)
class Size:
    """What a network needs.

    Attributes:
        parameters: all of them.
        trained: those that are trained.
        flops: floating-point operations of one example's forward pass, as of ``count_flops``.
    """

    parameters: int
    trained: int
    flops: int


def measure(
    frozen: SearchSpace, in_shape: InShape, out_shape: OutShape, in_dtype: InDtype = "float32"
) -> Size:
    """Builds a network on the meta device and counts what it would need.

    A module of a user's own that looks at values is run on the CPU for it; see ``External``.

    Args:
        frozen: the architecture.
        in_shape: shape of one example.
        out_shape: what must come out of it, as of ``Task.out_shape``.
        in_dtype: ``int64``: an example is a sequence of tokens. Of several inputs a type by name.

    Raises:
        SpaceError: the network is impossible, or something else comes out.
    """
    if not isinstance(in_shape, tuple):
        in_shape = as_in_shape(in_shape)
    if in_dtype != "float32" and (is_of_tokens(in_dtype) or _holds_tokens(in_shape, in_dtype)):
        # Parts are measured on float32, each for itself.
        return _size_of(on_meta(frozen, in_shape, out_shape), in_shape, in_dtype)
    size, found = _measured(frozen.network, in_shape)
    _check_output(found, out_shape)
    return size


def measure_operation(part: Space, in_shape: InShape, in_dtype: InDtype) -> tuple[Size, Shape]:
    """Counts what one module of a frozen network would need, and finds the shape that comes out.

    Args:
        part: the module.
        in_shape: what comes in, of one example.
        in_dtype: of the network's inputs, as of ``measure``.

    Raises:
        SpaceError: it is impossible.
    """
    is_of_tokens = isinstance(in_shape, TokenShape) or in_dtype == "int64"
    with torch.device("meta"):
        network, out_shape = part.build(in_shape)
    if isinstance(in_shape, Mapping):
        return _size_of(network, in_shape, in_dtype), out_shape
    return _size_of(network, in_shape, "int64" if is_of_tokens else "float32"), out_shape


_MOST_KEPT = 10_000
_kept: dict[tuple[int, Hashable], tuple[Space, Size, Shape]] = {}
"""(id, shape that comes in) -> the part of a space with this id, its size, what comes out of it."""


def _holds_tokens(in_shape: InShape, in_dtype: InDtype) -> bool:
    return isinstance(in_shape, Mapping) and "int64" in dtypes_of(in_shape, in_dtype).values()


def _measured(part: Space, in_shape: InShape) -> tuple[Size, Shape]:
    """The size of a part of a frozen space, and the shape that comes out.

    Parts that a space resolves to once are in many of its architectures: they are measured once.
    """
    given: Hashable = in_shape if isinstance(in_shape, tuple) else tuple(in_shape.items())
    if (found := _kept.get((id(part), given))) is not None:
        return found[1:]
    sizes: list[Size] = []

    def measured(inner: Space, shape: InShape) -> Shape:
        size, out_shape = _measured(inner, shape)
        sizes.append(size)
        return out_shape

    part.check_inputs(in_shape)
    out_shape = None
    if not overrides_alone(type(part), "make", "thread"):
        out_shape = part.thread(in_shape, measured)
    if out_shape is None:
        with torch.device("meta"):
            network, out_shape = part.build(in_shape)
        sizes = [_size_of(network, in_shape, "float32")]
    total = Size(*map(sum, zip(*map(astuple, sizes), strict=True))) if sizes else Size(0, 0, 0)
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[id(part), given] = (part, total, out_shape)  # the part with it: its id lasts as long
    return total, out_shape


def _size_of(network: nn.Module, in_shape: InShape, in_dtype: InDtype) -> Size:
    parameters = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    try:
        flops = count_flops(network, in_shape, in_dtype)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise SpaceError(f"the network cannot be run on the meta device: {reason}") from error
    return Size(parameters, trained, flops)


def on_meta(frozen: SearchSpace, in_shape: InShape, out_shape: OutShape) -> nn.Module:
    """Returns a network on the meta device: its shapes, without its weights.

    Args:
        frozen: the architecture.
        in_shape, out_shape: as of ``measure``.

    Raises:
        SpaceError: as of ``measure``.
    """
    with torch.device("meta"):
        network, found = frozen.build(in_shape)
    _check_output(found, out_shape)
    return network


_ENDS = {
    1: 'affine: {units: "${data.num_outputs}"}',
    2: 'language_model: {vocabulary: "${data.num_outputs}", …}',
    3: 'conv2d: {filters: "${data.num_outputs}", kernel_size: 1} at the height and width that '
    "came in",
}
"""How many dimensions must come out -> what a space ends with then."""


def _check_output(found: Shape, wanted: OutShape) -> None:
    legal = (wanted,) if isinstance(wanted, int) else wanted
    if found == legal:
        return
    hint = f": end the space with {_ENDS[len(legal)]}" if len(legal) in _ENDS else ""
    if len(found) == 2 and found[-1:] == legal:
        hint += "; what answers at each step is for a task such as task=language_model"
    raise SpaceError(f"the network's output has the shape {found} but must have {legal}{hint}")


def count_flops(network: nn.Module, in_shape: InShape, in_dtype: InDtype = "float32") -> int:
    """Returns floating-point operations of one example's forward pass, two for each multiply-add.

    Matrix products and convolutions count, as in ``torch.utils.flop_counter``; elementwise
    operations do not. Where all layers are torch's, their formulas give the same count without
    that module, which takes a second to import.

    Args:
        network: on the meta device; it cannot be used afterwards.
        in_shape: shape of one example.
        in_dtype: torch's name of its type, or names by input.
    """
    x = zeros(1, in_shape, in_dtype, "meta")
    network.eval()
    if all(map(_is_known, network.modules())):
        return _tally(network, x)
    from torch.utils.flop_counter import FlopCounterMode  # with what it imports: a second

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(x)
    known = sum(getattr(module, COUNTED, 0) for module in network.modules())
    return int(counter.get_total_flops()) + known


def _tally(network: nn.Module, x: Inputs) -> int:
    """Adds up what layers cost, from their formulas: they are not run, nor their code imported."""
    flops = 0

    def tallied(layer: nn.Module, formula: Formula) -> Callable[[torch.Tensor], torch.Tensor]:
        def call(x: torch.Tensor) -> torch.Tensor:
            nonlocal flops
            shape, cost = formula(layer, tuple(x.shape))
            flops += cost
            return torch.empty(shape, dtype=x.dtype, device="meta")

        return call

    for layer in network.modules():
        if (formula := _FORMULAS.get(type(layer))) is not None:
            layer.forward = tallied(layer, formula)
    with torch.no_grad():
        network(x)
    return flops


Formula = Callable[[Any, tuple[int, ...]], Cost]
"""What a layer makes of an input of this shape (batch first), and what that costs."""


def _of_linear(layer: nn.Linear, shape: tuple[int, ...]) -> Cost:
    out = (*shape[:-1], layer.out_features)
    return out, 2 * math.prod(out) * layer.in_features


def _of_convolution(layer: nn.Conv1d | nn.Conv2d, shape: tuple[int, ...]) -> Cost:
    out = (shape[0], layer.out_channels, *_slid(layer, shape))
    weights = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    return out, 2 * math.prod(out) * weights


def _of_pooling(layer: nn.Module, shape: tuple[int, ...]) -> Cost:
    return (*shape[:2], *_slid(layer, shape)), 0


def _of_global_pooling(layer: nn.AdaptiveAvgPool2d, shape: tuple[int, ...]) -> Cost:
    given, num_sizes = layer.output_size, len(shape) - 2
    size = given if isinstance(given, tuple) else (given,) * num_sizes
    return (
        *shape[:2],
        *(int(wanted or there) for wanted, there in zip(size, shape[2:], strict=True)),
    ), 0


def _of_flatten(layer: nn.Flatten, shape: tuple[int, ...]) -> Cost:
    last = layer.end_dim % len(shape)
    flat = math.prod(shape[layer.start_dim : last + 1])
    return (*shape[: layer.start_dim], flat, *shape[last + 1 :]), 0


def _of_padding(layer: nn.ConstantPad1d | nn.ConstantPad2d, shape: tuple[int, ...]) -> Cost:
    pads: tuple[int, ...] = layer.padding  # of the last dimension first
    added = [sum(pads[2 * place : 2 * place + 2]) for place in reversed(range(len(shape) - 2))]
    return (*shape[:2], *(n + more for n, more in zip(shape[2:], added, strict=True))), 0


def _of_elementwise(layer: nn.Module, shape: tuple[int, ...]) -> Cost:
    return shape, 0


def _slid(layer: Any, shape: tuple[int, ...]) -> list[int]:
    """Rows and columns, or time steps, that a sliding window leaves."""

    def sizes(value: Any) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * (len(shape) - 2)

    settings = map(
        sizes,
        (layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1)),
    )
    return [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, padding, dilation in zip(shape[2:], *settings, strict=True)
    ]


_FORMULAS: dict[type[nn.Module], Formula] = {
    nn.Linear: _of_linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), _of_convolution),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d), _of_pooling),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), _of_global_pooling),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), _of_global_pooling),
    nn.Flatten: _of_flatten,
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d), _of_padding),
    **dict.fromkeys(
        (
            *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.Dropout, nn.Identity),
            *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU),
            *(nn.Sigmoid, nn.Tanh),
        ),
        _of_elementwise,
    ),
}
"""Torch's layers that the space language builds from: each takes one tensor."""


def _is_known(module: nn.Module) -> bool:
    """Whether all that a module multiplies is in ``_FORMULAS``, with settings they know."""
    if getattr(module, "ceil_mode", False) or isinstance(getattr(module, "padding", 0), str):
        return False
    containers = (nn.Sequential, nn.ModuleList)
    return type(module) in (*_FORMULAS, *containers) or type(module).__module__.startswith(
        "nasrunner.spaces."
    )
