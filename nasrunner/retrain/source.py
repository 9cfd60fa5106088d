"""Where a study that is retrained comes from, and where MLflow has it."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from nasrunner.config import config_dir
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.trackers.mlflow_file import recall
from nasrunner.trackers.mlflow_reading import StudyReader

FETCHED = Path("outputs") / "retrained"
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
    for kept in sorted(Path("outputs").rglob("mlflow.json")):
        if recall(kept.parent).get("run_id") == run_id:
            return read_study(kept.parent)
    reader = StudyReader(tracking_uri or _usual_tracking_uri())
    return read_study(reader.fetch(reader.study_run(run_id), FETCHED))


def tracking_uri_of(study: RecordedStudy, configured: str) -> str:
    """Where MLflow has a study; a relative file is looked for where the study was started."""
    known = recall(study.folder).get("tracking_uri")
    if known is not None:
        return str(known)
    if not configured.startswith("sqlite:///"):
        return configured
    name = Path(configured.removeprefix("sqlite:///"))
    found = next((place for place in _starts(study) if (place / name).is_file()), Path())
    return f"sqlite:///{(found / name).absolute()}"


def _starts(study: RecordedStudy) -> Iterator[Path]:
    """Folders in which the command that wrote a study may have been called, likely ones first."""
    yield from (Path.cwd(), *study.folder.parents)


def _usual_tracking_uri() -> str:
    return str(OmegaConf.load(config_dir() / "tracker" / "mlflow.yaml").tracking_uri)
