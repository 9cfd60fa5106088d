"""What children took over from others, and what of it was gone when they began."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from nasrunner.core.records import Outcome

_SHARE = "inherited_share"
"""The metric of a child that borrows weights, of ``children.progress.borrowing``."""


@dataclass(frozen=True)
class TakenOver:
    """What the children of a study took over.

    Attributes:
        num_inheriting: how many began with weights of others.
        inherited_share: of their parameters that these were, on average; None: of nobody known.
        num_without: how many were to begin with weights that were gone, or could not be read.
        num_again: how many trainings went on from a state that was gone, and so was trained again.
    """

    num_inheriting: int
    inherited_share: float | None
    num_without: int
    num_again: int


def taken_over(outcomes: Iterable[Outcome]) -> TakenOver:
    """Counts what the children with these outcomes took over; repeated outcomes are left out."""
    trained = [each for each in outcomes if each.reused_from is None]
    begun = [each for each in trained if each.proposal.is_root and _lenders(each)]
    shares = [share for each in begun if (share := each.metrics.get(_SHARE))]
    return TakenOver(
        len(shares),
        fmean(shares) if shares else None,
        sum(bool(_lenders(each) & set(each.lacks)) for each in begun),
        sum(each.is_trained_again for each in trained),
    )


def about_gone(outcome: Outcome) -> str:
    """Says what of others was gone when a child began, in a sentence; empty where nothing was."""
    index, source = outcome.proposal.index, outcome.proposal.continues
    if outcome.is_trained_again:
        return (
            f"the training state of child {source}, which child {index} goes on with, was gone or "
            "could not be read: it was trained again"
        )
    gone = [each for each in outcome.lacks if each in _lenders(outcome)]
    if not gone:
        return ""
    named = ", ".join(map(str, gone))
    return (
        f"the weights of {'child' if len(gone) == 1 else 'children'} {named}, which child {index} "
        "was to begin with, were gone or could not be read: it began without them"
    )


def _lenders(outcome: Outcome) -> set[int]:
    """The children whose weights an outcome's was to begin with."""
    return {each.child for each in outcome.proposal.sources if each.what != "training"}
