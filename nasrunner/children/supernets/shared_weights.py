"""The weights that all architectures of a space share, and networks that take theirs from them.

Pham et al. 2018, arXiv:1802.03268 (ENAS), section 2. Slices of the largest layer: Yu et al. 2019,
arXiv:1812.08928 (slimmable networks); Cai et al. 2020, arXiv:1908.09791 (once-for-all).

Differs from the papers: all widths share the parameters of batch normalization, of which slimmable
networks have some for each width; once-for-all transforms the centre of a kernel by a learnt matrix
and sorts channels by importance, and here both are taken as they are.
"""

import hashlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from nasrunner.children.randomness import Undrawn
from nasrunner.children.supernets.leaves import leaves_of, numbered, place_of, within
from nasrunner.core import Genotype, InShape, SearchSpace, Shape, SpaceError
from nasrunner.core.network.graph import spelt
from nasrunner.core.shapes import hashable
from nasrunner.core.space import Built, Space, made_by, recorded
from nasrunner.core.space.part import Part

Widths = Literal["slices", "copies"]
"""What layers of several sizes that stand in one place of a space have.

* ``slices``: the first channels of the largest, and of its kernels the centre.
* ``copies``: each size weights of its own.
"""

_MOST_KEPT = 10_000
"""So many layers are kept, those that were used last.

Where a whole network is one operation, as a language model is, each architecture has a layer of its
own: some 50 kB for a cell of twelve nodes.
"""

_KNOWN = ("torch.nn.", "nasrunner.")
"""Whose modules draw nothing but weights when they are made."""

_SLICED = (nn.Linear, _ConvNd, _NormBase, nn.LayerNorm, nn.GroupNorm)

Anew = Callable[[], tuple[nn.Module, Shape]]
"""Makes a layer anew, and says which shape comes out of it."""

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


class MissingWeightError(SpaceError):
    """An architecture needs a weight that a supernet does not hold."""


class SharedWeights(nn.Module):
    """Holds the weights of all networks of a space, each once, and lends them to any of these.

    A weight is known by where its operation stands in the open space, by how many of the same place
    stand before it in the network, and by its name there. A network has the layers that
    the child of its architecture has, so that it computes the same; its batch normalization uses
    the statistics of the batch alone, also in evaluation, since those of other architectures mean
    nothing to it.

    First weights depend on ``seed`` and on where they stand, whichever network asks for them first.
    Only what a weight grows by depends on the sizes that were asked for before.

    Args:
        space: what is searched.
        in_shape: of one example.
        widths: see ``Widths``. Layers other than linear ones, convolutions and normalizations are
            never sliced, nor are those that a module of another kind computes with in its own way.
        seed: of the first weights.
        device: where they are; ``meta``: they are only counted.
        epsilon: of every batch normalization; None: what the space says.

    Attributes:
        weights: what is shared, by where it stands.
        shapes: of each of these, the shapes that networks have taken.
        operations: of each of these, the name of the operation that it belongs to.
        num_changes: how often a weight came to it or grew.
        adds: which of ``reset_state`` and ``take_penalty`` some layer has.
    """

    def __init__(
        self,
        space: SearchSpace,
        in_shape: InShape,
        *,
        widths: Widths = "slices",
        seed: int = 0,
        device: str | torch.device = "cpu",
        epsilon: float | None = None,
    ) -> None:
        super().__init__()
        self.space = space
        self.in_shape = in_shape
        self.widths = widths
        self.seed = seed
        self.epsilon = epsilon
        self.weights = nn.ParameterDict()
        self.num_changes = 0
        self.shapes: defaultdict[str, set[Shape]] = defaultdict(set)
        self.operations: dict[str, str] = {}
        self.adds: set[str] = set()
        self._device = torch.device(device)
        self._is_closed = False
        self._is_of_known = True  # no layer has had another's module so far
        self._layers: OrderedDict[Hashable, _Layer] = OrderedDict()  # used last at the end
        self._are_training = True  # the layers
        self._lent: WeakKeyDictionary[nn.Module, dict[str, _Lent]] = WeakKeyDictionary()

    @property
    def num_parameters(self) -> int:
        """How many numbers all of them are."""
        return sum(each.numel() for each in self.weights.values())

    def close(self) -> None:
        """Refuses architectures that need further or larger weights, from now on."""
        self._is_closed = True

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes trained weights by their keys; architectures that need others are refused."""
        for key, value in weights.items():
            self.weights[key] = nn.Parameter(value)
        self._layers.clear()
        self.close()

    def network(self, genotype: Genotype) -> nn.Module:
        """Returns the network of an architecture, whose weights are the shared ones.

        Its gradients are theirs. Layers are kept and used again, so that a network is right until
        a weight of it grows, see ``num_changes``.

        Raises:
            SpaceError: the architecture is impossible, or needs more than there is.
        """
        seen = Counter[str]()

        def make(part: Part, in_shape: Any, anew: Anew) -> tuple[nn.Module, Shape]:
            assert isinstance(part, Space)
            return self.layer_of(part, numbered(place_of(part), seen), in_shape, anew)

        self._set_modes()
        with made_by(make):
            network, _ = self.space.freeze(genotype).build(self.in_shape)
        # What has been kept is in the mode of this module, and what is new in that of training.
        return network if self.training else network.eval()

    def _set_modes(self) -> None:
        """Has the layers that are kept train, or not, as this module does.

        Lightning sets ``training`` after a validation, and calls no ``train`` for it.
        """
        if self._are_training != self.training:
            for kept in self._layers.values():
                kept.layer.train(self.training)
            self._are_training = self.training

    def values(self, genotype: Genotype) -> dict[str, torch.Tensor]:
        """Returns the weights of an architecture by their names in a child's network.

        Statistics of batch normalization are not among them.

        Raises:
            SpaceError: the architecture is impossible.
        """
        found: dict[str, torch.Tensor] = {}
        for place, layer in self.network(genotype).named_modules():
            before = f"{place}." if place else ""
            own = layer.named_parameters(recurse=False, remove_duplicate=False)
            found |= {before + name: each.detach() for name, each in own}
            lent = self._lent.get(layer, {})
            found |= {before + name: self._part(each).detach() for name, each in lent.items()}
        return found

    def size_of(self, genotype: Genotype) -> int:
        """Returns how many numbers the weights of an architecture are; tied ones count once.

        Raises:
            SpaceError: the architecture is impossible.
        """
        found: dict[int | str, int] = {}
        for layer in self.network(genotype).modules():
            for each in layer._parameters.values():  # parameters() takes as long as building
                if each is not None:
                    found[id(each)] = each.numel()
            for lent in self._lent.get(layer, {}).values():
                found[lent.key] = self._part(lent).numel()
        return sum(found.values())

    def layer_of(
        self, part: Space, place: str, in_shape: Any, make: Anew
    ) -> tuple[nn.Module, Shape]:
        """Returns an operation's layer, one that is kept or a new one that weights are lent to.

        Args:
            part: it.
            place: where it stands, with the number among those of the same path.
            in_shape: of one example.
            make: makes it anew.

        Returns:
            It, and the shape that comes out of it.
        """
        known_by = (place, spelt(part), hashable(in_shape))
        if (kept := self._layers.get(known_by)) is None:
            layer, out_shape, built = self._made(place, make)
            layer.train(self.training)
            for name in ("reset_state", "take_penalty"):
                if any(hasattr(each, name) for each in layer.modules()):
                    self.adds.add(name)
            keys = self._lend(layer, part, place, built)
            kept = self._layers[known_by] = _Layer(layer, out_shape, keys)
            if len(self._layers) > _MOST_KEPT:
                self._layers.popitem(last=False)
        self._layers.move_to_end(known_by)
        return kept.layer, kept.out_shape

    def _made(self, place: str, make: Anew) -> tuple[nn.Module, Shape, Sequence[Built]]:
        """A new layer, its shape, and what it was built from.

        Once no weight can come any more, those of the layer are not drawn: shared ones take their
        places. Nor are those that are only counted. A user's modules may draw what is no weight
        beside them, and are made as ever.
        """
        undrawn = (self._is_closed or self._device.type == "meta") and self._is_of_known
        drawing = Undrawn() if undrawn else nullcontext()
        with self._first_weights(place), recorded() as built, drawing:
            layer, out_shape = make()
        if not all(type(each).__module__.startswith(_KNOWN) for each in layer.modules()):
            self._is_of_known = False
            if undrawn:
                return self._made(place, make)
        return layer, out_shape, built

    @contextmanager
    def _first_weights(self, place: str) -> Iterator[None]:
        """Draws weights that depend on where they stand alone, and lets global generators be."""
        # A layer that a validation needs first is trained later, too.
        with torch.inference_mode(False), torch.device(self._device):
            if self._device.type == "meta":  # draws nothing
                yield
                return
            is_cuda = self._device.type == "cuda"
            seed = int.from_bytes(
                hashlib.sha256(f"{self.seed} {place}".encode()).digest()[:7], "big"
            )
            with torch.random.fork_rng(devices=[self._device] if is_cuda else []):
                # torch.manual_seed keeps its caller's stack for devices that are not there.
                torch.default_generator.manual_seed(seed)
                if is_cuda:
                    torch.cuda.manual_seed_all(seed)
                yield

    def _lend(
        self, layer: nn.Module, part: Space, place: str, built: Sequence[Built]
    ) -> frozenset[str]:
        """Puts shared weights in the place of a new layer's own; returns their keys.

        Args:
            layer: it.
            part: what it was made of.
            place: of the operation.
            built: the operations that it was built from, and others that it has tried.
        """
        keys: dict[int, str] = {}
        for where, name, leaf, is_plain in leaves_of(layer, part, place, built):
            lent: dict[str, _Lent] = {}
            for each, weight in list(leaf.named_parameters(recurse=False)):
                if (key := keys.get(id(weight))) is None:  # else it is tied to another one
                    key = f"{where}.{each}:{weight.dim()}".replace(".", ":")
                    is_sliced = is_plain and isinstance(leaf, _SLICED)
                    if self.widths == "copies" or not is_sliced:
                        key += f"@{'x'.join(map(str, weight.shape))}"
                    keys[id(weight)] = key
                    self.operations[key] = name
                slices = self._share(key, weight, leaf)
                if slices is None:
                    setattr(leaf, each, self.weights[key])
                else:
                    delattr(leaf, each)
                    lent[each] = _Lent(key, slices)
            if lent:
                self._lent[leaf] = lent
                leaf.register_forward_pre_hook(self._borrow)
            if isinstance(leaf, _BatchNorm) and self.epsilon is not None:
                leaf.eps = self.epsilon
            if isinstance(leaf, _NormBase):
                leaf.track_running_stats = False
                leaf.running_mean = leaf.running_var = leaf.num_batches_tracked = None
        return frozenset(keys.values())

    def _share(self, key: str, weight: nn.Parameter, leaf: nn.Module) -> _Slices | None:
        """Makes a shared weight at least as large as a layer's; returns the layer's part of it.

        None: all of it.
        """
        self.shapes[key].add(tuple(weight.shape))
        if key not in self.weights:
            self._change(key)
            self.weights[key] = weight
            return None
        shared = self.weights[key]
        most = torch.Size(map(max, zip(shared.shape, weight.shape, strict=True)))
        if most != shared.shape:
            grown = weight.detach()
            if most != weight.shape:  # neither is the largest in every dimension
                drawn = torch.randint(weight.numel(), most, device=weight.device)
                grown = weight.detach().flatten()[drawn]
                grown[within(weight.shape, most, leaf)] = weight.detach()
            grown[within(shared.shape, most, leaf)] = shared.detach()
            self._change(key)
            self.weights[key] = nn.Parameter(grown)
            kept = self._layers.items()
            self._layers = OrderedDict(each for each in kept if key not in each[1].keys)
        return None if most == weight.shape else within(weight.shape, most, leaf)

    def _change(self, key: str) -> None:
        if self._is_closed:
            raise MissingWeightError(f"{key} is no weight of the supernet, or larger than there")
        self.num_changes += 1

    def _borrow(self, leaf: nn.Module, _: object) -> None:
        for name, lent in self._lent[leaf].items():
            setattr(leaf, name, self._part(lent))

    def _part(self, lent: _Lent) -> torch.Tensor:
        part: torch.Tensor = self.weights[lent.key][lent.slices]
        return part

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> "SharedWeights":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._layers.clear()  # they are on the device of before
        self._device = next(iter(self.weights.values())).device if self.weights else self._device
        return self

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_layers": OrderedDict(), "_lent": WeakKeyDictionary()}
