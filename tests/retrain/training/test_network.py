import json
from pathlib import Path

import pytest
import torch
import yaml

from nasrunner.core import ConfigError, Proposal
from nasrunner.retrain.training.network import TrainNetwork, check_network
from nasrunner.retrain.training.recipe import network_folder, repetition_seed
from nasrunner.retrain.training.tasks import RetrainTask
from tests.children.blobs import OWN, Batches, Killed, OwnBlobs, broken, make_trainer

DATA = {**OWN, "_target_": "tests.retrain.training.test_network.TestedBlobs", "path": None}
SEARCHED = {
    "concat": [{"affine": {"units": 8}}, "relu", {"affine": {"units": 3}}],
    "hyperparameters": {"optimizer.lr": {"oneof": [0.01, 0.02]}},
}


class TestedBlobs(OwnBlobs):
    """Blobs with 60 examples for the test, which writes down what it is asked to read."""

    __test__ = False

    def __init__(self, path, **arguments):
        super().__init__(**arguments)
        self.path = path

    def setup(self, stage):
        with Path(self.path).open("a") as log:
            log.write(f"{stage} ")
        super().setup("fit")
        if getattr(self, "is_joined", False):
            both = [torch.cat(parts) for parts in zip(self.train, self.validation, strict=True)]
            self.train, self.validation = tuple(both), tuple(each[:0] for each in both)
        generator = torch.Generator().manual_seed(2)
        x, y = self.train
        self.test = (x[:60] + torch.randn(60, 4, generator=generator), y[:60])

    def join_validation(self):
        self.is_joined = True

    def test_dataloader(self):
        return Batches(*self.test, 40, is_shuffled=False)


class Untested(OwnBlobs):
    def __init__(self, path, **arguments):
        super().__init__(**arguments)


class Joined(TestedBlobs):
    """Has no validation part any more once that is joined."""

    __test__ = False

    def val_dataloader(self):
        assert not getattr(self, "is_joined", False)
        return super().val_dataloader()


class Unjoinable(TestedBlobs):
    join_validation = None


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def retrain_task(folder, *overrides, on="train", data=None, seed=0, **arguments):
    data = {**DATA, "path": str(folder / "log"), **(data or {})}
    trainer = make_trainer(*overrides, data=data, **arguments)
    return RetrainTask(trainer.task(folder, seed), on)


def retrain(folder, *overrides, repetition=0, choose=lambda decision: 0, **arguments):
    task = retrain_task(folder, *overrides, **arguments)
    genotype = task.child.space.walk(choose)
    outcome = task(Proposal(7, genotype, notes={"repetition": repetition}))
    return outcome, network_folder(folder, "0007", repetition)


def record(folder, name="tested.json"):
    return json.loads((folder / name).read_text())


def measured(folder, log, state):
    """Accuracy on the test part of a network with these weights, computed here."""
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    network.load_state_dict(state)
    data = TestedBlobs(**{k: v for k, v in DATA.items() if k != "_target_"} | {"path": str(log)})
    data.setup("test")
    x, y = data.test
    return float((network(x).argmax(1) == y).float().mean())


def test_a_network_is_tested_once_after_its_training(tmp_path, log):
    outcome, folder = retrain(tmp_path)
    assert outcome.error is None
    assert log.read_text() == "fit fit test "  # the first by the rehearsal
    tested = record(folder)
    assert tested["examples"] == 60
    assert set(tested["metrics"]) == {"test_loss", "test_accuracy"}
    assert tested["metrics"].items() <= outcome.metrics.items()
    assert record(folder, "outcome.json")["metrics"] == outcome.metrics


def test_the_weights_tested_are_those_of_the_best_validation_epoch(tmp_path, log):
    overrides = ("trainer.max_epochs=8", "optimizer.lr=0.3")
    outcome, folder = retrain(tmp_path, *overrides)
    best = torch.load(folder / "best.ckpt", weights_only=True)
    curve = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    accuracies = [line["val_accuracy"] for line in curve]
    tested = record(folder)
    assert tested["weights"] == "best.ckpt"
    assert tested["epoch"] == best["epoch"] == accuracies.index(max(accuracies)) < 7
    expected = measured(tmp_path, log, best["state_dict"])
    assert outcome.metrics["test_accuracy"] == pytest.approx(expected)
    assert outcome.reward == max(accuracies)


def test_on_train_and_validation_all_is_trained_on_and_the_last_weights_are_tested(tmp_path, log):
    overrides = ("trainer.max_epochs=4", "trainer.stop_patience=0")
    outcome, folder = retrain(tmp_path, *overrides, on="train_and_validation")
    assert outcome.error is None
    assert outcome.reward is None
    curve = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [9, 18, 27, 36]  # 135 examples in batches of 16
    assert not any(name.startswith("val_") for line in curve for name in line)
    tested = record(folder)
    assert (tested["weights"], tested["epoch"]) == ("last.ckpt", 3)
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    network = {name.removeprefix("network."): v for name, v in state.items() if "network." in name}
    assert outcome.metrics["test_accuracy"] == pytest.approx(measured(tmp_path, log, network))
    assert not (folder / "best.ckpt").exists()


def test_on_train_and_validation_nothing_asks_for_validation_examples(tmp_path):
    data = {"_target_": "tests.retrain.training.test_network.Joined"}
    outcome, _ = retrain(tmp_path, on="train_and_validation", data=data)
    assert outcome.error is None


def test_the_loops_agree_on_the_test(tmp_path):
    found = [
        retrain(tmp_path / name, f"trainer.fast_loop={name}", data={"path": str(tmp_path / "log")})
        for name in ("true", "false")
    ]
    assert record(found[0][1])["metrics"] == record(found[1][1])["metrics"]


def test_a_repetition_is_the_same_again_and_another_one_is_not(tmp_path):
    data = {"path": str(tmp_path / "log")}
    losses = [
        retrain(tmp_path / name, repetition=repetition, data=data)[0].metrics["train_loss"]
        for name, repetition in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_no_repetition_has_the_seed_of_another_or_of_a_study_beside_it():
    seeds = [repetition_seed(seed, repetition) for seed in range(3) for repetition in range(5)]
    assert len(set(seeds)) == 15


def test_a_network_that_broke_is_not_tested(tmp_path, log):
    outcome, folder = retrain(tmp_path, space=broken("nan"))
    assert outcome.status == "failed"
    assert "train_loss is nan" in outcome.error
    assert log.read_text() == "fit fit "
    assert not (folder / "tested.json").exists()


def test_training_anew_forgets_the_test_of_the_network_before(tmp_path, monkeypatch):
    _, folder = retrain(tmp_path)
    assert (folder / "tested.json").exists()

    def look(*_):
        assert not (folder / "tested.json").exists()
        assert not (folder / "outcome.json").exists()
        raise RuntimeError("looked")

    monkeypatch.setattr(TrainNetwork, "_train", look)
    outcome, _ = retrain(tmp_path)
    assert "RuntimeError: looked" in outcome.error
    assert not (folder / "tested.json").exists()


def test_hyperparameters_that_were_searched_are_applied(tmp_path):
    outcome, folder = retrain(tmp_path, space=SEARCHED, choose=lambda decision: 1)
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["lr"] == 0.02
    assert outcome.metrics["learning_rate"] == 0.02


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        (["trainer.checkpoint=none"], {}, "checkpoint=none keeps no weights .* best, last, all"),
        (
            [],
            {"data": {"_target_": "tests.retrain.training.test_network.Untested"}},
            r"Untested has no test_dataloader\(\), so nothing can be tested",
        ),
        (
            [],
            {
                "data": {"_target_": "tests.retrain.training.test_network.Unjoinable"},
                "on": "train_and_validation",
            },
            r"Unjoinable has no join_validation\(\), .* legal without it: on=train",
        ),
        (
            [],
            {"scheduler": "plateau", "on": "train_and_validation"},
            "scheduler.monitor=val_loss is not measured with on=train_and_validation",
        ),
    ],
)
def test_what_no_network_could_be_trained_with_is_found_before(
    tmp_path, overrides, arguments, message
):
    task = retrain_task(tmp_path, *overrides, **arguments)
    with pytest.raises(ConfigError, match=message):
        check_network(task, task.child.space.walk(lambda decision: 0))


@pytest.mark.parametrize("on", ["train", "train_and_validation"])
def test_a_network_that_can_be_trained_passes_the_check(tmp_path, on):
    task = retrain_task(tmp_path, "scheduler.monitor=train_loss", scheduler="plateau", on=on)
    check_network(task, task.child.space.walk(lambda decision: 0))


def test_a_network_goes_on_where_its_training_was_interrupted(tmp_path, log):
    stop = f"{{_target_: tests.children.blobs.StopOnce, path: {tmp_path}/stopped, epoch: 2}}"
    told = ("trainer.checkpoint_every_s=0", f"trainer.callbacks=[{stop}]")
    with pytest.raises(Killed):
        retrain(tmp_path, *told)
    outcome, folder = retrain(tmp_path, *told)
    lines = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    stopped_at = (tmp_path / "stopped").stat().st_mtime
    assert [line["time"] <= stopped_at for line in lines] == [True, True, False]
    anew, _ = retrain(tmp_path, *told)
    assert outcome.metrics == anew.metrics


def test_several_devices_are_refused_where_networks_are_tested(tmp_path):
    task = retrain_task(tmp_path, "trainer.devices=2")
    with pytest.raises(ConfigError, match=r"on one device, not with trainer.devices=2 .*; legal"):
        check_network(task, task.child.space.walk(lambda decision: 0))
