"""Where MLflow has a recorded study, and which recorded study a run of MLflow is."""

from pathlib import Path

from omegaconf import OmegaConf

from nasrunner.config import config_dir
from nasrunner.recorded import RecordedStudy
from nasrunner.trackers.mlflow_file import recall

OUTPUTS = Path("outputs")
"""Where studies lie unless the user wants them elsewhere."""


def usual_tracking_uri() -> str:
    """What ``conf/tracker/mlflow.yaml`` says."""
    return str(OmegaConf.load(config_dir() / "tracker" / "mlflow.yaml").tracking_uri)


def tracking_uri_of(study: RecordedStudy) -> str | None:
    """Where a study was tracked; None: nowhere."""
    uri = study.config["tracker"].get("tracking_uri")
    if uri is None:
        return None
    return str(recall(study.folder).get("tracking_uri", uri))


def folder_of_run(run_id: str) -> Path | None:
    """The folder below ``outputs`` of the study that is this run; None: it is not there."""
    for kept in sorted(OUTPUTS.rglob("mlflow.json")):
        if recall(kept.parent).get("run_id") == run_id and (kept.parent / "ledger.jsonl").is_file():
            return kept.parent
    return None
