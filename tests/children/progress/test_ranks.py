"""Pausing, going on, stopping and reporting of children on two devices, each of them a process."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from nasrunner.core import Proposal, Report
from nasrunner.core.machine.stop_file import StopFile
from tests.children.progress.lineages import assert_same, curves, going_on
from tests.children.studies import (
    assert_all_end,
    folder_of,
    make_study,
    processes_below,
    rank_of,
    task_of,
    wait_until,
)
from tests.toys import train_one

TWO = (
    "trainer.devices=2",
    "trainer.max_epochs=6",
    "trainer.checkpoint=all",
    "optimizer=sgd",
    "scheduler=cosine",
    "scheduler.interval=step",
    "data.batch_size=128",
)
SPACE = {
    "concat": [
        {"affine": {"units": 8}},
        "batch_norm",
        {"dropout": {"p": 0.5}},
        {"affine": {"units": 10}},
    ]
}
RATES = {"hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.03]}}}

pytestmark = pytest.mark.slow


def begun(task, **fields) -> Proposal:
    return Proposal(0, task.space.walk(lambda decision: 0), seed=5, **fields)


def test_a_chain_of_pauses_becomes_the_child_trained_through(tmp_path):
    chained, through = (make_study(tmp_path / name, *TWO, space=SPACE) for name in "ba")
    task = task_of(chained)
    first = begun(task, until=2)
    second = going_on(first, until=4)
    outcomes = [train_one(task, each) for each in (first, second, going_on(second))]
    assert [each.status for each in outcomes] == ["paused", "paused", "completed"]
    whole = train_one(task_of(through), begun(task))
    assert_same(outcomes[-1], chained, whole, through)
    for index in (0, 1):
        (folder_of(chained, index) / "last.ckpt").unlink()
    again = train_one(task, going_on(second))
    assert_same(again, chained, whole, through)
    assert "is gone: it is trained again" in (folder_of(chained, 2) / "log.txt").read_text()
    assert_all_end(tmp_path)


def test_stages_with_other_settings_are_trained_again_one_after_the_other(tmp_path):
    study = make_study(tmp_path, *TWO, space={**RATES, **SPACE})
    task = task_of(study)
    first = begun(task, until=2)
    second = going_on(first, genotype={"hyperparameters/optimizer.lr": 1})
    assert train_one(task, first).status == "paused"
    ended = train_one(task, second)
    lines = curves(study, 1)
    (folder_of(study, 0) / "last.ckpt").unlink()
    again = train_one(task, second)
    assert (again.error, again.metrics) == (None, ended.metrics)
    assert curves(study, 1) == lines
    assert_all_end(tmp_path)


def test_a_rank_that_dies_in_a_later_stage_fails_the_child(tmp_path):
    """The processes of the first stage train the second one, too."""
    study = make_study(tmp_path, *TWO, "trainer.max_epochs=30000", space={**RATES, **SPACE})
    task = task_of(study)
    first = begun(task, until=2)
    assert train_one(task, first).status == "paused"
    (folder_of(study, 0) / "last.ckpt").unlink()
    second = going_on(first, genotype={"hyperparameters/optimizer.lr": 1})
    path = folder_of(study, 1) / "curves.jsonl"
    with ThreadPoolExecutor() as pool:
        training = pool.submit(train_one, task, second)
        wait_until(lambda: path.exists() and path.read_text().count("\n") > 4, timeout_s=200)
        (process,) = [each for each in processes_below(study) if rank_of(each) == 1]
        os.kill(process, signal.SIGKILL)
        outcome = training.result(timeout=60)
    assert outcome.status == "failed"
    assert outcome.error.splitlines()[-1] == "rank 1 failed: its process was killed by SIGKILL"
    assert_all_end(tmp_path)


def test_a_child_is_heard_and_stopped_while_its_ranks_train(tmp_path):
    study = make_study(tmp_path, *TWO, "trainer.max_epochs=3000")
    task = task_of(study)
    heard: list[Report] = []

    def hear(report: Report) -> bool:
        heard.append(report)
        return report.epoch >= 2  # the study writes the file itself, too

    (outcome,) = task([begun(task)], hear)
    assert (outcome.status, outcome.error) == ("stopped", None)
    epochs = [report.epoch for report in heard]
    assert epochs == list(range(1, len(epochs) + 1))
    assert StopFile(folder_of(study)).read() is not None
    assert len(epochs) == outcome.metrics["epochs"] == len(curves(study, 0)) >= 2
    assert [each.metrics["val_accuracy"] for each in heard] == outcome.curve["val_accuracy"]
    assert_all_end(tmp_path)
