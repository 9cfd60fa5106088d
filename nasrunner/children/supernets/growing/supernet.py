"""A supernet of one child and the parts that it could grow by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nasrunner.children.inputs import Inputs
from nasrunner.children.settings.searched import check_not_searched
from nasrunner.children.supernets.covering import check_memory
from nasrunner.children.supernets.growing.building import that_fit, with_parts
from nasrunner.children.supernets.growing.learner import PartsLearner
from nasrunner.children.supernets.growing.weak_learners import Coefficients
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.core import Genotype, InShape, SearchSpace, Shape, SpaceError
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.relaxation import ForwardGrowth
from nasrunner.core.space import Addition, Space, additions, smallest

# P = parts

_FIRST_ALPHA = 1.0
"""What a part's α begins with: as much as it counts once it has joined."""

_DRAWS = 2
"""The stream of random numbers that parts are drawn from."""


class GrowingSupernet(nn.Module):
    """Runs a child, and trains parts beside it that do not change what it computes.

    Hu et al. 2019, arXiv:1905.13360, section 4. The child goes on training as it would alone. As in
    any supernet, batch normalization uses the statistics of the batch, also in evaluation.

    Args:
        shared: the weights of the child and of the parts.
        genotype: of the child.
        parts: that it could grow by.
        growth: how α learns, and how many parts join the child.
        seed: of what is drawn.

    Attributes:
        alpha_P: the coefficients of the parts.
        learner: what they learn by.
    """

    def __init__(
        self,
        shared: SharedWeights,
        genotype: Genotype,
        parts: tuple[Addition, ...],
        growth: ForwardGrowth,
        seed: int,
    ) -> None:
        super().__init__()
        self.shared = shared
        self.genotype = genotype
        self.parts = parts
        self.growth = growth
        self.seed = seed
        # Its gradients are the learner's: others are dropped before a validation.
        first_P = torch.full((len(parts),), _FIRST_ALPHA)
        self.alpha_P = nn.Parameter(first_P, requires_grad=False)
        self._coefficients = Coefficients()
        self._built: list[nn.Module] = []  # a list, for its weights are registered as shared ones
        self._remembering: list[Any] = []
        self._penalized: list[Any] = []
        self.learner = PartsLearner(self)

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.shared.space

    def forward(self, x: Inputs) -> torch.Tensor:
        network = self.network()
        if network.training != self.training:  # Lightning puts modes back by module, without train
            network.train(self.training)
        for layer in self._remembering:  # of batches before, whose weights were others
            layer.reset_state()
        alpha_P = self._coefficients.alpha_P = self.alpha_P.detach()
        if self.training and torch.is_grad_enabled():
            alpha_P.requires_grad_()
            alpha_P.register_hook(self.learner.note)  # type: ignore[no-untyped-call]
        found: torch.Tensor = network(x)
        return found

    def network(self) -> nn.Module:
        """Returns the child's network with the parts beside it."""
        if not self._built:
            network, _ = with_parts(self.shared, self.genotype, self.parts, self._coefficients)
            self._built.append(network)
            layers = network.modules()
            self._remembering = [each for each in layers if hasattr(each, "reset_state")]
            layers = network.modules()
            self._penalized = [each for each in layers if hasattr(each, "take_penalty")]
        return self._built[0]

    def take_penalty(self) -> torch.Tensor | None:
        """Returns what layers add to the loss for their last batch, once; None: nothing."""
        taken = [each.take_penalty() for each in self._penalized]
        found = [each for each in taken if each is not None]
        return torch.stack(found).sum() if found else None

    def take(self, weights: Mapping[str, torch.Tensor]) -> tuple[int, float]:
        """Takes the weights of the child.

        Args:
            weights: by their names in its network; buffers among them are left out.

        Returns:
            How many tensors were taken, and which share of the child's numbers they are.
        """
        own = self.shared.values(self.genotype)
        taken = [name for name, each in own.items() if _fits(weights.get(name), each)]
        for name in taken:
            own[name].copy_(weights[name])  # a view of the shared one
        total = sum(each.numel() for each in own.values())
        return len(taken), sum(own[name].numel() for name in taken) / max(1, total)

    def _apply(self, *arguments: Any, **named: Any) -> "GrowingSupernet":
        super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]
        self._built.clear()  # it is where its layers were
        return self

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_built": [], "_remembering": [], "_penalized": []}


def _fits(given: torch.Tensor | None, own: torch.Tensor) -> bool:
    return given is not None and given.shape == own.shape


@dataclass(frozen=True)
class ChildWithParts(Space):
    """Stands where a child's network does, and is built as a ``GrowingSupernet``.

    Args:
        space: what is searched.
        genotype: of the child that may grow.
        growth: how.
        sizes: see ``Widths``.
        seed: of first weights and of what is drawn.
        epsilon: of batch normalization, as of ``SharedWeights``.
    """

    space: SearchSpace
    genotype: tuple[tuple[str, int], ...]
    growth: ForwardGrowth
    sizes: Widths
    seed: int
    epsilon: float | None = None

    @property
    def takes_inputs(self) -> bool:
        return True

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        genotype = dict(self.genotype)
        counted = SharedWeights(self.space, in_shape, widths=self.sizes, device="meta")
        parts = fitting(counted, genotype, self.growth.max_parts, self.seed)
        counted = SharedWeights(self.space, in_shape, widths=self.sizes, device="meta")
        with_parts(counted, genotype, parts, Coefficients())
        check_memory(sum(each.numel() for each in counted.parameters()))
        shared = SharedWeights(
            self.space, in_shape, widths=self.sizes, seed=self.seed, epsilon=self.epsilon
        )
        _, out_shape = with_parts(shared, genotype, parts, Coefficients())
        shared.close()
        return GrowingSupernet(shared, genotype, parts, self.growth, self.seed), out_shape

    def text(self) -> str:
        return "supernet of a child and its parts"


def fitting(
    counted: SharedWeights, genotype: Genotype, max_parts: int, seed: int
) -> tuple[Addition, ...]:
    """Returns the parts that are trained beside a child; where there are more, some are drawn.

    Args:
        counted: weights on the meta device, which grow.
        genotype: the child's.
        max_parts: how many are trained.
        seed: of what is drawn.
    """
    rng = seeded(seed, _DRAWS)
    possible = that_fit(counted, genotype, additions(counted.space, genotype, rng))
    if len(possible) > max_parts:
        drawn = rng.choice(len(possible), max_parts, replace=False)
        possible = [possible[place] for place in np.sort(drawn)]
    return tuple(possible)


def check_grows(
    space: SearchSpace, in_shape: InShape, growth: ForwardGrowth, widths: Widths
) -> None:
    """Refuses a space whose smallest architecture has no part to grow by.

    Args:
        space: what is searched.
        in_shape: of one example.
        growth: how it is grown.
        widths: see ``Widths``.

    Raises:
        ConfigError: hyperparameters are searched.
        SpaceError: there is no such part.
    """
    check_not_searched(space.hyperparameters)
    rng = seeded(0, _DRAWS)
    for _ in range(_MOST_STARTS):
        genotype = smallest(space, rng)
        counted = SharedWeights(space, in_shape, widths=widths, device="meta")
        try:
            if fitting(counted, genotype, growth.max_parts, 0):
                return
        except SpaceError:  # this one is impossible
            continue
    raise SpaceError(
        "the space has no decision that adds a part to a network; legal are optional modules and "
        "options beside zero or empty that keep the shape of what comes in, and repetitions"
    )


_MOST_STARTS = 20
"""So many smallest architectures, which differ in what is drawn, are looked at."""
