"""Learns the coefficients of parts beside a network, and says which parts are to join it.

Hu et al. 2019, arXiv:1905.13360, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from nasrunner.children.supernets.trials import Trials
from nasrunner.children.supernets.validation_batches import Batch
from nasrunner.core import Genotype, SearchSpace
from nasrunner.core.relaxation import ForwardGrowth
from nasrunner.core.space import Addition, grown

# P = parts


class GrowingNetwork(Protocol):
    """A network with parts beside it; see ``GrowingSupernet``."""

    growth: ForwardGrowth
    genotype: Genotype
    parts: tuple[Addition, ...]
    alpha_P: nn.Parameter
    seed: int

    @property
    def space(self) -> SearchSpace: ...


class PartsLearner:
    """Takes a step of α after each step of the weights, by the same batch.

    The gradient that the batch leaves on α is that of the loss in the direction of each part: by
    how much a small share of the part would change the loss. The L1 penalty is a step of its own
    that shrinks each |α| and stops at zero (ISTA; Daubechies et al. 2004, eq. 1.4), so that parts
    of no use have zeros.

    Args:
        supernet: whose α learn.
    """

    def __init__(self, supernet: GrowingNetwork) -> None:
        self.supernet = supernet
        self._gradient_P: torch.Tensor | None = None  # of the batches since the last step
        self._scale = 1.0  # of it

    def note(self, gradient_P: torch.Tensor) -> None:
        """Adds the gradient that a batch leaves on α to those of the next step."""
        before = self._gradient_P
        self._gradient_P = gradient_P if before is None else before + gradient_P

    def parameters(self) -> Iterable[nn.Parameter]:
        """Returns α, which the optimizer of the weights must not have."""
        return [self.supernet.alpha_P]

    def before_step(self, training: Batch, trials: Trials) -> None:
        """Takes a step of α by the batches of the weights' last step, if there was one."""
        self._step(trials)
        # Losses are scaled in 16-mixed precision, by a number that their step may change.
        scaler = getattr(trials.trainer.precision_plugin, "scaler", None)
        self._scale = 1.0 if scaler is None else float(scaler.get_scale())

    def after_epoch(self, trials: Trials) -> Mapping[str, float]:
        """Takes the last step of an epoch, and looks at α.

        Returns:
            ``num_parts``, how many parts there are, and ``num_useful``, those whose α is not zero.

        Raises:
            FloatingPointError: α is no number any more.
        """
        self._step(trials)
        alpha_P = self.supernet.alpha_P.detach()
        if not bool(alpha_P.isfinite().all()):
            raise FloatingPointError(
                f"the coefficients of the parts have diverged: {alpha_P.tolist()}"
            )
        return {
            "num_parts": float(len(alpha_P)),
            "num_useful": float(torch.count_nonzero(alpha_P)),
        }

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns nothing: α are coefficients, of any sign and sum."""
        return {}

    def is_done(self) -> bool:
        """Returns whether there is no part to train."""
        return not self.supernet.parts

    def likeliest(self) -> Genotype:
        """Returns the network with the parts of the highest |α|, or itself where all are zeros."""
        return self._joined(len(self.chosen()))

    def found(self) -> Sequence[Genotype]:
        """Returns the network with all parts that are to join it, then with one less each time."""
        return [self._joined(count) for count in range(len(self.chosen()), 0, -1)]

    def chosen(self) -> list[Addition]:
        """Returns the parts that are to join, the highest |α| first, one of each decision."""
        growth, parts = self.supernet.growth, self.supernet.parts
        strengths = self.supernet.alpha_P.detach().abs().double().cpu().numpy()
        order = np.argsort(-strengths, kind="stable")
        if growth.is_random:
            order = np.random.default_rng(self.supernet.seed).permutation(len(parts))
        found: dict[str, Addition] = {}
        for number in order:
            if len(found) < growth.num_joined and (growth.is_random or strengths[number] > 0.0):
                found.setdefault(parts[number].path, parts[number])
        return list(found.values())

    def _joined(self, count: int) -> Genotype:
        return grown(self.supernet.space, self.supernet.genotype, self.chosen()[:count])

    def _step(self, trials: Trials) -> None:
        gradient_P, self._gradient_P = self._gradient_P, None
        if gradient_P is None:
            return
        (gradient_P,) = trials.averaged([gradient_P])
        alpha_P, growth = self.supernet.alpha_P, self.supernet.growth
        if self._scale != 1.0 and not bool(gradient_P.isfinite().all()):
            return  # the optimizer leaves such a step out, too
        with torch.no_grad():
            moved_P = alpha_P - growth.learning_rate * gradient_P / self._scale
            shrink = growth.learning_rate * growth.penalty
            alpha_P.copy_(moved_P.sign() * (moved_P.abs() - shrink).clamp(min=0.0))
