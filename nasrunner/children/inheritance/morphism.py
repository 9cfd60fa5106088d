"""Network morphisms: first weights with which a wider or deeper network computes the same.

Chen, Goodfellow & Shlens 2016, arXiv:1511.05641; skip connections and new branches as in Wei et
al. 2016, arXiv:1603.01670, and Elsken et al. 2018, arXiv:1711.04528.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from nasrunner.children.inheritance.channels import (
    NEW,
    NotMorphismError,
    Parent,
    flattened,
    places_in,
    rest_of,
    size_of,
    terms_of,
)
from nasrunner.children.inheritance.graph import OPERATION, LayerNode, NoLayerError, graph_of
from nasrunner.children.inheritance.keys import Anatomy
from nasrunner.children.inheritance.layers import (
    BATCH_NORMS,
    LINEAR_MAPS,
    Leaf,
    can_be_identity,
    can_be_zero,
    is_positive,
    leaves,
    make_identity,
    make_zero,
    makes_zero_of_zero,
)
from nasrunner.children.inheritance.transfer import Morphism, Transfer
from nasrunner.core import InShape, SearchSpace
from nasrunner.core.network.graph import CONCATENATION, INPUT, SUM, ZERO

# C = channels of a value


@dataclass(frozen=True)
class _ChildValue:
    """A value of the child's network.

    Attributes:
        channels_C: of each channel the parent's channel that it equals; ``NEW``: it equals none,
            and must have no influence. None: it equals nothing, and must be made zero.
        is_positive: whether nothing of it is below zero.
        new: the layers that it went through since it last was a value of the parent's, which it
            equals if they are identities.
    """

    channels_C: np.ndarray | None
    is_positive: bool
    new: tuple[Leaf, ...] = ()


def morphism(
    parent: tuple[SearchSpace, Anatomy],
    child: tuple[SearchSpace, Anatomy],
    in_shape: InShape,
    rng: np.random.Generator,
) -> Morphism:
    """Finds first weights for a child with which it computes what its parent does when evaluated.

    Operations are the same where they stand at the same place of the space. Then the child may

    * be wider (Net2WiderNet, section 2.3): units of an ``affine`` or filters of a convolution are
      copies of some drawn ones, and what takes them divides its weights among the copies;
    * be deeper (Net2DeeperNet, section 2.4): a new ``affine`` or convolution is the identity, as
      its batch normalization is, and what stands behind it changes nothing that is not negative:
      ReLU, leaky ReLU or ELU behind an operation out of which nothing negative came;
    * have new connections: of a new branch of a sum the last weights are zero; what a layer
      takes in addition has weights of zero.

    Args:
        parent, child: architecture and network, with names that may be of the meta device.
        in_shape: of one example.
        rng: draws which units are copied, and how weights are divided.

    Raises:
        NotMorphismError: there is nothing of these; says where.

    Differs from the paper: weights are divided among copies in drawn shares, others for each unit
    that takes them, so that copies learn apart without noise. New batch normalizations begin with
    the mean 0 and variance 1, not with those of their inputs: they are the identity in evaluation
    mode alone.
    """
    try:
        graphs = [graph_of(frozen, in_shape, anatomy) for frozen, anatomy in (parent, child)]
    except NoLayerError as error:
        raise NotMorphismError(str(error)) from error
    found = _Search(Parent(*graphs[0]), *graphs[1], rng).found()
    if not found.kinds:
        raise NotMorphismError("the networks differ in nothing that has weights")
    return found


class _Search:
    """Goes through the child's network from its input to its output."""

    def __init__(
        self, parent: Parent, nodes: Sequence[LayerNode], out: int, rng: np.random.Generator
    ) -> None:
        self.parent = parent
        self.nodes = nodes
        self.out = out
        self.transfer = Transfer(rng)
        self.values: list[_ChildValue] = []
        self.zeroed: set[str] = set()  # prefixes of new layers that make zeros
        self.free: set[str] = set()  # of those that have no influence, and begin as ever
        self.new: dict[str, Leaf] = {}

    def found(self) -> Morphism:
        for node in self.nodes:
            self.values.append(self._value(node))
        out = self._known(self.out)
        if self.nodes[self.out].shape != self.parent.out_shape or not np.array_equal(
            out, self.parent.out_C
        ):
            raise NotMorphismError("other values go out")
        for prefix, leaf in self.new.items():
            if prefix in self.zeroed:
                self.transfer.set(make_zero, leaf.layer)
            elif prefix not in self.free and can_be_identity(leaf.layer, True):
                self.transfer.set(make_identity, leaf.layer)
                if can_be_zero(leaf.layer):  # it has weights
                    self.transfer.morphism.kinds.add("deeper")
        return self.transfer.morphism

    def _value(self, node: LayerNode) -> _ChildValue:
        if node.kind == OPERATION:
            number = self.parent.operations.get(node.name)
            return self._added(node) if number is None else self._matched(node, number)
        if node.kind == INPUT:
            for number, other in enumerate(self.parent.nodes):
                if (other.kind, other.name) == (node.kind, node.name):
                    return _ChildValue(self.parent.own(number), False)
            raise NotMorphismError(f"its parent has no {node.name[1]}")
        if node.kind == CONCATENATION:
            return self._concatenated(node)
        if node.kind == SUM:
            return self._sum(node)
        if node.kind == ZERO:
            return _ChildValue(None, True)
        raise NotMorphismError("values are multiplied")

    def _known(self, number: int) -> np.ndarray:
        value = self.values[number]
        if value.channels_C is None:
            raise NotMorphismError("a new layer is no identity")
        return value.channels_C

    def _added(self, node: LayerNode) -> _ChildValue:
        """A new operation: the identity if it can be."""
        before = self.values[node.inputs[0]]
        channels_C, positive, new = before.channels_C, before.is_positive, before.new
        assert node.layer is not None
        for leaf in leaves(node.prefix, node.layer):
            if not can_be_identity(leaf.layer, positive):
                channels_C = None
            if not isinstance(leaf.layer, (*LINEAR_MAPS, *BATCH_NORMS)):
                positive = is_positive(leaf.layer, positive)
            elif channels_C is None:
                positive = False
            new = (*new, leaf)
            self.new[leaf.prefix] = leaf
        return _ChildValue(channels_C, positive, new)

    def _matched(self, node: LayerNode, number: int) -> _ChildValue:
        """An operation that the parent has, too."""
        other = self.parent.nodes[number]
        before = self.nodes[node.inputs[0]], self.parent.nodes[other.inputs[0]]
        given_C = self.parent.channels[other.inputs[0]]
        sources_C = places_in(self._known(node.inputs[0]), given_C)
        assert node.layer is not None
        assert other.layer is not None
        pairs = [*leaves(node.prefix, node.layer)], [*leaves(other.prefix, other.layer)]
        if len(pairs[0]) != len(pairs[1]) or rest_of(before[0].shape) != rest_of(before[1].shape):
            raise NotMorphismError(f"{node.name[0]} is another")
        positive = self.values[node.inputs[0]].is_positive
        num, made = len(given_C), size_of(other.shape)
        for place, (own, theirs) in enumerate(zip(*pairs, strict=True)):
            if isinstance(own.layer, nn.Flatten):
                pixels = made // num if place else int(np.prod(rest_of(before[0].shape), dtype=int))
                sources_C, num = flattened(sources_C, pixels), num * pixels
            else:
                is_alike = place == len(pairs[0]) - 1 and node.module == other.module
                of_all = made if is_alike else None
                sources_C, num = self.transfer.matched(
                    own, theirs, sources_C, num, of_all, node.name[0]
                )
            positive = is_positive(own.layer, positive)
        made_C = self.parent.own(number)
        return _ChildValue(np.where(sources_C < 0, NEW, made_C[sources_C]), positive)

    def _concatenated(self, node: LayerNode) -> _ChildValue:
        parts: list[np.ndarray] = []
        new: list[Leaf] = []
        for each in node.inputs:
            value = self.values[each]
            size = size_of(self.nodes[each].shape)
            if value.channels_C is None:
                parts.append(np.full(size, NEW))
                self.free |= {leaf.prefix for leaf in value.new}
            else:
                parts.append(value.channels_C)
                new += value.new
        positive = all(self.values[each].is_positive for each in node.inputs)
        return _ChildValue(np.concatenate(parts), positive, tuple(new))

    def _sum(self, node: LayerNode) -> _ChildValue:
        terms = [each for each in node.inputs if self.nodes[each].kind != ZERO]
        if any(self.nodes[each].shape != node.shape for each in node.inputs):
            raise NotMorphismError("values of different shapes are added")
        values = [self.values[each] for each in terms]
        if all(value.channels_C is not None for value in values):
            found = self._known_sum(values)
            if found is not None:
                return found
        # What all of them went through is before the sum; a longer way is a new branch.
        shared = min((value.new for value in values), key=len, default=())
        old = [value for value in values if value.new == shared]
        for value in values:
            if value.new != shared:
                is_behind = value.new[: len(shared)] == shared
                self._make_zero(value.new[len(shared) :] if is_behind else value.new)
        found = self._known_sum(old)
        if found is None:
            raise NotMorphismError("other values are added")
        if len(old) < len(values):
            self.transfer.morphism.kinds.add("skip")
        return found

    def _known_sum(self, values: Sequence[_ChildValue]) -> _ChildValue | None:
        """The value that a sum of these is of the parent; None: it has no such sum."""
        if not values:
            return None
        positive = all(value.is_positive for value in values)
        new = tuple(leaf for value in values for leaf in value.new)
        channels = [value.channels_C for value in values if value.channels_C is not None]
        if len(values) == 1:
            return _ChildValue(values[0].channels_C, positive, new)
        number = self.parent.sums.get(terms_of(channels))
        return None if number is None else _ChildValue(self.parent.own(number), positive, new)

    def _make_zero(self, branch: Sequence[Leaf]) -> None:
        """Makes zeros of new layers in series, by the last of their weights."""
        for leaf in reversed(branch):
            if can_be_zero(leaf.layer):
                self.zeroed.add(leaf.prefix)
                self.free |= {each.prefix for each in branch}
                return
            if not makes_zero_of_zero(leaf.layer):
                break
        raise NotMorphismError("a new branch cannot be made zero")
