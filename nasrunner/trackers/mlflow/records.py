"""What MLflow is asked without a study that runs: where studies are tracked, and what it has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrunner.trackers.mlflow.reading import SCHEME, StudyReader
from nasrunner.trackers.mlflow.stores.file import recall
from nasrunner.trackers.mlflow.stores.sqlite import SqliteFile

_FILE = "sqlite:///"


class MlflowRecords:
    """Studies in MLflow: each has the address of its run, ``runs:/<id>``.

    Attributes:
        name: what people call it.
        scheme: what the address of a study begins with.
        places: settings that say where it writes.
    """

    name: str = "MLflow"
    scheme: str = SCHEME
    places: Sequence[str] = ("tracking_uri", "artifact_uri")

    def anchored(self, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        found = dict(settings)
        for key, scheme in zip(self.places, (_FILE, ""), strict=True):
            value = settings.get(key)
            if isinstance(value, str) and value.startswith(scheme):
                place = value.removeprefix(scheme)
                if "://" not in place:
                    found[key] = f"{scheme}{folder / place}"
        return found

    def check_jobs(self, store: Any) -> None:
        uri = str(store)
        if uri.startswith("sqlite:"):
            SqliteFile(uri, "tracker.tracking_uri").check_jobs()

    def address(self, folder: Path) -> str | None:
        known = recall(folder)
        return f"{SCHEME}{known['run_id']}" if "run_id" in known else None

    def located(self, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns settings that name the store from anywhere.

        Of ``mlflow.json``, which is not signed, only the file that a relative path meant is taken.
        """
        uri = settings.get("tracking_uri")
        kept, meant = str(recall(folder).get("tracking_uri", uri)), str(uri)
        path = meant.removeprefix(_FILE)
        places = {f"{_FILE}{place / path}" for place in folder.parents}
        is_kept = meant.startswith(_FILE) and kept in places
        return {**settings, "tracking_uri": kept} if is_kept else dict(settings)

    def reader(self, settings: Mapping[str, Any]) -> StudyReader:
        return StudyReader(str(settings["tracking_uri"]))
