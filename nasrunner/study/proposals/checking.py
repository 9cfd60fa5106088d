"""What a searcher may propose, looked at before it is recorded: a ledger holds nothing else."""

from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.records import MEASURED, Proposal, Source


def check_proposal(proposal: Proposal, state: StudyState, searcher: str) -> None:
    """Refuses a proposal that does not follow from what was proposed and recorded before.

    Args:
        proposal: the next one.
        state: the study's.
        searcher: whose proposal it is, for the error.

    Raises:
        ConfigError: its index is not the next one, ``until`` is no whole number, or a source was
            not proposed, has not ended, was not trained, or has come as far as ``until`` already.
    """
    if proposal.index != len(state.proposals):
        raise ConfigError(
            f"searcher: {searcher} must number its proposals 0, 1, 2, …: the next is "
            f"{len(state.proposals)}, got {proposal.index}"
        )
    if proposal.until is not None and type(proposal.until) is not int:
        raise ConfigError(
            f"searcher: {searcher} must pause after a whole number of epochs, got "
            f"until={proposal.until!r}"
        )
    for source in proposal.sources:
        if reason := _why_not(source, proposal, state):
            raise ConfigError(
                f"searcher: child {proposal.index} of {searcher} cannot take over the "
                f"{source.what} of child {source.child}, {reason}"
            )


def _why_not(source: Source, proposal: Proposal, state: StudyState) -> str | None:
    """Why nothing can be taken over from a source; None: it can."""
    if source.child not in state.proposals:
        return "which was not proposed"
    if source.child in state.in_flight:
        return "which has not ended"
    outcome = state.outcomes[source.child]
    if outcome.reused_from is not None:
        return f"which was not trained but repeats child {outcome.reused_from}; legal is that one"
    if outcome.proposal.kind != "train" or outcome.status not in MEASURED:
        what = "no child" if outcome.proposal.kind != "train" else outcome.status
        return f"which is {what}; legal are children that were completed, paused or stopped"
    epochs = state.num_epochs.get(source.child, 0)
    if source.what == "training" and proposal.until is not None and proposal.until <= epochs:
        return f"which was trained for {epochs} epochs; legal is until > {epochs}"
    return None
