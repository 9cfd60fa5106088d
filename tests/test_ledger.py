import errno
import json
import os
from pathlib import Path

import pytest

from nasrunner.core import LedgerError, MachineError
from nasrunner.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def write(path: Path, *indices: int) -> None:
    with Ledger(path) as ledger:
        for index in indices:
            ledger.append("proposed", {"index": index})


def indices(path: Path) -> list[int]:
    with Ledger(path) as ledger:
        return [event["index"] for event in ledger.events]


def test_events_come_back_in_order(path: Path) -> None:
    write(path, 0, 1)
    write(path, 2)
    assert indices(path) == [0, 1, 2]


def test_every_event_is_on_disk_before_append_returns(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.append("proposed", {"index": 0})
        assert json.loads(path.read_text())["index"] == 0


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_was_cut_off_is_removed_and_counted(path: Path, cut: int) -> None:
    write(path, 0, 1)
    whole = path.read_bytes()
    first = len(whole.splitlines(keepends=True)[0])
    path.write_bytes(whole[:-cut])
    with Ledger(path) as ledger:
        assert [event["index"] for event in ledger.events] == [0]
        assert ledger.repaired_bytes == len(whole) - cut - first
        ledger.append("proposed", {"index": 7})
    assert indices(path) == [0, 7]


def test_a_last_line_of_zero_bytes_is_removed(path: Path) -> None:
    """What some file systems leave after a power cut."""
    write(path, 0)
    with path.open("ab") as file:
        file.write(b"\0" * 64)
    assert indices(path) == [0]


def test_damage_in_the_middle_is_refused_with_its_line(path: Path) -> None:
    write(path, 0, 1, 2)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:10]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match="damaged in line 2 of 3"):
        Ledger(path)


@pytest.mark.parametrize("line", ["[]", '["event"]', '"event"', "7", "{}", '{"index": 1}'])
def test_a_line_of_json_that_is_no_event_is_damage(path: Path, line: str) -> None:
    write(path, 0)
    first = path.read_text()
    path.write_text(f"{first}{line}\n{first}")
    with pytest.raises(LedgerError, match="damaged in line 2 of 3: it is no event"):
        Ledger(path)
    path.write_text(f"{first}{line}\n")
    with Ledger(path) as ledger:
        assert ledger.repaired_bytes == len(line) + 1
    assert path.read_text() == first


def test_a_study_is_never_driven_twice_at_once(path: Path) -> None:
    with Ledger(path), pytest.raises(LedgerError, match="still running"):
        Ledger(path)
    Ledger(path).close()


@pytest.mark.parametrize("name", ["EROFS", "EIO", "EDQUOT"])
def test_a_disk_that_takes_nothing_any_more_is_one_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    code = getattr(errno, name)

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    write(path, 0)
    with Ledger(path) as ledger, monkeypatch.context() as patch:
        for call in ("write", "fsync", "ftruncate"):
            patch.setattr(os, call, refuse)
        with pytest.raises(MachineError, match=f"cannot be written: {os.strerror(code)}"):
            ledger.append("proposed", {"index": 1})
    assert indices(path) == [0]


def test_a_full_disk_leaves_the_events_before_it_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path)
    ledger.append("proposed", {"index": 0})
    whole = path.read_bytes()
    real_write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 10:
            return real_write(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: full(fd, data[:12]))
        with pytest.raises(MachineError, match=r"No space left on device\. What it holds is safe"):
            ledger.append("proposed", {"index": 1})
    assert path.read_bytes() == whole
    ledger.append("proposed", {"index": 2})
    ledger.close()
    assert indices(path) == [0, 2]
