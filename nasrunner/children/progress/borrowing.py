"""Weights that a network begins its training with because other children have trained them."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from nasrunner.children.inheritance.channels import NotMorphismError
from nasrunner.children.inheritance.keys import Anatomy, Key, anatomy_on_meta
from nasrunner.children.inheritance.morphism import morphism
from nasrunner.children.progress.allowed import load_checkpoint
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.growing.supernet import GrowingSupernet
from nasrunner.children.supernets.stored import stored_weights
from nasrunner.core import InShape, Proposal, SearchSpace, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.randomness.draws import seeded

_PREFIX = "network."
"""Of the network's weights in a checkpoint of Lightning's."""

INHERITED = ("inherited_tensors", "inherited_share")
"""The metrics of a child that borrows: how many parameter tensors, and their share of all its
parameters' numbers."""


@dataclass(frozen=True)
class Borrowed:
    """The weights of other children, in order of precedence.

    Attributes:
        lent: of each child, or supernet, whose weights are there.
        lacks: the children whose weights are gone, or cannot be read.
        parent: of a network morphism, the child whose weights are changed.
    """

    lent: Sequence["Lent | LentBySupernet"] = ()
    lacks: Sequence[int] = ()
    parent: "Lent | None" = None

    @classmethod
    def by(cls, proposal: Proposal, recipe: Recipe, config: Config) -> "Borrowed":
        """Reads the weights that a proposal borrows; a warning names what cannot be read.

        Args:
            proposal: the child.
            recipe: how the study's children are made.
            config: the child's configuration, whose packages a checkpoint may hold objects of.
        """
        sources = [each for each in proposal.sources if each.what != "training"]
        read = {each.child: _lent(each.child, proposal, recipe, config) for each in sources}
        parents = [read[each.child] for each in sources if each.what == "morphism"]
        return cls(
            tuple(lent for lent in read.values() if lent is not None),
            tuple(child for child, lent in read.items() if lent is None),
            next((each for each in parents if isinstance(each, Lent)), None),
        )

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was to be borrowed."""
        return not (self.lent or self.lacks)

    def lend(
        self, frozen: SearchSpace, anatomy: Anatomy, in_shape: InShape, seed: int
    ) -> Mapping[str, float]:
        """Replaces the weights of a network that one of the children has, too.

        Those of a network morphism all follow from its parent's, see ``morphism``; where that
        cannot be, a warning says so, and its parent lends as any other child.

        A parameter or buffer is the same if its key and its shape are. Of several children the
        first counts. One that stands in several places of the network (tied weights) is replaced
        once, as the first of them.

        Args:
            frozen: the network's architecture.
            anatomy: the network.
            in_shape: of one example.
            seed: of what a morphism draws.

        Returns:
            The metrics ``INHERITED``; empty if nothing was to be borrowed.
        """
        if self.is_nothing:
            return {}
        if self.parent is not None and self._morph(frozen, anatomy, in_shape, seed):
            num = float(len(list(anatomy.network.parameters())))
            return dict(zip(INHERITED, (num, 1.0), strict=True))
        known = anatomy.network.state_dict(keep_vars=True)
        first: dict[int, str] = {}
        for name, own in known.items():
            first.setdefault(id(own), name)
        replaced = [known[name] for name in first.values() if self._replace(anatomy, known, name)]
        parameters = [each for each in replaced if isinstance(each, torch.nn.Parameter)]
        total = sum(each.numel() for each in anatomy.network.parameters())
        share = sum(each.numel() for each in parameters) / max(1, total)
        return dict(zip(INHERITED, (float(len(parameters)), share), strict=True))

    def lend_to_supernet(self, network: torch.nn.Module) -> Mapping[str, float]:
        """Replaces the weights of the child that grows in a supernet by its own trained ones.

        Args:
            network: the supernet.

        Returns:
            The metrics ``INHERITED``, of the child; empty if nothing was to be borrowed.
        """
        assert isinstance(network, GrowingSupernet), "no other supernet has sources"
        for lent in self.lent:
            return dict(zip(INHERITED, map(float, network.take(lent.weights)), strict=True))
        return {}

    def _morph(self, frozen: SearchSpace, anatomy: Anatomy, in_shape: InShape, seed: int) -> bool:
        """Gives a network weights with which it computes what its parent does, if that can be."""
        assert self.parent is not None
        if missing := sorted(self.parent.anatomy.keys.keys() - self.parent.weights.keys()):
            warnings.warn(f"its parent's file lacks {missing[0]}: no morphism", stacklevel=2)
            return False
        rng = seeded(seed, _MORPHISM)
        pair = (self.parent.frozen, self.parent.anatomy), (frozen, anatomy)
        try:
            morphism(*pair, in_shape, rng).transfer(self.parent.weights)
        except NotMorphismError as error:
            warnings.warn(f"this is no network morphism of its parent: {error}", stacklevel=2)
            return False
        return True

    def _replace(self, anatomy: Anatomy, known: Mapping[str, torch.Tensor], name: str) -> bool:
        """Replaces one of a network's weights, and tells whether a child has it."""
        own, key = known[name], anatomy.keys[name]
        for lent in self.lent:
            given = lent.given(name, key)
            if given is not None and given.shape == own.shape:
                with torch.no_grad():
                    own.copy_(given)
                return True
        return False


@dataclass(frozen=True)
class Lent:
    """The weights of another child.

    Attributes:
        frozen: its architecture.
        anatomy: its network, without weights.
        weights: its parameters and buffers, by name.
    """

    frozen: SearchSpace
    anatomy: Anatomy
    weights: Mapping[str, torch.Tensor]

    @classmethod
    def by(cls, child: int, recipe: Recipe, config: Config) -> "Lent | None":
        """Reads a child's; None: they are gone, or cannot be read, as a warning says."""
        folder = ChildFolder.of(recipe.folder, child)
        weights = trained_weights(folder, config)
        if weights is None:
            warnings.warn(f"the weights of child {child} are gone: none are borrowed", stacklevel=2)
            return None
        try:
            frozen = recipe.space.freeze(folder.proposal().genotype)
            in_shape = at_resolution(recipe.in_shape, config["data"])
            return cls(frozen, anatomy_on_meta(frozen, in_shape), weights)
        except (OSError, ValueError, SpaceError) as error:
            warnings.warn(
                f"the weights of child {child} are not borrowed: its architecture is not known: "
                f"{error}",
                stacklevel=2,
            )
            return None

    def given(self, name: str, key: Key) -> torch.Tensor | None:
        """Returns what it lends to a network; None: it has no such weight.

        Args:
            name: of a parameter or buffer in that network.
            key: what the same is known by in others.
        """
        return self.by_key.get(key)

    @functools.cached_property
    def by_key(self) -> Mapping[Key, torch.Tensor]:
        """Its parameters and buffers, by their keys."""
        keys = self.anatomy.keys.items()
        return {key: self.weights[name] for name, key in keys if name in self.weights}


@dataclass(frozen=True)
class LentBySupernet:
    """The weights that a supernet has for one architecture.

    Attributes:
        weights: its parameters, by their names in its network.
    """

    weights: Mapping[str, torch.Tensor]

    def given(self, name: str, key: Key) -> torch.Tensor | None:
        """As of ``Lent``."""
        return self.weights.get(name)


def _lent(
    child: int, proposal: Proposal, recipe: Recipe, config: Config
) -> Lent | LentBySupernet | None:
    """What a child or a supernet lends to a proposal; None: nothing, as a warning says."""
    folder = ChildFolder.of(recipe.folder, child)
    try:
        is_supernet = folder.proposal().kind == "supernet"
    except (OSError, ValueError):
        is_supernet = False  # if its weights are there, they are refused as a child's
    if not is_supernet:
        return Lent.by(child, recipe, config)
    if (stored := trained_weights(folder, config)) is None:
        warnings.warn(f"the weights of supernet {child} are gone: none are borrowed", stacklevel=2)
        return None
    shared = stored_weights(stored, recipe, config)
    try:
        return LentBySupernet(shared.values(proposal.genotype))
    except SpaceError as error:
        warnings.warn(f"the weights of supernet {child} are not borrowed: {error}", stacklevel=2)
        return None


NOTHING = Borrowed()

_MORPHISM = 1
"""The stream of random numbers that morphisms draw from."""


def trained_weights(folder: ChildFolder, config: Config) -> Mapping[str, torch.Tensor] | None:
    """Returns the weights a child's reward is of, or else those of its end; None: they are gone.

    A warning says what cannot be read.

    Args:
        folder: the child's.
        config: its configuration, whose packages a checkpoint may hold objects of.
    """
    for path in (folder.best, folder.last):
        if not path.exists():
            continue
        try:
            found = load_checkpoint(path, config)["state_dict"]
        except Exception as error:  # a file that was cut off raises nearly anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"{path} cannot be read: {reason}", stacklevel=2)
            continue
        if path == folder.best:
            return dict(found)
        return {n.removeprefix(_PREFIX): v for n, v in found.items() if n.startswith(_PREFIX)}
    return None
