"""Where a study that is retrained comes from."""

from pathlib import Path

from nasrunner.changes import parse_overrides
from nasrunner.core.search_space import CHILD_GROUPS
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.retrain.request import GROUPS, Request
from nasrunner.tracked import OUTPUTS, folder_of_run, usual_tracking_uri
from nasrunner.trackers.mlflow_reading import StudyReader

FETCHED = OUTPUTS / "retrained"
"""Where a study goes that only MLflow has."""


def study_of(request: Request) -> RecordedStudy:
    """The study in a folder, or of an MLflow run.

    The folder of a run is looked for in ``outputs``; a study that is not there is fetched from
    MLflow, into a folder of its own.

    Args:
        request: which study, and what of its configuration is exchanged.

    Raises:
        NasRunnerError: there is no study, its ledger is empty or damaged, it may be a stranger's
            and could run code, or MLflow is away.
    """
    exchanged = {each.key_or_group for each in parse_overrides(request.overrides)[0]}
    builds = [group for group in (*CHILD_GROUPS, "space", *GROUPS) if group not in exchanged]
    return read_study(_folder_of(request), builds=builds, trust=request.trust)


def _folder_of(request: Request) -> Path:
    if not request.source.startswith("runs:/"):
        return Path(request.source)
    run_id = request.source.removeprefix("runs:/")
    if (folder := folder_of_run(run_id)) is not None:
        return folder
    reader = StudyReader(request.tracking_uri or usual_tracking_uri())
    return reader.fetch(reader.study_run(run_id), FETCHED)
