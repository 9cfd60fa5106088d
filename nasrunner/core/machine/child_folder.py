"""The folder of a child: what its files are called, what they hold, and how they are read."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nasrunner.core.machine.child_packs import pack, read_packed, remove_empty
from nasrunner.core.machine.files import unfinished
from nasrunner.core.records import Outcome, Proposal, Report, child_folder

PROPOSAL = "proposal.json"
"""Which architecture the child is."""

CONFIG = "config.yaml"
"""What it is trained with."""

CURVES = "curves.jsonl"
"""Its learning curves, a line for each epoch or validation."""

LOG = "log.txt"
"""The warnings of its training, where there were some."""

OUTCOME = "outcome.json"
"""What became of it."""

TESTED = "tested.json"
"""The record that a retrained network was tested: it stands there before its outcome does."""

BEST = "best.ckpt"
"""The weights that its reward is of."""

LAST = "last.ckpt"
"""Lightning's checkpoint of the epoch that training goes on after."""

ENDED = "ended.ckpt"
"""What becomes ``last.ckpt`` once there is an outcome; until then training can go on from that."""

KEEPS_LAST = ("last", "all")
"""The values of ``trainer.checkpoint`` with which ``last.ckpt`` is kept."""

DERIVED = "derived.jsonl"
"""The architecture that a supernet's learner took for the best one after each epoch."""

PROBABILITIES = "probabilities.jsonl"
"""How likely a supernet's learner took each option of its decisions to be after each epoch."""

TRAININGS = "trainings"
"""Where a child whose reward is a mean keeps its trainings, in folders 0, 1, …"""


NO_METRICS = ("epoch", "step", "time")
"""What a line of the curves holds beside metrics."""

_SMALL = (PROPOSAL, CONFIG, CURVES, LOG, OUTCOME)
"""What is packed of a child that has ended."""


def pack_children(study_folder: Path, first: int) -> None:
    """Packs the small files of a group of children; see ``machine/child_packs.py``.

    Args:
        study_folder: the study's.
        first: the number of the group's first child; all must have ended.

    Raises:
        OSError: a file cannot be read, written or removed.
    """
    pack(child_folder(study_folder, first).parent, first, PROPOSAL, _SMALL)


@dataclass(frozen=True)
class ChildFolder:
    """Reads the files of a child, or of a network that was retrained; written by ``ChildFiles``.

    The small ones may be packed with those of other children (``machine/child_packs.py``).

    Attributes:
        path: the folder, which need not be there.
    """

    path: Path

    @classmethod
    def of(cls, study_folder: Path, index: int) -> "ChildFolder":
        """Finds the folder of the child number ``index`` in its study's."""
        return cls(child_folder(study_folder, index))

    @property
    def best(self) -> Path:
        """The weights that the reward is of, where they were kept."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """The checkpoint that training goes on from, where it was kept."""
        return self.path / LAST

    @property
    def trainings(self) -> Path:
        """Where the folders of several trainings lie."""
        return self.path / TRAININGS

    def training(self, number: int) -> "ChildFolder":
        """Finds the folder of one of several trainings."""
        return ChildFolder(self.trainings / f"{number}")

    def checkpoints(self) -> list[Path]:
        """Lists the weights that were kept, those of several trainings among them."""
        return [
            path
            for pattern in ("*.ckpt", f"{TRAININGS}/*/*.ckpt")
            for path in (*self.path.glob(pattern), *self.path.glob(f"{pattern}.unfinished"))
        ]

    def remove_checkpoints(self) -> None:
        """Removes them, and the folders that are left without a file.

        Raises:
            OSError: one cannot be removed.
        """
        for path in self.checkpoints():
            path.unlink(missing_ok=True)
        remove_empty(self.path)

    def remove_progress(self) -> None:
        """Removes the checkpoint that training goes on from.

        Raises:
            OSError: it cannot be removed.
        """
        self.last.unlink(missing_ok=True)
        unfinished(self.last).unlink(missing_ok=True)

    def settle(self, *, keeps_last: bool) -> None:
        """Renames the checkpoint of an ended training to ``last.ckpt``, or removes both.

        The process that trained the child does so after it wrote the outcome, unless it is killed
        in between. It may be repeated.

        Args:
            keeps_last: whether the checkpoint is kept.

        Raises:
            OSError: it cannot be moved or removed.
        """
        with contextlib.suppress(FileNotFoundError):
            (self.path / ENDED).replace(self.last)
        if not keeps_last:
            self.remove_progress()

    def file(self, name: str) -> Path:
        """Says where a file is written; see ``read``, which may find it in a pack."""
        return self.path / name

    def holds(self, *names: str) -> bool:
        """Tells whether all of these files are there."""
        return all((self.path / name).is_file() or self._is_packed(name) for name in names)

    def _is_packed(self, name: str) -> bool:
        try:
            read_packed(self.path / name, PROPOSAL)
        except OSError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Reads one of the files.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
        """
        path = self.path / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return read_packed(path, PROPOSAL)

    def text(self, name: str) -> str:
        """Reads one of the text files.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
            UnicodeDecodeError: it is damaged.
        """
        return self.read(name).decode()

    def read_record(self, name: str) -> dict[str, Any] | None:
        """Reads a JSON object; None where there is none, or a damaged one."""
        try:
            record = json.loads(self.read(name))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def proposal(self) -> Proposal:
        """Reads which architecture the child is.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged; says how.
        """
        text = self.text(PROPOSAL)
        try:
            return Proposal.from_json(json.loads(text))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def outcome(self, proposal: Proposal) -> Outcome | None:
        """Reads what became of a proposal; None: another child's outcome, a damaged one, or none.

        Args:
            proposal: the child that was to be trained here.
        """
        made_for, record = self.read_record(PROPOSAL), self.read_record(OUTCOME)
        if made_for is None or record is None:
            return None
        try:
            if Proposal.from_json(made_for).evaluation != proposal.evaluation:
                return None
            return Outcome.from_json(record, proposal)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def outcome_written_s(self) -> float:
        """Tells when the outcome was written, Unix seconds.

        Raises:
            OSError: there is none, or it is packed.
        """
        return self.file(OUTCOME).stat().st_mtime

    def derived(self) -> list[dict[str, Any]]:
        """Reads what a supernet's learner took for the best after each epoch; empty: nothing is.

        Returns:
            ``epoch``, ``genotype`` and ``text`` of each. A last line that is being written is left
            out.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged; names the line.
        """
        return self._epochs_of_supernet(DERIVED, "genotype", "text")

    def probabilities(self) -> list[dict[str, Any]]:
        """Reads how likely a supernet's options were after each epoch; empty: nothing told.

        Returns:
            ``epoch`` and ``decisions`` of each: path -> name of an option -> its probability; and
            ``left_out``, where there is any: how many more decisions there are. A last line that
            is being written is left out.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged; names the line.
        """
        return self._epochs_of_supernet(PROBABILITIES, "decisions")

    def _epochs_of_supernet(self, name: str, *keys: str) -> list[dict[str, Any]]:
        try:
            whole, _, _ = self.read(name).rpartition(b"\n")
        except FileNotFoundError:
            return []
        found = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = _epoch(line)
                if not set(keys) <= set(record):
                    raise ValueError(f"it lacks {' or '.join(keys)}")
            except ValueError as error:
                place = f"{self.file(name)} is damaged in line {number}"
                raise ValueError(f"{place}: {error}") from error
            found.append(record)
        return found

    def curves(self) -> list[dict[str, float]]:
        """Reads the learning curves; a last line that is being written is left out.

        Raises:
            FileNotFoundError: the child has none.
            OSError: the file cannot be read.
            ValueError: it is damaged; names the line.
        """
        whole, _, _ = self.read(CURVES).rpartition(b"\n")
        found = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                found.append(_epoch(line))
            except ValueError as error:
                raise ValueError(
                    f"{self.file(CURVES)} is damaged in line {number}: {error}"
                ) from error
        return found


class GrowingCurves:
    """Reads the learning curves of a running child: what was added since the last look.

    Args:
        folder: the child's.
        name: of the file, whose lines have an ``epoch`` each.
    """

    def __init__(self, folder: ChildFolder, name: str = CURVES) -> None:
        self.folder = folder
        self.name = name
        self._offset = 0
        self._seen = 0
        self._inode: int | None = None

    def read(self) -> list[dict[str, Any]]:
        """Reads the lines that were added since the last ``take``; one being written waits.

        A file that was replaced or begun anew is read from its beginning, also where it has grown
        beyond its former length. A damaged line, which a killed writer has left, is skipped.
        """
        try:
            data = self._added()
        except OSError:  # a child that has not started, or never will
            return []
        whole, end, _ = data.rpartition(b"\n")
        self._seen = self._offset + len(whole) + len(end)
        return list(_legible(whole.splitlines()))

    def take(self) -> None:
        """Lets the next ``read`` begin where the last one ended."""
        self._offset = self._seen

    def _added(self) -> bytes:
        try:
            with self.folder.file(self.name).open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode or not self._ends_line(file):
                    self._offset = 0
                self._inode = inode
                file.seek(self._offset)
                return file.read()
        except FileNotFoundError:
            data = self.folder.read(self.name)  # the child has ended, and is packed
            if len(data) < self._offset:
                self._offset = 0
            return data[self._offset :]

    def _ends_line(self, file: BinaryIO) -> bool:
        """Tells whether a line ends where the last look has."""
        if not self._offset:
            return True
        file.seek(self._offset - 1)
        return file.read(1) == b"\n"


def report_of(index: int, line: Mapping[str, object]) -> Report | None:
    """Makes the report that a line of a child's curves is; None: it ends no epoch."""
    epoch = line["epoch"]
    if "train_loss" not in line or not isinstance(epoch, int):
        return None
    measured = {
        name: float(value)
        for name, value in line.items()
        if name not in NO_METRICS and isinstance(value, int | float)
    }
    return Report(index, epoch + 1, measured)


def _legible(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield _epoch(line)
        except ValueError:
            continue


def _epoch(line: bytes) -> dict[str, Any]:
    """Reads a line of the curves, or of what a supernet's learner told.

    Raises:
        ValueError: it is none.
    """
    point = json.loads(line)
    if not isinstance(point, dict) or "epoch" not in point:
        raise ValueError("it is no epoch")
    return point
