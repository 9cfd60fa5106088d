"""What was answered to every decision of a study, when, and with which reward."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nasrunner.core.decision import Decision
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.decisions.names import readable
from nasrunner.report.decisions.places import place_of, varying_places
from nasrunner.report.study.evaluations import evaluations
from nasrunner.report.study.reward_axes import fence

MAX_PARTS, MIN_PER_PART = 10, 5


@dataclass
class Answers:
    """All answers to one decision, or to one kind of decisions.

    Attributes:
        kind: its path; decisions in the repetitions of a block whose number varies are one kind,
            with ``*`` in the place of the repetition.
        options: what may be answered.
        is_ordered: the options are numbers in order.
        asked: (position of the child among the proposed, option index) pairs.
        rewards: for each option, those of the trained children that have it; a child that
            answers several decisions of the kind in one way counts once, and a reward that is
            far out counts as ``floor_of``.
        num_rewarded: the trained children with a reward that have this decision.
        num_of: those of the study.
        name: what people call it.
    """

    kind: str
    options: tuple[Any, ...]
    is_ordered: bool
    asked: list[tuple[int, int]] = field(default_factory=list)
    rewards: list[list[float]] = field(default_factory=list)
    num_rewarded: int = 0
    num_of: int = 0
    name: str = ""

    def shares(self, num_children: int) -> np.ndarray[Any, Any]:
        """Returns how often each option was proposed in equal parts of the study.

        Returns:
            (number of parts, number of options): each row sums to 1, or is NaN where no child
            proposed in that part had this decision.
        """
        num_parts = parts_of(num_children)
        counts = np.zeros((num_parts, len(self.options)))
        for position, option in self.asked:
            counts[position * num_parts // num_children, option] += 1
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.full_like(counts, np.nan)
        np.divide(counts, totals, out=shares, where=totals > 0)
        return shares

    @property
    def explained(self) -> float | None:
        """Share of the reward's variance between options, corrected for their number.

        Kelley's epsilon squared (1935), 0 where it is negative: what remains of the share that
        options of no influence would seem to explain. None where there is too little to tell.
        """
        groups = [np.array(each) for each in self.rewards if each]
        num, num_groups = sum(map(len, groups)), len(groups)
        if num_groups < 2 or num <= num_groups:
            return None
        every = np.concatenate(groups)
        total = float(((every - every.mean()) ** 2).sum())
        if total == 0:
            return None
        within = sum(float(((each - each.mean()) ** 2).sum()) for each in groups)
        return max(0.0, 1.0 - within / (num - num_groups) / (total / (num - 1)))

    @property
    def weight(self) -> float:
        """How telling it is: ``explained``, the less the fewer of the children have it."""
        return (self.explained or 0.0) * self.num_rewarded / max(1, self.num_of)


def parts_of(num_children: int) -> int:
    """Returns into how many equal parts a study is cut: ten, if none has too few children."""
    return min(MAX_PARTS, max(1, num_children // MIN_PER_PART))


def mean_and_error(rewards: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the mean and its standard error; None where there are no, or less than two,
    rewards.
    """
    if not rewards:
        return None, None
    error = float(np.std(rewards, ddof=1)) / len(rewards) ** 0.5 if len(rewards) > 1 else None
    return float(np.mean(rewards)), error


def answers(study: RecordedStudy) -> list[Answers]:
    """Returns the answers to each decision with more than one option that was asked, most telling
    first.

    The edges of a cell, and repetitions of which there is one number, are decisions of their own;
    where the number of repetitions varies, these are of one kind.
    """
    rewards, floor = rewards_of_trained(study), floor_of(study)
    decisions: dict[str, Decision] = {}
    asked = {child.proposal.index: answered(study, child, decisions) for child in study.begun}
    varying = varying_places([[decision for decision, _ in each] for each in asked.values()])
    found: dict[str, Answers] = {}
    for position, child in enumerate(study.begun):
        options_of: dict[str, set[int]] = {}
        for decision, option in asked[child.proposal.index]:
            if len(decision.options) < 2:
                continue
            place = place_of(decision, varying)
            if place not in found:
                found[place] = _empty(decision, place, len(rewards))
            found[place].asked.append((position, option))
            options_of.setdefault(place, set()).add(option)
        if (reward := rewards.get(child.proposal.index)) is not None:
            for place, options in options_of.items():
                found[place].num_rewarded += 1
                for option in options:
                    found[place].rewards[option].append(max(reward, floor))
    names = readable({place: each.options for place, each in found.items()})
    for place, each in found.items():
        each.name = names[place]
    return sorted(found.values(), key=lambda each: -each.weight)


def floor_of(study: RecordedStudy) -> float:
    """Returns what lower rewards count as: one loss without bounds would make every mean its
    own.
    """
    return fence(list(rewards_of_trained(study).values()), 10.0)


def _empty(decision: Decision, place: str, num_of: int) -> Answers:
    rewards: list[list[float]] = [[] for _ in decision.options]
    ordered = decision.is_ordered
    return Answers(place, decision.options, ordered, rewards=rewards, num_of=num_of)


def answered(
    study: RecordedStudy, child: RecordedChild, decisions: dict[str, Decision]
) -> list[tuple[Decision, int]]:
    """Returns a child's decisions and its answers; ``decisions`` remembers those met before, by
    path.
    """
    genotype = child.proposal.genotype

    def answer(decision: Decision) -> int:
        decisions[decision.path] = decision
        return genotype[decision.path]

    if any(path not in decisions for path in genotype):
        study.space.walk(answer)
    return [(decisions[path], option) for path, option in genotype.items()]


def rewards_of_trained(study: RecordedStudy) -> dict[int, float]:
    """Returns the rewards of those that were trained, by the child with which the training
    began.
    """
    trained = [e for e in evaluations(study) if e.is_trained and e.has_reward]
    return {e.begun.proposal.index: e.reward for e in trained}
