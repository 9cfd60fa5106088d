"""A supernet of one child and the parts that it could grow by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nasrunner.children.inputs import Inputs
from nasrunner.children.settings.searched import check_not_searched
from nasrunner.children.supernets.covering import WHOLE_MACHINE, MemoryLimit
from nasrunner.children.supernets.growing.building import that_fit, with_parts
from nasrunner.children.supernets.growing.learner import PartsLearner
from nasrunner.children.supernets.growing.weak_learners import Coefficients
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.children.supernets.whole_network import WholeNetwork
from nasrunner.core import Genotype, InShape, SearchSpace, Shape, SpaceError
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.relaxation import ForwardGrowth
from nasrunner.core.space import Addition, Space, additions, smallest

# P = parts

_FIRST_ALPHA = 1.0
"""What a part's α begins with: as much as it counts once it has joined."""

_DRAWS = 2
"""The stream of random numbers that parts are drawn from."""


class GrowingSupernet(WholeNetwork):
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
        super().__init__(shared)
        self.genotype = genotype
        self.parts = parts
        self.growth = growth
        self.seed = seed
        # Its gradients are the learner's: others are dropped before a validation.
        first_P = torch.full((len(parts),), _FIRST_ALPHA)
        self.alpha_P = nn.Parameter(first_P, requires_grad=False)
        self._coefficients = Coefficients()
        self.learner = PartsLearner(self)

    def forward(self, x: Inputs) -> torch.Tensor:
        network = self.begun()
        alpha_P = self._coefficients.alpha_P = self.alpha_P.detach()
        if self.training and torch.is_grad_enabled():
            alpha_P.requires_grad_()
            alpha_P.register_hook(self.learner.note)  # type: ignore[no-untyped-call]
        found: torch.Tensor = network(x)
        return found

    def build(self) -> nn.Module:
        """Builds the child's network with the parts beside it."""
        return with_parts(self.shared, self.genotype, self.parts, self._coefficients)[0]

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
        memory: how much of it training may take.
    """

    space: SearchSpace
    genotype: tuple[tuple[str, int], ...]
    growth: ForwardGrowth
    sizes: Widths
    seed: int
    epsilon: float | None = None
    memory: MemoryLimit = WHOLE_MACHINE

    @property
    def takes_inputs(self) -> bool:
        return True

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        genotype = dict(self.genotype)
        counted = SharedWeights(self.space, in_shape, widths=self.sizes, device="meta")
        parts = fitting(counted, genotype, self.growth.max_parts, self.seed)
        self.memory.check(_size_with(parts, self.space, in_shape, genotype, self.sizes))
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
    space: SearchSpace,
    in_shape: InShape,
    growth: ForwardGrowth,
    widths: Widths,
    memory: MemoryLimit | None = None,
) -> None:
    """Refuses a space whose smallest architecture has no part to grow by.

    Args:
        space: what is searched.
        in_shape: of one example.
        growth: how it is grown.
        widths: see ``Widths``.
        memory: how much of it the training of the first supernet may take; None: nobody asks.

    Raises:
        ConfigError: hyperparameters are searched.
        SpaceError: there is no such part, or the smallest architectures take too much memory with
            theirs.
    """
    check_not_searched(space.hyperparameters)
    rng = seeded(0, _DRAWS)
    beyond: SpaceError | None = None
    for _ in range(_MOST_STARTS):
        genotype = smallest(space, rng)
        counted = SharedWeights(space, in_shape, widths=widths, device="meta")
        try:
            parts = fitting(counted, genotype, growth.max_parts, 0)
        except SpaceError:  # this one is impossible
            continue
        if parts and memory is not None:
            try:
                memory.check(_size_with(parts, space, in_shape, genotype, widths))
            except SpaceError as error:
                beyond = error
                continue
        if parts:
            return
    if beyond is not None:
        raise beyond
    raise SpaceError(
        "the space has no decision that adds a part to a network; legal are optional modules and "
        "options beside zero or empty that keep the shape of what comes in, and repetitions; "
        "dropout, another order and larger numbers of a module are no parts"
    )


def _size_with(
    parts: tuple[Addition, ...],
    space: SearchSpace,
    in_shape: InShape,
    genotype: Genotype,
    widths: Widths,
) -> int:
    """How many numbers the weights of a child and its parts are."""
    counted = SharedWeights(space, in_shape, widths=widths, device="meta")
    with_parts(counted, genotype, parts, Coefficients())
    return counted.num_parameters


_MOST_STARTS = 20
"""So many smallest architectures, which differ in what is drawn, are looked at."""
