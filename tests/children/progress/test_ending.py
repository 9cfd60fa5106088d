"""Stopping children, and telling what they measure while they train."""

import json
import signal

import pytest

from nasrunner.core import LedgerError, Report, child_folder
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.executors.serial import SerialExecutor
from tests.children.blobs import make_trainer
from tests.children.progress.lineages import KEEP, begun, chain, curves, going_on
from tests.toys import train_one

BEST = ("trainer.checkpoint=best", "trainer.max_epochs=8")


def test_a_child_that_is_told_to_stop_does_and_has_the_reward_so_far(tmp_path):
    trainer = make_trainer(*BEST)
    whole = train_one(trainer.task(tmp_path / "a", 0), begun(trainer))
    StopFile(child_folder(tmp_path / "b", 0)).write(3)
    outcome = train_one(trainer.task(tmp_path / "b", 0), begun(trainer))
    assert (outcome.status, outcome.error, outcome.metrics["epochs"]) == ("stopped", None, 3)
    assert curves(tmp_path / "b", 0) == curves(tmp_path / "a", 0)[:3]
    assert outcome.curve["val_accuracy"] == whole.curve["val_accuracy"][:3]
    assert outcome.reward == max(outcome.curve["val_accuracy"])
    names = {path.name for path in child_folder(tmp_path / "b", 0).glob("*.ckpt")}
    assert names == {"best.ckpt"}


@pytest.mark.parametrize("keep", ["last", "all"])
def test_a_stopped_child_keeps_what_a_completed_one_would(tmp_path, keep):
    trainer = make_trainer(*BEST, f"trainer.checkpoint={keep}")
    StopFile(child_folder(tmp_path, 0)).write(3)
    train_one(trainer.task(tmp_path, 0), begun(trainer))
    names = {path.name for path in child_folder(tmp_path, 0).glob("*.ckpt")}
    assert names == {"last.ckpt"} | ({"best.ckpt"} if keep == "all" else set())


@pytest.mark.parametrize(("epoch", "until", "status"), [(8, None, "completed"), (3, 3, "paused")])
def test_a_child_that_ends_first_is_not_stopped(tmp_path, epoch, until, status):
    trainer = make_trainer(*BEST)
    StopFile(child_folder(tmp_path, 0)).write(epoch)
    assert train_one(trainer.task(tmp_path, 0), begun(trainer, until=until)).status == status


def test_going_on_with_a_stopped_child_begins_where_it_was_stopped(tmp_path):
    trainer = make_trainer(*KEEP)
    task = trainer.task(tmp_path / "b", 0)
    first = begun(trainer)
    StopFile(child_folder(tmp_path / "b", 0)).write(3)
    assert train_one(task, first).status == "stopped"
    whole = train_one(trainer.task(tmp_path / "a", 0), first)
    for is_gone in (False, True):
        if is_gone:
            (child_folder(tmp_path / "b", 0) / "last.ckpt").unlink()
        ended = train_one(task, going_on(first))
        assert (ended.status, ended.metrics) == ("completed", whole.metrics)


class Heard:
    """Remembers reports, and has the child stop after an epoch."""

    def __init__(self, folder, stop_at=None):
        self.folder, self.stop_at = folder, stop_at
        self.reports: list[Report] = []
        self.num_lines: list[int] = []

    def __call__(self, report: Report) -> bool:
        self.reports.append(report)
        lines = (child_folder(self.folder, report.index) / "curves.jsonl").read_text().splitlines()
        self.num_lines.append(len(lines))
        return self.stop_at is not None and report.epoch >= self.stop_at


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_each_epoch_is_told_once_its_line_is_complete(tmp_path, fast_loop):
    trainer = make_trainer(*BEST, f"trainer.fast_loop={fast_loop}")
    heard = Heard(tmp_path)
    (outcome,) = trainer.task(tmp_path, 0)([begun(trainer)], heard)
    assert [report.epoch for report in heard.reports] == list(range(1, 9)) == heard.num_lines
    lines = curves(tmp_path, 0)
    for report, line in zip(heard.reports, lines, strict=True):
        assert report.index == 0
        assert report.metrics == {k: v for k, v in line.items() if k not in ("epoch", "step")}
    told = [report.metrics["val_accuracy"] for report in heard.reports]
    assert told == list(outcome.curve["val_accuracy"])


def test_an_error_of_who_listens_is_no_failure_of_the_child(tmp_path):
    trainer = make_trainer(*BEST)

    def hear(report: Report) -> bool:
        raise LedgerError("the ledger cannot be written")

    executor = SerialExecutor(threads=1)
    folders = [child_folder(tmp_path, 0)]
    executor.submit(trainer.task(tmp_path, 0), [begun(trainer)], folders, hear)
    with pytest.raises(LedgerError, match="the ledger cannot be written"):
        executor.wait()
    assert not (folders[0] / "outcome.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # Ctrl-C still works


def test_a_child_stops_where_its_listener_says_so(tmp_path):
    trainer = make_trainer(*BEST)
    heard = Heard(tmp_path, stop_at=2)
    (outcome,) = trainer.task(tmp_path, 0)([begun(trainer)], heard)
    assert (outcome.status, outcome.metrics["epochs"]) == ("stopped", 2)
    assert [report.epoch for report in heard.reports] == [1, 2]


def test_going_on_tells_of_the_epochs_before_as_a_reader_of_the_curves_finds_them(tmp_path):
    trainer = make_trainer(*KEEP)
    task = trainer.task(tmp_path, 0)
    first, second = chain(trainer, (3, None))
    train_one(task, first)
    heard = Heard(tmp_path)
    list(task([second], heard))
    assert [(each.index, each.epoch) for each in heard.reports] == [(1, e) for e in range(1, 9)]


def test_a_validation_within_an_epoch_is_no_report(tmp_path):
    trainer = make_trainer(*BEST, "trainer.val_check_interval=0.5", "trainer.max_epochs=2")
    heard = Heard(tmp_path)
    (outcome,) = trainer.task(tmp_path, 0)([begun(trainer)], heard)
    assert [report.epoch for report in heard.reports] == [1, 2]
    assert len(curves(tmp_path, 0)) > 2
    told = [report.metrics["val_accuracy"] for report in heard.reports]
    assert told == list(outcome.curve["val_accuracy"])


def test_the_curve_of_epochs_without_validation_is_the_value_before(tmp_path):
    trainer = make_trainer(*BEST, "trainer.check_val_every_n_epoch=3")
    outcome = train_one(trainer.task(tmp_path, 0), begun(trainer))
    lines = curves(tmp_path, 0)
    third, sixth = (lines[place]["val_accuracy"] for place in (2, 5))
    assert outcome.curve["val_accuracy"] == [third] * 5 + [sixth] * 3
    written = json.loads((child_folder(tmp_path, 0) / "outcome.json").read_text())
    assert written["curve"] == outcome.curve


def test_the_curve_of_several_trainings_is_their_mean(tmp_path):
    trainer = make_trainer(*BEST, "trainer.max_epochs=2", evaluation={"repeats": 2})
    outcome = train_one(trainer.task(tmp_path, 0), begun(trainer))
    each = []
    for number in (0, 1):
        path = child_folder(tmp_path, 0) / "trainings" / str(number) / "curves.jsonl"
        each.append([json.loads(line)["val_loss"] for line in path.read_text().splitlines()])
    mean = [(first + second) / 2 for first, second in zip(*each, strict=True)]
    assert outcome.curve["val_loss"] == pytest.approx(mean)
