import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from nasrunner.core import child_folder
from tests.children.blobs import IMAGES, OWN, Killed, train
from tests.children.studies import folder_of, make_study, wait_until
from tests.children.studies import train as train_in
from tests.sampling import one_in

NOISY = {
    "concat": [
        {"affine": {"units": 16}},
        "batch_norm",
        {"dropout": {"p": 0.5}},
        {"affine": {"units": 3}},
    ]
}
CONVOLUTIONAL = {
    "concat": [
        {"conv2d": {"filters": 4, "kernel_size": 3}},
        "batch_norm",
        {"dropout": {"p": 0.5}},
        {"affine": {"units": 3}},
    ]
}
LOADER = {**OWN, "_target_": "tests.children.blobs.LoaderBlobs"}
NOISY_LOADER = {
    **OWN,
    "_target_": "tests.children.plain.WorkerBlobs",
    "num_workers": 0,
    "has_sampler": True,
    "seeds_workers": False,
}
EVERY_EPOCH = ("trainer.checkpoint_every_s=0", "trainer.checkpoint=all", "trainer.max_epochs=8")
STOPPING = ("trainer.stop_patience=4", "trainer.stop_min_delta=0.02")


def curves(folder):
    lines = (child_folder(folder, 0) / "curves.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def without_times(folder):
    return [{k: v for k, v in line.items() if k != "time"} for line in curves(folder)]


def last_checkpoint(folder):
    return child_folder(folder, 0) / "last.ckpt"


def changed(path, change):
    """Rewrites a checkpoint."""
    checkpoint = torch.load(path, weights_only=False)
    change(checkpoint)
    torch.save(checkpoint, path)


def stopped_once(path, epoch=4):
    callback = f"{{_target_: tests.children.blobs.StopOnce, path: {path}, epoch: {epoch}}}"
    return f"trainer.callbacks=[{callback}]"


def interrupt(folder, *overrides, **arguments):
    """Trains a child that is interrupted at the end of its fifth epoch; what it was told."""
    overrides = (*overrides, stopped_once(folder / "stopped"))
    folder.mkdir()
    with pytest.raises(Killed):
        train(folder, *overrides, **arguments)
    assert not (child_folder(folder, 0) / "outcome.json").exists()
    return overrides


def uninterrupted(folder, *overrides, **arguments):
    """The outcome of the same child, which nothing interrupts."""
    folder.mkdir()
    (folder / "stopped").touch()
    return train(folder, *overrides, stopped_once(folder / "stopped"), **arguments)


def assert_same_child(folder, other):
    """Same curves, but for the times, and same weights, best and last, to the bit."""
    assert without_times(folder) == without_times(other)
    for name in ("best.ckpt", "last.ckpt"):
        first, second = (
            torch.load(child_folder(each, 0) / name, weights_only=True)["state_dict"]
            for each in (folder, other)
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def slow(*overrides, **arguments):
    return pytest.param(overrides, arguments, marks=pytest.mark.slow)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        (STOPPING, {"scheduler": "cosine"}),
        slow(
            "scheduler.patience=0",
            "scheduler.threshold=0.5",
            "optimizer.lr=0.3",
            scheduler="plateau",
        ),
        slow(data=LOADER),
        slow(data=NOISY_LOADER),
        slow(data=NOISY_LOADER, scheduler="one_cycle"),  # it asks for the length of training
        slow("trainer.val_check_interval=0.5"),
        slow(scheduler="warmup_cosine"),
        slow("trainer.max_steps=40"),
        slow("trainer.num_sanity_val_steps=1"),
        slow("trainer.check_val_every_n_epoch=2"),
        slow("trainer.min_epochs=7", "trainer.stop_patience=1", "trainer.stop_min_delta=1"),
        slow("trainer.precision=bf16-mixed"),
        slow(optimizer="sgd"),
        slow("optimizer.momentum=0.9", optimizer="sgd", space=CONVOLUTIONAL, data=IMAGES),
    ],
)
def test_an_interrupted_child_becomes_what_it_would_have_been(
    tmp_path, fast_loop, overrides, arguments
):
    overrides = (*EVERY_EPOCH, *overrides, f"trainer.fast_loop={fast_loop}")
    arguments = {"space": NOISY, **arguments}
    told = interrupt(tmp_path / "b", *overrides, **arguments)
    second = train(tmp_path / "b", *told, **arguments)
    first = uninterrupted(tmp_path / "a", *overrides, **arguments)
    assert (second.error, second.reward) == (None, first.reward)
    assert second.metrics == first.metrics
    assert_same_child(tmp_path / "a", tmp_path / "b")
    lines = [line for line in curves(tmp_path / "b") if "train_loss" in line]
    assert [line["epoch"] for line in lines] == list(range(len(lines)))
    stopped_at = (tmp_path / "b" / "stopped").stat().st_mtime
    assert sum(line["time"] <= stopped_at for line in lines) == 4  # it went on, not anew
    assert len(lines) > 5


def test_seconds_of_all_attempts_count_as_the_childs_cost(tmp_path):
    told = interrupt(tmp_path / "a", *EVERY_EPOCH)
    changed(last_checkpoint(tmp_path / "a"), lambda it: it["nasrunner"].update(cost_s=1000.0))
    assert 1000 < train(tmp_path / "a", *told).cost_s < 1100


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_the_time_limit_is_of_all_attempts_together(tmp_path, fast_loop):
    limit = ("trainer.max_time=00:01:00:00", f"trainer.fast_loop={fast_loop}")
    told = interrupt(tmp_path / "a", *EVERY_EPOCH, *limit)

    def used_up(checkpoint):
        checkpoint["callbacks"]["Timer"]["time_elapsed"]["train"] = 3601.0

    changed(last_checkpoint(tmp_path / "a"), used_up)
    outcome = train(tmp_path / "a", *told)
    assert (outcome.error, outcome.metrics["epochs"]) == (None, 4)
    assert (child_folder(tmp_path / "a", 0) / "best.ckpt").exists()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:1000])


def of_another_child(path):
    changed(path, lambda it: it["nasrunner"].update(identity="[]"))


def of_a_training_that_ended(path):
    changed(path, lambda it: it["nasrunner"].update(has_ended=True))


def of_somebody_else(path):
    torch.save({"state_dict": {}}, path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, "it cannot be read: "),
        (of_somebody_else, "it cannot be read: KeyError: 'nasrunner'"),
        (of_another_child, "it belongs to another proposal or configuration"),
        (of_a_training_that_ended, "training had ended, but not its child"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_left_with_a_line_in_the_log(tmp_path, damage, reason):
    told = interrupt(tmp_path / "a", *EVERY_EPOCH)
    damage(last_checkpoint(tmp_path / "a"))
    outcome = train(tmp_path / "a", *told)
    assert outcome.metrics["epochs"] == 8
    stopped_at = (tmp_path / "a" / "stopped").stat().st_mtime
    assert all(line["time"] > stopped_at for line in curves(tmp_path / "a"))
    log = (child_folder(tmp_path / "a", 0) / "log.txt").read_text()
    assert f"last.ckpt is not used, and training starts anew: {reason}" in log


def test_another_configuration_is_not_gone_on_with(tmp_path):
    told = interrupt(tmp_path / "a", *EVERY_EPOCH)
    outcome = train(tmp_path / "a", *told, "optimizer.lr=0.5")
    assert outcome.metrics["epochs"] == 8
    assert {line["learning_rate"] for line in curves(tmp_path / "a")} == {0.5}


def test_a_child_with_its_outcome_is_trained_anew(tmp_path):
    told = ("trainer.checkpoint_every_s=0", "trainer.checkpoint=last")
    first = train(tmp_path, *told)
    before = curves(tmp_path)
    assert train(tmp_path, *told).metrics == first.metrics
    assert curves(tmp_path)[0]["time"] > before[-1]["time"]


@pytest.mark.parametrize(
    ("overrides", "is_written"),
    [
        (("trainer.checkpoint_every_s=0",), True),
        (("trainer.checkpoint_every_s=null",), False),
        ((), False),  # the shipped 60 s are more than this child takes
    ],
)
def test_small_children_are_spared_the_checkpoint(tmp_path, overrides, is_written):
    interrupt(tmp_path / "a", *overrides, "trainer.max_epochs=8")
    assert last_checkpoint(tmp_path / "a").exists() == is_written


def test_the_checkpoint_is_gone_once_there_is_an_outcome(tmp_path):
    assert train(tmp_path, "trainer.checkpoint_every_s=0").error is None
    names = {path.name for path in child_folder(tmp_path, 0).iterdir()}
    assert names == {"best.ckpt", "config.yaml", "curves.jsonl", "outcome.json", "proposal.json"}


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_checkpoint_that_cannot_be_written_is_a_line_in_the_log(tmp_path, monkeypatch, is_begun):
    def full(self, path):
        if is_begun:
            Path(path).write_bytes(b"cut off")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", full)
    outcome = train(tmp_path, "trainer.checkpoint_every_s=0")
    assert (outcome.error, outcome.metrics["epochs"]) == (None, 3)
    log = (child_folder(tmp_path, 0) / "log.txt").read_text()
    assert "last.ckpt could not be written: [Errno 28] No space left on device" in log
    assert not list(child_folder(tmp_path, 0).glob("last.ckpt*"))


WORKER = "import sys, pathlib; from tests.children.studies import train; train(pathlib.Path({!r}))"


@pytest.mark.slow
@one_in(2, 0, "fast_loop", ["true", "false"], rest=pytest.mark.matrix)
def test_kill_9_of_a_process_that_trains_a_child_changes_nothing(tmp_path, fast_loop):
    overrides = (*EVERY_EPOCH, f"trainer.fast_loop={fast_loop}", "trainer.max_epochs=60")
    killed, whole = (make_study(tmp_path / name, *overrides) for name in ("killed", "whole"))
    for count in (1, 2):  # twice: an attempt that goes on is killed, too
        process = subprocess.Popen([sys.executable, "-c", WORKER.format(str(killed))])
        path = folder_of(killed) / "curves.jsonl"
        wait_until(functools.partial(has_lines, path, 10 * count))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (folder_of(killed) / "outcome.json").exists()
    assert train_in(killed).metrics == train_in(whole).metrics
    assert_same_child(killed, whole)


def has_lines(path, count):
    return path.exists() and len(path.read_text().splitlines()) > count
