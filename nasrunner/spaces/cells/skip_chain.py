"""Layers in series with skip connections that are added, as chosen, and the network of them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Pruning, Shape, Space, argument_names
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import BatchNorm, Dead, Empty
from nasrunner.spaces.branches import largest, pad_to

T = TypeVar("T")


@dataclass(frozen=True)
class SkipChain(Space):
    """What ``skip_layers`` with ``skips: added`` becomes when it is frozen.

    Layer k takes the value of layer k-1, and its own value is the sum of what it makes of that and
    of the values of the layers in ``inputs``, batch-normalized. Value 0 is what comes in. A pool
    behind a layer is given the values of all layers so far that are still taken, with weights of
    its own for each, so that all have one size. Pham et al. 2018, arXiv:1802.03268, section 2.3,
    in the authors' code.

    Args:
        layers: at least one.
        inputs: for each of them, the numbers of the earlier layers that are added, in increasing
            order.
        pools: for each of them, what stands behind it; ``empty``: nothing does.

    Raises:
        SpaceError: a layer takes one that does not come before it, or the lists are of different
            lengths.
    """

    layers: tuple[Space, ...]
    inputs: tuple[tuple[int, ...], ...]
    pools: tuple[Space, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.layers), len(self.inputs), len(self.pools)}
        if len(lengths) > 1 or not self.layers:
            raise SpaceError(
                f"skip_chain needs as many inputs and pools as layers, at least one of each, got "
                f"{len(self.inputs)} and {len(self.pools)} for {len(self.layers)}"
            )
        for number, sources in enumerate(self.inputs, start=1):
            for source in sources:
                if not 1 <= source < number:
                    raise SpaceError(
                        f"layer {number} may take only layers before it, 1 to {number - 1}, got "
                        f"{source}"
                    )

    def thread(self, in_shape: Shape, measure: Callable[[Space, Shape], Shape]) -> Shape:
        return self._run(in_shape, measure, largest)

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return self._run(x, tracer.run, tracer.add)

    def pruned(self, prune: Pruning) -> Space:
        layers = tuple(map(prune, self.layers))
        pools = tuple(map(prune, self.pools))
        if pools[-1].is_zero:
            return Dead(self, path=self.path)
        if all(a is b for a, b in zip((*layers, *pools), (*self.layers, *self.pools), strict=True)):
            return self
        return dataclasses.replace(self, layers=layers, pools=pools)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        built: list[tuple[nn.Module, Shape]] = []

        def build(part: Space, shape: Shape) -> Shape:
            built.append(part.build(shape))
            return built[-1][1]

        sums: list[Shape] = []

        def add(shapes: list[Shape]) -> Shape:
            sums.append(largest(shapes))
            return sums[-1]

        out_shape = self._run(in_shape, build, add)
        parts = iter(built)
        layers, pools = [], []
        for number, (sources, pool) in enumerate(zip(self.inputs, self._pools, strict=True), 1):
            layer, norm = next(parts)[0], next(parts)[0]
            layers.append(Adding(layer, norm, sources, sums[number - 1]))
            pools.append([next(parts)[0] for _ in pool])
        return ChainNetwork(layers, pools, [tuple(pool) for pool in self._pools]), out_shape

    def text(self) -> str:
        shown = []
        for number, (layer, sources, pool) in enumerate(
            zip(self.layers, self.inputs, self.pools, strict=True), start=1
        ):
            added = f" + {','.join(map(str, sources))}" if sources else ""
            behind = "" if isinstance(pool, Empty) else f" → {pool.text()}"
            shown.append(f"{number}: {layer.text()}{added}{behind}")
        return f"skip_layers[added]({'; '.join(shown)})"

    def sources(self) -> tuple[tuple[int, ...], ...]:
        """What each layer takes and adds, and last what goes out; 0 is what comes in."""
        each = (
            tuple(sorted({number - 1, *sources})) for number, sources in enumerate(self.inputs, 1)
        )
        return (*each, (len(self.layers),))

    def _run(self, x: T, apply: Callable[[Space, T], T], add: Callable[[list[T]], T]) -> T:
        """Passes a value through all layers; see ``make``, ``trace`` and ``thread``."""
        values = {0: x}
        for number, (layer, sources, norm, pools) in enumerate(
            zip(self.layers, self.inputs, self._norms, self._pools, strict=True), start=1
        ):
            made = apply(layer, values[number - 1])
            values[number] = apply(norm, add([made, *(values[source] for source in sources)]))
            values |= {value: apply(pool, values[value]) for value, pool in pools.items()}
        return values[len(self.layers)]

    @functools.cached_property
    def _norms(self) -> tuple[Space, ...]:
        numbers = range(1, len(self.layers) + 1)
        return tuple(BatchNorm(path=f"{self.path}/{number}/sum") for number in numbers)

    @functools.cached_property
    def _pools(self) -> tuple[dict[int, Space], ...]:
        """For each layer, what stands behind it by the values that are given to it."""
        found: list[dict[int, Space]] = []
        for number, pool in enumerate(self.pools, start=1):
            later = {number}.union(*self.inputs[number:])
            taken = sorted(value for value in later if 0 < value <= number)
            found.append(
                {} if isinstance(pool, Empty) else {n: _placed(pool, f"/{n}") for n in taken}
            )
        return tuple(found)


class Adding(nn.Module):
    """Adds earlier values to what a layer makes of the one before it, and normalizes the sum."""

    def __init__(
        self, layer: nn.Module, norm: nn.Module, sources: Sequence[int], shape: Shape
    ) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm
        self.sources = list(sources)
        self.shape = shape

    def forward(self, values: dict[int, torch.Tensor], number: int) -> torch.Tensor:
        total = pad_to(self.layer(values[number - 1]), self.shape)
        for source in self.sources:
            total = total + pad_to(values[source], self.shape)
        y: torch.Tensor = self.norm(total)
        return y


class ChainNetwork(nn.Module):
    """Runs one layer after the other, and pools values behind some of them.

    Args:
        layers: layer 1, 2, …
        pools: the layers behind each of them.
        pooled: the number of the value that each of these is given.
    """

    def __init__(
        self,
        layers: list[Adding],
        pools: list[list[nn.Module]],
        pooled: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.pools = nn.ModuleList(map(nn.ModuleList, pools))
        self.pooled = [list(numbers) for numbers in pooled]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {0: x}
        behind = zip(self.pools, self.pooled, strict=True)
        for number, (layer, (pools, pooled)) in enumerate(zip(self.layers, behind, strict=True), 1):
            values[number] = layer(values, number)
            assert isinstance(pools, nn.ModuleList)
            for value, pool in zip(pooled, pools, strict=True):
                values[value] = pool(values[value])
        return values[len(self.layers)]


def _placed(value: Any, suffix: str) -> Any:
    """A frozen module whose parts stand at paths of their own, by which weights are known."""
    if isinstance(value, tuple):
        return tuple(_placed(each, suffix) for each in value)
    if not isinstance(value, Space):
        return value
    arguments = {
        name: _placed(getattr(value, name), suffix) for name in argument_names(type(value))
    }
    return dataclasses.replace(value, **arguments, path=value.path + suffix)
