"""Writes the runs of a study's children to MLflow; every call can be repeated without harm."""

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nasrunner.core.machine.child_folder import CONFIG, ChildFolder
from nasrunner.core.ports import Blueprint
from nasrunner.core.records import Outcome, Proposal
from nasrunner.trackers.mlflow import text
from nasrunner.trackers.mlflow.connection import (
    Connection,
    curve_metrics,
    metrics_at,
    ms,
    params,
    tags,
)
from nasrunner.trackers.mlflow.curves import CurveReader

if TYPE_CHECKING:
    from mlflow.entities import Run

_BARE = "nasrunner.artifacts"  # a tag of an ended run whose artifacts are still to be written
_RUN_STATUS = {"completed": "FINISHED", "failed": "FAILED"}  # others were never trained: KILLED


@dataclass
class ChildRun:
    """A child's run in MLflow.

    Attributes:
        run_id: the run's.
        artifact_uri: where its artifacts go.
        curves: what of its curves is written.
        single: metrics that were written as single values.
    """

    run_id: str
    artifact_uri: str
    curves: CurveReader
    single: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class KnownRun:
    """What an earlier session has made of a child's run.

    Attributes:
        run_id: the run's.
        is_ended: its figures are complete.
        is_bare: its artifacts are not.
    """

    run_id: str
    is_ended: bool
    is_bare: bool


class ChildRuns:
    """The runs under a study's run.

    Args:
        connection: MLflow's client.
        parent_id: the study's run.
        folder: the study's folder.
        common_tags: what every run of the study is tagged with.
    """

    def __init__(
        self, connection: Connection, parent_id: str, folder: Path, common_tags: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._parent_id = parent_id
        self._folder = folder
        self._common_tags = common_tags

    def all(self) -> dict[int, KnownRun]:
        """What MLflow has, by child index: each child once, and none of it in the trash."""
        runs: dict[int, list[Run]] = {}
        for run in self._connection.search(None, with_deleted=True):
            if (index := run.data.tags.get("nasrunner.index")) is not None:
                runs.setdefault(int(index), []).append(run)
        return {index: self._only(each) for index, each in runs.items()}

    def _only(self, runs: list["Run"]) -> KnownRun:
        """One run of a child; of those that are not in the trash, the others are put there.

        A request that MLflow carried out although it seemed to fail was sent twice.
        """
        active = [run for run in runs if run.info.lifecycle_stage == "active"]
        kept, *spare = sorted(active or runs, key=lambda run: bool(run.info.status == "RUNNING"))
        for run in spare if active else ():
            self._client.delete_run(run.info.run_id)
        self._connection.restored(kept)
        is_ended = kept.info.status != "RUNNING"
        return KnownRun(kept.info.run_id, is_ended, _BARE in kept.data.tags)

    def find(self, index: int) -> ChildRun | None:
        """The run of a child, if any request has made one."""
        runs = self._connection.search(f"tags.`nasrunner.index` = '{index}'")
        return self._adopted(index, runs[0]) if runs else None

    def adopt(self, index: int, run_id: str) -> ChildRun:
        """The run of a child that an earlier session did not finish."""
        return self._adopted(index, self._client.get_run(run_id))

    def start(self, proposal: Proposal, blueprint: Blueprint, start_s: float) -> ChildRun:
        """Makes the run of a child that is being trained."""
        known = {
            "nasrunner.status": "running",
            "mlflow.note.content": text.child_note(None, blueprint),
        }
        run = self._make(proposal, blueprint.text, known, start_s)
        self._client.log_batch(run.run_id, params=params(text.params_of(blueprint.values)))
        return run

    def write_curves(self, run: ChildRun) -> None:
        """Writes the epochs that were added since the last time."""
        if points := run.curves.read():
            self._client.log_batch(run.run_id, metrics=curve_metrics(points))
            run.curves.take(points)

    def write_outcome(
        self, run: ChildRun | None, outcome: Outcome, blueprint: Blueprint | None, end_s: float
    ) -> ChildRun:
        """Writes all there is to know of a child, but its artifacts, to ``run`` or a new one."""
        known = {
            "nasrunner.status": outcome.status,
            "mlflow.note.content": text.child_note(outcome, blueprint),
        }
        if outcome.reused_from is not None:
            known["nasrunner.reused_from"] = str(outcome.reused_from)
        if outcome.is_changed:
            known["nasrunner.changed"] = "true"
        if outcome.error:
            known["nasrunner.error"] = text.clipped(outcome.error, text.MAX_TAG)
        if run is None:
            shown = blueprint.text if blueprint else outcome.status
            run = self._make(outcome.proposal, shown, known, end_s - outcome.cost_s)
            known = {}
        points = run.curves.read()
        latest = dict(run.curves.latest)
        for point in points:
            latest.update(point.values)
        single = {
            name: value
            for name, value in _single_metrics(outcome, blueprint, latest).items()
            if name not in run.single
        }
        self._client.log_batch(
            run.run_id,
            metrics=curve_metrics(points) + metrics_at(0, end_s, single),
            params=params(text.params_of(blueprint.values)) if blueprint else [],
            tags=tags(known),
        )
        run.curves.take(points)
        run.single |= set(single)
        return run

    def write_artifacts(self, run: ChildRun, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """The architecture as text, picture and genotype, and the child's configuration."""
        proposal = outcome.proposal
        files = {"genotype.json": json.dumps(proposal.genotype, indent=2, ensure_ascii=False)}
        if blueprint is not None:
            files["architecture.txt"] = blueprint.text
        if blueprint is not None and blueprint.drawing:
            files["architecture.svg"] = blueprint.drawing
        with contextlib.suppress(FileNotFoundError):  # it was not trained
            files[CONFIG] = ChildFolder.of(self._folder, proposal.index).text(CONFIG)
        if outcome.error:
            files["error.txt"] = outcome.error
        self._connection.upload(run.artifact_uri, files)

    def mark_bare(self, run: ChildRun) -> None:
        """Notes, for this session or one that resumes the study, that artifacts are missing."""
        self._client.set_tag(run.run_id, _BARE, "missing")

    def unmark_bare(self, run: ChildRun) -> None:
        """Takes the note away."""
        if _BARE in self._client.get_run(run.run_id).data.tags:  # once: it may be sent again
            self._client.delete_tag(run.run_id, _BARE)

    def end(self, run: ChildRun, outcome: Outcome, end_s: float) -> None:
        """Marks a run as complete: from now on it is not touched again."""
        status = _RUN_STATUS.get(outcome.status, "KILLED")
        self._client.set_terminated(run.run_id, status, ms(end_s))

    def _make(
        self, proposal: Proposal, shown: str, known: Mapping[str, str], start_s: float
    ) -> ChildRun:
        fixed = {
            "mlflow.parentRunId": self._parent_id,
            "nasrunner.kind": "child",
            "nasrunner.index": str(proposal.index),
            "nasrunner.architecture": proposal.hash,
        }
        if (parent := proposal.parent) is not None:
            fixed["nasrunner.parent_child"] = str(int(parent))
        run = self._client.create_run(
            self._connection.experiment_id,
            start_time=ms(start_s),
            tags={**self._common_tags, **fixed, **known},
            run_name=text.run_name(proposal.index, shown),
        )
        return ChildRun(run.info.run_id, run.info.artifact_uri, self._curves(proposal.index))

    def _adopted(self, index: int, run: "Run") -> ChildRun:
        """Continues a run: finds out what was written to it."""
        curves = self._curves(index)
        names = {name for point in curves.read() for name in point.values}
        legal = text.legal_names(names)
        epoch = min(
            (self._connection.last_step(run.info.run_id, legal[name]) for name in names),
            default=-1,
        )
        curves.last = (epoch, sys.maxsize)  # with all that was measured in that epoch
        curves.latest = {n: run.data.metrics[n] for n in names if n in run.data.metrics}
        single = set(run.data.metrics) - names
        return ChildRun(run.info.run_id, run.info.artifact_uri, curves, single)

    def _curves(self, index: int) -> CurveReader:
        return CurveReader(ChildFolder.of(self._folder, index))


def _single_metrics(
    outcome: Outcome, blueprint: Blueprint | None, latest: Mapping[str, float]
) -> dict[str, float]:
    """What is no curve: reward, cost, size, and the metrics of the epochs that the reward is of.

    These are ``at_reward/val_accuracy`` and so on, as MLflow's table shows the ends of curves.
    """
    facts: dict[str, float | None] = {"cost_s": outcome.cost_s, "reward": outcome.reward}
    if blueprint is not None:
        facts |= {"parameters": blueprint.parameters, "flops": blueprint.flops}
    for name, value in outcome.metrics.items():
        if name not in latest:
            facts[name] = value
        elif outcome.reward is not None:
            facts[f"at_reward/{name}"] = value
    return {name: float(value) for name, value in facts.items() if value is not None}
