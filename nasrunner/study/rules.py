"""The rules of a study: its budgets, its limits, and what it does with special children."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from nasrunner.core.annotations import FINITE, Above, AtLeast, Seed
from nasrunner.core.errors import SpaceError
from nasrunner.core.ledger.history import History
from nasrunner.core.machine.memory import least_memory_gb
from nasrunner.core.ports import Blueprint
from nasrunner.core.records import MEASURED, Outcome

Duplicates = Literal["reuse", "resample", "retrain"]


@dataclass(frozen=True)
class Rules:
    """When a study ends, and how it treats children that are special.

    Attributes:
        seed: of the searcher, unless it has one of its own, and with the child of its training.
        max_children: children to begin or reuse, go on with whoever may; None: no limit.
        max_epochs_total: epochs that all children together may be trained for; the one with which
            they are reached is trained as far as it is to; null: no limit.
        max_hours: hours to run, all sessions of the study together; children that run then end.
        target_reward: ends the study once an architecture reaches it.
        max_failures: ends the study when more children than this have failed in training.
        max_fruitless: ends the study when so many proposals in a row, in one session, were known
            or invalid, unless the searcher proposes nothing twice.
        duplicates: what becomes of a genotype that was evaluated before: its outcome is reused
            and spends budget, another one is proposed, or it is trained again.
        failed_reward: what the searcher is told for a child without a reward: the worst reward
            seen, nothing (``ignore``), or a number.
        max_parameters: larger children are invalid.
        max_flops: children that need more for one example are invalid.
        max_memory_gb: children whose weights and their gradients take more are invalid.
    """

    seed: Seed
    max_children: Annotated[int, AtLeast(1)] | None
    max_hours: Annotated[float, Above(0)] | None
    target_reward: Annotated[float, FINITE] | None
    max_failures: Annotated[int, AtLeast(0)] | None
    max_fruitless: Annotated[int, AtLeast(1)] | None
    duplicates: Duplicates
    failed_reward: Annotated[float, FINITE] | Literal["worst", "ignore"]
    max_parameters: Annotated[int, AtLeast(1)] | None
    max_flops: Annotated[int, AtLeast(1)] | None
    max_memory_gb: Annotated[float, Above(0)] | None = None
    max_epochs_total: Annotated[int, AtLeast(1)] | None = None

    def spent(self, history: History, elapsed_s: float) -> str | None:
        """Returns which budget but ``max_children`` is used up, in words; None: some of each is
        left.
        """
        failed = history.num_failed
        if self.max_failures is not None and failed > self.max_failures:
            return f"{failed} children failed, more than max_failures={self.max_failures}"
        best = history.ranking.top()
        if self.target_reward is not None and best and best.reward >= self.target_reward:
            return f"target_reward={self.target_reward} is reached"
        if self.max_hours is not None and elapsed_s >= 3600 * self.max_hours:
            return f"max_hours={self.max_hours} is spent"
        return None

    def check_limits(self, blueprint: Blueprint) -> None:
        """Raises SpaceError for a child that is larger than allowed."""
        limits = {"parameters": self.max_parameters, "flops": self.max_flops}
        for name, limit in limits.items():
            value = getattr(blueprint, name)
            if limit is not None and value is not None and value > limit:
                raise SpaceError(f"{value:,} {name} are more than limits.{name}={limit:,}")
        needed_gb = least_memory_gb(blueprint.parameters or 0)
        if self.max_memory_gb is not None and needed_gb > self.max_memory_gb:
            raise SpaceError(
                f"{blueprint.parameters:,} parameters and gradients take {needed_gb:,.4g} GB, "
                f"more than limits.memory_gb={self.max_memory_gb:.4g} (null: what this machine has)"
            )

    def told_reward(self, outcome: Outcome, history: History) -> float | None:
        """Returns the reward the searcher is told: the child's own, or what counts for having none.

        Nothing counts for that of an estimate, whose unit is not that of trainings. A child that is
        beyond a limit after a part of its training is not told to be as good as the worst of those
        that were trained to their ends: it might be promoted for it.
        """
        is_duplicate = outcome.status == "duplicate"
        if outcome.reward is not None or is_duplicate or outcome.proposal.kind == "estimate":
            return outcome.reward
        match self.failed_reward:
            case "ignore":
                return None
            case "worst":
                is_part = outcome.status in MEASURED and not outcome.is_full
                worst = history.worst_of_any if is_part else history.worst_reward
                return None if math.isinf(worst) else worst
            case reward:
                return float(reward)
