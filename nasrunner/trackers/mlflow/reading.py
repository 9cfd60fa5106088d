"""Studies in MLflow: finds their runs, fetches what a report reads, and logs files to them."""

import atexit
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrunner.core.errors import (
    ConfigError,
    NasRunnerError,
    NotFetchableError,
    TrackingError,
    suggest,
)
from nasrunner.core.screen.passwords import without_password
from nasrunner.trackers.mlflow.address import TrackingAddress, check_uri
from nasrunner.trackers.mlflow.connection import import_mlflow, let_go
from nasrunner.trackers.mlflow.stores.database import with_driver
from nasrunner.trackers.mlflow.stores.file import remember
from nasrunner.trackers.mlflow.stores.sqlite import as_mlflow_reads_it, path_of

if TYPE_CHECKING:
    from mlflow.entities import Run

SCHEME = "runs:/"
"""What the address of a run begins with, as MLflow writes it."""

_FILES = ("config.yaml", "ledger.jsonl")
_IS_STUDY = "tags.`nasrunner.kind` = 'study'"


class StudyReader:
    """A tracking store, seen from whoever reads studies that were recorded there.

    Args:
        tracking_uri: ``sqlite:///file``, another database, or a server's http(s) address.

    Raises:
        ConfigError: there is no such file, or no such server answers.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.shown = without_password(tracking_uri)
        self.uri = _checked(tracking_uri, self.shown)
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with self._told():
            import_mlflow(is_database=not self.uri.startswith("http"))
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):  # what fails is told once, as an error of ours
                logging.getLogger(name).setLevel(logging.CRITICAL)
            self._client: MlflowClient = MlflowClient(self.uri)
            atexit.register(let_go, self._client)

    def study(self, address: str) -> "Run":
        """Returns the run at ``runs:/<id>``.

        Raises:
            TrackingError: there is none, or it is no study's.
        """
        from mlflow.exceptions import MlflowException

        run_id = run_id_in(address)
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            raise TrackingError(f"{self.shown} has no run {run_id!r}: {_reason(error)}") from error
        kind = run.data.tags.get("nasrunner.kind")
        if kind == "study":
            return run
        if kind == "child":
            parent = run.data.tags.get("mlflow.parentRunId", "unknown")
            raise TrackingError(
                f"run {run_id} is no study but a child of one: the study is runs:/{parent}"
            )
        raise TrackingError(
            f"run {run_id} ({run.info.run_name}) is no study: nasrunner did not record it, or it "
            "would have the tag nasrunner.kind"
        )

    def search(self, experiment: str | None, condition: str | None) -> list["Run"]:
        """Returns the runs of studies that meet a condition, oldest first.

        Args:
            experiment: its name; None: all.
            condition: in MLflow's filter language; None: every study.

        Raises:
            ConfigError: there is no such experiment, or no study meets the condition.
            TrackingError: MLflow does not understand the condition.
        """
        ids = self._experiments(experiment)
        wanted = f"{_IS_STUDY} AND {condition}" if condition else _IS_STUDY

        def page(token: str | None) -> Any:
            return self._client.search_runs(
                ids, wanted, order_by=["attributes.start_time ASC"], page_token=token
            )

        with self._told(f"filter={condition}" if condition else None):
            runs: list[Run] = list(_pages(page))
        if not runs:
            where = f"experiment {experiment!r} of {self.shown}" if experiment else self.shown
            meets = f" that meets filter={condition}" if condition else ""
            raise ConfigError(f"there is no study in {where}{meets}")
        return runs

    def fetch(self, study: "Run", folder: Path) -> Path:
        """Downloads what a study is read from; its children's files stay where they are.

        Args:
            study: its run.
            folder: where a folder for it is made.

        Returns:
            The study's folder, which ``recorded.read_study`` reads.

        Raises:
            NotFetchableError: the run lacks them: its study runs, or was killed.
            TrackingError: they cannot be downloaded.
        """
        run_id = study.info.run_id
        name = re.sub(r"[^\w.\-]+", "_", study.info.run_name or "study")
        place = folder / f"{name}-{run_id[:8]}"
        place.mkdir(parents=True, exist_ok=True)
        with self._told():
            there = {file.path for file in self._client.list_artifacts(run_id)}
            if missing := [name for name in _FILES if name not in there]:
                raise NotFetchableError(
                    f"run {run_id} ({study.info.run_name}) has no artifact {missing[0]}: a study's "
                    "ledger is put there when it ends. Until then give the study's folder"
                )
            for name in _FILES:
                self._client.download_artifacts(run_id, name, str(place))
        study_id = study.data.tags.get("nasrunner.study", place.name)
        remember(place, {"study": study_id, "run_id": run_id, "tracking_uri": self.shown})
        return place

    def log(self, address: str, files: Iterable[Path], folder: str) -> str:
        """Copies files to a run, into a folder of its artifacts; says where they are.

        Raises:
            TrackingError: MLflow does not take them.
        """
        run_id = run_id_in(address)
        with tempfile.TemporaryDirectory() as copies, self._told():
            for file in files:
                shutil.copy(file, copies)
            self._client.log_artifacts(run_id, copies, folder)
        return f"MLflow run {run_id}, in its artifacts under {folder}"

    def _experiments(self, name: str | None) -> list[str]:
        def page(token: str | None) -> Any:
            return self._client.search_experiments(page_token=token)

        with self._told():
            found = {each.name: str(each.experiment_id) for each in _pages(page)}
        if name is None:
            return list(found.values())
        if name not in found:
            raise ConfigError(f"experiment={name} is not in {self.shown}, {suggest(name, found)}")
        return [found[name]]

    @contextmanager
    def _told(self, what: str | None = None) -> Iterator[None]:
        """Whatever MLflow and its libraries raise becomes one sentence."""
        try:
            yield
        except NasRunnerError:
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {what or self.shown}: {_reason(error)}") from error


def run_id_in(address: str) -> str:
    """Returns the id of the run at ``runs:/<id>``."""
    return address.removeprefix(SCHEME)


def _checked(uri: str, shown: str) -> str:
    """What MLflow is given; it would make a file that is missing."""
    check_uri(uri, "tracking_uri")
    if uri.startswith("sqlite:"):
        path = path_of(uri, "tracking_uri")
        if not path.is_file():
            raise ConfigError(f"tracking_uri: there is no file {path}")
        return f"sqlite:///{as_mlflow_reads_it(path.parent) / path.name}"
    if uri.startswith(("http://", "https://")):
        # asks within seconds, where MLflow tries for minutes
        address = TrackingAddress(uri, None, "tracking_uri")
        if address.outage:
            raise ConfigError(f"tracking_uri: {shown} does not answer: {address.outage}")
        return address.uri
    return with_driver(uri, "tracking_uri")


def _pages(page: Callable[[str | None], Any]) -> Iterator[Any]:
    """What all pages of a search hold."""
    token = None
    while True:
        found: Sequence[Any] = page(token)
        yield from found
        token = getattr(found, "token", None)
        if not token:
            return


def _reason(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return reason if len(reason) <= 300 else f"{reason[:299]}…"
