"""Where a report's studies come from, and to which trackers its page belongs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nasrunner.core.errors import ConfigError, NasRunnerError, NotFetchableError, TrackingError
from nasrunner.recorded import EmptyStudyError, RecordedStudy, read_study, study_folders
from nasrunner.report.arguments import ReportArguments
from nasrunner.tracker_addresses import addresses_of, own_reader, usual_reader

Warn = Callable[[str], None]


def read_folders(places: Sequence[str], warn: Warn, *, trust: bool) -> list[RecordedStudy]:
    """The studies in these folders and below. Of several, those that are empty are left out.

    Args:
        places: the folders.
        warn: is told of studies that are left out.
        trust: whether a stranger's study is taken with all that its space names.

    Raises:
        ConfigError: a place does not exist, or holds no study, or a stranger's.
        EmptyStudyError: no study has a child.
        LedgerError: a ledger is damaged in the middle.
    """
    for place in places:
        if not Path(place).is_dir():
            raise ConfigError(f"{place} is no folder")
    return _with_children(study_folders(map(Path, places)), warn, trust)


def read_tracked(arguments: ReportArguments, folder: Path, warn: Warn) -> list[RecordedStudy]:
    """The studies that a tracker has at these addresses, or that meet a query.

    Args:
        arguments: what to look for, and where.
        folder: what is downloaded goes here.
        warn: is told of studies that are left out.

    Raises:
        NasRunnerError: there are none, or they cannot be fetched.
    """
    assert arguments.tracker is not None, "it is asked for"
    reader = usual_reader(arguments.tracker, arguments.tracking_uri)
    if arguments.places == (arguments.tracker,):
        found = reader.search(arguments.experiment, arguments.filter)
    else:
        found = [reader.study(place) for place in arguments.places]
    fetched, reason = [], ""
    for study in found:
        try:
            fetched.append(reader.fetch(study, folder))
        except NotFetchableError as error:
            if len(found) == 1:
                raise
            reason = str(error)
            warn(f"left out: {reason}")
    if not fetched:
        raise TrackingError(f"none of {len(found)} studies can be read. {reason}")
    return _with_children(fetched, warn, arguments.trust)


def log_page(study: RecordedStudy, files: Sequence[Path], arguments: ReportArguments) -> list[str]:
    """Adds a page's files to the study wherever it was tracked; returns in words where they are.

    Raises:
        NasRunnerError: a tracker is away, or does not take them.
    """
    logged = []
    for records, address in addresses_of(study):
        if (reader := own_reader(records, study, arguments.tracking_uri)) is not None:
            logged.append(reader.log(address, files, "report"))
    return logged


def _with_children(folders: Sequence[Path], warn: Warn, trust: bool) -> list[RecordedStudy]:
    studies, empty = [], []
    for folder in folders:
        try:
            study = read_study(folder, trust=trust)
            if not study.children:
                raise EmptyStudyError(f"{folder} is an empty study: it has proposed no child yet")
            studies.append(study)
        except EmptyStudyError as error:
            empty.append(error)
    if not studies:
        raise empty[-1] if empty else NasRunnerError("there is no study")
    for each in empty:
        warn(f"left out: {each}")
    return studies
