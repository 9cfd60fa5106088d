"""How well rewards of children that were paused rank them as those of longer trainings do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasrunner.core.ledger.agreement import rank_correlation
from nasrunner.core.records import Outcome


@dataclass(frozen=True)
class Step:
    """Children that were paused after as many epochs, and gone on with.

    Attributes:
        before: after how many epochs they were paused.
        after: after how many again; None: they were trained to their ends.
        num_children: how many.
        rank_correlation: Spearman's ρ of their rewards then; None where it is not defined.
    """

    before: int
    after: int | None
    num_children: int
    rank_correlation: float | None

    @property
    def between(self) -> str:
        """The two epochs, in words."""
        return f"{self.before} and {'the end' if self.after is None else self.after}"

    @property
    def found(self) -> str:
        """The correlation, in words, and of how many children it is."""
        rho = "cannot be told" if self.rank_correlation is None else f"{self.rank_correlation:.2f}"
        return f"{rho} ({self.num_children:,} {'child' if self.num_children == 1 else 'children'})"


def about_steps(steps: Sequence[Step]) -> str:
    """How alike rewards rank children before and after steps, in words; empty without any."""
    if not steps:
        return ""
    told = ", ".join(f"{step.between} {step.found}" for step in steps)
    return f"Spearman's ρ of rewards after epochs {told}"


def steps_of(outcomes: Mapping[int, Outcome]) -> list[Step]:
    """Lists the steps of a study, in the order of their epochs.

    Those who go on were chosen by their rewards, so that ρ is lower than it would be of all.

    Args:
        outcomes: by index.
    """
    pairs: dict[tuple[int, int | None], list[tuple[float, float]]] = {}
    for outcome in outcomes.values():
        source = outcome.proposal.continues
        earlier = None if source is None else outcomes.get(source)
        if earlier is None or earlier.reward is None or outcome.reward is None:
            continue
        before, is_at_end = earlier.proposal.until, outcome.status == "completed"
        if before is not None and outcome.status in ("completed", "paused"):
            after = None if is_at_end else outcome.proposal.until
            pairs.setdefault((before, after), []).append((earlier.reward, outcome.reward))
    ordered = sorted(pairs, key=lambda step: (step[0], step[1] is None, step[1] or 0))
    return [
        Step(*step, len(pairs[step]), rank_correlation(*zip(*pairs[step], strict=True)))
        for step in ordered
    ]
