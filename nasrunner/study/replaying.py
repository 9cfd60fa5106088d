"""Brings a study to where its ledger ends: the state, and what its searcher was told."""

from nasrunner.core.errors import LedgerError, SpaceError
from nasrunner.core.ledger.checks import times
from nasrunner.core.ledger.events import Began, Event, Proposed, Recorded, Reported, read_event
from nasrunner.core.ledger.known import Known
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.records import Proposal
from nasrunner.study.beginning import check_same
from nasrunner.study.ledger import Ledger
from nasrunner.study.searching import Searching


def replay(ledger: Ledger, current: Began, state: StudyState, searching: Searching) -> None:
    """Applies all events to the state, and tells the searcher what it was told when they happened.

    Args:
        ledger: the study's.
        current: how the study would begin now.
        state: empty.
        searching: the searcher, as it was made.

    Raises:
        LedgerError: the ledger belongs to another space or seed.
    """
    num_known = searching.restore(ledger)
    with searching.at_work():
        for record, time_s in zip(ledger.events, times(ledger.events), strict=True):
            event = read_event(record, state.in_flight)
            if isinstance(event, Began):
                check_same(event, current, ledger.path)
            is_known = state.num_events < num_known
            state.apply(event, time_s)
            if not is_known:
                _tell(event, ledger, state, searching)
    state.repeats.resume()


def _tell(event: Event | None, ledger: Ledger, state: StudyState, searching: Searching) -> None:
    match event:
        case Proposed(proposal):
            _register(proposal, ledger, searching)
        case Recorded(outcome):
            searching.observe(outcome, state.history)
        case Reported(report):
            searching.searcher.report(report)
        case Known() if event.outcomes:
            searching.searcher.learn_known(event.outcomes)


def _register(proposal: Proposal, ledger: Ledger, searching: Searching) -> None:
    try:
        searching.searcher.register(proposal)
    except SpaceError as error:
        raise LedgerError(
            f"{ledger.path} is damaged: child {proposal.index} is none of its space's: {error}"
        ) from error
