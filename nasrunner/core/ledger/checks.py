"""What a ledger's events must be for a study to be read from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from nasrunner.core.records import Kind, Status


class EventOrder:
    """Checks one event after the other; what is wrong with one is a sentence."""

    def __init__(self) -> None:
        self._num_proposed = 0
        self._in_flight: set[int] = set()
        self._has_begun = False

    def check(self, event: Mapping[str, Any]) -> None:
        """Takes the next event.

        Raises:
            ValueError: it lacks a value, or does not follow from those before it.
        """
        kind = event["event"]
        if self._has_begun is (kind == "study"):
            raise ValueError(
                "the study begins a second time" if self._has_begun else "it is no study's first"
            )
        self._has_begun = True
        may_hold = {**_CLOCK, **(_MAY_HOLD if kind in _FIELDS else {})}
        known = {name: check for name, check in may_hold.items() if name in event}
        _check_fields(event, {"time": _is_number, **known, **_FIELDS.get(kind, {})})
        if kind == "proposed":
            self._propose(event["index"], [each["child"] for each in event.get("sources", ())])
        elif kind == "outcome":
            self._end(event["index"])
        elif kind == "known" and self._num_proposed:
            raise ValueError("what was known before the first child comes after it")
        elif kind in ("reported", "stopping") and event["index"] not in self._in_flight:
            raise ValueError(f"child {event['index']} is {kind}, but is not in flight")

    def _propose(self, index: int, sources: Sequence[int]) -> None:
        if index != self._num_proposed:
            raise ValueError(f"child {index} is proposed, but child {self._num_proposed} is next")
        if unknown := [source for source in sources if not 0 <= source < index]:
            raise ValueError(
                f"child {index} takes over from child {unknown[0]}, which is not there"
            )
        self._num_proposed += 1
        self._in_flight.add(index)

    def _end(self, index: int) -> None:
        if index not in self._in_flight:
            known = 0 <= index < self._num_proposed
            raise ValueError(
                f"child {index} has a second outcome"
                if known
                else f"child {index} has an outcome, but was not proposed"
            )
        self._in_flight.remove(index)


def times(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Returns when each event of a ledger was written, in Unix seconds.

    Within a session the time since its first event is that of a clock that nobody sets and that
    stands while the machine is suspended, where the ledger has it.
    """
    found = []
    start: Mapping[str, Any] = {}
    for event in events:
        if not start or event["event"] == "resumed":
            start = event
        if "monotonic_s" in start and "monotonic_s" in event:
            found.append(start["time"] + event["monotonic_s"] - start["monotonic_s"])
        else:
            found.append(event["time"])
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _is_mapping_to(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(check(each) for each in value.values())


def _is_list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(check(each) for each in value)


def _is_source(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_whole(value.get("child"))
        and value.get("what") in ("training", "weights", "morphism")
    )


def _holds(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and is_legal(value[name]) for name, is_legal in fields.items())
    )


_is_given = _holds(genotype=_is_mapping_to(_is_whole), drawn=_is_list_of(_is_text))
_is_earlier = _holds(
    name=_is_text,
    folder=_is_text,
    outcomes=_is_list_of(
        _holds(child=_is_whole, reward=_is_number, genotype=_is_mapping_to(_is_whole))
    ),
    left_out=_is_mapping_to(_is_whole),
    differs=_is_list_of(_is_text),
)

_FIELDS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "study": {
        "version": _is_whole,
        "seed": _is_whole,
        "space": _is_mapping_to(lambda options: isinstance(options, list)),
    },
    "proposed": {
        "index": _is_whole,
        "genotype": _is_mapping_to(_is_whole),
        "notes": _is_mapping_to(_is_number),
    },
    "outcome": {
        "index": _is_whole,
        "status": lambda value: value in get_args(Status),
        "reward": _or_none(_is_number),
        "metrics": _is_mapping_to(_is_number),
        "cost_s": _is_number,
        "error": _or_none(_is_text),
        "reused_from": _or_none(_is_whole),
    },
    "reported": {"index": _is_whole, "epoch": _is_whole, "metrics": _is_mapping_to(_is_number)},
    "stopping": {"index": _is_whole, "epoch": _is_whole},
    "ended": {"reason": _is_text},
    "known": {"given": _is_list_of(_is_given), "studies": _is_list_of(_is_earlier)},
}
"""Kind of event -> what it holds. Of a kind that a later version adds nothing is known."""

_CLOCK: Mapping[str, Callable[[object], bool]] = {"monotonic_s": _is_number}

_MAY_HOLD: Mapping[str, Callable[[object], bool]] = {
    "seed": _is_whole,
    "kind": lambda value: value in get_args(Kind),
    "fidelity": _is_mapping_to(_is_number),
    "until": _is_whole,
    "sources": _is_list_of(_is_source),
    "parent": _is_whole,
    "identity": _is_text,
    "curve": _is_mapping_to(_is_list_of(_is_number)),
    "objectives": _is_mapping_to(_is_number),
    "found": _is_list_of(_is_mapping_to(_is_whole)),
    "lacks": _is_list_of(_is_whole),
    "ignored": _is_text,
}
"""What the events of earlier versions lack, and what is left out where there is none."""


def _check_fields(event: Mapping[str, Any], fields: Mapping[str, Callable[[object], bool]]) -> None:
    for name, is_legal in fields.items():
        if name not in event:
            raise ValueError(f"its {name!r} is missing")
        if not is_legal(event[name]):
            raise ValueError(f"its {name!r} cannot be {event[name]!r:.60}")
