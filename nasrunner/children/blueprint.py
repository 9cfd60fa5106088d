"""A child before it is trained: its size and cost, found out without weights or data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasrunner.core import Blueprint, Genotype, SearchSpace, Shape, Space, SpaceError

Cost = tuple[tuple[int, ...], torch.dtype, int]
"""Shape and type of a layer's output, and the floating-point operations it takes."""

_COSTS: dict[tuple[type[nn.Module], str, tuple[int, ...], torch.dtype], Cost] = {}
"""What torch's own layers cost, by class, arguments and input: the same for every child."""


def draw_up(
    space: SearchSpace,
    genotype: Genotype,
    in_shape: Shape,
    num_outputs: int,
    draw: Callable[[Space], str],
) -> Blueprint:
    """Builds a child on the meta device and counts what it would need.

    Modules of a user's own must run on the meta device: they may look at shapes, not at values.

    Raises:
        SpaceError: the network is impossible, or its output is not ``(num_outputs,)``.
    """
    frozen = space.freeze(genotype)
    with torch.device("meta"):
        network, out_shape = frozen.build(in_shape)
    if out_shape != (num_outputs,):
        raise SpaceError(
            f"the network's output has the shape {out_shape} but must have ({num_outputs},): "
            "end the space with affine: {units: ${data.num_outputs}}"
        )
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    try:
        flops = count_flops(network, in_shape)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise SpaceError(f"the network cannot be run on the meta device: {reason}") from error
    return Blueprint(frozen.text(), draw(frozen), space.values(genotype), parameters, flops)


def count_flops(network: nn.Module, in_shape: Shape) -> int:
    """Floating-point operations of one example's forward pass, two for each multiply-add.

    Matrix products and convolutions count, as in ``torch.utils.flop_counter``; elementwise
    operations do not.

    Args:
        network: on the meta device; it cannot be used afterwards.
        in_shape: shape of one example.
    """
    counter = FlopCounterMode(display=False)
    remembered = _Remembered(counter)
    for layer in network.eval().modules():
        if type(layer).__module__.startswith("torch.nn.modules.") and not any(layer.children()):
            layer.forward = remembered.forward_of(layer)
    with torch.no_grad(), counter:
        network(torch.empty(1, *in_shape, device="meta"))
    return int(counter.get_total_flops()) + remembered.flops


class _Remembered:
    """Runs each kind of torch layer once: on the meta device a convolution takes a millisecond.

    Args:
        counter: counts a layer that is run.

    Attributes:
        flops: of the layers that did not have to be run.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.flops = 0

    def forward_of(self, layer: nn.Module) -> Callable[..., Any]:
        forward, kind, arguments = layer.forward, type(layer), layer.extra_repr()

        def remembered(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != 1 or not isinstance(args[0], torch.Tensor):
                return forward(*args, **kwargs)
            key = (kind, arguments, tuple(args[0].shape), args[0].dtype)
            if key in _COSTS:
                shape, dtype, flops = _COSTS[key]
                self.flops += flops
                return torch.empty(shape, dtype=dtype, device="meta")
            before = self.counter.get_total_flops()
            out = forward(*args)
            if isinstance(out, torch.Tensor):
                flops = int(self.counter.get_total_flops() - before)
                _COSTS[key] = (tuple(out.shape), out.dtype, flops)
            return out

        return remembered
