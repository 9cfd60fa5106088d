"""How well rewards of cheaper trainings rank children as those of longer or whole ones do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from nasrunner.core.ledger.agreement import rank_correlation
from nasrunner.core.records import Outcome

PROMOTES = "promotes"
"""The note of a proposal that trains a child anew at a higher fidelity, or whole: which child."""


@dataclass(frozen=True)
class Reach:
    """How far trainings came that are compared with one another and are no whole ones.

    Attributes:
        until: after how many epochs they were paused; None: they were not.
        fidelity: what they were trained at, as of ``Proposal``, in the order of its names.
    """

    until: int | None
    fidelity: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, outcome: Outcome) -> Self | None:
        """Says how far a training came; None: to its end, or it has nothing to compare."""
        if not outcome.is_trained:
            return None
        proposal = outcome.proposal
        fidelity = tuple(sorted(proposal.fidelity.items()))
        if outcome.status == "paused" and proposal.until is not None:
            return cls(proposal.until, fidelity)
        is_cheaper = outcome.status == "completed" and proposal.kind == "train" and fidelity
        return cls(None, fidelity) if is_cheaper and not outcome.is_full else None

    @property
    def order(self) -> tuple[bool, tuple[tuple[str, float], ...], float]:
        """Orders reaches: the further, the greater; what is only paused is the furthest."""
        return not self.fidelity, self.fidelity, float("inf") if self.until is None else self.until

    @property
    def short(self) -> str:
        """``after 3 epochs`` or ``at width=0.5``."""
        return " ".join(filter(None, [self._at, self._after]))

    @property
    def about(self) -> str:
        """``paused after 3 epochs`` or ``trained at width=0.5``."""
        parts = [f"trained {self._at}" if self._at else "", self._after and f"paused {self._after}"]
        return ", ".join(filter(None, parts))

    @property
    def missed(self) -> str:
        """What none of the children was trained to, or at: ``to its end``."""
        return "at full fidelity" if self.fidelity else "to its end"

    @property
    def _at(self) -> str:
        return f"at {shown_fidelity(dict(self.fidelity))}" if self.fidelity else ""

    @property
    def _after(self) -> str:
        if self.until is None:
            return ""
        return "after 1 epoch" if self.until == 1 else f"after {self.until:,} epochs"


def shown_fidelity(fidelity: Mapping[str, float]) -> str:
    """Returns a fidelity in words: ``width=0.5``."""
    return " ".join(f"{name}={number:g}" for name, number in fidelity.items())


@dataclass(frozen=True)
class FidelityCost:
    """Children that were trained at one fidelity.

    Attributes:
        fidelity: name -> number; empty: whole trainings.
        num_children: how many.
        cost_s: the mean of the seconds that they took.
    """

    fidelity: Mapping[str, float]
    num_children: int
    cost_s: float

    @property
    def text(self) -> str:
        """``4 at width=0.5 (3.2 s each)``; whole ones are counted elsewhere."""
        took = f"{self.cost_s:.3g} s each"
        if not self.fidelity:
            return f"whole ones {took}"
        return f"{self.num_children:,} at {shown_fidelity(self.fidelity)} ({took})"


def fidelities_of(outcomes: Iterable[Outcome]) -> list[FidelityCost]:
    """Counts the children that were trained at each fidelity, the cheapest first, whole ones last.

    Empty where none was trained at any. Those that repeat another's outcome are left out, as are
    those that a limit judged without a training.
    """
    found: dict[Reach | None, list[float]] = {}
    for outcome in outcomes:
        reach = Reach.of(outcome)
        is_whole = outcome.is_full and not outcome.proposal.sources
        is_own = outcome.is_trained and outcome.reused_from is None
        if is_own and (is_whole or (reach and reach.fidelity)):
            found.setdefault(reach and Reach(None, reach.fidelity), []).append(outcome.cost_s)
    cheaper = sorted(filter(None, found), key=lambda reach: reach.order)
    ordered = [*cheaper, *([None] if None in found else [])] if cheaper else []
    return [
        FidelityCost(
            {} if reach is None else dict(reach.fidelity),
            len(found[reach]),
            round(fmean(found[reach]), 3),
        )
        for reach in ordered
    ]


@dataclass(frozen=True)
class Step:
    """Children that were compared after a cheaper training, and trained further or anew.

    Attributes:
        before: after how many epochs they were paused, or the number of the fidelity.
        after: the same of what came next; None: they were trained to their ends.
        num_children: how many.
        rank_correlation: Spearman's ρ of their rewards then; None where it is not defined.
        fidelity: whose numbers these are; None: they are epochs.
    """

    before: float
    after: float | None
    num_children: int
    rank_correlation: float | None
    fidelity: str | None = None

    @property
    def kind(self) -> str:
        """What the two numbers are of."""
        return "epochs" if self.fidelity is None else self.fidelity

    @property
    def between(self) -> str:
        """The two numbers, in words."""
        whole = "the end" if self.fidelity is None else "the whole"
        return f"{self.before:g} and {whole if self.after is None else f'{self.after:g}'}"

    @property
    def found(self) -> str:
        """The correlation, in words, and of how many children it is."""
        rho = "cannot be told" if self.rank_correlation is None else f"{self.rank_correlation:.2f}"
        return f"{rho} ({self.num_children:,} {'child' if self.num_children == 1 else 'children'})"


def about_steps(steps: Sequence[Step]) -> str:
    """Returns how alike rewards rank children before and after steps, in words; empty without
    any.
    """
    told: dict[str, list[str]] = {}
    for step in steps:
        place = "after epochs" if step.fidelity is None else f"at {step.fidelity}"
        told.setdefault(place, []).append(f"{step.between} {step.found}")
    parts = [f"{place} {', '.join(each)}" for place, each in told.items()]
    return f"Spearman's ρ of rewards {'; '.join(parts)}" if parts else ""


def steps_of(outcomes: Mapping[int, Outcome]) -> list[Step]:
    """Lists the steps of a study, in the order of their numbers.

    Those who go on were chosen by their rewards, so that ρ is lower than it would be of all.

    Args:
        outcomes: by index.
    """
    pairs: dict[tuple[str | None, float, float | None], list[tuple[float, float]]] = {}
    for outcome in outcomes.values():
        earlier = outcomes.get(_before(outcome))
        if earlier is None or earlier.reward is None or outcome.reward is None:
            continue
        if not (earlier.is_trained and outcome.is_trained):
            continue
        if (step := _step(earlier, outcome)) is not None:
            pairs.setdefault(step, []).append((earlier.reward, outcome.reward))

    def order(step: tuple[str | None, float, float | None]) -> tuple[str, float, bool, float]:
        fidelity, before, after = step
        return fidelity or "", before, after is None, after or 0

    return [
        Step(before, after, len(found), rank_correlation(*zip(*found, strict=True)), fidelity)
        for fidelity, before, after in sorted(pairs, key=order)
        for found in [pairs[fidelity, before, after]]
    ]


def _before(outcome: Outcome) -> int:
    """The child that an outcome is compared with; −1: there is none."""
    source = outcome.proposal.continues
    return int(outcome.proposal.notes.get(PROMOTES, -1)) if source is None else source


def _step(earlier: Outcome, outcome: Outcome) -> tuple[str | None, float, float | None] | None:
    """What two trainings of a child differ in; None: in nothing that is ordered."""
    if outcome.proposal.continues is not None:
        before, is_at_end = earlier.proposal.until, outcome.status == "completed"
        if before is None or outcome.status not in ("completed", "paused"):
            return None
        return None, before, None if is_at_end else outcome.proposal.until
    if len(earlier.proposal.fidelity) != 1 or outcome.status != "completed":
        return None
    ((name, number),) = earlier.proposal.fidelity.items()
    return name, number, outcome.proposal.fidelity.get(name)
