"""Where a study that is retrained comes from."""

from pathlib import Path

from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.tracked import OUTPUTS, folder_of_run, usual_tracking_uri
from nasrunner.trackers.mlflow_reading import StudyReader

FETCHED = OUTPUTS / "retrained"
"""Where a study goes that only MLflow has."""


def study_of(source: str, tracking_uri: str | None) -> RecordedStudy:
    """The study in a folder, or of an MLflow run.

    The folder of a run is looked for in ``outputs``; a study that is not there is fetched from
    MLflow, into a folder of its own.

    Args:
        source: a folder, or ``runs:/<id>``.
        tracking_uri: where MLflow keeps the run; None: what ``conf/tracker/mlflow.yaml`` says.

    Raises:
        NasRunnerError: there is no study, its ledger is empty or damaged, or MLflow is away.
    """
    if not source.startswith("runs:/"):
        return read_study(Path(source))
    run_id = source.removeprefix("runs:/")
    if (folder := folder_of_run(run_id)) is not None:
        return read_study(folder)
    reader = StudyReader(tracking_uri or usual_tracking_uri())
    return read_study(reader.fetch(reader.study_run(run_id), FETCHED))
