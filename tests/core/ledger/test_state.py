"""When things happened, by clocks that people and networks set."""

from typing import Any

import pytest

from nasrunner.core.ledger.checks import times
from nasrunner.core.ledger.events import Resumed
from nasrunner.core.ledger.state import StudyState

DAY_S = 24 * 3600.0


def event(kind: str, time_s: float, monotonic_s: float | None = None) -> dict[str, Any]:
    known = {} if monotonic_s is None else {"monotonic_s": monotonic_s}
    return {"event": kind, "time": time_s, **known}


def sessions(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """When the first and the last event of each session were written."""
    state = StudyState()
    for each, time_s in zip(events, times(events), strict=True):
        state.apply(Resumed() if each["event"] == "resumed" else None, time_s)
    return state.sessions


def test_a_clock_that_is_set_changes_no_duration() -> None:
    """A day ahead within the first session, and the machine is started again before the second."""
    events = [
        event("study", 1000.0, 500.0),
        event("proposed", 1001.0, 501.0),
        event("outcome", 1002.0 + DAY_S, 502.0),
        event("resumed", 2000.0 + DAY_S, 7.0),
        event("outcome", 1990.0 + DAY_S, 17.0),  # set back
    ]
    start_s = 2000.0 + DAY_S
    assert times(events) == [1000.0, 1001.0, 1002.0, start_s, start_s + 10]
    assert sessions(events) == [(1000.0, 1002.0), (start_s, start_s + 10)]


def test_a_ledger_of_an_earlier_version_has_only_the_clock() -> None:
    events = [
        event("study", 10.0),
        event("outcome", 13.0),
        event("ended", 12.0),
        event("resumed", 20.0, 5.0),
        event("ended", 99.0, 6.0),
    ]
    assert times(events) == [10.0, 13.0, 12.0, 20.0, 21.0]
    assert sessions(events) == [(10.0, 13.0), (20.0, 21.0)]


@pytest.mark.parametrize("kind", ["proposed", "ended"])
def test_a_session_that_was_killed_at_once_took_no_time(kind: str) -> None:
    assert sessions(
        [event("study", 10.0, 3.0), event("resumed", 11.0, 1.0), event(kind, 12.0, 2.0)]
    ) == [
        (10.0, 10.0),
        (11.0, 12.0),
    ]
