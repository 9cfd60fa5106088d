"""The folder of a child: what it was told, its learning curves, its log and its outcome."""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.children.muted import redirected, without_messages
from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import (
    CONFIG,
    CURVES,
    DERIVED,
    ENDED,
    LAST,
    LOG,
    OUTCOME,
    PROBABILITIES,
    PROPOSAL,
    ChildFolder,
)
from nasrunner.core.machine.files import keep_file, replace_file, sync, sync_way_to, unfinished
from nasrunner.core.machine.forks import end_copy

_KEPT = (PROPOSAL, CONFIG, CURVES, DERIVED, PROBABILITIES, LAST, ENDED)
"""What lasts once the outcome does, besides what is synced as it is written."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # 40 x faster
    """Writes values that are used twice twice, not as an anchor and an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Prints no traceback for a line: what fills the disk ends the child at its next file."""


class ChildFiles:
    """Writes a child's files; use it as a context manager while the child is trained.

    ``proposal.json`` and ``config.yaml`` at the start, a line of ``curves.jsonl`` an epoch,
    ``log.txt`` where there is something in it, ``last.ckpt`` now and then, ``outcome.json`` at the
    end. What an earlier attempt at the same child left is overwritten, or continued.

    Args:
        folder: the child's folder; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = ChildFolder(folder)
        """What they are read with."""
        self._pid = os.getpid()
        self._curves: TextIO | None = None
        self._is_logging = False

    @property
    def last(self) -> Path:
        """The checkpoint that training goes on from."""
        return self.found.last

    def forget_progress(self) -> None:
        """Removes the checkpoint that training would go on from."""
        self.found.remove_progress()
        (self.folder / ENDED).unlink(missing_ok=True)

    def forget_outcome(self) -> None:
        """Lets a child that has its outcome be trained anew, not gone on with."""
        if self.found.holds(OUTCOME):
            self.forget_progress()  # first: without an outcome it would be used
            (self.folder / OUTCOME).unlink(missing_ok=True)  # else it is packed

    def settle(self, *, keeps_last: bool) -> None:
        """Renames the checkpoint of an ended training to ``last.ckpt``, or removes both."""
        self.found.settle(keeps_last=keeps_last)

    def copy_checkpoints(self, source: ChildFolder) -> None:
        """Copies the weights that were kept of another child, and its own ``last.ckpt`` too."""
        for path in (source.best, source.last):
            if path.exists():
                copy = self.folder / path.name
                shutil.copyfile(path, unfinished(copy))
                unfinished(copy).replace(copy)

    def start(
        self,
        proposal: Proposal,
        config: Mapping[str, Any],
        curves: Sequence[Mapping[str, float]] = (),
    ) -> None:
        """Writes what the child was told, and the epochs that an earlier attempt completed.

        The configuration names the fidelity that it is of, too: a width stands nowhere else in it.
        """
        self.write_proposal(proposal)
        if proposal.fidelity:
            config = {**config, "fidelity": dict(proposal.fidelity)}
        (self.folder / CONFIG).write_text(
            yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False), encoding="utf-8"
        )
        path = self.folder / CURVES
        if curves:  # a reader of the running child finds them at any time
            kept = "".join(json.dumps(line) + "\n" for line in curves)
            replace_file(path, kept)
        self._curves = path.open("a" if curves else "w", encoding="utf-8")

    def write_proposal(self, proposal: Proposal) -> None:
        """Writes what the child is."""
        self._make_folder()
        (self.folder / PROPOSAL).write_text(json.dumps(proposal.to_json()) + "\n", encoding="utf-8")

    def add_line(self, line: Mapping[str, float]) -> None:
        """Appends an epoch to the learning curves, for readers of the running child."""
        assert self._curves is not None
        end_copy(self._pid)
        self._curves.write(json.dumps(line) + "\n")
        self._curves.flush()

    def __enter__(self) -> "ChildFiles":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._curves is not None:
            self._curves.close()

    def write_outcome(self, outcome: Outcome) -> None:
        """Writes the outcome so that a reader finds all of it or none.

        What else the child has written is on disk before: a power cut takes no part of it.
        """
        self._make_folder()
        for path in (self.folder / name for name in _KEPT):
            if path.exists():
                sync(path)
        self.write_whole(OUTCOME, outcome.to_json())
        sync(self.folder.parent)

    def write_whole(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes a JSON file so that a reader finds all of it or none."""
        self._make_folder()
        keep_file(self.folder / name, json.dumps(record) + "\n")

    def _make_folder(self) -> None:
        if not self.folder.parent.exists():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            sync_way_to(self.folder.parent.parent)
        self.folder.mkdir(exist_ok=True)

    @contextmanager
    def log(self) -> Iterator[None]:
        """Puts warnings into ``log.txt`` instead of on the study's terminal."""
        if self._is_logging:
            yield
            return
        path = self.folder / LOG
        if not self.last.exists():
            path.unlink(missing_ok=True)
        handler = _LogFile(path, delay=True, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._is_logging = True
        try:
            with closing(handler), redirected(handler):
                yield
        finally:
            self._is_logging = False


class RankFiles(ChildFiles):
    """A child's folder as a rank other than 0 uses it: it reads, and tells how it failed.

    Args:
        folder: the child's.
        rank: which of the child's processes this is, >= 1.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        super().__init__(folder)
        self.failure = folder / f"rank{rank}.txt"
        """Where rank 0 finds this rank's error."""

    def forget_progress(self) -> None:
        pass

    def forget_outcome(self) -> None:
        pass

    def settle(self, *, keeps_last: bool) -> None:
        pass

    def write_proposal(self, proposal: Proposal) -> None:
        pass

    def copy_checkpoints(self, source: ChildFolder) -> None:
        pass

    def start(
        self,
        proposal: Proposal,
        config: Mapping[str, Any],
        curves: Sequence[Mapping[str, float]] = (),
    ) -> None:
        pass

    def add_line(self, line: Mapping[str, float]) -> None:
        pass

    def write_outcome(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            replace_file(self.failure, outcome.error)

    @contextmanager
    def log(self) -> Iterator[None]:
        with without_messages():
            yield
