"""MLflow's client for one study: connecting, searching, uploading, and MLflow's own types."""

import atexit
import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.imports import quick_imports
from nasrunner.trackers.curves import CurvePoint
from nasrunner.trackers.mlflow import text
from nasrunner.trackers.mlflow.address import TrackingAddress
from nasrunner.trackers.mlflow.faults import ArtifactError, Persistent, at_once, is_refusal
from nasrunner.trackers.wording import encodable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Failures are retried by the writer, which no child waits for; not inside MLflow, for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What MLflow's pages open with: runs and their metrics, not traces of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


_importing = threading.Lock()
# A thread that loads extension modules aborts an interpreter that ends meanwhile (SIGABRT).
atexit.register(_importing.acquire, timeout=10)


def import_early(is_database: bool) -> None:
    """Does so in the background, where nobody hears of a failure: connecting meets it again."""
    with contextlib.suppress(Exception):
        import_mlflow(is_database)


def import_mlflow(is_database: bool) -> None:
    """Imports what a connection needs, for seconds, without connecting."""
    _prepare_environment()
    with _importing, quick_imports():
        import mlflow

        if is_database:
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def _prepare_environment() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _check_databricks(uri: str) -> None:
    """Refuses a workspace for which this user has no credentials: no waiting brings them.

    Raises:
        ConfigError: tells how to give them.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.databricks_utils import get_databricks_host_creds

    try:
        get_databricks_host_creds(uri)  # type: ignore[no-untyped-call]  # MLflow types some
    except MlflowException as error:
        raise ConfigError(
            f"tracker.tracking_uri={uri}: there are no credentials for it. Legal: DATABRICKS_HOST "
            "and DATABRICKS_TOKEN, or a profile in ~/.databrickscfg as databricks://<profile>"
        ) from error


class Connection:
    """An experiment of a tracking store, seen from one study.

    Args:
        address: where MLflow keeps its runs.
        experiment: the experiment's name; made where there is none.
        study_id: what tells this study from all others.
        known: what ``mlflow.json`` says of it: its run is in its experiment, whatever that is
            called by now.

    Attributes:
        client: MLflow's client. Importing it takes a second: not for --help, nor for workers.
        experiment_id: the experiment's.
    """

    def __init__(
        self, address: TrackingAddress, experiment: str, study_id: str, known: Mapping[str, Any]
    ) -> None:
        self._address = address
        self._study_id = study_id
        import_mlflow(is_database=address.scheme not in ("http", "https"))
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # what fails is told once, by the writer
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if address.scheme == "databricks":
            _check_databricks(address.uri)
        address.create(self._make_tables)
        self._own = MlflowClient(address.mlflow_uri)
        client: Any = Persistent(self._own)
        self.client: MlflowClient = client
        self.experiment_id = self._known_experiment(experiment, known) or self._find_experiment(
            experiment
        )

    def _make_tables(self, uri: str) -> None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore(uri, self._address.artifacts_of("Default"))  # type: ignore[no-untyped-call]
        store.engine.dispose()

    def close(self) -> None:
        """Lets a database go; may be used again."""
        let_go(self._own)

    def search(self, condition: str | None, *, with_deleted: bool = False) -> list["Run"]:
        """Returns all runs of this study that meet a condition, oldest first."""
        from mlflow.entities import ViewType

        mine = f"tags.`nasrunner.study` = '{self._study_id}'"
        runs: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                f"{mine} AND {condition}" if condition else mine,
                ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            if not (token := page.token):
                return runs

    def upload(self, artifact_uri: str, files: Mapping[str, str]) -> None:
        """Writes text files as a run's artifacts.

        Raises:
            ArtifactError: they cannot be written.
        """
        # MlflowClient.log_artifacts would ask the store where, for each run: a third of the time.
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_text(encodable(content), encoding="utf-8")
            try:
                repository: Any = get_artifact_repository(
                    artifact_uri, tracking_uri=self._address.mlflow_uri
                )
                try:
                    repository.log_artifacts(folder)
                except Exception as error:
                    if is_refusal(error):
                        raise
                    for name in files:  # of many requests one is lost: not all of them again
                        at_once(repository.log_artifact, str(Path(folder, name)))
            except Exception as error:
                raise ArtifactError(f"{artifact_uri}: {error}") from error

    def last_step(self, run_id: str, metric: str) -> int:
        """Returns the last step of a run's metric; -1 where it has none."""
        history = self.client.get_metric_history(run_id, metric)
        return max((point.step for point in history), default=-1)

    def restore(self, run_ids: Iterable[str]) -> set[str]:
        """Takes the experiment and runs out of MLflow's trash; returns the ids that are gone."""
        self._restore_experiment(self.experiment_id)
        return {each for each in run_ids if self._restored(each) is None}

    def restored(self, run: "Run") -> "Run":
        """Returns a run, taken out of MLflow's trash where somebody put it there."""
        if run.info.lifecycle_stage != "active":
            self.client.restore_run(run.info.run_id)
        return run

    def _restored(self, run_id: str) -> "Run | None":
        run = self._run(run_id)
        return self.restored(run) if run is not None else None

    def _run(self, run_id: str) -> "Run | None":
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _restore_experiment(self, experiment_id: str) -> None:
        found = self.client.get_experiment(experiment_id)
        if found.lifecycle_stage != "active":
            self.client.restore_experiment(experiment_id)

    def _known_experiment(self, name: str, known: Mapping[str, Any]) -> str | None:
        """Where an earlier session's run is, unless the study is to go elsewhere from now on."""
        if "run_id" not in known or known.get("experiment", name) != name:
            return None
        run = self._run(known["run_id"])
        if run is None or run.data.tags.get("nasrunner.study") != self._study_id:
            return None
        self._restore_experiment(run.info.experiment_id)
        return str(run.info.experiment_id)

    def _check_place(self, name: str, place: str) -> None:
        """Refuses to put artifacts elsewhere than where the user wants them."""
        from mlflow.utils.uri import resolve_uri_if_local

        if self._address.artifact_uri is None:
            return
        wanted = str(resolve_uri_if_local(self._address.artifacts_of(name)))  # type: ignore[no-untyped-call]
        if wanted.removeprefix("file://") != place.removeprefix("file://"):
            raise ConfigError(
                f"tracker.artifact_uri: experiment {name!r} keeps its artifacts in {place}, where "
                f"it was made, and not in {wanted}. Legal: null, or another tracker.experiment"
            )

    def _find_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            self._restore_experiment(found.experiment_id)
            self._check_place(name, str(found.artifact_location))
            return str(found.experiment_id)
        place = self._address.artifacts_of(name)
        try:
            return str(
                self.client.create_experiment(name, artifact_location=place, tags=_EXPERIMENT_TAGS)
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._find_experiment(name)  # another study was faster


def let_go(client: "MlflowClient") -> None:
    """Closes a client's connections to a database; the last one removes an SQLite file's log."""
    store: Any = client._tracking_client.store
    if (engine := getattr(store, "engine", None)) is not None:
        engine.dispose()


def curve_metrics(points: Iterable[CurvePoint]) -> list["Metric"]:
    """Returns MLflow metrics of a curve, with the epoch as step."""
    return [
        metric
        for point in points
        # What is sent in parts has the curves last: an epoch whose curves are there is whole.
        for metric in metrics_at(
            point.epoch,
            point.time_s,
            {**point.learnt, **{name: point.values[name] for name in _telling(point.values)}},
        )
    ]


def _telling(names: Iterable[str]) -> list[str]:
    """Metrics, what children are compared by first: a page that compares opens on the first."""

    def is_common(name: str) -> tuple[bool, ...]:
        return (name == "learning_rate", name.startswith("train_"), name.endswith("loss"))

    return sorted(names, key=is_common)


def metrics_at(step: int, time_s: float, values: Mapping[str, float]) -> list["Metric"]:
    """Returns MLflow metrics of one step."""
    from mlflow.entities import Metric

    names = text.legal_names(values)
    return [Metric(names[name], value, ms(time_s), step) for name, value in values.items()]


def params(values: Mapping[str, str]) -> list[Any]:
    """Returns MLflow params."""
    from mlflow.entities import Param

    return [Param(name, value) for name, value in values.items()]


def tags(values: Mapping[str, str]) -> list[Any]:
    """Returns MLflow tags."""
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in values.items()]


def ms(seconds: float) -> int:
    """Milliseconds, MLflow's unit of time."""
    return int(1000 * seconds)
