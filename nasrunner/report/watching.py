"""Writes a page again and again while its studies run."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nasrunner.recorded import EmptyStudyError, RecordedStudy
from nasrunner.report.comparison.groups import is_beside

QUIET_S = 60.0
"""Studies that all ended are a sweep's last ones when for so long no other has begun."""


def watch(
    places: Sequence[Path],
    read: Callable[[], list[RecordedStudy]],
    write: Callable[[list[RecordedStudy], bool], None],
    tell: Callable[[str], None],
    every_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Returns once all studies have ended; one that was killed is waited for until Ctrl-C.

    Args:
        places: the folders.
        read: their studies as they are now.
        write: writes the page; True: for the last time.
        tell: is told, each time it looks, that there is nothing to show yet.
        every_s: seconds from one look at the ledgers to the next.
        sleep, clock: stand in for ``time`` in tests.
    """
    seen: dict[Path, int] = {}
    changed_s = clock()
    studies: list[RecordedStudy] = []
    while True:
        now = _sizes(places)
        if not now:
            tell("waiting: no study has begun yet")
        elif now != seen:
            seen, changed_s = now, clock()
            try:
                studies = read()
                write(studies, _is_single_and_ended(places, studies))
            except EmptyStudyError as error:
                tell(f"waiting: {error}")
        if _is_single_and_ended(places, studies):
            return
        if _have_ended(studies) and clock() - changed_s >= QUIET_S:
            write(studies, True)
            return
        sleep(every_s)


def _sizes(places: Sequence[Path]) -> dict[Path, int]:
    """Ledgers and how long they are."""
    ledgers = (path for place in places for path in place.rglob("ledger.jsonl"))
    return {path: path.stat().st_size for path in ledgers}


def _have_ended(studies: Sequence[RecordedStudy]) -> bool:
    return bool(studies) and all(study.reason is not None for study in studies)


def _is_single_and_ended(places: Sequence[Path], studies: Sequence[RecordedStudy]) -> bool:
    """Whether what is watched is one study's own folder, so that no other will begin in it.

    The baseline that runs beside a study lies in its folder, and is none of its own.
    """
    own = [place for place in places if (place / "ledger.jsonl").is_file()]
    searches = [study for study in studies if not is_beside(study, studies)]
    return len(own) == len(places) == len(searches) and _have_ended(studies)
