"""Records a study as TensorBoard's event files: a run for the study, and one for each child."""

import contextlib
import io
import logging
import math
import shlex
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.files import replace_file
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.screen.commands import program, resume_command, short
from nasrunner.core.tracking import Records, RetrainedNetwork
from nasrunner.trackers.entries import Entry, StudyEntries, network_entry, require
from nasrunner.trackers.notes import ended_note, fenced, running_note
from nasrunner.trackers.wording import encodable

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary as Values

_log = logging.getLogger(__name__)

FOLDER = "tensorboard"
"""Its name in the study's folder."""

_STUDY = "study"
_EVENTS = "events.out.tfevents"  # what TensorBoard knows its files by
_BEST, _ESTIMATE, _NOTE = "best_reward", "estimate", "study"


class TensorBoardTracker:
    """Writes event files below ``tensorboard/`` in the study's folder.

    The run ``study`` has the best reward so far, by the number of recorded children, estimates, and
    a description. A child's run, ``0007``, has its curves by epoch, its figures, and its decisions
    as hyperparameters. One that goes on with the training of another is written to the run of that.
    What was retrained is in ``retrained/`` and ``grid/``.

    An event file of a child is written when it has ended: whole, or not at all.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    files: ClassVar[Sequence[str]] = (FOLDER,)
    records: ClassVar[Records | None] = None

    def __init__(self) -> None:
        require("tensorboard")
        self._entries: StudyEntries | None = None
        self._due: deque[Entry] = deque()
        self._file: Path | None = None
        self._last_best = -1
        self._num_estimates = 0
        self._note = ""
        self._is_behind = False

    def prepare(self) -> None:
        pass

    @property
    def ui_command(self) -> str | None:
        """How a person opens TensorBoard with this study; None before it is open."""
        if self._entries is None:
            return None
        folder = shlex.quote(short(self._folder.parent))  # a baseline's is in there, too
        return f"{program('tensorboard')} --logdir {folder}\nthen open http://localhost:6006"

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Writes what the ledger holds and the files lack."""
        self._entries = StudyEntries(info, state, inspect)
        self._due.clear()
        written = _read_study(self._folder / _STUDY)
        self._last_best, self._note = written.last_best, written.note
        # A file of its own for each session: the end of an earlier one may be cut off.
        self._file = self._folder / _STUDY / f"{_EVENTS}.{max(int(time.time()), written.free)}"
        self._due.extend(
            self._entries.entry(ended)
            for ended in self._entries.earlier()
            if ended is not None
            and not _is_written(self._folder / ended.line.name, f"{ended.line.index:04d}")
        )
        earlier = [index for index, *_ in self._entries.estimates.points()]
        self._entries.estimates.take(earlier[: written.num_estimates])
        self._num_estimates = written.num_estimates
        if not self._note:
            self._describe(running_note(info, 0, [], None))
        self._catch_up()

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        assert self._entries is not None, "open first"
        if (ended := self._entries.ended(outcome)) is not None:
            self._due.append(self._entries.entry(ended, blueprint))
        self._catch_up()

    def close(self, summary: Summary) -> None:
        """Describes the study, and tries once more what could not be written."""
        assert self._entries is not None, "open first"
        self._catch_up()
        self._describe(ended_note(self._entries.info, summary))
        if self._is_behind:
            _log.warning(
                "%s lacks up to %d children: the ledger is complete, and %s writes the rest",
                self._folder,
                len(self._due),
                resume_command(self._entries.info.folder),
            )

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        folder = info.folder / FOLDER
        if not folder.is_dir():
            return  # the study was not recorded here
        for network in networks:
            place = folder / network.kind / network.name
            if not _is_written(place, network.stamp):
                _write_run(place, network.stamp, network_entry(network), info)
                for path in place.glob(f"{_EVENTS}.*"):  # of an earlier training by this name
                    if not path.name.endswith(f".{network.stamp}"):
                        path.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        assert self._entries is not None, "open first"
        return self._entries.info.folder / FOLDER

    def _catch_up(self) -> None:
        """Writes what is due, as far as that can be done."""
        assert self._entries is not None, "open first"
        try:
            while self._due:
                entry = self._due[0]
                run = self._folder / entry.name
                _write_run(run, f"{entry.children[-1]:04d}", entry, self._entries.info)
                self._due.popleft()
            self._write_points()
        except OSError as error:
            self._fall_behind(error)
        else:
            self._is_behind = False

    def _write_points(self) -> None:
        """Adds to the curves of the study."""
        assert self._entries is not None, "open first"
        best = self._entries.best.after(self._last_best)
        waiting = self._entries.estimates.points()
        # By their arrival: TensorBoard drops what comes before a step that it has.
        estimates = [
            (step, time_s, value)
            for step, (_, time_s, value) in enumerate(waiting, self._num_estimates + 1)
        ]
        self._append(
            _scalars(step, time_s, {tag: value})
            for tag, points in ((_BEST, best), (_ESTIMATE, estimates))
            for step, time_s, value in points
        )
        self._last_best = best[-1][0] if best else self._last_best
        self._num_estimates += len(waiting)
        self._entries.estimates.take([index for index, *_ in waiting])

    def _describe(self, note: str) -> None:
        if note == self._note:
            return
        try:
            self._append([_text(0, time.time(), {_NOTE: note})])
        except OSError as error:
            self._fall_behind(error)
        else:
            self._note = note

    def _append(self, events: Iterable["Event"]) -> None:
        assert self._file is not None, "open first"
        if not (made := list(events)):
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab", buffering=0) as file:
            end = file.tell()
            left = memoryview(_encoded(made, has_head=end == 0))
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:  # readers stop at what is cut off, and what is behind it is lost
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise

    def _fall_behind(self, error: OSError) -> None:
        if not self._is_behind:
            reason = error.strerror or error
            _log.warning("%s cannot be written, and is tried again: %s", self._folder, reason)
        self._is_behind = True


class _StudyEvents:
    """What the files of a study's run hold.

    Attributes:
        last_best: the last step of the best reward; -1 without one.
        num_estimates: how many estimates there are.
        note: the latest description.
        free: a number that sorts a new file behind these.
    """

    def __init__(self) -> None:
        self.last_best = -1
        self.num_estimates = 0
        self.note = ""
        self.free = 0


def _read_study(folder: Path) -> _StudyEvents:
    found = _StudyEvents()
    for path in sorted(folder.glob(f"{_EVENTS}.*")):
        if (number := path.suffix[1:]).isdecimal():  # else it is not ours
            found.free = int(number) + 1
        for event in _events(path):
            for value in event.summary.value:
                if value.tag == _BEST:
                    found.last_best = max(found.last_best, event.step)
                elif value.tag == _ESTIMATE:
                    found.num_estimates += 1
                elif value.tag == _NOTE:
                    found.note = value.tensor.string_val[0].decode()
    return found


def _events(path: Path) -> Iterator["Event"]:
    """Yields the events of a file, up to one that is cut off."""
    # TensorBoard takes a moment to import, as of all that is imported here: not for --help.
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    yield from EventFileLoader(str(path)).Load()


def _is_written(run: Path, name: str) -> bool:
    return any(path.name.endswith(f".{name}") for path in run.glob(f"{_EVENTS}.*"))


def _write_run(run: Path, name: str, entry: Entry, info: StudyInfo) -> None:
    """Writes an event file of a run, whole or not at all.

    Args:
        run: the run's folder.
        name: what tells its files from one another: the child, or when a network was tested.
        entry: what it holds.
        info: the study that it is of.
    """
    run.mkdir(parents=True, exist_ok=True)
    trial = f"{info.name}/{info.folder.name} {entry.kind} {entry.name}"
    content = _encoded(_of_entry(entry, trial), has_head=True)
    # TensorBoard reads whatever has its name, and files of a run in the order of their names.
    made = run / "new"
    replace_file(made, content)
    made.replace(run / f"{_EVENTS}.{int(entry.ended_s)}.{name}")


def _of_entry(entry: Entry, trial: str) -> Iterator["Event"]:
    """Yields the events of a run, which is a trial of its own: also where two chose the same."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    chosen = {encodable(name): _plain(value) for name, value in entry.values.items() if name}
    chosen |= {f"nasrunner.{name}": _plain(value) for name, value in entry.facts.items()}
    chosen["nasrunner.status"] = entry.status
    begun_s = entry.ended_s - entry.figures.get("cost_s", 0.0)
    begun = hparams_pb(chosen, trial_id=trial, start_time_secs=begun_s)
    yield _event(0, begun_s, begun)
    last = {point.epoch: point for point in entry.points[entry.num_before :]}
    for point in last.values():  # TensorBoard keeps one of a step
        yield _scalars(point.epoch, point.time_s, {**point.learnt, **point.values})
    yield _scalars(entry.step, entry.ended_s, entry.figures)
    texts = {"architecture": fenced(entry.text) if entry.text else "", "error": entry.error}
    known = {name: encodable(text) for name, text in texts.items() if text}
    yield _text(entry.step, entry.ended_s, known)
    yield _event(entry.step, entry.ended_s, _end(entry))


def _end(entry: Entry) -> "Values":
    """How a trial ended, as TensorBoard's dashboard of hyperparameters shows it."""
    from tensorboard.compat.proto.summary_pb2 import Summary as Values
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = STATUS_FAILURE if entry.status in ("failed", "invalid") else STATUS_SUCCESS
    info = SessionEndInfo(status=status, end_time_secs=entry.ended_s)
    content = HParamsPluginData(session_end_info=info)
    described = metadata.create_summary_metadata(content)
    return Values(value=[Values.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described)])


def _scalars(step: int, time_s: float, values: Mapping[str, float]) -> "Event":
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    with np.errstate(over="ignore"):  # TensorBoard's numbers have single precision
        made = [scalar_pb(encodable(name), value).value for name, value in values.items()]
    return _summary(step, time_s, made)


def _text(step: int, time_s: float, texts: Mapping[str, str]) -> "Event":
    from tensorboard.plugins.text.summary_v2 import text_pb

    return _summary(step, time_s, [text_pb(name, each).value for name, each in texts.items()])


def _summary(step: int, time_s: float, values: Iterable[Iterable[Any]]) -> "Event":
    from tensorboard.compat.proto.summary_pb2 import Summary as Values

    return _event(step, time_s, Values(value=[each for some in values for each in some]))


def _event(step: int, time_s: float, values: "Values") -> "Event":
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(step=step, wall_time=time_s, summary=values)


def _encoded(events: Iterable["Event"], *, has_head: bool) -> bytes:
    """The events as a file holds them, which begins with a head."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    if has_head:
        head = Event(wall_time=time.time(), file_version="brain.Event:2")
        writer.write(head.SerializeToString())
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _plain(value: object) -> bool | int | float | str:
    """A value as a hyperparameter takes it."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return "null" if value is None else encodable(str(value))
