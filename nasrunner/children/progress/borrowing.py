"""Weights that a network begins its training with because other children have trained them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nasrunner.children.progress.allowed import allowed_classes
from nasrunner.children.settings.searched import Config
from nasrunner.core import Proposal
from nasrunner.core.machine.child_folder import ChildFolder

_PREFIX = "network."
"""Of the network's weights in a checkpoint of Lightning's."""


@dataclass(frozen=True)
class Borrowed:
    """The weights of other children, in order of precedence.

    Attributes:
        weights: of each child whose weights are there: name -> parameter or buffer.
        lacks: the children whose weights are gone.
    """

    weights: Sequence[Mapping[str, torch.Tensor]] = ()
    lacks: Sequence[int] = ()

    @classmethod
    def by(cls, proposal: Proposal, study: Path, config: Config) -> "Borrowed":
        """Reads the weights that a proposal borrows.

        Args:
            proposal: the child.
            study: the study's folder.
            config: the child's configuration, whose packages a checkpoint may hold objects of.
        """
        children = [each.child for each in proposal.sources if each.what == "weights"]
        read = {child: _weights(ChildFolder.of(study, child), config) for child in children}
        return cls(
            tuple(weights for weights in read.values() if weights is not None),
            tuple(child for child, weights in read.items() if weights is None),
        )

    def lend(self, network: nn.Module) -> None:
        """Replaces the weights of a network that one of the children has, too.

        A parameter or buffer is the same if its name in the network and its shape are. Of several
        children the first counts.
        """
        for name, own in network.state_dict().items():
            for weights in self.weights:
                if name in weights and weights[name].shape == own.shape:
                    own.copy_(weights[name])
                    break


NOTHING = Borrowed()


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
