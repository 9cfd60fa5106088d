"""The folder of a child: what it was told, its learning curves, its log and its outcome."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.children.quiet import redirected
from nasrunner.core import Outcome, Proposal


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # 40 x faster
    """Writes values that are used twice twice, not as an anchor and an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class ChildFiles:
    """Writes a child's files; use it as a context manager while the child is trained.

    ``proposal.json`` and ``config.yaml`` at the start, a line of ``curves.jsonl`` an epoch,
    ``log.txt`` where there is something in it, ``outcome.json`` at the end. What an earlier
    attempt at the same child left is overwritten.

    Args:
        folder: the child's folder; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._curves: TextIO | None = None

    def start(self, proposal: Proposal, config: Mapping[str, Any]) -> None:
        """Writes what the child was told."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "outcome.json").unlink(missing_ok=True)
        (self.folder / "proposal.json").write_text(json.dumps(proposal.to_json()) + "\n")
        (self.folder / "config.yaml").write_text(
            yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False)
        )
        self._curves = (self.folder / "curves.jsonl").open("w", encoding="utf-8")

    def add_line(self, line: Mapping[str, float]) -> None:
        """Appends an epoch to the learning curves, for readers of the running child."""
        assert self._curves is not None
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
        """Writes the outcome so that a reader finds all of it or none."""
        self.write_whole("outcome.json", outcome.to_json())

    def write_whole(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes a JSON file so that a reader finds all of it or none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{name}.unfinished"
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / name)

    @contextmanager
    def log(self) -> Iterator[None]:
        """Puts warnings into ``log.txt`` instead of on the study's terminal."""
        path = self.folder / "log.txt"
        path.unlink(missing_ok=True)
        handler = logging.FileHandler(path, delay=True, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        with closing(handler), redirected(handler):
            yield
