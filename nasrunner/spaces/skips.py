"""Layers with skip connections: any later layer may take the output of any earlier one."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.decision import (
    Address,
    Choose,
    Decision,
    Selection,
    is_open,
    most,
    options_of,
    values_of,
)
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Asked, Question
from nasrunner.core.space import (
    Shape,
    Space,
    decisions_of_value,
    enter,
    opened,
    questions_of,
    questions_opened,
    resolve_module,
    resolve_value,
)
from nasrunner.spaces.basic import Empty
from nasrunner.spaces.cells.skip_chain import SkipChain
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.skip_graph import SkipGraph

_NO_POOL = Empty()


@dataclass(frozen=True)
class SkipLayers(Space):
    """Layers that choose which earlier ones they take. Zoph & Le 2017, arXiv:1611.01578, 3.3.

    The layers are numbered from 1; 0 is what comes in, the image. Each layer makes the decisions
    of ``layer`` for itself, and then, for every earlier layer, whether it takes its output:
    ``skip_layers/3/from/1``. What a layer takes is stacked in depth, smaller ones padded with
    zeros at the end of each other dimension. A layer that takes none takes the image, and the
    outputs that no layer takes are stacked in the same way for what comes after.

    ``skips: added``: each layer takes the one before it instead, the values that it chooses are
    added to its own, and the last layer's goes out: the macro search space of Pham et al. 2018,
    arXiv:1802.03268, section 2.3; see ``skip_chain``.

    Args:
        times: how many layers, >= 1.
        layer: each of them.
        pool: what stands behind some layers as a part of them, such as ``max_pool``; each time
            with decisions of its own, asked with the layer's.
        pool_after: the numbers of these layers, in increasing order.
        skips: how skip connections join; see above. Where they are added, each pool is given all
            values that are still taken, with weights of its own for each.

    Raises:
        SpaceError: ``pool_after`` does not increase or names a layer
            that there never is, or one of ``pool`` and ``pool_after`` is without the other.

    Differs from ENAS' code: there a layer may add the stem's value and not that of the layer before
    it, which are as many choices.
    """

    times: Count
    layer: Space
    pool: Space = _NO_POOL
    pool_after: tuple[int, ...] = ()
    skips: Literal["stacked", "added"] = "stacked"

    def __post_init__(self) -> None:
        if is_open(self.skips):
            raise SpaceError("skips of skip_layers must be stacked or added, not a decision")
        if is_open(self.pool_after):
            raise SpaceError("pool_after of skip_layers must be numbers, not decisions")
        highest = max(options_of(self.times))
        numbers = [0, *self.pool_after, highest + 1]
        if any(before >= after for before, after in itertools.pairwise(numbers)):
            raise SpaceError(
                f"pool_after of skip_layers must be increasing numbers of layers from 1 to "
                f"{highest}, got {list(self.pool_after)}"
            )
        if isinstance(self.pool, Empty) != (not self.pool_after):
            raise SpaceError("skip_layers needs pool and pool_after together, or neither of them")

    def resolve(self, ask: Choose, at: Address) -> Space:
        def graph(times: int) -> Space:
            layers, pools, inputs = [], [], []
            for number in range(1, times + 1):
                layer = resolve_module(self.layer, ask, self._place_of_layer(at, number))
                pool: Space = _NO_POOL
                if number in self.pool_after:
                    pool = resolve_module(self.pool, ask, self._place_of_pool(at, number))
                layers.append(layer)
                pools.append(pool)
                answers = enumerate(map(ask, _selecting(at, number)), start=1)
                inputs.append(tuple(one for one, is_taken in answers if is_taken))
            if self.skips == "added":
                return SkipChain(tuple(layers), tuple(inputs), tuple(pools), path=at.path)
            pooled = (
                layer if pool is _NO_POOL else Concat((layer, pool))
                for layer, pool in zip(layers, pools, strict=True)
            )
            return SkipGraph(tuple(pooled), tuple(inputs), path=at.path)

        return opened(resolve_value(self.times, ask, at / "times"), graph, ask)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(times: int) -> Iterator[Question]:
            for number in range(1, times + 1):
                yield from questions_of(self.layer, self._place_of_layer(at, number))
                if number in self.pool_after:
                    yield from questions_of(self.pool, self._place_of_pool(at, number))
                yield from map(Asked, _selecting(at, number))

        yield from questions_opened(self.times, at / "times", opens)

    def size(self) -> int:
        return sum(map(self._size_of, values_of(self.times)))

    def most_modules(self) -> int:
        times = most(self.times)
        num_pairs = times * (times - 1) // 2  # a skip connection each
        pools = len(self.pool_after) * self.pool.most_modules()
        if self.skips == "added":  # a pool for each value, and a sum that is normalized
            pools = times * (pools + 2)
        return 1 + times * self.layer.most_modules() + num_pairs + pools

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from decisions_of_value(self.times, at / "times")
        yield from self.layer.decisions(self._place_of_layer(at, 1))
        if self.pool_after:
            yield from self.pool.decisions(self._place_of_pool(at, self.pool_after[0]))
        if max(options_of(self.times)) > 1:
            yield from _selecting(at, 2)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its layers and their inputs have to be chosen: freeze it first")

    def _size_of(self, times: int) -> int:
        num_pools = sum(number <= times for number in self.pool_after)
        num_pairs = times * (times - 1) // 2
        size: int = self.layer.size() ** times * self.pool.size() ** num_pools * 2**num_pairs
        return size

    def _place_of_layer(self, at: Address, number: int) -> Address:
        return enter(self.layer, at.repetition(number))

    def _place_of_pool(self, at: Address, number: int) -> Address:
        return enter(self.pool, (at / "pool").repetition(number))


@functools.lru_cache(maxsize=1024)
def _selecting(at: Address, number: int) -> tuple[Decision, ...]:
    """For every layer before this one: does this one take it? Kept, for freezing asks it again."""
    layer = at.repetition(number)
    place, kind = layer / "from", (layer / "from").repetition(1).kind
    return tuple(
        Decision(
            f"{place.path}/{earlier}",
            kind,
            options=(False, True),
            is_ordered=False,
            selection=Selection(at.repetition(earlier).path, layer.path),
        )
        for earlier in range(1, number)
    )
