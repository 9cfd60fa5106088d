"""The command ``python -m nasrunner.child``, and children on several devices, which are such."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from nasrunner import child
from nasrunner.core import ConfigError, Outcome, Proposal
from tests.children.blobs import OWN
from tests.children.studies import (
    assert_all_end,
    first_child,
    folder_of,
    make_study,
    processes_below,
    rank_of,
    rehearse,
    task_of,
    train,
    wait_until,
)
from tests.sampling import one_in

TWO = ("trainer.devices=2", "trainer.max_epochs=3")
ENDLESS = ("trainer.devices=2", "trainer.max_epochs=-1")
CHECKPOINTS = ("trainer.checkpoint_every_s=0", "trainer.checkpoint=all")


def curves(study: Path, index: int = 0) -> list[dict]:
    lines = (folder_of(study, index) / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


def proposed(study: Path, index: int = 0) -> Path:
    """A child's folder with its proposal, as a worker leaves it."""
    folder = folder_of(study, index)
    folder.mkdir(parents=True)
    proposal = first_child(task_of(study), index)
    (folder / "proposal.json").write_text(json.dumps(proposal.to_json()))
    return folder


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["nasrunner.child", *arguments])
    with pytest.raises(SystemExit) as ended:
        child.main()
    return int(ended.value.code)


def command(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nasrunner.child", str(folder), *more],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_the_command_trains_the_child_that_a_worker_would_have_trained(tmp_path):
    study = make_study(tmp_path / "a", "trainer.max_epochs=2")
    ended = command(proposed(study))
    assert (ended.returncode, ended.stderr) == (0, "")
    other = train(make_study(tmp_path / "b", "trainer.max_epochs=2"))
    assert ended.stdout.startswith(f"child 0: reward {other.reward} in ")
    assert curves(study) == curves(tmp_path / "b")


def test_the_command_scores_an_estimate_as_a_worker_would(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path / "a", "trainer.proxies=[snip]")
    folder = proposed(study)
    estimate = dataclasses.replace(first_child(task_of(study)), kind="estimate")
    (folder / "proposal.json").write_text(json.dumps(estimate.to_json()))
    (other,) = task_of(make_study(tmp_path / "b", "trainer.proxies=[snip]"))([estimate])
    assert run_main(monkeypatch, str(folder)) == 0
    assert capsys.readouterr().out.startswith(f"child 0: reward {other.reward} in ")
    assert not (folder / "curves.jsonl").exists()


def test_the_command_trains_a_supernet_with_the_searchers_policy(tmp_path, monkeypatch, capsys):
    ways = {"or": ["empty", {"concat": ["relu", {"affine": {"units": 8}}]}]}
    space = {"concat": [{"affine": {"units": 8}}, ways, {"affine": {"units": 10}}]}
    sizes = ("searcher.controller_steps=2", "searcher.num_estimates=2", "searcher.num_trained=1")
    study = make_study(tmp_path, "searcher=enas", *sizes, "trainer.max_epochs=1", space=space)
    folder = folder_of(study)
    folder.mkdir(parents=True)
    supernet = Proposal(0, {}, kind="supernet")
    (folder / "proposal.json").write_text(json.dumps(supernet.to_json()))
    assert run_main(monkeypatch, str(folder)) == 0
    assert capsys.readouterr().out.startswith("child 0: supernet in ")
    assert "policy_entropy" in curves(study)[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "proposal.json").unlink(), "is no child's folder"),
        (lambda folder: (folder / "proposal.json").write_text("{"), "proposal.json is damaged"),
        (lambda folder: (folder / "proposal.json").write_text("{}"), "is damaged: KeyError"),
        (lambda folder: (folder.parents[1] / "config.yaml").unlink(), "is no study: no config"),
        (lambda folder: (folder.parents[1] / "ledger.jsonl").unlink(), "is no study: no ledger"),
        (lambda folder: folder.rename(folder.with_name("0001")), "is no child's folder"),
    ],
)
def test_misuse_is_one_sentence_and_code_2(tmp_path, monkeypatch, capsys, damage, message):
    folder = proposed(make_study(tmp_path))
    damage(folder)
    assert run_main(monkeypatch, str(folder)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_child_in_another_childs_folder_is_refused(tmp_path, monkeypatch, capsys):
    folder = proposed(make_study(tmp_path))
    moved = folder.rename(folder.with_name("0001"))
    assert run_main(monkeypatch, str(moved)) == 2
    assert "is not where child 0 of its proposal.json belongs; legal" in capsys.readouterr().err


def test_a_study_that_trains_nothing_is_refused(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path)
    folder = proposed(study)
    monkeypatch.setattr(child, "build_trainer", lambda config, space: object())
    assert run_main(monkeypatch, str(folder)) == 2
    assert "trains no networks; legal is LightningTrainer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.num_nodes=2"], "trainer.num_nodes=2 needs a job .* executor=slurm"),
        (["trainer.devices=2", "trainer.strategy=ddp_spawn"], "trainer.strategy=ddp_spawn cannot"),
        (["trainer.devices=2", "trainer.strategy=ddp_fork"], "legal: auto, ddp, ddp_find_unused"),
        (["trainer.devices=2", "trainer.sync_batchnorm=true"], "sync_batchnorm=true needs GPUs"),
        (["trainer.devices=4", "data.batch_size=3"], "data.batch_size=3 leaves some of the"),
        (["trainer.scale_learning_rate=cubic"], "must be one of none, linear, sqrt, got 'cubic'"),
        (["trainer.batch_size_per_device=2"], "must be bool, got 2"),
        (["trainer.checkpoint_every_s=-1"], "must be float >= 0 or null, got -1"),
        (["+space.hyperparameters={trainer.devices: {oneof: [1, 2]}}"], "the same for all child"),
    ],
)
def test_what_several_devices_cannot_do_is_found_in_the_rehearsal(tmp_path, overrides, message):
    study = make_study(tmp_path, *overrides)
    with pytest.raises(ConfigError, match=message):
        rehearse(study)


def test_more_devices_than_batches_have_examples_are_legal_with_a_batch_for_each(tmp_path):
    each = "trainer.batch_size_per_device=true"
    rehearse(make_study(tmp_path, "trainer.devices=4", "data.batch_size=3", each))


CONVOLUTIONS = [
    {"conv2d": {"filters": 4, "kernel_size": 3}},
    "relu",
    {"conv2d": {"filters": 6, "kernel_size": 1}},
    {"separable_conv2d": {"filters": 4, "kernel_size": 2}},
    {"affine": {"units": 10}},
]


@pytest.mark.parametrize(
    ("batches", "groups"),
    [
        # 1,150 examples to train on, 287 to validate
        pytest.param(
            ["data.batch_size=383", "data.eval_batch_size=286"],
            {},
            id="a last one of 1",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["data.batch_size=64", "trainer.max_epochs=1"],
            {},
            id="64 and 62",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["data.batch_size=64", "trainer.max_epochs=1"],
            {"space": {"concat": CONVOLUTIONS}},
            id="channels last",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["data.batch_size=7", "data.drop_last=true", "trainer.max_epochs=1"],
            {},
            id="4 and 3",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_ranks_take_the_steps_of_one_process_with_the_same_batches(tmp_path, batches, groups):
    overrides = ("trainer.max_epochs=3", "optimizer.lr=0.01", *batches)
    train(make_study(tmp_path / "one", *overrides, **groups))
    outcome = train(make_study(tmp_path / "two", "trainer.devices=2", *overrides, **groups))
    assert outcome.error is None
    assert_all_end(tmp_path)
    one, two = curves(tmp_path / "one"), curves(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, abs=1e-4)
    assert {path.name for path in folder_of(tmp_path / "two").iterdir()} == {
        "best.ckpt",
        "config.yaml",
        "curves.jsonl",
        "outcome.json",
        "proposal.json",
    }


@pytest.mark.slow
def test_batches_and_learning_rate_of_each_device(tmp_path):
    """Two devices with 32 examples each and linear scaling are one with 64 and twice the rate."""
    one = make_study(tmp_path / "one", "data.batch_size=64", "optimizer.lr=0.02")
    each = ["trainer.batch_size_per_device=true", "trainer.scale_learning_rate=linear"]
    two = make_study(tmp_path / "two", "trainer.devices=2", *each, "optimizer.lr=0.01")
    for study in (one, two):
        assert train(study).error is None
    for first, second in zip(curves(one), curves(two), strict=True):
        assert second == pytest.approx(first, abs=1e-4)


@pytest.mark.slow
def test_a_module_of_the_users_own_gets_lightnings_distributed_sampler(tmp_path):
    blobs = {**OWN, "_target_": "tests.children.blobs.LoaderBlobs", "batch_size": 9}
    study = make_study(tmp_path, *TWO, space={"affine": {"units": 3}}, data=blobs)
    assert train(study).error is None
    # 90 examples, 45 on each device, 9 a batch
    assert [line["step"] for line in curves(study)] == [5, 10, 15]


@pytest.mark.slow
@one_in(
    2,
    0,
    ("how", "message"),
    [
        ("differ", "the shape of network.* is (1,) on rank 0 and (2,) on rank 1"),
        ("raise", "rank 1 failed: RuntimeError: the user's module broke on rank 1"),
        ("hang", "rank 1 failed: RuntimeError: the user's module broke on rank 1"),
    ],
    rest=pytest.mark.matrix,
)
def test_a_rank_that_is_not_like_the_others_fails_the_child(tmp_path, how, message):
    module = {"_target_": "tests.children.blobs.Ranked", "how": how}
    study = make_study(tmp_path, *TWO, space={"concat": [module, {"affine": {"units": 10}}]})
    outcome = train(study)
    start, _, end = message.partition("*")
    assert outcome.status == "failed"
    assert start in outcome.error
    assert end in outcome.error
    assert_all_end(tmp_path)
    assert json.loads((folder_of(study) / "outcome.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_kill_9_of_a_rank_fails_the_child_and_leaves_no_process(tmp_path, rank):
    study = make_study(tmp_path, *ENDLESS)
    with ThreadPoolExecutor() as pool:
        training = pool.submit(train, study)
        kill_rank(study, rank)
        outcome: Outcome = training.result(timeout=60)
    assert outcome.status == "failed"
    assert outcome.error.splitlines()[-1] == (
        f"rank {rank} failed: its process was killed by SIGKILL"
    )
    assert_all_end(tmp_path)


def kill_rank(study: Path, rank: int) -> None:
    """Kills a rank once the child has trained for an epoch."""
    path = folder_of(study) / "curves.jsonl"
    wait_until(lambda: path.exists() and path.stat().st_size)
    (process,) = [each for each in processes_below(study) if rank_of(each) == rank]
    os.kill(process, signal.SIGKILL)


WORKER = "import sys, pathlib; from tests.children.studies import train; train(pathlib.Path({!r}))"


@pytest.mark.slow
def test_the_death_of_the_worker_leaves_no_process_and_the_child_goes_on(tmp_path):
    overrides = ("trainer.devices=2", "trainer.max_epochs=16", *CHECKPOINTS)
    whole = make_study(tmp_path / "whole", *overrides)
    expected = train(whole)
    for signum in (signal.SIGKILL, signal.SIGTERM):
        study = make_study(tmp_path / signum.name, *overrides)
        worker = subprocess.Popen([sys.executable, "-c", WORKER.format(str(study))])
        last = folder_of(study) / "last.ckpt"
        wait_until(last.exists)
        worker.send_signal(signum)
        worker.wait()
        assert_all_end(study)
        killed_s = time.time()
        assert 0 < len(curves(study)) < 16
        assert not (folder_of(study) / "outcome.json").exists()

        outcome = train(study)
        lines = (folder_of(study) / "curves.jsonl").read_text().splitlines()
        assert json.loads(lines[0])["time"] < killed_s  # it went on, not anew
        assert outcome.metrics == expected.metrics
        assert curves(study) == curves(whole)
        for name in ("best.ckpt", "last.ckpt"):
            first, second = (
                torch.load(folder_of(each) / name, weights_only=True)["state_dict"]
                for each in (study, whole)
            )
            assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_two_children_on_one_host_do_not_meet(tmp_path):
    studies = [make_study(tmp_path / name, *TWO) for name in "ab"]
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(train, studies))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert curves(studies[0]) == curves(studies[1])


@pytest.mark.slow
def test_a_workers_stale_variables_of_ranks_do_no_harm(tmp_path, monkeypatch):
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK", "WORLD_SIZE", "PL_GLOBAL_SEED"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("MASTER_ADDR", "192.0.2.1")
    assert train(make_study(tmp_path, *TWO)).error is None


@pytest.mark.slow
def test_a_command_told_to_stop_is_no_failure_of_the_child(tmp_path):
    folder = proposed(make_study(tmp_path, *ENDLESS))
    process = subprocess.Popen([sys.executable, "-m", "nasrunner.child", str(folder)])
    wait_until((folder / "curves.jsonl").exists)
    process.terminate()
    assert process.wait() == 143
    assert not (folder / "outcome.json").exists()
    assert_all_end(folder)
