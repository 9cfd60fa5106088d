"""Where a report's studies come from, and in which MLflow runs its page belongs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.recorded import EmptyStudyError, RecordedStudy, read_study, study_folders
from nasrunner.report.arguments import Arguments
from nasrunner.tracked import own_tracking_uri, usual_tracking_uri
from nasrunner.trackers.mlflow.reading import NotFetchableError, StudyReader, TrackingError
from nasrunner.trackers.mlflow.stores.file import recall

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


def read_mlflow(arguments: Arguments, folder: Path, warn: Warn) -> list[RecordedStudy]:
    """The studies that MLflow has under these run ids, or that meet a query.

    Args:
        arguments: what to look for, and where.
        folder: what is downloaded goes here.
        warn: is told of studies that are left out.

    Raises:
        NasRunnerError: there are none, or they cannot be fetched.
    """
    reader = StudyReader(arguments.tracking_uri or usual_tracking_uri())
    if arguments.places == ("mlflow",):
        runs = reader.search(arguments.experiment, arguments.filter)
    else:
        runs = [reader.study_run(place.removeprefix("runs:/")) for place in arguments.places]
    fetched, reason = [], ""
    for run in runs:
        try:
            fetched.append(reader.fetch(run, folder))
        except NotFetchableError as error:
            if len(runs) == 1:
                raise
            reason = str(error)
            warn(f"left out: {reason}")
    if not fetched:
        raise TrackingError(f"none of {len(runs)} studies can be read. {reason}")
    return _with_children(fetched, warn, arguments.trust)


def log_page(study: RecordedStudy, files: Sequence[Path], arguments: Arguments) -> str | None:
    """Puts a page's files among the artifacts of the study's MLflow run.

    Returns:
        The run's id; None: the study was not tracked with MLflow.

    Raises:
        NasRunnerError: MLflow is away, or does not take them.
    """
    facts = recall(study.folder)
    uri = arguments.tracking_uri or own_tracking_uri(study)
    if "run_id" not in facts or uri is None:
        return None
    StudyReader(uri).log(facts["run_id"], files, "report")
    return str(facts["run_id"])


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
