"""Where trackers have a recorded study, and which recorded study an address of theirs is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nasrunner.compose.trackers import (
    option_of,
    records_of,
    shipped_places,
    shipped_records,
    trackers_in,
    usual_settings,
)
from nasrunner.compose.trust import is_own
from nasrunner.core.tracking import Reader, Records
from nasrunner.recorded import RecordedStudy

OUTPUTS = Path("outputs")
"""Where studies lie unless the user wants them elsewhere."""


def addresses_of(study: RecordedStudy) -> Iterator[tuple[Records, str]]:
    """Yields the trackers that have the study, and its address in each."""
    own = (records for records, _ in _trackers_of(study))
    for records in dict.fromkeys([*shipped_records().values(), *own]):
        if (address := records.address(study.folder)) is not None:
            yield records, address


def usual_reader(option: str, store: str | None) -> Reader:
    """Returns what a shipped tracker has recorded where its option says, or in another store.

    Args:
        option: the tracker's, in ``conf/tracker``.
        store: the first of its places; None: as the option says.

    Raises:
        NasRunnerError: it is not there, or does not answer.
    """
    settings, records = usual_settings(option), shipped_records()[option]
    return records.reader(settings if store is None else {**settings, records.places[0]: store})


def own_reader(records: Records, study: RecordedStudy, store: str | None) -> Reader | None:
    """Returns what a tracker has recorded where a study was tracked, as far as this user says so.

    Args:
        records: of the tracker's class.
        study: the study.
        store: the first of its places, as the user has it; None: as it was when the study ran.

    Returns:
        None: the study's configuration has no such tracker.

    Raises:
        NasRunnerError: it is not there, or does not answer.
    """
    if store is not None:
        return records.reader({records.places[0]: store})
    for each, settings in _trackers_of(study):
        if each is records:
            found = own_settings(records, study, settings)
            return None if found is None else records.reader(found)
    return None


def own_settings(
    records: Records, study: RecordedStudy, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns the settings of a study's tracker as they count from any folder, as far as this user
    says so.

    Credentials are sent there, and files are written where its runs say. What a stranger's study
    has is therefore looked for where this user's settings are.

    Returns:
        None: it is a stranger's study, and the tracker none of ours.
    """
    if is_own(study.folder):
        return records.located(settings, study.folder)
    for option, each in shipped_records().items():
        if each is records:
            usual = usual_settings(option)
            return {**settings, **{place: usual[place] for place in records.places}}
    return None


def located(tracker: Any, study: RecordedStudy) -> Any:
    """Returns a tracker's configuration that records from any folder where a study was recorded.

    Places that are another than the study's are left as they are: the user has chosen them.
    """
    if not isinstance(tracker, Mapping):
        return tracker
    inside = {name: located(value, study) for name, value in tracker.items()}
    records = records_of(inside) if "_target_" in inside else None
    if records is None:
        return inside if "_target_" not in inside else _with_own_places(inside, study)
    store = records.places[0]
    recorded = [settings.get(store) for each, settings in _trackers_of(study) if each is records]
    found = own_settings(records, study, inside) if inside.get(store) in recorded else None
    return inside if found is None else found


def _with_own_places(settings: dict[str, Any], study: RecordedStudy) -> dict[str, Any]:
    """The settings of a tracker that cannot be read, without the places that a stranger chose."""
    option = None if is_own(study.folder) else option_of(settings)
    if option is None:
        return settings
    usual, found = usual_settings(option), dict(settings)
    for _, theirs in trackers_in(study.config["tracker"]):
        if option_of(theirs) == option:
            for place in shipped_places().get(option, ()):
                if settings.get(place) == theirs.get(place):
                    found[place] = usual[place]
    return found


def _trackers_of(study: RecordedStudy) -> Iterator[tuple[Records, Mapping[str, Any]]]:
    """What a study's trackers can be asked, and their settings; of a stranger's only ours."""
    may_import = is_own(study.folder)
    for _, settings in trackers_in(study.config["tracker"]):
        if (records := records_of(settings, may_import=may_import)) is not None:
            yield records, settings


def folder_at(records: Records, address: str) -> Path | None:
    """Returns the folder below ``outputs`` of the study at an address; None: it is not there."""
    for ledger in sorted(OUTPUTS.rglob("ledger.jsonl")):
        if records.address(ledger.parent) == address:
            return ledger.parent
    return None
