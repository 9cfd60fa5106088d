import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import LedgerError, MachineError
from nasrunner.study.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


HEADER = {"version": 1, "seed": 0, "space": {"0/units": [8, 16]}}
PROPOSED = {"genotype": {"0/units": 1}, "notes": {}}
OUTCOME = {
    "status": "completed",
    "reward": 0.5,
    "metrics": {"val_accuracy": 0.5},
    "cost_s": 1.5,
    "error": None,
    "reused_from": None,
}


def propose(ledger: Ledger, index: int) -> None:
    ledger.append("proposed", {"index": index, **PROPOSED})


def write(path: Path, *indices: int) -> None:
    with Ledger(path) as ledger:
        if not ledger.events:
            ledger.append("study", HEADER)
        for index in indices:
            propose(ledger, index)


def indices(path: Path) -> list[int]:
    with Ledger(path) as ledger:
        return [event["index"] for event in ledger.events[1:]]


def test_events_come_back_in_order(path: Path) -> None:
    write(path, 0, 1)
    write(path, 2)
    assert indices(path) == [0, 1, 2]


def test_every_event_is_on_disk_before_append_returns(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.append("study", HEADER)
        assert json.loads(path.read_text())["seed"] == 0


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_was_cut_off_is_removed_and_counted(path: Path, cut: int) -> None:
    write(path, 0, 1)
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    path.write_bytes(whole[:-cut])
    with Ledger(path) as ledger:
        assert [event["index"] for event in ledger.events[1:]] == [0]
        assert ledger.repaired_bytes == last - cut
        ledger.append("ended", {"reason": "7"})
        propose(ledger, 1)
    with Ledger(path) as ledger:
        assert [event["event"] for event in ledger.events[1:]] == ["proposed", "ended", "proposed"]


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
    with pytest.raises(
        LedgerError,
        match=r"damaged in line 2 of 4: .*or keep its first 1: what came after is done again$",
    ):
        Ledger(path)


@pytest.mark.parametrize("line", ["[]", '["event"]', '"event"', "7", "{}", '{"index": 1}'])
def test_a_line_of_json_that_is_no_event_is_damage(path: Path, line: str) -> None:
    write(path, 0)
    first = path.read_text()
    path.write_text(f"{first}{line}\n{first}")
    with pytest.raises(LedgerError, match="damaged in line 3 of 5: it is no event"):
        Ledger(path)
    path.write_text(f"{first}{line}\n")
    with Ledger(path) as ledger:
        assert ledger.repaired_bytes == len(line) + 1
    assert path.read_text() == first


Events = list[dict[str, Any]]


def change(number: int, **values: Any) -> Callable[[Events], object]:
    """Puts other values into a line."""
    return lambda events: events[number - 1].update(values)


def lack(number: int, name: str) -> Callable[[Events], object]:
    return lambda events: events[number - 1].pop(name)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda events: events.insert(3, events[2]), "line 4 of 6: child 0 has a second outcome"),
        (lambda events: events.pop(1), "line 2 of 4: child 0 has an outcome, but was not proposed"),
        (lambda events: events.pop(0), "line 1 of 4: it is no study's first"),
        (lambda events: events.append(events[0]), "line 6 of 6: the study begins a second time"),
        (change(2, index=7), "line 2 of 5: child 7 is proposed, but child 0 is next"),
        (change(4, index=0), "line 4 of 5: child 0 is proposed, but child 1 is next"),
        (change(3, index=1), "line 3 of 5: child 1 has an outcome, but was not proposed"),
        (change(3, index=-1), "line 3 of 5: child -1 has an outcome, but was not proposed"),
        (change(5, index=True), "line 5 of 5: its 'index' cannot be True"),
        (change(1, seed=None), "line 1 of 5: its 'seed' cannot be None"),
        (change(1, space=[]), r"line 1 of 5: its 'space' cannot be \[\]"),
        (change(2, genotype={"0/units": "1"}), "line 2 of 5: its 'genotype' cannot be {'0/units'"),
        (change(3, reward="0.5"), "line 3 of 5: its 'reward' cannot be '0.5'"),
        (change(3, status="done"), "line 3 of 5: its 'status' cannot be 'done'"),
        (change(3, metrics=None), "line 3 of 5: its 'metrics' cannot be None"),
        (lack(2, "genotype"), "line 2 of 5: its 'genotype' is missing"),
        (lack(3, "cost_s"), "line 3 of 5: its 'cost_s' is missing"),
        (lack(3, "time"), "line 3 of 5: its 'time' is missing"),
    ],
)
def test_an_event_that_is_wrong_is_told_with_its_line(
    path: Path, damage: Callable[[Events], object], told: str
) -> None:
    with Ledger(path) as ledger:
        ledger.append("study", HEADER)
        for index in (0, 1):
            propose(ledger, index)
            ledger.append("outcome", {"index": index, **OUTCOME})
    events = [json.loads(line) for line in path.read_text().splitlines()]
    damage(events)
    damaged = "".join(json.dumps(event) + "\n" for event in events)
    path.write_text(damaged)
    with pytest.raises(LedgerError, match=f"ledger.jsonl is damaged in {told}"):
        Ledger(path)
    assert path.read_text() == damaged


def test_what_a_later_version_adds_is_no_damage(path: Path) -> None:
    write(path, 0)
    with Ledger(path) as ledger:
        ledger.append("rewound", {"index": 0, "kind": 3})
    write(path, 1)
    with Ledger(path) as ledger:
        assert [event["event"] for event in ledger.events[2:]] == ["rewound", "proposed"]


@pytest.mark.parametrize(
    ("left", "state"), [(None, "gone"), (b"", "empty"), (b"\0" * 4096, "empty")]
)
def test_children_without_their_events_are_never_trained_over(
    path: Path, left: bytes | None, state: str
) -> None:
    (path.parent / "children" / "0000").mkdir(parents=True)
    if left is not None:
        path.write_bytes(left)
    told = f"ledger.jsonl is {state}, but the folders of 1 children lie beside it. Put back a copy"
    with pytest.raises(LedgerError, match=told):
        Ledger(path)
    assert (path.read_bytes() if path.exists() else None) == left


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
            propose(ledger, 1)
    assert indices(path) == [0]


def test_a_full_disk_leaves_the_events_before_it_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path)
    ledger.append("study", HEADER)
    propose(ledger, 0)
    whole = path.read_bytes()
    real_write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 10:
            return real_write(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: full(fd, data[:12]))
        with pytest.raises(MachineError, match=r"No space left on device\. What it holds is safe"):
            propose(ledger, 1)
    assert path.read_bytes() == whole
    propose(ledger, 1)
    ledger.close()
    assert indices(path) == [0, 1]
