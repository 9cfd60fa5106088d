"""A study's goals: its objectives with their limits, and the one reward that is made of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from nasrunner.core.errors import suggest
from nasrunner.core.ledger.objectives import REWARD, Objective, pareto_front
from nasrunner.core.records import MEASURED, Outcome, Proposal, Status


class Scalarization(Protocol):
    """Makes one reward of several objectives."""

    def reward(self, values: Mapping[str, float]) -> float:
        """Returns the reward of a child that is within all limits.

        Args:
            values: of all objectives, by name.

        Raises:
            ValueError: it is not defined for these values.
        """

    @property
    def beyond(self) -> float | None:
        """The reward of a child that is beyond a limit; None: it has none, as a failed one."""

    @property
    def text(self) -> str:
        """The formula, in a few words."""


@dataclass(frozen=True)
class WeightedSum:
    """Adds the objectives, those to minimise with a minus.

    MONAS' mixed reward α · accuracy − (1 − α) · energy has the weights α and 1 − α (Hsu et al.
    2018, arXiv:1806.10332), of values that are scaled to [0, 1] there and are taken
    as they are here.

    Attributes:
        weights: of each objective, >= 0.
        objectives: those that are added.
    """

    weights: Mapping[str, float]
    objectives: Sequence[Objective]

    beyond = None

    def reward(self, values: Mapping[str, float]) -> float:
        return sum(self.weights[e.name] * e.signed(values[e.name]) for e in self.objectives)

    @property
    def text(self) -> str:
        signs = {each.name: "+" if each.direction == "max" else "−" for each in self.objectives}
        terms = [f"{signs[name]} {weight:g}·{name}" for name, weight in self.weights.items()]
        return " ".join(terms).removeprefix("+ ")


@dataclass(frozen=True)
class Product:
    """Multiplies what is maximised with (value / target)^w of each that is minimised.

    Tan et al. 2019 (MnasNet), arXiv:1807.11626, eq. 2 and 3: w is α up to the target and β beyond
    it. α = β = −0.07 trades one for the other; α = 0 and β = −1 is their hard constraint.

    Attributes:
        within: α.
        beyond_target: β.
        maximised: the names of the factors that are taken as they are.
        targets: T of each of the others, > 0.
    """

    within: float
    beyond_target: float
    maximised: Sequence[str]
    targets: Mapping[str, float]

    beyond = None

    def reward(self, values: Mapping[str, float]) -> float:
        for name, value in values.items():
            if value < 0 or (value == 0 and name in self.targets):
                least = "> 0" if name in self.targets else ">= 0"
                raise ValueError(f"a product needs values {least}, but {name} is {value:g}")
        factors = [values[name] for name in self.maximised]
        for name, target in self.targets.items():
            exponent = self.within if values[name] <= target else self.beyond_target
            factors.append((values[name] / target) ** exponent)
        return math.prod(factors)

    @property
    def text(self) -> str:
        w = f"{self.within:g}"
        if self.within != self.beyond_target:
            w = f"({self.within:g} within, {self.beyond_target:g} beyond)"
        others = [f"({name}/{target:g})^{w}" for name, target in self.targets.items()]
        return "·".join([*self.maximised, *others])


@dataclass(frozen=True)
class UnderLimits:
    """Takes one objective as the reward, of children that are within the limits.

    MONAS' constrained reward: accuracy where the energy is below a threshold, else 0 (Hsu et al.
    2018, arXiv:1806.10332).

    Attributes:
        objective: the one.
        beyond: the reward of a child beyond a limit; None: it has none, as a failed one.
    """

    objective: Objective
    beyond: float | None

    def reward(self, values: Mapping[str, float]) -> float:
        return self.objective.signed(values[self.objective.name])

    @property
    def text(self) -> str:
        sign = "" if self.objective.direction == "max" else "−"
        return f"{sign}{self.objective.name} under limits"


@dataclass(frozen=True)
class Goals:
    """What a study compares its children by, and the one reward that its ranking has.

    Attributes:
        objectives: at least one; the limits are those that a child must be within.
        scalarization: makes the reward; None: it is the task's or the table's own, and a child
            beyond a limit has none.
    """

    objectives: tuple[Objective, ...]
    scalarization: Scalarization | None = None

    def judged(self, outcome: Outcome) -> Outcome:
        """Returns the outcome of a training with its objectives, and the reward made of them.

        An estimate with the weights of a supernet stands for a training, and is judged likewise
        where there are limits or a scalarization; the scores of other estimates stay as they are.

        A child beyond a limit is completed with its objectives and an ``error`` that names the
        limit. It has the reward ``beyond`` of the scalarization, or none: then the study's
        ``failed_reward`` says what its searcher is told. A child that lacks an objective, or has
        values that the scalarization is not defined for, has failed.
        """
        if not self._judges(outcome.proposal) or outcome.status not in MEASURED:
            return outcome
        if outcome.reward is None:
            return outcome
        values: dict[str, float] = {}
        for each in self.objectives:
            value = each.value(outcome)
            if value is None or not math.isfinite(value):
                return _failed(outcome, _lacking(each.name, value, outcome.metrics))
            values[each.name] = value
        judged = replace(outcome, objectives=values)
        if (beyond := self._beyond(judged)) is not None:
            return beyond
        if self.scalarization is None:
            return judged
        try:
            reward = self.scalarization.reward(values)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            return _failed(outcome, f"scalarization: {error}")
        if not math.isfinite(reward):
            return _failed(outcome, f"scalarization: the reward is {reward}")
        return replace(judged, reward=reward)

    def foreseen(self, proposal: Proposal, sizes: Mapping[str, float]) -> Outcome | None:
        """Returns the outcome of a training that is beyond a limit whatever it measures.

        It is that of ``judged`` with what is known without the training, of 0 epochs.

        Args:
            proposal: what is to be trained.
            sizes: its parameters and FLOPs, where they are known.

        Returns:
            None: its size is within all limits, or nobody asks for it.
        """
        if not self._judges(proposal):
            return None
        known = {each.name: sizes[each.name] for each in self.objectives if each.name in sizes}
        # An `until` that lies beyond the end has gone from the identity.
        is_paused = proposal.until is not None and not proposal.is_plain
        status: Status = "paused" if is_paused else "completed"
        metrics = {**sizes, "epochs": 0.0}
        return self._beyond(Outcome(proposal, status, metrics=metrics, objectives=known))

    def _beyond(self, outcome: Outcome) -> Outcome | None:
        """An outcome that names the first limit that it is beyond; None: it is within all."""
        for each in self.objectives:
            value = outcome.objectives.get(each.name)
            if value is not None and each.excess(value):
                told = f"objectives.{each.name}.limit={each.limit:g}: {each.name} is {value:g}"
                beyond = None if self.scalarization is None else self.scalarization.beyond
                return replace(outcome, reward=beyond, error=told)
        return None

    def _judges(self, proposal: Proposal) -> bool:
        if proposal.kind == "estimate" and proposal.sources:
            return self.scalarization is not None or any(
                e.limit is not None for e in self.objectives
            )
        return proposal.kind == "train"

    @property
    def limited(self) -> list[Objective]:
        """The objectives that have a limit, or a target that may be missed."""
        targets = self.targets
        aimed = [replace(e, limit=targets.get(e.name, e.limit)) for e in self.objectives]
        return [each for each in aimed if each.limit is not None]

    @property
    def targets(self) -> Mapping[str, float]:
        """The targets of a product by objective, which may be missed, unlike limits."""
        return self.scalarization.targets if isinstance(self.scalarization, Product) else {}

    def is_within(self, outcome: Outcome) -> bool:
        """Tells whether an outcome has all objectives, within their limits."""
        values = [outcome.objectives.get(each.name) for each in self.objectives]
        pairs = zip(self.objectives, values, strict=True)
        return all(value is not None and not each.excess(value) for each, value in pairs)

    def front(self, outcomes: Sequence[Outcome]) -> list[int]:
        """Returns the places of the outcomes within the limits that no other dominates."""
        within = [i for i, outcome in enumerate(outcomes) if self.is_within(outcome)]
        found = pareto_front([outcomes[i] for i in within], self.objectives)
        return [within[i] for i in found]


def unmet_limits(goals: Goals, outcomes: Sequence[Outcome]) -> list[str]:
    """Returns a sentence for each limit, or target, that none of the outcomes is within."""
    told = []
    for each in goals.limited:
        values = [o.objectives[each.name] for o in outcomes if each.name in o.objectives]
        if values and all(each.excess(value) for value in values):
            best = max(values, key=each.signed)
            told.append(
                f"no child is within objectives.{each.name}.limit={each.limit:g}: the best has "
                f"{best:g}"
            )
    return told


def reference_point(goals: Goals, outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Returns the reference point of hypervolumes: each objective's own, by name.

    Of one without ``reference`` it is the limit, and without a limit the worst value measured: or
    the target of a product, where that is worse, as children beyond a target are on the front, too.
    Empty where one of them was not measured of any.
    """
    measured = [outcome.objectives for outcome in outcomes if outcome.objectives]
    found = {}
    for each in goals.objectives:
        values = [objectives[each.name] for objectives in measured if each.name in objectives]
        if not values:
            return {}
        given = each.limit if each.reference is None else each.reference
        if given is None:
            aimed = [goals.targets[each.name]] if each.name in goals.targets else []
            given = min([*values, *aimed], key=each.signed)
        found[each.name] = given
    return found


def _failed(outcome: Outcome, reason: str) -> Outcome:
    return replace(outcome, status="failed", reward=None, error=reason)


def _lacking(name: str, value: float | None, metrics: Mapping[str, float]) -> str:
    if value is not None:
        return f"objectives.{name}: {name} is {value}"
    return f"objectives.{name}: the child has no {name!r}, {suggest(name, [*metrics, REWARD])}"
