"""The weights that all architectures of a space share, and each network as it takes its own of them.

Pham et al. 2018, arXiv:1802.03268 (ENAS), section 2; slices of the widest layer are those of Yu et
al. 2019, arXiv:1812.08928 (slimmable networks), and Cai et al. 2020, arXiv:1908.09791 (once-for-all),
section 3.3.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from nasrunner.core import Genotype, InShape, SearchSpace, Shape
from nasrunner.core.network.graph import spelt
from nasrunner.core.shapes import hashable
from nasrunner.core.space import made_by
from nasrunner.core.space.part import Part

Widths = Literal["slices", "copies"]
"""What layers of several sizes that stand in one place of a space have.

* ``slices``: the first channels of the largest, and of its kernels the centre.
* ``copies``: each size weights of its own.
"""

_SLICED = (nn.Linear, _ConvNd, _NormBase, nn.LayerNorm, nn.GroupNorm)

_Slices = tuple[slice, ...]


@dataclass(frozen=True)
class _Lent:
    """A weight of a layer that is a part of a shared one.

    Attributes:
        key: the shared one's.
        slices: which part.
    """

    key: str
    slices: _Slices


@dataclass
class _Scope:
    """Where operations are built: in the network, or by another operation for itself.

    Attributes:
        prefix: of the keys of their weights.
        seen: how often an operation was built at each place.
        keys: of the weights that were lent.
    """

    prefix: str
    seen: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Layer:
    """An operation's layer that is kept.

    Attributes:
        layer: it.
        out_shape: what comes out of it, of one example.
        keys: of all weights in it.
    """

    layer: nn.Module
    out_shape: Shape
    keys: frozenset[str]


class SharedWeights(nn.Module):
    """Holds the weights of all networks of a space, each once, and lends them to any of these.

    A weight is known by where its operation stands in the open space, by how many of the same place
    stand before it in the network, and by its name there. A network has the layers that
    the child of its architecture has, so that it computes the same; its batch normalization uses
    the statistics of the batch alone, also in evaluation, since those of other architectures mean
    nothing to it.

    First weights depend on ``seed`` and on where they stand, not on which network asks first, but
    for slices of a layer that was not the largest when it was first asked for: it grows.

    Args:
        space: what is searched.
        in_shape: of one example.
        widths: see ``Widths``. Layers other than linear ones, convolutions and normalizations are
            never sliced.
        seed: of the first weights.
        device: where they are; ``meta``: they are only counted.
    """

    def __init__(
        self,
        space: SearchSpace,
        in_shape: InShape,
        *,
        widths: Widths = "slices",
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        self.space = space
        self.in_shape = in_shape
        self.widths = widths
        self.seed = seed
        self.weights = nn.ParameterDict()
        self.num_sliced = 0
        self._device = torch.device(device)
        self._layers: dict[Hashable, _Layer] = {}

    def network(self, genotype: Genotype) -> nn.Module:
        """Returns the network of an architecture, whose weights are the shared ones.

        Its gradients are theirs. Layers are kept and used again: a network is right until
        the next one is asked for.

        Raises:
            SpaceError: the architecture is impossible.
        """
        frozen = self.space.freeze(genotype)
        scopes = [_Scope("")]

        def make(part: Part, in_shape: Any, make: Any) -> tuple[nn.Module, Shape]:
            return self._layer_of(part, in_shape, make, scopes)

        with made_by(make):
            network, _ = frozen.build(self.in_shape)
        return network.train(self.training)

    def values(self, genotype: Genotype) -> dict[str, torch.Tensor]:
        """Returns the weights of an architecture by their names in a child's network.

        Statistics of batch normalization are not among them.

        Raises:
            SpaceError: the architecture is impossible.
        """
        found: dict[str, torch.Tensor] = {}
        for place, layer in self.network(genotype).named_modules():
            before = f"{place}." if place else ""
            found |= {before + name: each.detach() for name, each in layer._parameters.items() if each is not None}
            found |= {before + name: self._part(lent).detach() for name, lent in _lent_to(layer).items()}
        return found

    def _layer_of(
        self,
        part: Part,
        in_shape: Any,
        make: Callable[[], tuple[nn.Module, Shape]],
        scopes: list[_Scope],
    ) -> tuple[nn.Module, Shape]:
        """An operation's layer: one that is kept, or a new one that weights are lent to."""
        if isinstance(part, SearchSpace):
            return make()
        scope = scopes[-1]
        place = f"{scope.prefix}{part.path}:{part.name()}"
        scope.seen[place] += 1
        place = f"{place}#{scope.seen[place]}"
        known_by = (place, spelt(part), hashable(in_shape))
        if (kept := self._layers.get(known_by)) is None:
            inside = _Scope(f"{place}>")
            scopes.append(inside)
            try:
                with self._first_weights(place):
                    layer, out_shape = make()
            finally:
                scopes.pop()
            inside.keys |= self._lend(layer, place)
            kept = self._layers[known_by] = _Layer(layer, out_shape, frozenset(inside.keys))
        scope.keys |= kept.keys
        return kept.layer, kept.out_shape

    @contextmanager
    def _first_weights(self, place: str) -> Iterator[None]:
        """Draws weights that depend on where they stand alone."""
        text = f"{self.seed} {place}".encode()
        with torch.random.fork_rng(devices=[]), torch.device(self._device):
            torch.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "big"))
            yield

    def _lend(self, layer: nn.Module, place: str) -> set[str]:
        """Puts shared weights in the place of a new layer's own; returns their keys."""
        keys = set()
        for at, leaf in layer.named_modules():
            if hasattr(leaf, "_lent"):  # a part of it, which was built as an operation
                continue
            lent: dict[str, _Lent] = {}
            for name, weight in list(leaf.named_parameters(recurse=False)):
                key = f"{place}/{at}.{name}".replace(".", ":")
                if self.widths == "copies" or not isinstance(leaf, _SLICED):
                    key += f"@{'x'.join(map(str, weight.shape))}"
                slices = self._share(key, weight, leaf)
                keys.add(key)
                if slices is None:
                    setattr(leaf, name, self.weights[key])
                else:
                    delattr(leaf, name)
                    lent[name] = _Lent(key, slices)
            leaf._lent = lent  # type: ignore[assignment]
            if lent:
                leaf.register_forward_pre_hook(self._borrow)
            if isinstance(leaf, _NormBase):
                leaf.track_running_stats = False
                leaf.running_mean = leaf.running_var = leaf.num_batches_tracked = None
        return keys

    def _share(self, key: str, weight: nn.Parameter, leaf: nn.Module) -> _Slices | None:
        """Makes a shared weight at least as large as a layer's; returns the layer's part of it.

        None: all of it.
        """
        if key not in self.weights:
            self.weights[key] = weight
            return None
        shared = self.weights[key]
        if shared.dim() != weight.dim():
            raise AssertionError(f"{key} has {shared.dim()} and {weight.dim()} dimensions")
        most = torch.Size(map(max, zip(shared.shape, weight.shape, strict=True)))
        if most != shared.shape:
            grown = weight.detach()
            if most != weight.shape:  # neither is the largest in every dimension
                drawn = torch.randint(weight.numel(), most, device=weight.device)
                grown = weight.detach().flatten()[drawn]
                grown[_within(weight.shape, most, leaf)] = weight.detach()
            grown[_within(shared.shape, most, leaf)] = shared.detach()
            self.weights[key] = nn.Parameter(grown)
            kept = self._layers.items()
            self._layers = {known: each for known, each in kept if key not in each.keys}
        return None if most == weight.shape else _within(weight.shape, most, leaf)

    def _borrow(self, leaf: nn.Module, _: object) -> None:
        for name, lent in _lent_to(leaf).items():
            setattr(leaf, name, self._part(lent))

    def _part(self, lent: _Lent) -> torch.Tensor:
        part: torch.Tensor = self.weights[lent.key][lent.slices]
        return part

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "SharedWeights":
        super()._apply(fn, recurse)
        self._layers.clear()  # they are on the device of before
        self._device = next(iter(self.weights.values())).device if self.weights else self._device
        return self

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_layers": {}}


def _lent_to(layer: nn.Module) -> Mapping[str, _Lent]:
    return getattr(layer, "_lent", {})


def _within(shape: torch.Size, most: torch.Size, leaf: nn.Module) -> _Slices:
    """The part of a larger weight: the first of each dimension, of a kernel's the centre."""
    is_kernel = isinstance(leaf, _ConvNd) and len(shape) > 1
    begins = [
        (n - m) // 2 if is_kernel and place >= 2 else 0
        for place, (m, n) in enumerate(zip(shape, most, strict=True))
    ]
    return tuple(slice(begin, begin + m) for begin, m in zip(begins, shape, strict=True))
