"""Networks that hold all options of a space, whose outputs they add up by weights.

Liu et al. 2019, arXiv:1806.09055 (DARTS), section 2.2, eq. 2.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasrunner.children.inputs import Inputs
from nasrunner.children.supernets.leaves import place_of
from nasrunner.children.supernets.shared_weights import Anew, SharedWeights
from nasrunner.core import Shape, SpaceError
from nasrunner.core.space import Choice, Space, made_by
from nasrunner.core.space.keeping import Answers
from nasrunner.core.space.part import Part

# K = options of a mixture


class OptionWeights(NamedTuple):
    """How much the options of a decision count.

    Attributes:
        values: a number for each.
        chosen: the only one that is computed; None: all are.
    """

    values: Sequence[torch.Tensor]
    chosen: int | None = None


class Mix:
    """What the mixtures of a network read the weights of their options from.

    Attributes:
        weights: by decision path, as of the present batch.
    """

    def __init__(self) -> None:
        self.weights: Mapping[str, OptionWeights] = {}


class Mixture(nn.Module):
    """Adds up what the options of a decision make of one input, each with its weight.

    Options that several decisions select together have the product of their weights.

    Args:
        options: their layers.
        answers: that select each of them.
        zeros: the positions of those that return zeros.
        mix: where the weights are.

    Attributes:
        paths: of the decisions that select an option.
        zeros: the options that return zeros, by their indices; of one decision alone.
    """

    def __init__(
        self,
        options: Sequence[nn.Module],
        answers: Sequence[Answers],
        zeros: Collection[int],
        mix: Mix,
    ) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)
        self.answers = tuple(answers)
        self.paths = tuple(path for path, _ in self.answers[0])
        self.zeros = frozenset(k for place in zeros for _, k in self.answers[place])
        # Zeros count for nothing, whatever their weight is; they are computed where all are zeros.
        self.counting = [k for k in range(len(options)) if k not in zeros] or [0]
        self._mix = mix

    def forward(self, x: Inputs) -> torch.Tensor:
        chosen = self._chosen()
        places = self.counting if chosen is None else [chosen]
        outputs = [self.options[place](x) for place in places]
        return weighted_sum([self._weight(place) for place in places], outputs)

    def _chosen(self) -> int | None:
        """The only option that is computed."""
        for place, each in enumerate(self.answers):
            if all(self._mix.weights[path].chosen == option for path, option in each):
                return place
        return None

    def _weight(self, place: int) -> torch.Tensor:
        first, *others = (self._mix.weights[path].values[k] for path, k in self.answers[place])
        for each in others:
            first = first * each
        return first


def weighted_sum(weights: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Adds up tensors of one shape, each times its weight."""
    total = weights[0] * outputs[0]
    for weight, output in zip(weights[1:], outputs[1:], strict=True):
        total = torch.addcmul(total, weight, output)
    return total


class Places:
    """Numbers the operations of a relaxed space as those of each child are numbered.

    How many stand before one at the same place of the open space must not depend on answers other
    than its own.
    """

    def __init__(self) -> None:
        self._standing: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
        self._answers: dict[str, int] = {}

    @property
    def is_inside(self) -> bool:
        """Whether what is built now is a part of an option."""
        return bool(self._answers)

    @contextmanager
    def within(self, answers: Answers) -> Iterator[None]:
        """Has what is built in the block stand in an option.

        Args:
            answers: that select it.
        """
        before = self._answers
        self._answers = {**before, **dict(answers)}
        try:
            yield
        finally:
            self._answers = before

    def numbered(self, place: str) -> str:
        """Returns a place, and how many in it a child has with this one.

        Raises:
            SpaceError: children differ in that.
        """
        count = 1
        for others in self._standing[place]:
            if any(self._answers.get(path, option) != option for path, option in others.items()):
                continue  # no child has both
            if lacks := [path for path in others if path not in self._answers]:
                raise SpaceError(
                    f"{lacks[0]!r} cannot be kept open: what stands at {place!r} after it has "
                    "other weights for each option"
                )
            count += 1
        self._standing[place].append(self._answers)
        return f"{place}#{count}"


def mixed(
    weights: SharedWeights, network: Space, mix: Mix, *, affine: bool
) -> tuple[nn.Module, Shape]:
    """Builds a relaxed space with shared weights.

    Args:
        weights: what its layers take theirs from.
        network: with choices in it.
        mix: where its mixtures find the weights of their options.
        affine: whether batch normalizations inside of options scale and shift their outputs.

    Returns:
        The network, and the shape that comes out of it.

    Raises:
        SpaceError: an option cannot be built, or those of one decision make different shapes.
    """
    places = Places()

    def make(part: Part, in_shape: Any, anew: Anew) -> tuple[nn.Module, Shape]:
        assert isinstance(part, Space)
        if isinstance(part, Choice):
            return mixture(part, in_shape)
        place = places.numbered(place_of(part))
        plain = affine or not places.is_inside
        return weights.layer_of(part, place, in_shape, anew if plain else lambda: bare(anew))

    def mixture(choice: Choice, in_shape: Any) -> tuple[nn.Module, Shape]:
        built = []
        for module, answers in zip(choice.modules, choice.answers, strict=True):
            with places.within(answers), made_by(make):
                built.append(module.build(in_shape))
        shapes = [shape for _, shape in built]
        if len(set(shapes)) > 1:
            made = list(dict.fromkeys(map(str, shapes)))
            told = [*made[:2], "…", made[-1]] if len(made) > 4 else made
            raise SpaceError(
                f"{' and '.join(map(repr, _deciding(choice, shapes)))} cannot be kept open: a "
                "mixture adds up what its options make, and that has the shapes "
                f"{', '.join(told)}; legal: options of one shape"
            )
        zeros = [place for place, module in enumerate(choice.modules) if module.is_zero]
        return Mixture([layer for layer, _ in built], choice.answers, zeros, mix), shapes[0]

    with made_by(make):
        return network.build(weights.in_shape)


def _deciding(choice: Choice, shapes: Sequence[Shape]) -> list[str]:
    """The decisions of a choice that its options' shapes depend on."""
    found = []
    for path in choice.paths:
        by_others = defaultdict(set)
        for answers, shape in zip(choice.answers, shapes, strict=True):
            by_others[frozenset(each for each in answers if each[0] != path)].add(shape)
        if any(len(each) > 1 for each in by_others.values()):
            found.append(path)
    return found or list(choice.paths)


def bare(make: Anew) -> tuple[nn.Module, Shape]:
    """Makes a layer whose batch normalizations neither scale nor shift."""
    layer, out_shape = make()
    for norm in layer.modules():
        if isinstance(norm, _BatchNorm):
            norm.affine = False
            norm.weight = norm.bias = None  # type: ignore[assignment]  # as torch's own are
    return layer, out_shape
