"""Writes the runs of a study's children to MLflow; every call can be repeated without harm."""

import contextlib
import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nasrunner.core.ledger.known import is_given
from nasrunner.core.machine.child_folder import CONFIG, DERIVED, PROBABILITIES, ChildFolder
from nasrunner.core.ports import Blueprint
from nasrunner.core.records import Outcome, Proposal
from nasrunner.trackers.curves import CurveReader
from nasrunner.trackers.entries import figures_of
from nasrunner.trackers.lines import Line
from nasrunner.trackers.mlflow import text
from nasrunner.trackers.mlflow.connection import (
    Connection,
    curve_metrics,
    metrics_at,
    ms,
    params,
    tags,
)
from nasrunner.trackers.wording import clipped, run_name

if TYPE_CHECKING:
    from mlflow.entities import Run

_BARE = "nasrunner.artifacts"  # a tag of an ended run whose artifacts are still to be written
_CHILDREN = "nasrunner.children"  # of a line that went on: those that are written, all of them
_RUN_STATUS = {
    "completed": "FINISHED",
    "paused": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
}  # others were never trained: KILLED


@dataclass
class ChildRun:
    """A child's run in MLflow.

    Attributes:
        run_id: the run's.
        artifact_uri: where its artifacts go.
        curves: what of its curves is written.
        single: metrics that were written as single values.
        written: the children of its line that it has all of.
    """

    run_id: str
    artifact_uri: str
    curves: CurveReader
    single: set[str] = field(default_factory=set)
    written: frozenset[int] = frozenset()

    def is_latest(self, line: Line) -> bool:
        """Tells whether no later child of its line is written, as where MLflow refused this one
        once.
        """
        return not self.written or max(self.written) <= line.index


@dataclass(frozen=True)
class KnownRun:
    """What an earlier session has made of the run of a child, or of a line of them.

    Attributes:
        run_id: the run's.
        written: the children whose figures are complete.
        is_bare: its artifacts are not.
    """

    run_id: str
    written: frozenset[int]
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
        """Returns what MLflow has, by the first child of a line: each once, and none of it in the
        trash.
        """
        runs: dict[int, list[Run]] = {}
        for run in self._connection.search(None, with_deleted=True):
            if (index := run.data.tags.get("nasrunner.index")) is not None:
                runs.setdefault(int(index), []).append(run)
        return {index: self._only(each) for index, each in runs.items()}

    def _only(self, runs: list["Run"]) -> KnownRun:
        """One run of a line; of those that are not in the trash, the others are put there.

        A request that MLflow carried out although it seemed to fail was sent twice.
        """
        active = [run for run in runs if run.info.lifecycle_stage == "active"]
        kept, *spare = sorted(active or runs, key=lambda run: (-len(_written(run)), _runs(run)))
        for run in spare if active else ():
            self._client.delete_run(run.info.run_id)
        self._connection.restored(kept)
        return KnownRun(kept.info.run_id, _written(kept), _BARE in kept.data.tags)

    def find(self, line: Line) -> ChildRun | None:
        """Returns the run of a line, if any request has made one."""
        runs = self._connection.search(f"tags.`nasrunner.index` = '{line.first}'")
        return self._adopted(line, runs[0]) if runs else None

    def adopt(self, line: Line, run_id: str) -> ChildRun:
        """Returns the run that an earlier session did not finish, or that of the child before."""
        return self._adopted(line, self._client.get_run(run_id))

    def start(
        self, proposal: Proposal, blueprint: Blueprint | None, start_s: float, line: Line
    ) -> ChildRun:
        """Makes the run of a child that is being trained."""
        known = {
            "nasrunner.status": "running",
            "mlflow.note.content": text.child_note(None, blueprint),
        }
        shown = blueprint.text if blueprint else proposal.kind
        run = self._make(proposal, shown, known, start_s, line)
        self._client.log_batch(run.run_id, params=params(_params(proposal, blueprint)))
        return run

    def reopen(self, run: ChildRun) -> None:
        """Goes on with the run of a line, whose next child is being trained."""
        known = {"nasrunner.status": "running", **_children(run.written)}
        self._client.log_batch(run.run_id, tags=tags(known))
        self._client.update_run(run.run_id, status="RUNNING")

    def write_curves(self, run: ChildRun) -> None:
        """Writes the epochs that were added since the last time."""
        if points := run.curves.read():
            self._client.log_batch(run.run_id, metrics=curve_metrics(points))
            run.curves.take(points)

    def write_outcome(
        self,
        run: ChildRun | None,
        outcome: Outcome,
        blueprint: Blueprint | None,
        end_s: float,
        line: Line,
    ) -> ChildRun:
        """Writes all there is to know of a child, but its artifacts, to ``run`` or a new one.

        What is said of the child before it in its line is what is said of both from now on.
        """
        known = {
            "nasrunner.status": outcome.told_status,
            "mlflow.note.content": text.child_note(outcome, blueprint, line.children),
        }
        is_part = outcome.proposal.until is not None and not outcome.is_too_large
        if is_part or line.place:
            known["nasrunner.until"] = str(outcome.proposal.until or "end")
        if outcome.lacks:
            known["nasrunner.lacks"] = " ".join(map(str, outcome.lacks))
        if outcome.reused_from is not None:
            known["nasrunner.reused_from"] = str(outcome.reused_from)
        if outcome.is_changed:
            known["nasrunner.changed"] = "true"
        if outcome.error:
            known["nasrunner.error"] = clipped(outcome.error, text.MAX_TAG)
        if run is None:
            is_supernet = outcome.proposal.kind == "supernet"
            shown = (
                blueprint.text if blueprint else "supernet" if is_supernet else outcome.told_status
            )
            run = self._make(outcome.proposal, shown, known, end_s - outcome.cost_s, line)
            known = {}
        if not run.is_latest(line):
            known = {}
        points = run.curves.read()
        latest = dict(run.curves.latest)
        for point in points:
            latest.update(point.values)
        single = {
            name: value
            for name, value in figures_of(outcome, blueprint, latest, line.cost_s).items()
            if name not in run.single
        }
        # MLflow's page that compares runs opens on the metric that was first: the reward where the
        # curves of a short child come with it.
        single = dict(sorted(single.items(), key=lambda each: each[0] != "reward"))
        self._client.log_batch(
            run.run_id,
            metrics=metrics_at(line.place, end_s, single) + curve_metrics(points),
            params=params(_params(outcome.proposal, blueprint)),
            tags=tags(known),
        )
        run.curves.take(points)
        run.single |= set(single)
        return run

    def write_artifacts(self, run: ChildRun, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Logs the architecture as text, picture and genotype, the child's configuration, and
        more.

        That is its error, and what a supernet has found and learnt by epoch.
        """
        proposal = outcome.proposal
        files = {"genotype.json": json.dumps(proposal.genotype, indent=2, ensure_ascii=False)}
        if blueprint is not None:
            files["architecture.txt"] = blueprint.text
        if blueprint is not None and blueprint.drawing:
            files["architecture.svg"] = blueprint.drawing
        for name in (CONFIG, DERIVED, PROBABILITIES):
            with contextlib.suppress(FileNotFoundError):  # it was not trained, or is no supernet
                files[name] = ChildFolder.of(self._folder, proposal.index).text(name)
        if outcome.error:
            files["error.txt"] = outcome.error
        if outcome.found:
            files["found.json"] = json.dumps(list(outcome.found), indent=2, ensure_ascii=False)
        self._connection.upload(run.artifact_uri, files)

    def mark_bare(self, run: ChildRun) -> None:
        """Notes, for this session or one that resumes the study, that artifacts are missing."""
        self._client.set_tag(run.run_id, _BARE, "missing")

    def unmark_bare(self, run: ChildRun) -> None:
        """Takes the note away."""
        if _BARE in self._client.get_run(run.run_id).data.tags:  # once: it may be sent again
            self._client.delete_tag(run.run_id, _BARE)

    def end(self, run: ChildRun, outcome: Outcome, end_s: float, line: Line) -> None:
        """Marks a child as complete: from now on only the next of its line changes its run."""
        if run.is_latest(line):
            status = _RUN_STATUS.get(outcome.told_status, "KILLED")
            self._client.set_terminated(run.run_id, status, ms(end_s))
        if line.place or run.written:  # last: until then the child is written again
            known = _children(run.written | {line.index})
            self._client.log_batch(run.run_id, tags=tags(known))
        run.written |= {line.index}

    def _make(
        self, proposal: Proposal, shown: str, known: Mapping[str, str], start_s: float, line: Line
    ) -> ChildRun:
        fixed = {
            "mlflow.parentRunId": self._parent_id,
            "nasrunner.kind": "child" if proposal.kind == "train" else proposal.kind,
            "nasrunner.index": str(line.first),
            "nasrunner.architecture": proposal.hash,
            **_origin(proposal, line),
        }
        if (parent := proposal.parent) is not None:
            fixed["nasrunner.parent_child"] = str(int(parent))
        run = self._client.create_run(
            self._connection.experiment_id,
            start_time=ms(start_s),
            tags={**self._common_tags, **fixed, **known},
            run_name=run_name(line.first, shown),
        )
        return ChildRun(run.info.run_id, run.info.artifact_uri, self._curves(proposal.index))

    def _adopted(self, line: Line, run: "Run") -> ChildRun:
        """Continues a run: finds out what was written to it."""
        curves = self._curves(line.index)
        names = {name for point in curves.read() for name in point.values}
        epoch = min(self._last_steps(run, names), default=-1)
        if line.before is not None:
            epoch = max(epoch, self._last_epoch(run, line.before))
        curves.last = (epoch, sys.maxsize)  # with all that was measured in that epoch
        curves.latest = {n: run.data.metrics[n] for n in names if n in run.data.metrics}
        single = self._single(run, set(run.data.metrics) - names, line)
        written = _written(run)
        return ChildRun(run.info.run_id, run.info.artifact_uri, curves, single, written)

    def _last_epoch(self, run: "Run", before: int) -> int:
        """The last epoch of the child before that was written; -1 without any."""
        points = self._curves(before).read()
        written = self._last_steps(run, {name for point in points for name in point.values})
        return min(points[-1].epoch, max(written)) if points else -1

    def _last_steps(self, run: "Run", names: Collection[str]) -> list[int]:
        legal = text.legal_names(names)
        return [self._connection.last_step(run.info.run_id, legal[name]) for name in names]

    def _single(self, run: "Run", names: Collection[str], line: Line) -> set[str]:
        """Which single metrics were written of this child, and not only of those before."""
        if not line.place:
            return set(names)
        run_id = run.info.run_id
        if self._connection.last_step(run_id, "cost_s") < line.place:  # all are written at once
            return set()
        return {n for n in names if self._connection.last_step(run_id, n) >= line.place}

    def _curves(self, index: int) -> CurveReader:
        return CurveReader(ChildFolder.of(self._folder, index))


def _written(run: "Run") -> frozenset[int]:
    """The children that a run has all of."""
    if (told := run.data.tags.get(_CHILDREN)) is not None:
        return frozenset(map(int, told.split()))
    return frozenset() if _runs(run) else frozenset([int(run.data.tags["nasrunner.index"])])


def _runs(run: "Run") -> bool:
    return bool(run.info.status == "RUNNING")


def _children(written: Collection[int]) -> dict[str, str]:
    return {_CHILDREN: " ".join(map(str, sorted(written)))} if written else {}


def _origin(proposal: Proposal, line: Line) -> dict[str, str]:
    """Where a child comes from that is no training of the searcher's own, as tags."""
    known = {"nasrunner.given": "true"} if is_given(proposal) else {}
    if proposal.fidelity:
        changes = (f"{key}={value:g}" for key, value in proposal.fidelity.items())
        known["nasrunner.fidelity"] = clipped(" ".join(changes), text.MAX_TAG)
    if proposal.continues is not None and not line.place:
        known["nasrunner.continues"] = str(proposal.continues)
    if weights := [str(each.child) for each in proposal.sources if each.what != "training"]:
        known["nasrunner.weights_of"] = clipped(" ".join(weights), text.MAX_TAG)
    return known


def _params(proposal: Proposal, blueprint: Blueprint | None) -> dict[str, str]:
    """What was chosen, and of what is trained at a fidelity what that is."""
    changes = {f"fidelity.{key}": f"{value:g}" for key, value in proposal.fidelity.items()}
    return text.params_of({**(blueprint.values if blueprint else {}), **changes})
