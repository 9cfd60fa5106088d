"""What is heard of children that run somewhere else, by the curves in their folders."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Proposal, Report, child_folder
from nasrunner.core.machine.child_folder import CURVES
from nasrunner.core.machine.files import replace_file
from nasrunner.executors import listening as listening_module
from nasrunner.executors.listening import Listening
from tests.executors.trains import Listener


def line(epoch: int, **values: Any) -> str:
    measured = {"train_loss": 0.5, "val_accuracy": epoch / 10, **values}
    return json.dumps({"epoch": epoch, "step": epoch, "time": 1.0, **measured}) + "\n"


def look(listening: Listening) -> None:
    """Looks, be it due or not."""
    listening._due_s = 0.0
    listening.look()


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    path = child_folder(tmp_path, 0) / CURVES
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path)


@pytest.fixture
def listening(tmp_path: Path, listener: Listener) -> Listening:
    listening = Listening(0.0)
    listening.begin([Proposal(0, {})], [child_folder(tmp_path, 0)], listener)
    return listening


def test_a_line_is_heard_when_it_is_whole(
    curves: Path, listening: Listening, listener: Listener
) -> None:
    look(listening)  # before there is a file
    curves.write_text(line(0) + line(1)[:20])
    look(listening)
    assert listener.epochs(0) == [1]
    with curves.open("a") as file:
        file.write(line(1)[20:] + line(2))
    look(listening)
    look(listening)
    assert listener.epochs(0) == [1, 2, 3]
    assert listener.heard[1] == Report(0, 2, {"train_loss": 0.5, "val_accuracy": 0.1})


def test_a_child_that_starts_again_repeats_no_epoch_and_leaves_none_out(
    curves: Path, listening: Listening, listener: Listener
) -> None:
    curves.write_text("".join(map(line, range(4))))
    look(listening)
    replace_file(curves, line(0) + line(1))  # its checkpoint is of epoch 2
    look(listening)
    with curves.open("a") as file:
        file.writelines(line(epoch, val_accuracy=0.125) for epoch in range(2, 6))
    look(listening)
    assert listener.epochs(0) == [1, 2, 3, 4, 5, 6]
    assert listener.heard[3].metrics["val_accuracy"] == 0.3  # as it was heard first


def test_a_validation_within_an_epoch_is_not_the_epoch(
    curves: Path, listening: Listening, listener: Listener
) -> None:
    within = json.dumps({"epoch": 0, "step": 3, "time": 1.0, "val_accuracy": 0.9}) + "\n"
    curves.write_text(within + line(0) + within)
    look(listening)
    assert [report.metrics["val_accuracy"] for report in listener.heard] == [0.0]


def test_what_is_no_number_and_no_line_is_left_out(
    curves: Path, listening: Listening, listener: Listener
) -> None:
    curves.write_text(line(0, note="x", none=None) + "{cut off\n[1]\n" + line(1) + "{}\n")
    for _ in range(3):
        look(listening)
    assert listener.epochs(0) == [1, 2]
    assert set(listener.heard[0].metrics) == {"train_loss", "val_accuracy"}


def test_what_was_written_last_is_heard_when_the_child_has_ended(
    tmp_path: Path, curves: Path, listener: Listener
) -> None:
    proposal, listening = Proposal(0, {}), Listening(1e6)
    listening.begin([proposal], [curves.parent], listener)
    listening.look()
    curves.write_text(line(0))
    listening.look()
    assert listener.heard == []  # the next look is due in days
    listening.end(proposal)
    listening.end(Proposal(1, {}))  # nobody ever listened to it
    assert listener.epochs(0) == [1]
    assert not listening


def test_an_epoch_at_which_the_listener_failed_is_not_told_again(
    curves: Path, tmp_path: Path
) -> None:
    heard: list[int] = []

    def hear(report: Report) -> bool:
        heard.append(report.epoch)
        if report.epoch == 1:
            raise OSError("the ledger's disk is full")
        return False

    listening = Listening(0.0)
    listening.begin([Proposal(0, {})], [curves.parent], hear)
    curves.write_text(line(0))
    with pytest.raises(OSError, match="the ledger's disk is full"):
        look(listening)
    with curves.open("a") as file:
        file.write(line(1))
    look(listening)
    assert heard == [1, 2]


def test_the_slower_a_file_system_is_the_rarer_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, listening: Listening
) -> None:
    now = [100.0]
    monkeypatch.setattr(listening_module.time, "monotonic", lambda: now[0])

    def slow(self: Any) -> None:
        now[0] += 2.0

    monkeypatch.setattr(listening_module._Curves, "read", slow)
    listening._due_s = 0.0
    listening.look()
    assert listening.wait_s == 8.0
    now[0] += 8.0
    assert listening.wait_s == 0.0


def test_a_folder_without_curves_is_seldom_touched(
    monkeypatch: pytest.MonkeyPatch, listening: Listening
) -> None:
    touched: list[Path] = []
    monkeypatch.setattr(listening_module, "touch_folder", touched.append)
    for _ in range(10):
        look(listening)
    assert len(touched) == 1


@pytest.mark.slow
def test_800_children_are_looked_at_in_a_fraction_of_a_second(tmp_path: Path) -> None:
    listening, listener = Listening(0.0), Listener(tmp_path)
    proposals = [Proposal(index, {}) for index in range(800)]
    folders = [child_folder(tmp_path, index) for index in range(800)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / CURVES).write_text("".join(map(line, range(100))))
    listening.begin(proposals, folders, listener)
    look(listening)
    assert len(listener.heard) == 80_000
    start_s = time.perf_counter()
    look(listening)
    assert time.perf_counter() - start_s < 0.5
