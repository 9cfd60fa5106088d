import functools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl

from nasrunner.core import MachineError, Proposal, child_folder
from nasrunner.core.machine.child_folder import ChildFolder
from tests.children.blobs import Killed, make_trainer
from tests.children.progress.lineages import (
    KEEP,
    assert_same,
    begun,
    chain,
    checkpoint,
    curves,
    going_on,
    trained,
)
from tests.children.progress.test_continuing import (
    NOISY,
    NOISY_LOADER,
    STOPPING,
    changed,
    has_lines,
    stopped_once,
)
from tests.children.studies import wait_until
from tests.toys import train_one

EMA = "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.EMAWeightAveraging, decay: 0.8}]"
BY_STEPS = ("optimizer.momentum=0.9", "scheduler.interval=step", *STOPPING)
PLAIN = {"space": NOISY, "optimizer": "sgd", "scheduler": "cosine"}


def log_of(folder: Path, index: int) -> str:
    path = child_folder(folder, index) / "log.txt"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        (BY_STEPS, PLAIN),
        ((*BY_STEPS, EMA), {**PLAIN, "data": NOISY_LOADER}),
        pytest.param((*BY_STEPS, EMA), PLAIN, marks=pytest.mark.slow),
        pytest.param(("trainer.fast_loop=false",), {"space": NOISY}, marks=pytest.mark.slow),
        pytest.param(
            ("scheduler.patience=0", "scheduler.threshold=0.5"),
            {"space": NOISY, "scheduler": "plateau"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_chain_of_pauses_becomes_the_child_trained_through(tmp_path, overrides, arguments):
    first, second, third = trained(tmp_path / "b", *overrides, **arguments)
    (whole,) = trained(tmp_path / "a", *overrides, untils=[None], **arguments)
    assert_same(third, tmp_path / "b", whole, tmp_path / "a")
    assert [first.status, second.status] == ["paused", "paused"]
    assert [each.metrics["epochs"] for each in (first, second)] == [2, 5]
    assert third.metrics["epochs"] > 5
    whole_curves = curves(tmp_path / "a", 0)
    assert curves(tmp_path / "b", 0) == whole_curves[:2]
    assert curves(tmp_path / "b", 1) == whole_curves[:5]
    for outcome in (first, second):
        folder = ChildFolder.of(tmp_path / "b", outcome.proposal.index)
        assert folder.best.exists()
        assert folder.last.exists()
        assert folder.outcome(outcome.proposal).status == "paused"
        values = whole.curve["val_accuracy"][: int(outcome.metrics["epochs"])]
        assert outcome.curve["val_accuracy"] == values
        assert outcome.reward == max(values)


def test_only_its_own_seconds_are_a_proposals_cost(tmp_path):
    trainer = make_trainer(*KEEP)
    task = trainer.task(tmp_path, 0)
    first, second, _ = chain(trainer, (2, 5, None))
    train_one(task, first)
    path = child_folder(tmp_path, 0) / "last.ckpt"
    changed(path, lambda it: it["nasrunner"].update(cost_s=1000.0))
    before = path.read_bytes()
    assert train_one(task, second).cost_s < 100
    assert path.read_bytes() == before  # a source is never written


def test_training_that_ends_before_the_pause_is_completed_and_costs_nothing_to_go_on(tmp_path):
    overrides = ("trainer.stop_patience=0", "trainer.stop_min_delta=1")
    first, second = trained(tmp_path, *overrides, untils=[5, None])
    assert (first.status, first.metrics["epochs"]) == ("completed", 2)
    assert (second.status, second.cost_s, second.error) == ("completed", 0.0, None)
    assert (second.reward, second.metrics, second.curve) == (
        first.reward,
        first.metrics,
        first.curve,
    )
    folders = [child_folder(tmp_path, index) for index in (0, 1)]
    for name in ("curves.jsonl", "best.ckpt", "last.ckpt"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert ChildFolder(folders[1]).outcome(second.proposal).to_json() == second.to_json()


def test_the_last_epoch_is_an_end_and_no_pause(tmp_path):
    first, second = trained(tmp_path, untils=[8, None])
    assert (first.status, second.status, second.cost_s) == ("completed", "completed", 0.0)


def test_a_pause_without_a_reward_is_a_failure(tmp_path):
    (outcome,) = trained(tmp_path, "trainer.check_val_every_n_epoch=4", untils=[2])
    assert outcome.status == "failed"
    assert "training ended before its first validation" in outcome.error


def test_a_state_that_is_gone_is_trained_again(tmp_path):
    arguments = PLAIN | {"is_rehearsed": False}
    (whole,) = trained(tmp_path / "a", *BY_STEPS, untils=[None], **arguments)
    trainer = make_trainer(*KEEP, *BY_STEPS, **arguments)
    task = trainer.task(tmp_path / "b", 0)
    first, second, third = chain(trainer, (2, 5, None))
    for proposal in (first, second):
        train_one(task, proposal)
    (child_folder(tmp_path / "b", 1) / "last.ckpt").unlink()
    from_first = train_one(task, third)
    assert_same(from_first, tmp_path / "b", whole, tmp_path / "a")
    assert "the training state of child 1, which this one goes on with, is gone" in log_of(
        tmp_path / "b", 2
    )
    assert "of child 0" not in log_of(tmp_path / "b", 2)
    assert from_first.lacks == (1,)
    (child_folder(tmp_path / "b", 0) / "last.ckpt").write_bytes(b"damaged")
    from_root = train_one(task, third)
    assert_same(from_root, tmp_path / "b", whole, tmp_path / "a")
    log = log_of(tmp_path / "b", 2)
    assert "children/0000/last.ckpt is not used: it cannot be read" in log
    assert "of child 0, which this one goes on with, is gone: it is trained again" in log
    assert from_root.lacks == (1, 0)
    shutil.rmtree(child_folder(tmp_path / "b", 1))
    without_folder = train_one(task, third)
    assert_same(without_folder, tmp_path / "b", whole, tmp_path / "a")
    assert "child 1, which is gone on with, is gone" in log_of(tmp_path / "b", 2)
    assert without_folder.lacks == (1,)


def test_another_network_does_not_go_on(tmp_path):
    trainer = make_trainer(*KEEP)
    task = trainer.task(tmp_path, 0)
    first = begun(trainer, until=2)
    train_one(task, first)
    outcome = train_one(task, going_on(first, genotype={"0/affine/units": 1}))
    assert outcome.status == "failed"
    assert "only the same network can go on with a training, but child 0 is affine(units=8)" in (
        outcome.error
    )


def test_nothing_goes_on_with_a_child_that_failed(tmp_path):
    first, second = trained(
        tmp_path, "trainer.check_val_every_n_epoch=4", untils=[2, None], is_rehearsed=False
    )
    assert (first.status, second.status) == ("failed", "failed")
    assert "child 0 has failed, and nothing goes on with it" in second.error


def test_an_interrupted_proposal_goes_on_where_it_was(tmp_path):
    overrides = (*BY_STEPS, "trainer.checkpoint_every_s=0", stopped_once(tmp_path / "once", 4))
    (tmp_path / "once").touch()
    (whole,) = trained(tmp_path / "a", *overrides, untils=[None], **PLAIN)
    trainer = make_trainer(*KEEP, *overrides, **PLAIN)
    task = trainer.task(tmp_path / "b", 0)
    first, second = chain(trainer, (2, None))
    train_one(task, first)
    (tmp_path / "once").unlink()
    with pytest.raises(Killed):
        train_one(task, second)
    (child_folder(tmp_path / "b", 0) / "last.ckpt").unlink()  # it has its own by now
    ended = train_one(task, second)
    assert_same(ended, tmp_path / "b", whole, tmp_path / "a")
    assert "is gone" not in log_of(tmp_path / "b", 1)


def test_a_paused_child_that_nobody_recorded_is_trained_alike_once_more(tmp_path):
    trainer = make_trainer(*KEEP, **PLAIN)
    first, second = (
        train_one(trainer.task(tmp_path, 0), begun(trainer, until=3)) for _ in range(2)
    )
    assert (first.status, first.metrics) == (second.status, second.metrics)


def test_a_pause_that_cannot_be_written_is_the_machines_fault(tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", full)
    with pytest.raises(MachineError, match="No space left"):
        trained(tmp_path, "trainer.checkpoint=best", untils=[2])


def test_older_studies_lineages_have_their_roots_seed(tmp_path):
    trainer = make_trainer(*KEEP)
    task = trainer.task(tmp_path, 0)
    genotype = trainer.space.walk(lambda decision: 0)
    first = Proposal(3, genotype, until=2)
    train_one(task, first)
    ended = train_one(task, going_on(first))
    whole = train_one(trainer.task(tmp_path / "a", 0), Proposal(3, genotype))
    assert (ended.metrics, ended.reward) == (whole.metrics, whole.reward)
    (child_folder(tmp_path, 3) / "last.ckpt").unlink()
    assert train_one(task, going_on(first)).metrics == whole.metrics


def test_weights_that_were_averaged_are_those_that_are_kept(tmp_path):
    first, _ = trained(tmp_path, EMA, untils=[3, None], **PLAIN)
    kept = checkpoint(tmp_path, 0)
    assert first.status == "paused"
    assert "current_model_state" in kept
    assert json.loads(kept["nasrunner"]["identity"])[0] == [0, first.proposal.evaluation]


WORKER = (
    "import sys, pathlib; from tests.children.progress.lineages import *; "
    "from tests.children.progress.test_pausing import *; "
    "trainer = make_trainer(*LONG, **PLAIN); "
    "train_one(trainer.task(pathlib.Path({!r}), 0), chain(trainer, (20, None))[1])"
)
LONG = (*KEEP, *BY_STEPS[:2], "trainer.max_epochs=150", "trainer.checkpoint_every_s=0")


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_continuation_changes_nothing(tmp_path):
    trainer = make_trainer(*LONG, **PLAIN)
    task = trainer.task(tmp_path / "b", 0)
    first, second = chain(trainer, (20, None))
    train_one(task, first)
    process = subprocess.Popen([sys.executable, "-c", WORKER.format(str(tmp_path / "b"))])
    path = child_folder(tmp_path / "b", 1) / "curves.jsonl"
    wait_until(functools.partial(has_lines, path, 40))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (child_folder(tmp_path / "b", 1) / "outcome.json").exists()
    before = json.loads(path.read_text().splitlines()[30])
    ended = train_one(task, second)
    assert json.loads(path.read_text().splitlines()[30]) == before  # it went on, not anew
    whole = train_one(trainer.task(tmp_path / "a", 0), begun(trainer))
    assert_same(ended, tmp_path / "b", whole, tmp_path / "a")
