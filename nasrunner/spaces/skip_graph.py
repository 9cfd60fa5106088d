"""Layers with skip connections that have been chosen, and the network of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Pruning, Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead
from nasrunner.spaces.branches import largest, pad_to


@dataclass(frozen=True)
class SkipGraph(Space):
    """Layers whose inputs are known: what ``SkipLayers`` becomes when it is frozen.

    Args:
        layers: at least one.
        inputs: for each of them, the numbers of the earlier layers it takes, in increasing
            order; none: it takes the image.

    Raises:
        SpaceError: a layer takes one that does not come before it.
    """

    layers: tuple[Space, ...]
    inputs: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.inputs):
            raise SpaceError(f"{len(self.layers)} layers have {len(self.inputs)} lists of inputs")
        for number, sources in enumerate(self.inputs, start=1):
            for source in sources:
                if not 1 <= source < number:
                    raise SpaceError(
                        f"layer {number} may take only layers before it, 1 to {number - 1}, got "
                        f"{source}"
                    )

    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Returns what each layer takes, and last what goes out; 0 is the image."""
        taken = {source for sources in self.inputs for source in sources}
        loose = tuple(n for n in range(1, len(self.layers) + 1) if n not in taken)
        return (*(sources or (0,) for sources in self.inputs), loose)

    def trace(self, tracer: Tracer[V], x: V) -> V:
        sources, outputs = self.sources(), [x]

        def taken(numbers: Sequence[int]) -> V:
            return tracer.concatenate([outputs[number] for number in numbers])

        for layer, numbers in zip(self.layers, sources[:-1], strict=True):
            outputs.append(tracer.run(layer, taken(numbers)))
        return taken(sources[-1])

    def pruned(self, prune: Pruning) -> Space:
        sources, layers = self.sources(), tuple(map(prune, self.layers))
        reached = {0}
        for number, layer in enumerate(layers, start=1):
            is_reached = prune.keeps_constants or not reached.isdisjoint(sources[number - 1])
            if is_reached and not layer.is_zero:
                reached.add(number)
        if reached.isdisjoint(sources[-1]):
            return Dead(self, path=self.path)
        needed = set(sources[-1])
        for number in reversed(range(1, len(layers) + 1)):
            if number in needed & reached:
                needed.update(sources[number - 1])
        kept = tuple(
            layer if layer.is_zero or number in needed & reached else Dead(layer, path=layer.path)
            for number, layer in enumerate(layers, start=1)
        )
        if all(one is other for one, other in zip(kept, self.layers, strict=True)):
            return self
        return replace(self, layers=kept)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        sources, shapes = self.sources(), [in_shape]
        layers: list[nn.Module] = []
        for layer, each in zip(self.layers, sources[:-1], strict=True):
            built, shape = layer.build(stacked_shape([shapes[source] for source in each]))
            layers.append(built)
            shapes.append(shape)
        out_shape = stacked_shape([shapes[source] for source in sources[-1]])
        return SkipNetwork(layers, list(map(list, sources))), out_shape

    def text(self) -> str:
        numbers = [*map(str, range(1, len(self.layers) + 1)), "output"]
        names = [",".join(map(str, each)) for each in self.sources()]
        ends = [f"{name}→{number}" for name, number in zip(names, numbers, strict=True)]
        layers = [f": {layer.text()}" for layer in self.layers]
        shown = (f"{end}{layer}" for end, layer in zip(ends, [*layers, ""], strict=True))
        return f"skip_layers({'; '.join(shown)})"


class SkipNetwork(nn.Module):
    """Gives each layer the outputs of those it takes, stacked in depth.

    Args:
        layers: layer 1, 2, …
        sources: what each of them takes, and last what goes out: numbers of layers; 0 is the
            input.
    """

    def __init__(self, layers: list[nn.Module], sources: list[list[int]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = sources

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = [x]
        for layer, sources in zip(self.layers, self.sources, strict=False):
            outputs.append(layer(stacked([outputs[source] for source in sources])))
        return stacked([outputs[source] for source in self.sources[-1]])


def stacked(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stacks in depth; the other dimensions are padded with zeros to the largest."""
    if len(tensors) == 1:
        return tensors[0]
    sizes = [max(sizes) for sizes in zip(*(each.shape[2:] for each in tensors), strict=True)]
    return torch.cat([pad_to(each, (each.shape[1], *sizes)) for each in tensors], dim=1)


def stacked_shape(shapes: Sequence[Shape]) -> Shape:
    """Returns the shape of one example of what ``stacked`` returns.

    Raises:
        ValueError: they have different numbers of dimensions.
    """
    return (sum(shape[0] for shape in shapes), *largest(list(shapes))[1:])
