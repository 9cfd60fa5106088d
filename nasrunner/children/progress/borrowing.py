"""Weights that a network begins its training with because other children have trained them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from nasrunner.children.progress.allowed import allowed_classes
from nasrunner.children.progress.keys import Anatomy, Key, anatomy_on_meta
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import Config
from nasrunner.core import Proposal, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder

_PREFIX = "network."
"""Of the network's weights in a checkpoint of Lightning's."""

INHERITED = ("inherited_tensors", "inherited_share")
"""The metrics of a child that borrows: how many parameter tensors, and their share of all its
parameters' numbers."""


@dataclass(frozen=True)
class Borrowed:
    """The weights of other children, in order of precedence.

    Attributes:
        weights: of each child whose weights are there: key -> parameter or buffer.
        lacks: the children whose weights are gone, or cannot be read.
    """

    weights: Sequence[Mapping[Key, torch.Tensor]] = ()
    lacks: Sequence[int] = ()

    @classmethod
    def by(cls, proposal: Proposal, recipe: Recipe, config: Config) -> "Borrowed":
        """Reads the weights that a proposal borrows; a warning names what cannot be read.

        Args:
            proposal: the child.
            recipe: how the study's children are made.
            config: the child's configuration, whose packages a checkpoint may hold objects of.
        """
        children = [each.child for each in proposal.sources if each.what == "weights"]
        read = {child: _lent_by(child, recipe, config) for child in children}
        return cls(
            tuple(weights for weights in read.values() if weights is not None),
            tuple(child for child, weights in read.items() if weights is None),
        )

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was to be borrowed."""
        return not (self.weights or self.lacks)

    def lend(self, anatomy: Anatomy) -> Mapping[str, float]:
        """Replaces the weights of a network that one of the children has, too.

        A parameter or buffer is the same if its key and its shape are. Of several children the
        first counts. One that stands in several places of the network (tied weights) is replaced
        once, as the first of them.

        Returns:
            The metrics ``INHERITED``; empty if nothing was to be borrowed.
        """
        if self.is_nothing:
            return {}
        known = anatomy.network.state_dict(keep_vars=True)
        first: dict[int, str] = {}
        for name, own in known.items():
            first.setdefault(id(own), name)
        replaced = [known[name] for name in first.values() if self._replace(anatomy, known, name)]
        parameters = [each for each in replaced if isinstance(each, torch.nn.Parameter)]
        total = sum(each.numel() for each in anatomy.network.parameters())
        share = sum(each.numel() for each in parameters) / max(1, total)
        return dict(zip(INHERITED, (float(len(parameters)), share), strict=True))

    def _replace(self, anatomy: Anatomy, known: Mapping[str, torch.Tensor], name: str) -> bool:
        """Replaces one of a network's weights, and tells whether a child has it."""
        own, key = known[name], anatomy.keys[name]
        for weights in self.weights:
            if key in weights and weights[key].shape == own.shape:
                with torch.no_grad():
                    own.copy_(weights[key])
                return True
        return False


NOTHING = Borrowed()


def _lent_by(child: int, recipe: Recipe, config: Config) -> Mapping[Key, torch.Tensor] | None:
    """The weights of a child by their keys; None: they are gone, or cannot be read."""
    folder = ChildFolder.of(recipe.folder, child)
    weights = _weights(folder, config)
    if weights is None:
        warnings.warn(f"the weights of child {child} are gone: none are borrowed", stacklevel=2)
        return None
    try:
        frozen = recipe.space.freeze(folder.proposal().genotype)
        keys = anatomy_on_meta(frozen, recipe.in_shape).keys
    except (OSError, ValueError, SpaceError) as error:
        warnings.warn(
            f"the weights of child {child} are not borrowed: its architecture is not known: "
            f"{error}",
            stacklevel=2,
        )
        return None
    return {key: weights[name] for name, key in keys.items() if name in weights}


def _weights(folder: ChildFolder, config: Config) -> Mapping[str, torch.Tensor] | None:
    """The weights a child's reward is of, or else those of its end; None: they are gone."""
    for path in (folder.best, folder.last):
        if not path.exists():
            continue
        try:
            with allowed_classes(config, path):
                found = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        except Exception as error:  # a file that was cut off raises nearly anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"{path} cannot be read: {reason}", stacklevel=2)
            continue
        if path == folder.best:
            return dict(found)
        return {n.removeprefix(_PREFIX): v for n, v in found.items() if n.startswith(_PREFIX)}
    return None
