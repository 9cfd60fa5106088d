import json
import math
import os
import pickle
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.fit.loading import LoadedData, load_data
from nasrunner.children.fit.measuring import Measuring
from nasrunner.children.fit.module import ChildModule
from nasrunner.children.fit.network_training import interruptible
from nasrunner.children.muted import without_messages
from nasrunner.children.settings import arguments
from nasrunner.children.settings.length import Length
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.tasks.reward import Reward
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, MachineError, Proposal, child_folder
from nasrunner.core.machine.stopping import ToldToStop, stopped_by_signals
from tests.children.blobs import BLOBS, MLP, OWN, Blobs, broken, make_trainer, train
from tests.sampling import one_in
from tests.toys import train_one

BATCH_NORM = {"concat": [{"affine": {"units": 16}}, "batch_norm", "relu", {"affine": {"units": 3}}]}
DROPOUT = {"concat": [{"affine": {"units": 16}}, {"dropout": {"p": 0.5}}, {"affine": {"units": 3}}]}
REGRESSION = {**BLOBS, "num_outputs": 1, "is_regression": True}
LOADER = {**OWN, "_target_": "tests.children.blobs.LoaderBlobs"}
WORKERS = {
    **OWN,
    "_target_": "tests.children.plain.WorkerBlobs",
    "num_workers": 2,
    "has_sampler": False,
    "seeds_workers": False,
}


def curves(folder, index=0):
    lines = (child_folder(folder, index) / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


def weights(folder, index=0):
    return torch.load(child_folder(folder, index) / "best.ckpt", weights_only=True)


def test_a_child_learns_and_says_how(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=20")
    assert outcome.error is None
    assert outcome.status == "completed"
    assert outcome.reward > 0.8
    assert outcome.cost_s > 0
    assert outcome.metrics["epochs"] == 20
    assert set(outcome.metrics) == {
        "train_loss",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "epochs",
        "reward_epoch",
        "val_targets",
    }
    assert outcome.metrics["val_targets"] == 45


def test_the_same_proposal_and_seed_give_the_same_child_to_the_bit(tmp_path):
    first = train(tmp_path / "a", space=DROPOUT)
    train(tmp_path / "b", space=DROPOUT, index=1)  # what ran before must not matter
    second = train(tmp_path / "b", space=DROPOUT)
    assert second.reward == first.reward
    assert curves(tmp_path / "a") == curves(tmp_path / "b")
    for name, value in weights(tmp_path / "a")["state_dict"].items():
        assert torch.equal(value, weights(tmp_path / "b")["state_dict"][name])


@pytest.mark.parametrize("other", [{"seed": 1}, {"index": 1}])
def test_another_seed_or_index_gives_another_child(tmp_path, other):
    train(tmp_path / "a", space=DROPOUT)
    train(tmp_path / "b", space=DROPOUT, **other)
    assert curves(tmp_path / "a") != curves(tmp_path / "b", other.get("index", 0))


def test_multistep_multiplies_the_learning_rate_once_at_each_milestone(tmp_path):
    told = ("trainer.max_epochs=5", "scheduler.milestones=[1,3]", "scheduler.gamma=0.5")
    train(tmp_path, *told, scheduler="multistep")
    rates = [line["learning_rate"] for line in curves(tmp_path)]
    assert rates == pytest.approx([0.01, 0.005, 0.005, 0.0025, 0.0025])


@pytest.mark.parametrize("milestones", ["[a]", "[0]", "[3,-2]", "[1.5]", "[true]"])
def test_milestones_that_torch_would_never_reach_are_refused(milestones):
    with pytest.raises(ConfigError, match=r"scheduler\.milestones must be epochs >= 1, got "):
        make_trainer(f"scheduler.milestones={milestones}", scheduler="multistep")


@one_in(
    2,
    0,
    ("overrides", "arguments"),
    [
        ((), {}),
        ((), {"space": BATCH_NORM}),
        ((), {"space": DROPOUT}),
        (("trainer.precision=bf16-mixed",), {"space": BATCH_NORM}),
        ((), {"scheduler": "cosine"}),
        (("scheduler.patience=0", "scheduler.threshold=0.5"), {"scheduler": "plateau"}),
        ((), {"data": REGRESSION, "task": "regression", "space": {"affine": {"units": 1}}}),
        ((), {"data": OWN}),
        (("trainer.check_val_every_n_epoch=2",), {}),
        (("trainer.num_sanity_val_steps=2",), {"space": DROPOUT}),
    ],
)
def test_the_fast_loop_takes_the_steps_of_lightnings_own(tmp_path, overrides, arguments):
    for name in ("true", "false"):
        outcome = train(tmp_path / name, *overrides, f"trainer.fast_loop={name}", **arguments)
        assert outcome.error is None
    assert curves(tmp_path / "true") == curves(tmp_path / "false")
    fast, ordinary = weights(tmp_path / "true"), weights(tmp_path / "false")
    for name, value in fast["state_dict"].items():
        assert torch.equal(value, ordinary["state_dict"][name])


def test_the_fast_loop_takes_the_steps_of_an_optimizer_that_needs_a_closure(tmp_path):
    lbfgs = {"_target_": "torch.optim.LBFGS", "lr": 0.1, "max_iter": 3}
    space = {**BATCH_NORM, "hyperparameters": {"optimizer": lbfgs}}
    for name in ("true", "false"):
        assert train(tmp_path / name, f"trainer.fast_loop={name}", space=space).error is None
    assert curves(tmp_path / "true") == curves(tmp_path / "false")


def is_fast_in(tmp_path, monkeypatch, *overrides):
    epochs = []
    loop = ChildModule._train_epoch
    monkeypatch.setattr(ChildModule, "_train_epoch", lambda *a: (epochs.append(1), loop(*a))[1])
    outcome = train(tmp_path, *overrides)
    assert outcome.error is None
    return bool(epochs)


@pytest.mark.parametrize("overrides", [(), ("trainer.max_time=00:01:00:00",)])
def test_the_fast_loop_is_used_where_it_is_safe(tmp_path, monkeypatch, overrides):
    assert is_fast_in(tmp_path, monkeypatch, *overrides)


@pytest.mark.parametrize(
    "override",
    [
        "gradient_clip_val=1.0",
        "accumulate_grad_batches=2",
        "limit_train_batches=2",
        "val_check_interval=0.5",
        "max_steps=12",
        "detect_anomaly=true",
        "profiler=simple",
        "overfit_batches=1",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_fast_loop_is_not_used_where_batches_matter(tmp_path, monkeypatch, override):
    assert not is_fast_in(tmp_path, monkeypatch, f"trainer.{override}")


def test_bfloat16_really_updates_the_weights_and_rounds(tmp_path):
    outcome = train(tmp_path / "half", "trainer.precision=bf16-mixed", "trainer.max_epochs=20")
    train(tmp_path / "full", "trainer.max_epochs=20")
    assert outcome.reward > 0.8
    assert curves(tmp_path / "half")[0]["train_loss"] != curves(tmp_path / "full")[0]["train_loss"]


def test_the_time_limit_ends_training_within_an_epoch(tmp_path):
    outcome = train(
        tmp_path, "trainer.max_epochs=-1", "trainer.max_time.seconds=1", "data.batch_size=1"
    )
    lines = curves(tmp_path)
    assert outcome.status == "completed"
    assert 0.9 < outcome.cost_s < 30
    assert lines[-1]["step"] % 90 or len(lines) > 1
    assert "val_accuracy" in lines[-1]


def test_steps_are_counted_in_the_curves(tmp_path):
    train(tmp_path)
    assert [line["step"] for line in curves(tmp_path)] == [6, 12, 18]  # 90 examples by 16
    assert [line["epoch"] for line in curves(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_a_step_schedule_changes_the_learning_rate_after_its_epochs(tmp_path, fast_loop):
    train(
        tmp_path,
        f"trainer.fast_loop={fast_loop}",
        "trainer.max_epochs=5",
        "scheduler.step_size=2",
        "optimizer.lr=1.0",
        scheduler="step",
    )
    rates = [line["learning_rate"] for line in curves(tmp_path)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_a_plateau_lowers_the_learning_rate_down_to_its_least(tmp_path, fast_loop):
    train(
        tmp_path,
        f"trainer.fast_loop={fast_loop}",
        "trainer.max_epochs=6",
        "optimizer.lr=1e-8",  # nothing improves by a tenth
        "scheduler.threshold=0.1",
        "scheduler.patience=1",
        "scheduler.min_lr=1e-9",
        scheduler="plateau",
    )
    rates = [line["learning_rate"] for line in curves(tmp_path)]
    assert rates == pytest.approx([1e-8, 1e-8, 1e-8, 1e-9, 1e-9, 1e-9])


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_early_stopping_waits_for_its_patience(tmp_path, fast_loop):
    outcome = train(
        tmp_path,
        f"trainer.fast_loop={fast_loop}",
        "trainer.max_epochs=50",
        "trainer.stop_patience=4",
        "trainer.stop_min_delta=2.0",  # accuracy cannot improve by that
    )
    assert outcome.metrics["epochs"] == 5


def test_best_checkpoint_gives_the_recorded_best_metric(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=8", "optimizer.lr=0.3")
    lines = curves(tmp_path)
    accuracies = [line["val_accuracy"] for line in lines]
    best = weights(tmp_path)
    assert best["metrics"]["val_accuracy"] == max(accuracies) == outcome.reward
    assert best["epoch"] == accuracies.index(max(accuracies)) < 7

    trainer = make_trainer()
    genotype = trainer.space.walk(lambda decision: 0)
    network, _ = trainer.space.freeze(genotype).build((4,))
    network.load_state_dict(best["state_dict"])
    data = trainer.construct(trainer.config["data"], "data")
    data.setup("fit")
    x, y = (torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True))
    correct = (network.eval()(x).argmax(dim=1) == y).sum().item()
    assert correct / len(y) == pytest.approx(max(accuracies))


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("none", set()),
        ("best", {"best.ckpt"}),
        ("last", {"last.ckpt"}),
        ("all", {"best.ckpt", "last.ckpt"}),
    ],
)
def test_only_the_weights_asked_for_are_kept(tmp_path, keep, expected):
    train(tmp_path, f"trainer.checkpoint={keep}")
    assert {path.name for path in child_folder(tmp_path, 0).glob("*.ckpt")} == expected


@pytest.mark.parametrize("fast_loop", [True, False])
def test_training_can_go_on_from_the_last_checkpoint(tmp_path, fast_loop):
    train(tmp_path, "trainer.checkpoint=last", f"trainer.fast_loop={fast_loop}")
    trainer = make_trainer()
    config = trainer.config
    network, _ = trainer.space.freeze({"0/affine/units": 0}).build((4,))
    lines = []
    module = ChildModule(
        network,
        construct(config["task"], "task", num_outputs=3),
        partial(construct, config["optimizer"], "optimizer"),
        Schedule(config["scheduler"], construct),
        lambda: Length.of(lightning, None),
        lambda line: None,
        lines.append,
        is_channels_last=False,
        is_fast=fast_loop,
    )
    longer = {**config["trainer"], "max_epochs": 5}
    with without_messages():
        first = [Measuring(keeps_weights=False)]
        lightning = arguments.make_trainer(longer, tmp_path, construct, [], first=first)
        data = load_data(config["data"], lightning, 0, construct)
        loaded = LoadedData(data, is_fast=fast_loop)
        last = child_folder(tmp_path, 0) / "last.ckpt"
        lightning.fit(module, datamodule=loaded, ckpt_path=last, weights_only=False)
    assert [line["epoch"] for line in lines] == [3, 4]
    assert [line["step"] for line in lines] == [24, 30]
    assert lines[0]["train_loss"] < curves(tmp_path)[-1]["train_loss"]


def test_the_folder_says_what_the_child_was_told_and_became(tmp_path):
    space = {**DROPOUT, "hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.02]}}}
    outcome = train(tmp_path, space=space, index=7, genotype={"hyperparameters/optimizer.lr": 1})
    folder = tmp_path / "children" / "0007"
    assert json.loads((folder / "proposal.json").read_text())["genotype"] == (
        outcome.proposal.genotype
    )
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["lr"] == 0.02
    assert curves(tmp_path, 7)[0]["learning_rate"] == 0.02
    written = json.loads((folder / "outcome.json").read_text())
    assert written == replace(outcome, cost_s=written["cost_s"]).to_json()
    assert {path.name for path in folder.iterdir()} == {
        "proposal.json",
        "config.yaml",
        "curves.jsonl",
        "best.ckpt",
        "outcome.json",
    }


def test_a_hyperparameter_may_be_a_whole_optimizer(tmp_path):
    sgd = {"_target_": "torch.optim.SGD", "lr": 1.0, "momentum": 0.9}
    adam = {"_target_": "torch.optim.Adam", "lr": 1.0}
    settings = {"optimizer": {"oneof": [adam, sgd]}, "optimizer.lr": {"oneof": [0.1, 0.2]}}
    genotype = {"hyperparameters/optimizer": 1, "hyperparameters/optimizer.lr": 1}
    space = {**DROPOUT, "hyperparameters": settings}
    assert train(tmp_path, space=space, genotype=genotype).error is None
    config = yaml.safe_load((child_folder(tmp_path, 0) / "config.yaml").read_text())
    assert config["optimizer"] == {**sgd, "lr": 0.2}


def test_data_in_memory_is_read_once_for_all_children(tmp_path, monkeypatch):
    reads = []
    read = Blobs.read_fit
    monkeypatch.setattr(Blobs, "read_fit", lambda self: (reads.append(1), read(self))[1])
    trainer = make_trainer(data={**BLOBS, "split_seed": 7})
    task = trainer.task(tmp_path, 0)
    genotype = trainer.space.walk(lambda decision: 0)
    for index in range(3):
        assert train_one(task, Proposal(index, genotype)).error is None
    assert reads == [1]


def test_what_own_data_remembers_does_not_pass_from_child_to_child(tmp_path):
    data = {**OWN, "_target_": "tests.children.odd_data.Remembering"}
    trainer = make_trainer(data=data)
    genotype = trainer.space.walk(lambda decision: 0)
    task = trainer.task(tmp_path, 0)
    for index in range(2):
        assert train_one(task, Proposal(index, genotype)).error is None
    alone = train_one(trainer.task(tmp_path / "alone", 0), Proposal(1, genotype))
    assert curves(tmp_path, 1) == curves(tmp_path / "alone", 1)
    assert alone.error is None


def test_a_callback_changes_the_data_module_itself(tmp_path):
    data = {**OWN, "_target_": "tests.children.odd_data.Remembering"}
    callback = "[{_target_: tests.children.odd_data.Curriculum, path: %s}]" % (tmp_path / "log")
    assert train(tmp_path, f"trainer.callbacks={callback}", data=data).error is None
    assert (tmp_path / "log").read_text().split()[-3:] == ["0", "1", "2"]


def test_a_random_split_is_the_same_for_every_child_of_a_study(tmp_path):
    data = {**OWN, "_target_": "tests.children.blobs.RandomBlobs"}
    first = train(tmp_path / "a", data=data, index=3)
    train(tmp_path / "b", data=BLOBS)  # drops the data set that is kept
    train(tmp_path / "b", data=data, index=1)
    assert train(tmp_path / "b", data=data, index=3).metrics == first.metrics


def test_trainer_and_task_travel_by_pickle(tmp_path):
    trainer = pickle.loads(pickle.dumps(make_trainer()))
    task = pickle.loads(pickle.dumps(trainer.task(tmp_path, 0)))
    genotype = trainer.space.walk(lambda decision: 0)
    assert train_one(task, Proposal(0, genotype)).reward == train(tmp_path / "other").reward


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "train_loss is nan in epoch 0, before val_accuracy was measured"),
        ("raise", "RuntimeError: the user's module broke"),
        ("memory", "OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB"),
        ("exit", "SystemExit: 3"),
        ("base", "BaseException: the user's module raised it"),
        ("generator", "GeneratorExit"),
    ],
)
def test_a_child_that_breaks_is_a_failed_outcome(tmp_path, how, message):
    outcome = train(tmp_path, space=broken(how), is_rehearsed=False)
    assert (outcome.status, outcome.reward) == ("failed", None)
    assert outcome.error.splitlines()[-1].endswith(message)
    assert len(outcome.error.splitlines()) <= 12
    written = json.loads((child_folder(tmp_path, 0) / "outcome.json").read_text())
    assert (written["status"], written["error"]) == ("failed", outcome.error)
    assert train(tmp_path, index=1).status == "completed"


def test_a_copy_of_the_process_ends_and_writes_nothing(tmp_path):
    outcome = train(tmp_path, space=broken("fork"), is_rehearsed=False)
    _, status = os.waitpid(-1, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert outcome.status == "completed"
    assert [line["epoch"] for line in curves(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("fast_loop", "reduce"),
    [
        (True, "best"),
        (True, "last"),
        (True, "max_last"),
        (True, "mean_last"),
        (False, "best"),  # what a loop has measured is reduced in one place
        (False, "mean_last"),
    ],
)
def test_a_child_that_diverges_keeps_what_was_measured_before(tmp_path, fast_loop, reduce):
    given = (f"trainer.fast_loop={fast_loop}", f"task.reward.reduce={reduce}")
    outcome = train(tmp_path / "a", *given, "trainer.max_epochs=9", space=broken("nan in step 15"))
    before = train(tmp_path / "b", *given, "trainer.max_epochs=2", space=broken("nothing"))
    assert (outcome.status, outcome.error) == ("completed", None)
    assert outcome.reward == before.reward  # there are 6 steps an epoch
    assert outcome.metrics == {**before.metrics, "diverged": 1}
    assert curves(tmp_path / "a") == curves(tmp_path / "b")
    assert weights(tmp_path / "a")["epoch"] == weights(tmp_path / "b")["epoch"]
    log = (child_folder(tmp_path / "a", 0) / "log.txt").read_text()
    assert "training ends, as train_loss is nan in epoch 2" in log


@pytest.mark.parametrize("reduce", ["best", "last", "max_last"])
def test_what_follows_a_diverged_epoch_counts_for_nothing(tmp_path, reduce):
    given = (f"task.reward.reduce={reduce}", "trainer.max_epochs=6")
    lost = "trainer.callbacks=[{_target_: tests.children.blobs.LosesEpoch, epoch: 2}]"
    outcome = train(tmp_path, *given, lost, "+trainer.min_epochs=5")
    assert outcome.error is None
    assert [line["epoch"] for line in curves(tmp_path)] == [0, 1]
    kept = weights(tmp_path)
    assert kept["epoch"] == outcome.metrics["reward_epoch"]
    assert kept["metrics"]["val_accuracy"] == outcome.reward
    assert all(value.any() for value in kept["state_dict"].values())


def test_a_child_that_diverges_counts_with_chance_or_fails_where_that_is_the_rule(tmp_path):
    space = broken("nan in step 15")
    outcome = train(tmp_path / "chance", "task.reward.diverged=chance", space=space)
    assert (outcome.status, outcome.reward) == ("completed", 1 / 3)
    assert outcome.metrics == {"val_accuracy": 1 / 3, "epochs": 2, "diverged": 1}
    assert not (child_folder(tmp_path / "chance", 0) / "best.ckpt").exists()
    outcome = train(tmp_path / "failed", "task.reward.diverged=failed", space=space)
    assert (outcome.status, outcome.reward) == ("failed", None)
    assert "train_loss is nan in epoch 2" in outcome.error
    assert outcome.metrics["epochs"] == 2


@pytest.mark.parametrize("reduce", ["best", "last", "max_last"])
@pytest.mark.parametrize("rate", [0.001, 0.3])
def test_reward_weights_and_metrics_are_of_the_same_epoch(tmp_path, reduce, rate):
    outcome = train(
        tmp_path,
        "trainer.max_epochs=8",
        f"optimizer.lr={rate}",
        f"task.reward.reduce={reduce}",
        "task.reward.last_epochs=3",
    )
    kept, lines = weights(tmp_path), curves(tmp_path)
    accuracies = [line["val_accuracy"] for line in lines]
    looked_at = {"best": accuracies, "last": accuracies[-1:], "max_last": accuracies[-3:]}[reduce]
    place = len(accuracies) - len(looked_at) + looked_at.index(max(looked_at))
    assert outcome.reward == max(looked_at)
    assert kept["epoch"] == outcome.metrics["reward_epoch"] == place
    for name in ("val_accuracy", "val_loss", "train_loss", "learning_rate"):
        assert outcome.metrics[name] == kept["metrics"][name] == lines[place][name]
    assert outcome.metrics["epochs"] == 8


@pytest.mark.parametrize(
    ("override", "space"),
    [
        ("trainer.callbacks=null", broken("interrupt")),
        ("trainer.callbacks=[{_target_: tests.children.blobs.InterruptAtSetup}]", MLP),
    ],
)
def test_ctrl_c_is_not_a_failure_of_the_child(tmp_path, override, space):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, override, space=space)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (child_folder(tmp_path, 0) / "outcome.json").exists()


def test_sigterm_is_not_a_failure_of_the_child(tmp_path):
    with pytest.raises(ToldToStop, match="SIGTERM"), stopped_by_signals():
        train(tmp_path, space=broken("terminate"))
    assert not (child_folder(tmp_path, 0) / "outcome.json").exists()


def test_an_error_of_cleaning_up_after_ctrl_c_hides_nothing():
    def fit():
        try:
            raise ToldToStop(signal.SIGTERM)
        finally:
            raise RuntimeError("DataLoader worker is killed by signal: Terminated")

    with pytest.raises(ToldToStop, match="SIGTERM"), interruptible():
        fit()


@pytest.mark.slow
@pytest.mark.parametrize("is_rehearsed", [True, False], ids=["rehearsal", "child"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_sigterm_to_the_loaders_of_data_too_is_no_failure(tmp_path, is_rehearsed):
    callback = "trainer.callbacks=[{_target_: tests.children.blobs.TerminateAll}]"
    with pytest.raises(SIGTERMException):
        train(tmp_path, callback, data=WORKERS, is_rehearsed=is_rehearsed)
    assert not (child_folder(tmp_path, 0) / "outcome.json").exists()


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_mixed_precision_is_of_the_forward_pass_alone(tmp_path, fast_loop):
    overrides = ("trainer.precision=bf16-mixed", f"trainer.fast_loop={fast_loop}")
    assert train(tmp_path, *overrides, space=broken("refuse autocast")).error is None


def test_an_outcome_that_cannot_be_written_is_no_outcome(tmp_path):
    (tmp_path / "children").write_text("a file where the folder should be")
    with pytest.raises(MachineError, match=r"the outcome could not be written: .*children"):
        train(tmp_path)


def test_a_disk_that_is_full_is_no_failure_of_the_child(tmp_path):
    child = child_folder(tmp_path, 0)
    child.mkdir(parents=True)
    (child / "best.ckpt.unfinished").symlink_to("/dev/full")
    with pytest.raises(MachineError, match="No space left on device"):
        train(tmp_path)
    assert not (child / "outcome.json").exists()


def test_nothing_is_printed_and_warnings_go_to_the_childs_log(tmp_path, capfd):
    outcome = train(tmp_path, space=broken("warn"))
    assert outcome.error is None
    assert capfd.readouterr() == ("", "")
    log = (child_folder(tmp_path, 0) / "log.txt").read_text()
    assert log.count("UserWarning: the user's module warns") == 1


def test_a_powered_reward_of_the_last_epochs_is_that_of_the_curves(tmp_path):
    outcome = train(
        tmp_path,
        "trainer.max_epochs=6",
        "task.reward.reduce=max_last",
        "task.reward.last_epochs=2",
        "task.reward.power=3",
    )
    last = [line["val_accuracy"] for line in curves(tmp_path)][-2:]
    assert outcome.reward == pytest.approx(max(last) ** 3)


def test_callbacks_of_a_user_are_built_and_called(tmp_path):
    callbacks = "[{_target_: pytorch_lightning.callbacks.LambdaCallback}]"
    assert train(tmp_path, f"trainer.callbacks={callbacks}").error is None
    assert Path(tmp_path).exists()


def test_what_callbacks_log_is_in_the_line_of_its_time_alone(tmp_path):
    logs = "trainer.callbacks=[{_target_: tests.children.blobs.Logs}]"
    every = "trainer.check_val_every_n_epoch=2"
    outcome = train(tmp_path, logs, every, "trainer.max_epochs=4", "trainer.limit_train_batches=3")
    assert outcome.metrics["own"] == 30
    lines = curves(tmp_path)
    assert [line["own"] for line in lines] == [0, 10, 20, 30]
    assert [line["of_batch"] for line in lines] == [2, 2, 2, 2]
    assert [line.get("own_of_validation") for line in lines] == [None, 100, None, 300]
    assert [line.get("first") for line in lines] == [1, None, None, None]
    assert all(line["train_loss"] > 0 for line in lines)


def test_validations_at_other_times_repeat_nothing_that_callbacks_logged(tmp_path):
    names = ("Logs", "ChangesAtEnd")
    callbacks = ", ".join(f"{{_target_: tests.children.blobs.{name}}}" for name in names)
    told = ("trainer.max_epochs=2", "trainer.limit_train_batches=4", "trainer.val_check_interval=2")
    train(tmp_path, f"trainer.callbacks=[{callbacks}]", *told)
    lines = curves(tmp_path)
    ends = ["train_loss" in line for line in lines]
    assert ends[-1] is False  # the validation after the last epoch
    assert ends.count(True) == 2
    assert [line.get("own") for line in lines if "train_loss" in line] == [0, 10]
    assert not any("own" in line for line in lines if "train_loss" not in line)
    assert all("own_of_validation" in line for line in lines if "val_loss" in line)


@pytest.mark.parametrize(("rule", "factor"), [("none", 1), ("linear", 4), ("sqrt", 2)])
def test_the_learning_rate_scales_with_the_batches_of_a_step(tmp_path, rule, factor):
    train(tmp_path, "trainer.accumulate_grad_batches=4", f"trainer.scale_learning_rate={rule}")
    assert curves(tmp_path)[0]["learning_rate"] == pytest.approx(0.01 * factor)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "much"])
def test_a_reward_that_is_no_finite_number_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.setattr(Reward, "__call__", lambda self, curves: value)
    outcome = train(tmp_path)
    assert (outcome.status, outcome.reward) == ("failed", None)
    assert f"task.reward must give a finite number, got {value!r}" in outcome.error
