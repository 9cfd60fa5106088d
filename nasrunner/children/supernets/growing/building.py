"""Builds a network with parts beside it from shared weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from nasrunner.children.supernets.growing.weak_learners import Coefficients, WeakLearners
from nasrunner.children.supernets.leaves import place_of
from nasrunner.children.supernets.relaxed.mixtures import Places
from nasrunner.children.supernets.shared_weights import Anew, SharedWeights
from nasrunner.core import Genotype, Shape, SpaceError
from nasrunner.core.space import Addition, Beside, Space, beside, made_by
from nasrunner.core.space.part import Part


def with_parts(
    weights: SharedWeights,
    genotype: Genotype,
    parts: Sequence[Addition],
    coefficients: Coefficients,
) -> tuple[nn.Module, Shape]:
    """Builds a network with parts beside it.

    Args:
        weights: what its layers take theirs from.
        genotype: of the network.
        parts: that are trained beside it, numbered in this order.
        coefficients: where they find α.

    Returns:
        The network, and the shape that comes out of it.

    Raises:
        SpaceError: it is impossible, or one of the parts is there.
    """
    places = Places()
    numbers = {each.answers: number for number, each in enumerate(parts)}

    def make(part: Part, in_shape: Any, anew: Anew) -> tuple[nn.Module, Shape]:
        assert isinstance(part, Space)
        if isinstance(part, Beside):
            return learners(part, in_shape)
        return weights.layer_of(part, places.numbered(place_of(part)), in_shape, anew)

    def learners(there: Beside, in_shape: Any) -> tuple[nn.Module, Shape]:
        with made_by(make):
            now, out_shape = there.now.build(in_shape)
        layers = []
        for part, answers, follows in zip(there.parts, there.answers, there.follow, strict=True):
            with places.within(answers), made_by(make):
                layer, shape = part.build(out_shape if follows else in_shape)
            if shape != out_shape:
                raise SpaceError(
                    f"{answers[0][0]!r} adds no part: {part.text()} makes {shape} where "
                    f"{out_shape} is needed"
                )
            layers.append(layer)
        order = [numbers[answers] for answers in there.answers]
        is_zero = there.now.is_zero
        return (
            WeakLearners(now, layers, there.follow, order, coefficients, is_zero=is_zero),
            out_shape,
        )

    with made_by(make):
        return beside(weights.space, genotype, parts).build(weights.in_shape)


def that_fit(
    weights: SharedWeights, genotype: Genotype, parts: Sequence[Addition]
) -> list[Addition]:
    """Returns the parts that can be trained beside a network, each by itself.

    A part fits if what comes out of it has the shape of what is there now.

    Args:
        weights: grow to what these need; on the meta device nothing is made.
        genotype: of the network.
        parts: those looked at.

    Raises:
        SpaceError: the network itself is impossible.
    """
    weights.network(genotype)
    found = []
    for part in parts:
        try:
            with_parts(weights, genotype, [part], Coefficients())
        except SpaceError:
            continue
        found.append(part)
    return found
