"""Writes the runs of one study to MLflow; every call can be repeated without harm."""

import getpass
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from omegaconf import OmegaConf

from nasrunner.core.ports import StudyInfo, Summary
from nasrunner.core.screen.passwords import without_passwords
from nasrunner.trackers.mlflow import text
from nasrunner.trackers.mlflow.address import TrackingAddress
from nasrunner.trackers.mlflow.children import ChildRun, ChildRuns
from nasrunner.trackers.mlflow.connection import Connection, metrics_at, ms, params, tags
from nasrunner.trackers.mlflow.faults import is_refusal
from nasrunner.trackers.mlflow.stores.file import recall, remember
from nasrunner.trackers.notes import ended_note, running_note
from nasrunner.trackers.wording import BESIDE, clipped

if TYPE_CHECKING:
    from mlflow.entities import Run

_VIEW = "mlflow.sharedViewState."  # how MLflow's pages begin the tags of views that are shared


class StudyRuns:
    """The run of a study, and through ``children`` those of its children.

    Args:
        address: where MLflow keeps them.
        experiment: the experiment's name.
        info: the study.
        study_id: what tells this study from all others.

    Attributes:
        is_new: MLflow knew nothing of this study before.
        parent_id: the run of the study.
    """

    def __init__(
        self, address: TrackingAddress, experiment: str, info: StudyInfo, study_id: str
    ) -> None:
        self.address = address
        self.experiment = experiment
        self.info = info
        self.study_id = study_id
        self.is_new = False
        self.parent_id = ""
        self._opened_s = time.time()
        self._artifact_uri = ""
        self._connection: Connection | None = None
        self._has_view = False

    @property
    def is_connected(self) -> bool:
        """Whether ``connect`` has succeeded."""
        return bool(self.parent_id)

    @property
    def children(self) -> ChildRuns:
        """The runs of the children."""
        return ChildRuns(self.connection, self.parent_id, self.info.folder, self._common_tags())

    @property
    def connection(self) -> Connection:
        """MLflow's client and what it found."""
        assert self._connection is not None, "connect first"
        return self._connection

    def connect(self) -> None:
        """Imports MLflow, and finds or makes the experiment and the study's run."""
        if self._connection is None:
            known = recall(self.info.folder)
            self._connection = Connection(self.address, self.experiment, self.study_id, known)
        client = self._connection.client
        found = self._connection.search("tags.`nasrunner.kind` = 'study'", with_deleted=True)
        if found:
            run = min(found, key=lambda each: bool(each.info.lifecycle_stage != "active"))
            self._connection.restored(run)
            if run.info.status != "RUNNING":
                client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = self._make_parent()
            self.is_new = True
        self._artifact_uri = run.info.artifact_uri
        if not run.data.params:  # last, so that it shows whether the rest is there
            config = without_passwords(self.info.config)
            given = params(text.config_params(config))
            client.log_batch(run.info.run_id, params=given)
        self.parent_id = run.info.run_id
        self._share_view()
        facts = {
            "experiment": self.experiment,
            "experiment_id": self._connection.experiment_id,
            "run_id": self.parent_id,
            "tracking_uri": self.address.shown,  # a password belongs in no file
            "page": self.page,
        }
        remember(self.info.folder, facts)

    @property
    def page(self) -> str:
        """Where the MLflow UI lists the children, best first; empty while that is not known."""
        if self._connection is None or not self.is_connected:
            return ""
        query = {"workflowType": "machine_learning"}  # or pages show what language models need
        if self._has_view:
            query["viewStateShareKey"] = self.parent_id
        else:
            query |= {name: str(value) for name, value in text.best_first(self.parent_id).items()}
            query["orderByAsc"] = "false"
        place = f"/#/experiments/{self._connection.experiment_id}/runs"
        return f"{place}?{urlencode(query, quote_via=quote)}"

    def _share_view(self) -> None:
        """Has the page of the children show their rewards, which an address cannot say."""
        tag = f"{_VIEW}{self.parent_id}"
        try:
            self.connection.client.set_experiment_tag(
                self.connection.experiment_id, tag, text.view_of_children(self.parent_id)
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            self._has_view = False  # the experiment is somebody else's
        else:
            self._has_view = True

    def restore(self, children: Iterable[ChildRun]) -> set[str]:
        """Takes what this study is written to out of MLflow's trash; returns ids that are gone."""
        return self.connection.restore([self.parent_id, *(each.run_id for each in children)])

    def write_config(self) -> None:
        """Logs the study's configuration, as an artifact."""
        self.connection.upload(self._artifact_uri, {"config.yaml": self._config_text()})

    def last_best(self) -> int:
        """Returns the last step of the best-so-far curve; -1 where it has none."""
        return self.connection.last_step(self.parent_id, "best_reward")

    def write_best(self, points: Sequence[tuple[int, float, float]]) -> None:
        """Adds (number of recorded children, Unix seconds, best reward) to the curve."""
        metrics = [
            metric
            for step, time_s, best in points
            for metric in metrics_at(step, time_s, {"best_reward": best})
        ]
        self.connection.client.log_batch(self.parent_id, metrics=metrics)

    def estimates(self) -> set[int]:
        """Returns the numbers of the estimates that were written."""
        history = self.connection.client.get_metric_history(self.parent_id, "estimate")
        return {point.step for point in history}

    def write_estimates(self, points: Sequence[tuple[int, float, float]]) -> None:
        """Adds (number of the estimate, Unix seconds, its value)."""
        metrics = [
            metric
            for index, time_s, value in points
            for metric in metrics_at(index, time_s, {"estimate": value})
        ]
        self.connection.client.log_batch(self.parent_id, metrics=metrics)

    def write_summary(self, summary: Summary) -> None:
        """Logs how the study stands."""
        counts = {
            name if name in BESIDE else f"children/{name}": float(count)
            for name, count in summary.counts.items()
        }
        counts |= {"cost_s": summary.cost_s, "wall_s": summary.wall_s}
        if summary.baseline is not None and summary.baseline.best is not None:
            counts["best_minus_baseline"] = summary.baseline.best
        if summary.rank_correlation is not None:
            counts["prediction_rank_correlation"] = summary.rank_correlation
        counts |= text.study_metrics(summary)
        for each in summary.predicted_levels:
            if each.rank_correlation is not None:
                name = f"prediction_rank_correlation/level_{each.level}"
                counts[name] = each.rank_correlation
        known = {
            "nasrunner.reason": summary.reason,
            "mlflow.note.content": self._note(ended_note(self.info, summary)),
        }
        step = sum(summary.counts.values())
        metrics = metrics_at(step, time.time(), self._not_at(step, counts))
        self.connection.client.log_batch(self.parent_id, metrics=metrics, tags=tags(known))

    def write_note(self, note: str) -> None:
        """Describes the study, in Markdown."""
        self.connection.client.set_tag(self.parent_id, "mlflow.note.content", self._note(note))

    def _note(self, note: str) -> str:
        return text.study_note(self.study_id, note)

    def _not_at(self, step: int, values: Mapping[str, float]) -> Mapping[str, float]:
        """What is new since an earlier session wrote a summary after as many children."""
        if self.connection.last_step(self.parent_id, "wall_s") != step:
            return values
        known = self.connection.client.get_run(self.parent_id).data.metrics
        return {n: v for n, v in values.items() if n != "wall_s" and known.get(n) != v}

    def write_ledger(self) -> None:
        """Logs the study's configuration, summary and ledger, as artifacts."""
        files = [self.info.folder / name for name in ("summary.json", "ledger.jsonl")]
        found = {file.name: file.read_text(encoding="utf-8") for file in files if file.is_file()}
        self.connection.upload(self._artifact_uri, {"config.yaml": self._config_text(), **found})

    def _config_text(self) -> str:
        return OmegaConf.to_yaml(OmegaConf.create(without_passwords(self.info.config)))

    def end(self, summary: Summary) -> None:
        """Marks the study's run as ended."""
        failed = "FINISHED" if summary.failure is None else "FAILED"
        status = "KILLED" if summary.reason == "interrupted" else failed
        self.connection.client.set_terminated(self.parent_id, status)

    def close(self) -> None:
        """Lets MLflow's file go, after the last request."""
        self.connection.close()

    def discard(self) -> None:
        """Takes back what ``connect`` has made of a study that does not begin."""
        if self.is_new and self.is_connected:
            self.connection.client.delete_run(self.parent_id)
            if self._has_view:
                tag = f"{_VIEW}{self.parent_id}"
                self.connection.client.delete_experiment_tag(self.connection.experiment_id, tag)

    def _make_parent(self) -> "Run":
        known = {
            **self._common_tags(),
            **_environment_tags(),
            "nasrunner.kind": "study",
            "mlflow.note.content": self._note(running_note(self.info, 0, [], None)),
        }
        name = clipped(f"{self.info.name} {self.info.folder.name}", text.MAX_RUN_NAME_IN_SQL)
        connection = self.connection
        return connection.client.create_run(
            connection.experiment_id, start_time=ms(self._opened_s), tags=known, run_name=name
        )

    def _common_tags(self) -> dict[str, str]:
        target = str(self.info.config.get("searcher", {}).get("_target_", "unknown"))
        return {
            "nasrunner.study": self.study_id,
            "nasrunner.study_name": self.info.name,
            "nasrunner.searcher": target.rpartition(".")[2],
            "mlflow.user": _user(),
            "mlflow.source.name": "nasrunner",
            "mlflow.source.type": "LOCAL",
        }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _environment_tags() -> dict[str, str]:
    """What a study ran on: commit, versions, machine."""
    found = {
        "nasrunner.python": platform.python_version(),
        "nasrunner.platform": platform.platform(),
        "nasrunner.host": platform.node(),
    }
    for package in ("nasrunner", "torch", "pytorch-lightning"):
        try:
            found[f"nasrunner.{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if commit := _git("rev-parse", "HEAD"):
        found["mlflow.source.git.commit"] = commit
        found["nasrunner.git_has_changes"] = str(bool(_git("status", "--porcelain", "-uno")))
    return found


def _git(*arguments: str) -> str:
    """What git says of the working directory; nothing where there is no repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
