"""Where a report's studies come from, and to which trackers its page belongs."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from nasrunner.core.errors import ConfigError, NasRunnerError, NotFetchableError, TrackingError
from nasrunner.recorded import (
    EmptyStudyError,
    RecordedStudy,
    Rescore,
    read_study,
    study_folders,
)
from nasrunner.report.arguments import ReportArguments
from nasrunner.rescoring.request import Rescoring
from nasrunner.tracker_addresses import addresses_of, own_reader, usual_reader

Warn = Callable[[str], None]


def read_folders(arguments: ReportArguments, warn: Warn) -> list[RecordedStudy]:
    """Returns the studies in folders and below. Of several, those that are empty are left out.

    Args:
        arguments: which folders.
        warn: is told of studies that are left out.

    Raises:
        ConfigError: a place does not exist, or holds no study, or a stranger's, or one that lacks
            what other rewards are made of.
        EmptyStudyError: no study has a child.
        LedgerError: a ledger is damaged in the middle.
    """
    for place in arguments.places:
        if not Path(place).is_dir():
            raise ConfigError(f"{place} is no folder")
    return _with_children(study_folders(map(Path, arguments.places)), warn, arguments)


def read_tracked(arguments: ReportArguments, folder: Path, warn: Warn) -> list[RecordedStudy]:
    """Returns the studies that a tracker has at these addresses, or that meet a query.

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
    return _with_children(fetched, warn, arguments)


def log_page(study: RecordedStudy, files: Sequence[Path], arguments: ReportArguments) -> list[str]:
    """Adds a page's files to the study wherever it was tracked; returns in words where they are.

    Raises:
        NasRunnerError: a tracker is away, or does not take them.
    """
    logged = []
    for records, address in addresses_of(study):
        if (reader := own_reader(records, study, arguments.tracking_uri)) is not None:
            logged.append(reader.log(address, files, arguments.folder_name))
    return logged


def _with_children(
    folders: Sequence[Path], warn: Warn, arguments: ReportArguments
) -> list[RecordedStudy]:
    studies, empty = [], []
    rescore = None if arguments.rescoring is None else _rescore(arguments.rescoring)
    for folder in folders:
        try:
            study = read_study(folder, trust=arguments.trust, rescore=rescore)
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


def _rescore(rescoring: Rescoring) -> Rescore:
    from nasrunner.rescoring.scoring import rescored  # imports torch: seconds that --help saves

    return functools.partial(rescored, rescoring=rescoring)
