"""Records a study in Weights & Biases: a run for the study, and one for each child of its group."""

import contextlib
import functools
import json
import logging
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from nasrunner.trackers.jobs import JobThread
from nasrunner.trackers.notes import ended_note, running_note
from nasrunner.trackers.wording import clipped, encodable, many, run_name

if TYPE_CHECKING:
    from wandb import Run, Settings

_log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]

FOLDER = "wandb"
"""Its name in the study's folder, which W&B has chosen."""

_WRITTEN = "nasrunner.jsonl"
_LEGAL = "tracker.mode=offline writes files that `wandb sync` sends later"
_SERVER = "Weights & Biases"
_STUDY_ID = re.compile(r"[0-9a-f]{8}")
_OFFLINE = re.compile(r"offline-run-\d+_\d+-(.+)")
"""W&B's folder of a run: when it was begun, and its id."""
_STAMP = r"\d+\.\d+"
_RESERVED = re.compile(r"[:;,#?/'\\\s]")
"""What may not stand in a run's id."""
_DELETED = "previously created and deleted"
_STATUS = re.compile(r"(?:error|Response) \[?(4\d\d)\b")
"""HTTP's code in what W&B says of a request that failed."""
_MAY_PASS = {"401", "403", "408", "429", "499"}
"""Those of all runs alike, or of a moment."""


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
        close_timeout_s: how long ``close`` waits while nothing can be written, seconds; W&B itself
            waits as long again when the process ends, for a run that it was sending.

    Raises:
        ConfigError: W&B is not installed, or a value is out of range; also of ``open``, where
            W&B does not answer or does not know the user.
    """

    files: ClassVar[Sequence[str]] = (FOLDER,)
    records: ClassVar[Records | None] = None
    places: ClassVar[Sequence[str]] = ("entity", "project", "mode")

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
        self._writer: JobThread | None = None
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
        self._check(info)
        entries = self._entries = StudyEntries(info, state, inspect)
        self._last_best, self._num_recorded = -1, 0
        runs = self._runs = _StudyRuns(self, info)
        if self.mode == "online":
            self._begin(runs)
            self._tell_offline(runs)
        self._writer = JobThread(_SERVER, _is_refusal)
        self._writer.start()
        self._writer.add("the study's run", runs.begin)
        for ended in entries.earlier():
            self._add_row()
            if ended is not None and not runs.has(ended.line.name, str(ended.line.index)):
                self._add_entry(ended.line.index, functools.partial(entries.entry, ended))

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        if self._entries is None:
            return
        ended = self._entries.ended(outcome)
        self._add_row()
        if ended is not None:
            entry = self._entries.entry(ended, blueprint)
            self._add_entry(ended.line.index, lambda: entry)

    def close(self, summary: Summary) -> None:
        if self._writer is None or self._runs is None or self._writer.is_abandoned:
            return
        runs, writer, step = self._runs, self._writer, 2 * self._num_recorded - 1
        command = resume_command(runs.info.folder)
        writer.add("the end of the study", lambda: runs.end(summary, step))
        writer.finish(self.close_timeout_s, command)
        if writer.num_waiting:
            _log.warning(
                "%s lacks the end of the study, which is complete in its ledger: %s writes the "
                "rest (%s)",
                _SERVER,
                command,
                writer.last_error or f"it took more than {self.close_timeout_s} s",
            )
        if writer.num_refused:
            refused = many(writer.num_refused, "run or point", "runs and points")
            _log.warning("%s has refused %s, which stand in the ledger", _SERVER, refused)

    def let_go(self) -> None:
        """Ends the study's run where the study breaks off, as where its baseline is refused."""
        if self._writer is None or self._runs is None:
            return
        self._writer.abandon()
        self._writer.join(self.close_timeout_s)
        self._runs.break_off()

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        if self.mode == "disabled" or not (info.folder / FOLDER / _WRITTEN).is_file():
            return  # the study was not recorded here
        try:
            self._check(info)
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
            self._writer.add("a point of the study", lambda: runs.log(row, step))

    def _add_entry(self, index: int, make: Callable[[], Entry]) -> None:
        """Adds the run of a child, whose entry may be made by the writing thread."""
        assert self._writer is not None, "open first"
        assert self._runs is not None, "open first"
        runs = self._runs
        self._writer.add(f"child {index}", lambda: runs.write(make(), str(index)))

    def _tell_offline(self, runs: "_StudyRuns") -> None:
        """Says what an earlier session has written offline, and nobody has sent since."""
        if count := len(runs.unsent()):
            pattern = f"{shlex.quote(short(runs.folder))}/offline-run-*-{runs.study}-*"
            lie = many(count, "run lies", "runs lie")
            _log.warning(
                "%s offline: %s sync %s sends what lies there", lie, program("wandb"), pattern
            )

    def _begin(self, runs: "_StudyRuns") -> None:
        """Makes the study's run before anything is trained.

        Raises:
            ConfigError: W&B does not take it, as where the user may not write to the project.
        """
        try:
            runs.begin()
        except Exception as error:  # of W&B and its service
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"tracker.project={self.project}, tracker.entity={self.entity}: Weights & Biases "
                f"takes no study ({clipped(reason, 300).rstrip('.')}); {_LEGAL}"
            ) from error

    def _check(self, info: StudyInfo) -> None:
        """Sees that W&B answers and knows the user.

        Raises:
            ConfigError: it does not, or the study's folder says where it is.
        """
        if self.mode != "online":
            return
        if (given := os.environ.get("WANDB_MODE", "online")) != "online":
            raise ConfigError(f"tracker.mode=online, but WANDB_MODE={given}; {_LEGAL}")
        if (settings := info.folder / FOLDER / "settings").exists():
            raise ConfigError(  # read by W&B where it is started beside it
                f"tracker.mode=online: {settings} may name the server that your API key is sent "
                f"to; remove it, or {_LEGAL}"
            )
        try:
            is_known = _is_logged_in()
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


def _is_logged_in() -> bool:
    """Tells whether W&B knows the user; a notebook's own runs stay as talkative as they are."""
    import wandb  # half a second

    if wandb.run is not None:  # the user's own, beside which nobody can log in
        return True
    settings = wandb.setup().settings
    was_silent, settings.silent = settings.silent, True
    wandb.termsetup(settings, None)
    try:
        return wandb.login(prompt=False, verify=True)
    finally:
        settings.silent = was_silent
        wandb.termsetup(settings, None)


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

    @property
    def study(self) -> str:
        """What tells the study from all others, and its runs' ids begin with."""
        return self._written.study

    def unsent(self) -> list[str]:
        """Lists the runs of children and networks that were written offline, and not sent since."""
        return [
            run_id
            for path, run_id in self._offline()
            if run_id.startswith(f"{self.study}-") and not any(path.glob("*.wandb.synced"))
        ]

    def begin(self) -> None:
        """Makes the study's run, or goes on with it; one that was deleted has a successor."""
        if self._study is None:
            try:
                self._study = self._new_study()
            except Exception as error:
                if _DELETED not in str(error):
                    raise
                _log.warning(
                    "%s: the study's run %s was deleted; all is written again as another",
                    _SERVER,
                    self.study,
                )
                self._written.begin_again()
                self._study = self._new_study()
            self._next_step = self._study.step
            self.url = self._study.url if self._tracker.mode == "online" else None
        self._written.keep()

    def _new_study(self) -> "Run":
        run = self._made(
            self.study,
            name=f"{self.info.name} {self.info.folder.name}",
            job_type="study",
            config=_jsonable(without_passwords(self.info.config)),
            notes=running_note(self.info, 0, [], None),
        )
        run.define_metric("best_reward", step_metric="children")
        run.define_metric("estimate", step_metric="estimate_number")
        return run

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds to the curves of the study."""
        self.begin()
        assert self._study is not None, "it was begun"
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
        run_id = f"{self.study}-{_RESERVED.sub('-', name)}"
        if not entry.children:  # online, a run that is resumed has no room for another training
            self._remove_offline(re.compile(rf"{re.escape(run_id)}-{_STAMP}"))
            run_id += f"-{what}"
        run = self._made(
            run_id,
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

        self.begin()
        assert self._study is not None, "it was begun"
        run = self._study
        if summary.best and step >= self._next_step:
            names = ["reward", "parameters", "architecture"]
            rows = [[best.get(each) for each in ("index", *names)] for best in summary.best]
            run.log({"best_children": wandb.Table(columns=["child", *names], data=rows)}, step=step)
        run.summary.update({f"children/{name}": count for name, count in summary.counts.items()})
        run.summary.update({"reason": summary.reason, "cost_s": summary.cost_s})
        run.notes = encodable(ended_note(self.info, summary))
        run.finish(exit_code=0 if summary.failure is None else 1)

    def break_off(self) -> None:
        """Ends the study's run as one that failed; it may go on later."""
        if self._study is not None:
            self._study.finish(exit_code=1)
            self._study = None

    def _made(self, run_id: str, **known: Any) -> "Run":
        import wandb

        self._remove_offline(re.compile(re.escape(run_id)))
        return wandb.init(
            project=self._tracker.project,
            entity=self._tracker.entity,
            dir=str(self.info.folder),
            id=run_id,
            group=f"{self.info.name} {self.study}",
            resume=None if self._tracker.mode == "offline" else "allow",
            settings=self._settings(),
            **known,
        )

    def _offline(self) -> Iterator[tuple[Path, str]]:
        """Yields the folders of runs that W&B has written offline, with their ids."""
        for path in sorted(self.folder.glob("offline-run-*")):
            if (found := _OFFLINE.fullmatch(path.name)) and not path.is_symlink():
                yield path, found[1]

    def _remove_offline(self, ids: re.Pattern[str]) -> None:
        """Removes what was written of runs that are written again, where they are offline."""
        if self._tracker.mode == "offline":
            for path, run_id in self._offline():
                if ids.fullmatch(run_id) and path.parent == self.folder:
                    shutil.rmtree(path)

    def _settings(self) -> "Settings":
        import wandb

        return wandb.Settings(
            mode=self._tracker.mode,
            reinit="create_new",  # the study's run and those of children are open at once
            silent=True,
            console="off",
            disable_code=True,
            save_code=False,
            # The command line may have a password, and the machine is nobody's business.
            x_disable_meta=True,
            x_disable_machine_info=True,
            disable_git=True,
            x_disable_stats=True,  # of this process, which trains nothing
            x_save_requirements=False,
            finish_timeout=max(1.0, self._tracker.close_timeout_s),
            finish_timeout_raises=True,
        )


class _WrittenRuns:
    """The file that says what is written: a line for each child or network.

    It lies in the study's folder, which may be a stranger's: what it says is checked.

    Attributes:
        study: what tells the study from all others.
        known: the run's name, and the child or what tells a network from one trained before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: set[tuple[str, str]] = set()
        self.study = ""
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # cut off
                    self._take(json.loads(line))
        self._is_kept = bool(self.study)
        self.study = self.study or secrets.token_hex(4)

    def keep(self) -> None:
        """Notes the study, which has a run now."""
        if not self._is_kept:
            self._append({"study": self.study})
            self._is_kept = True

    def begin_again(self) -> None:
        """Makes it another study, of which nothing is written."""
        self.study, self._is_kept = secrets.token_hex(4), False
        self.known.clear()

    def add(self, name: str, what: str) -> None:
        """Notes that it is written."""
        self.keep()
        self._append({"run": name, "of": what})
        self.known.add((name, what))

    def _take(self, record: Any) -> None:
        told = record if isinstance(record, dict) else {}
        study, name, what = (str(told.get(key, "")) for key in ("study", "run", "of"))
        if _STUDY_ID.fullmatch(study):
            self.study = study
            self.known.clear()
        elif name and what:
            self.known.add((name, what))

    def _append(self, record: Mapping[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(record)}")  # first, as the last line may be cut off


def _is_refusal(error: Exception) -> bool:
    """Tells whether W&B answers a run like this however often it is asked."""
    import wandb

    if isinstance(error, wandb.errors.AuthenticationError):
        return False  # of all runs alike: those that are left are written when the study goes on
    if isinstance(error, wandb.errors.CommError):
        status = _STATUS.search(str(error))
        return _DELETED in str(error) or (status is not None and status[1] not in _MAY_PASS)
    mistakes = (ValueError, TypeError, LookupError, AttributeError, AssertionError)
    return isinstance(error, (wandb.errors.UsageError, *mistakes))


def _jsonable(value: Any) -> Any:
    """A value as W&B takes it: what is no plain one as text."""
    if isinstance(value, Mapping):
        return {encodable(str(k)): _jsonable(each) for k, each in value.items() if str(k)}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return encodable(str(value))
