"""Reads what W&B writes offline, as `wandb sync` does."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

HEAD, BLOCK = 7, 32768  # bytes of a file's and of each block
FULL, LAST = 1, 4  # records that lie in one block, and ends of those that do not


@dataclass
class WandbRun:
    """A run.

    Attributes:
        id, name, group, kind, notes: of the run.
        config, summary: by their names.
        history: the rows that were logged.
        exit_code: how it ended; None: it was cut off.
    """

    id: str = ""
    name: str = ""
    group: str = ""
    kind: str = ""
    notes: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    @property
    def is_ended(self) -> bool:
        return self.exit_code is not None


def read_offline(path: Path) -> WandbRun:
    """Reads a run's file."""
    run = WandbRun()
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            told = record.run
            run.id, run.name, run.group = told.run_id, told.display_name, told.run_group
            run.kind, run.notes = told.job_type, told.notes or run.notes
            run.config |= _items(told.config.update)
        elif record.HasField("config"):
            run.config |= _items(record.config.update)
        elif record.HasField("summary"):
            run.summary |= _items(record.summary.update)
        elif record.HasField("history"):
            run.history.append(_items(record.history.item))
        elif record.HasField("exit"):
            run.exit_code = record.exit.exit_code
    return run


def _records(content: bytes) -> Iterator[bytes]:
    """Yields the records of LevelDB's log format, up to one that is cut off."""
    place, begun = HEAD, b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:  # no header fits: the rest of the block is empty
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield begun
            begun = b""


def _items(items: Any) -> dict[str, Any]:
    return {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in items}
