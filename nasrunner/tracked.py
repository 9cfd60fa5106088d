"""Where MLflow has a recorded study, and which recorded study a run of MLflow is."""

from pathlib import Path

from omegaconf import OmegaConf

from nasrunner.compose.config import config_dir
from nasrunner.compose.trust import is_own
from nasrunner.recorded import RecordedStudy
from nasrunner.trackers.mlflow.stores.file import recall

OUTPUTS = Path("outputs")
"""Where studies lie unless the user wants them elsewhere."""


def usual_tracking_uri() -> str:
    """What ``conf/tracker/mlflow.yaml`` says."""
    return str(OmegaConf.load(config_dir() / "tracker" / "mlflow.yaml").tracking_uri)


def own_tracking_uri(study: RecordedStudy) -> str | None:
    """Where a study was tracked, as far as this user says so; None: nowhere.

    Credentials are sent there, and files are written where its runs say. What a stranger's study
    has is therefore looked for where this user's settings are; ``mlflow.json``, which is not
    signed, only says which file a relative path meant.
    """
    uri = study.config["tracker"].get("tracking_uri")
    if uri is None:
        return None
    if not is_own(study.folder):
        return usual_tracking_uri()
    kept, meant = str(recall(study.folder).get("tracking_uri", uri)), str(uri)
    path = meant.removeprefix("sqlite:///")
    places = {f"sqlite:///{place / path}" for place in study.folder.parents}
    return kept if meant.startswith("sqlite:///") and kept in places else meant


def folder_of_run(run_id: str) -> Path | None:
    """The folder below ``outputs`` of the study that is this run; None: it is not there."""
    for kept in sorted(OUTPUTS.rglob("mlflow.json")):
        if recall(kept.parent).get("run_id") == run_id and (kept.parent / "ledger.jsonl").is_file():
            return kept.parent
    return None
