"""Records a study in Weights & Biases: a run for the study, and one for each child of its group."""

import contextlib
import json
import logging
import os
import secrets
import shlex
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nasrunner.core.errors import ConfigError, TrackingError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.screen.commands import program, resume_command, short
from nasrunner.core.screen.passwords import without_passwords
from nasrunner.core.tracking import Records, RetrainedNetwork
from nasrunner.trackers.entries import Entry, StudyEntries, network_entry, require
from nasrunner.trackers.notes import ended_note, running_note
from nasrunner.trackers.wording import clipped, encodable, run_name

if TYPE_CHECKING:
    from wandb import Run, Settings

_log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]

FOLDER = "wandb"
"""Its name in the study's folder, which W&B has chosen."""

_WRITTEN = "nasrunner.jsonl"
_LEGAL = "tracker.mode=offline writes files that `wandb sync` sends later"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0  # between two tries of what failed
_CLOSING_PAUSE_S = 1.0  # the study waits, no longer than close_timeout_s


class WandbTracker:
    """Writes a run of W&B for each child that has ended, in a group with the study's run.

    A child's run has its decisions as configuration, its curves by epoch, and its reward and other
    figures as summary. One that goes on with the training of another is written to the run of that.
    The study's run has the best reward so far, estimates, and a table of the best children.

    A thread of its own does the writing. ``wandb/nasrunner.jsonl`` in the study's folder says what
    is written, for a session that resumes the study.

    Args:
        project: where the runs go, of W&B.
        entity: the team or user that it belongs to; None: the user's default.
        mode: ``online``; ``offline``: files that ``wandb sync`` sends later; ``disabled``.
        close_timeout_s: how long ``close`` waits while nothing can be written, seconds.

    Raises:
        ConfigError: W&B is not installed, or a value is out of range; also of ``open``, where
            W&B does not answer or does not know the user.
    """

    files: ClassVar[Sequence[str]] = (FOLDER,)
    records: ClassVar[Records | None] = None

    def __init__(
        self, project: str, entity: str | None, mode: Mode, close_timeout_s: float
    ) -> None:
        if not project:
            raise ConfigError("tracker.project must be a name, got an empty one")
        if close_timeout_s < 0:
            raise ConfigError(f"tracker.close_timeout_s must be >= 0, got {close_timeout_s}")
        require("wandb")
        self.project = project
        self.entity = entity
        self.mode = mode
        self.close_timeout_s = close_timeout_s
        self._entries: StudyEntries | None = None
        self._runs: _StudyRuns | None = None
        self._writer: _JobThread | None = None
        self._last_best = -1
        self._num_recorded = 0

    def prepare(self) -> None:
        pass

    @property
    def ui_command(self) -> str | None:
        """The address of the study's run, or the command that sends what was written offline."""
        if self._runs is None:
            return None
        if self.mode == "online":
            return self._runs.url
        folder = shlex.quote(short(self._runs.folder))
        return f"{program('wandb')} sync {folder}/offline-run-*"

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        if self.mode == "disabled":
            return
        self._check()
        self._entries = StudyEntries(info, state, inspect)
        self._last_best, self._num_recorded = -1, 0
        runs = self._runs = _StudyRuns(self, info)
        if self.mode == "online":
            self._begin(runs)
        self._writer = _JobThread()
        self._writer.start()
        self._writer.add(runs.begin)
        for ended in self._entries.earlier():
            self._add_row()
            if ended is not None and not runs.has(ended.line.name, str(ended.line.index)):
                self._add_entry(self._entries.entry(ended))

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        if self._entries is None:
            return
        ended = self._entries.ended(outcome)
        self._add_row()
        if ended is not None:
            self._add_entry(self._entries.entry(ended, blueprint))

    def close(self, summary: Summary) -> None:
        if self._writer is None or self._runs is None or self._writer.is_abandoned:
            return
        runs, writer, step = self._runs, self._writer, 2 * self._num_recorded - 1
        writer.add(lambda: runs.end(summary, step))
        writer.finish(self.close_timeout_s)
        if writer.num_waiting:
            _log.warning(
                "Weights & Biases lacks the end of the study, which is complete in its ledger: %s "
                "writes the rest (%s)",
                resume_command(runs.info.folder),
                writer.last_error or f"it took more than {self.close_timeout_s} s",
            )

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        if self.mode == "disabled" or not (info.folder / FOLDER / _WRITTEN).is_file():
            return  # the study was not recorded here
        try:
            self._check()
        except ConfigError as error:
            raise TrackingError(str(error)) from error
        runs = _StudyRuns(self, info)
        for network in networks:
            if not runs.has(f"{network.kind}/{network.name}", network.stamp):
                runs.write(network_entry(network), network.stamp)

    def _add_row(self) -> None:
        """Adds what an outcome changes on the curves of the study's run; each has its own step."""
        assert self._entries is not None, "open first"
        assert self._writer is not None, "open first"
        assert self._runs is not None, "open first"
        row: dict[str, float] = {}
        if best := self._entries.best.after(self._last_best):
            self._last_best, _, row["best_reward"] = best[-1]
            row["children"] = self._last_best
        for number, _, value in self._entries.estimates.points():
            row |= {"estimate": value, "estimate_number": number}
        self._entries.estimates.take([number for number, *_ in self._entries.estimates.points()])
        runs, step = self._runs, 2 * self._num_recorded  # a table may come between two
        self._num_recorded += 1
        if row:
            self._writer.add(lambda: runs.log(row, step))

    def _add_entry(self, entry: Entry) -> None:
        assert self._writer is not None, "open first"
        assert self._runs is not None, "open first"
        runs = self._runs
        self._writer.add(lambda: runs.write(entry, str(entry.children[-1])))

    def _begin(self, runs: "_StudyRuns") -> None:
        """Makes the study's run before anything is trained.

        Raises:
            ConfigError: W&B does not take it, as where the user may not write to the project.
        """
        import wandb

        try:
            runs.begin()
        except (wandb.errors.CommError, wandb.errors.UsageError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"tracker.project={self.project}, tracker.entity={self.entity}: Weights & Biases "
                f"takes no study ({clipped(reason, 300).rstrip('.')}); {_LEGAL}"
            ) from error

    def _check(self) -> None:
        """Sees that W&B answers and knows the user.

        Raises:
            ConfigError: it does not.
        """
        if self.mode != "online":
            return
        if (given := os.environ.get("WANDB_MODE", "online")) != "online":
            raise ConfigError(f"tracker.mode=online, but WANDB_MODE={given}; {_LEGAL}")
        import wandb  # half a second

        try:
            wandb.setup(wandb.Settings(silent=True))
            is_known = wandb.login(prompt=False, verify=True)
        except Exception as error:  # of W&B and its service
            reason = " ".join(str(error).split())
            raise ConfigError(
                "tracker.mode=online: Weights & Biases does not answer, or does not know you "
                f"({clipped(reason, 300).rstrip('.')}); {_LEGAL}"
            ) from error
        if not is_known:
            raise ConfigError(
                "tracker.mode=online needs an API key of Weights & Biases: `wandb login` or "
                f"WANDB_API_KEY; {_LEGAL}"
            )


class _StudyRuns:
    """The runs of a study in W&B; every call may be repeated without harm.

    Offline a run that is written again replaces its files. Online it is resumed by its id, and
    steps that it has are left out.

    Args:
        tracker: says where.
        info: the study.

    Attributes:
        folder: where W&B keeps its files.
        info: the study.
        url: of the study's run; None before it is there.
    """

    def __init__(self, tracker: WandbTracker, info: StudyInfo) -> None:
        self.folder = info.folder / FOLDER
        self.info = info
        self.url: str | None = None
        self._tracker = tracker
        self._study: Run | None = None
        self._next_step = 0
        self._written = _WrittenRuns(self.folder / _WRITTEN)

    def has(self, name: str, what: str) -> bool:
        """Tells whether a child, or a network as it was tested, is written to a run."""
        return (name, what) in self._written.known

    def begin(self) -> None:
        """Makes the study's run, or goes on with it."""
        if self._study is None:
            run = self._made(
                self._written.study,
                name=f"{self.info.name} {self.info.folder.name}",
                job_type="study",
                config=_jsonable(without_passwords(self.info.config)),
                notes=running_note(self.info, 0, [], None),
            )
            self._next_step = run.step
            run.define_metric("best_reward", step_metric="children")
            run.define_metric("estimate", step_metric="estimate_number")
            self._study = run
            self.url = run.url if self._tracker.mode == "online" else None

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds to the curves of the study."""
        assert self._study is not None, "begin first"
        if step >= self._next_step:
            self._study.log(dict(row), step=step)

    def write(self, entry: Entry, what: str) -> None:
        """Writes the run of a child, or of a retrained network.

        Args:
            entry: what it holds.
            what: the child, or what tells the network from one that was trained before.
        """
        name = entry.name if entry.children else f"{entry.kind}/{entry.name}"
        shown = run_name(entry.children[0], entry.text) if entry.children else name
        about = {"status": entry.status, "children": list(entry.children), **entry.facts}
        run = self._made(
            f"{self._written.study}-{name.replace('/', '-')}",
            name=shown,
            job_type=entry.kind,
            config={**_jsonable(entry.values), "nasrunner": about},
            notes=encodable("\n\n".join(filter(None, [entry.text, entry.error]))),
        )
        run.define_metric("*", step_metric="epoch")
        first = run.step
        for step, point in enumerate(entry.points):
            if step >= first:
                run.log({"epoch": point.epoch, **point.learnt, **point.values}, step=step)
        run.summary.update({encodable(key): value for key, value in entry.figures.items()})
        run.finish(exit_code=1 if entry.status in ("failed", "invalid") else 0)
        self._written.add(name, what)

    def end(self, summary: Summary, step: int) -> None:
        """Writes how the study ended, and ends its run."""
        import wandb

        assert self._study is not None, "begin first"
        run = self._study
        if summary.best and step >= self._next_step:
            names = ["reward", "parameters", "architecture"]
            rows = [[best.get(each) for each in ("index", *names)] for best in summary.best]
            run.log({"best_children": wandb.Table(columns=["child", *names], data=rows)}, step=step)
        run.summary.update({f"children/{name}": count for name, count in summary.counts.items()})
        run.summary.update({"reason": summary.reason, "cost_s": summary.cost_s})
        run.notes = encodable(ended_note(self.info, summary))
        run.finish(exit_code=0 if summary.failure is None else 1)

    def _made(self, run_id: str, **known: Any) -> "Run":
        import wandb

        logging.getLogger("wandb").propagate = False  # it has a file of its own
        is_offline = self._tracker.mode == "offline"
        if is_offline:
            for path in self.folder.glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(path)
        return wandb.init(
            project=self._tracker.project,
            entity=self._tracker.entity,
            dir=str(self.info.folder),
            id=run_id,
            group=f"{self.info.name} {self._written.study}",
            resume=None if is_offline else "allow",
            settings=self._settings(),
            **known,
        )

    def _settings(self) -> "Settings":
        import wandb

        return wandb.Settings(
            mode=self._tracker.mode,
            reinit="create_new",  # the study's run and those of children are open at once
            silent=True,
            console="off",
            disable_code=True,
            save_code=False,
            x_disable_stats=True,  # of this process, which trains nothing
            x_save_requirements=False,
            finish_timeout=max(1.0, self._tracker.close_timeout_s),
            finish_timeout_raises=True,
        )


class _WrittenRuns:
    """The file that says what is written: a line for each child or network.

    Attributes:
        study: what tells the study from all others.
        known: the run's name, and the child or what tells a network from one trained before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: set[tuple[str, str]] = set()
        self.study = ""
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError):  # cut off
                    record = json.loads(line)
                    self.study = record.get("study", self.study)
                    self.known |= {(record["run"], record["of"])} if "run" in record else set()
        if not self.study:
            self.study = secrets.token_hex(4)
            self._append({"study": self.study})

    def add(self, name: str, what: str) -> None:
        """Notes that it is written."""
        self._append({"run": name, "of": what})
        self.known.add((name, what))

    def _append(self, record: Mapping[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(record)}")  # first, as the last line may be cut off


class _JobThread(threading.Thread):
    """Does one job after the other, each until it succeeds, so that a study waits for nobody.

    Attributes:
        last_error: why the latest try failed; empty where it did not.
        is_abandoned: nothing more is done.
    """

    def __init__(self) -> None:
        super().__init__(name="wandb", daemon=True)
        self.last_error = ""
        self.is_abandoned = False
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_last = False
        self._succeeded_s = time.monotonic()
        self._failures = 0

    @property
    def num_waiting(self) -> int:
        """Jobs that are not done."""
        return len(self._jobs)

    def add(self, job: Callable[[], None]) -> None:
        """Does a job after those before it."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def finish(self, timeout_s: float) -> None:
        """Waits until all is done, or nothing was for ``timeout_s``."""
        with self._changed:
            self._is_last, asked = True, time.monotonic()
            self._changed.notify_all()
            while self._jobs and self.is_alive():
                left = timeout_s - (time.monotonic() - max(asked, self._succeeded_s))
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))
        self.abandon()

    def abandon(self) -> None:
        """Does nothing more."""
        with self._changed:
            self.is_abandoned = True
            self._changed.notify_all()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self.is_abandoned:
                    self._changed.wait()
                if self.is_abandoned:
                    return
                job = self._jobs[0]
            try:
                job()
            except Exception as error:  # whatever W&B raises: the study goes on
                self._failed(error)
                continue
            with self._changed:
                self._jobs.popleft()
                self.last_error, self._succeeded_s = "", time.monotonic()
                self._failures = 0
                self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self._failures += 1
        if self._failures == 2:  # a run that is begun again may be ending for a moment
            _log.warning("Weights & Biases cannot be written, and is tried again: %s", reason)
        self.last_error = reason
        begun, pause_s = time.monotonic(), _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 20)
        with self._changed:
            while not self.is_abandoned:
                longest = _CLOSING_PAUSE_S if self._is_last else _LONGEST_PAUSE_S
                if (left := begun + min(pause_s, longest) - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)


def _jsonable(value: Any) -> Any:
    """A value as W&B takes it: what is no plain one as text."""
    if isinstance(value, Mapping):
        return {encodable(str(k)): _jsonable(each) for k, each in value.items() if str(k)}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return encodable(str(value))
