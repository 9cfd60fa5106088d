import json

import pytest
from torch import nn

from nasrunner.children.fit.batch_norm import batch_norms, set_epsilon
from nasrunner.core import ConfigError, Proposal, child_folder
from nasrunner.retrain.training.network import TrainNetwork
from nasrunner.retrain.training.recipe import network_folder
from nasrunner.retrain.training.tasks import RetrainTask
from tests.children.blobs import make_trainer, train
from tests.children.progress.test_continuing import interrupt, uninterrupted, without_times
from tests.retrain.training.test_network import DATA

EPSILON = "trainer.batch_norm_epsilon"


class Block(nn.Module):
    """A user's module with a batch normalization of its own in it."""

    def __init__(self, in_shape):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(*in_shape, *in_shape), nn.BatchNorm1d(*in_shape))

    def forward(self, x):
        return self.inner(x)


def space(epsilon=1e-5, *more):
    norm = {"batch_norm": {"eps": epsilon}}
    return {"concat": [{"affine": {"units": 8}}, norm, *more, "relu", {"affine": {"units": 3}}]}


def curves(folder):
    lines = (folder / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_the_setting_does_what_the_epsilon_of_the_space_would(tmp_path, fast_loop):
    loop = f"trainer.fast_loop={fast_loop}"
    train(tmp_path / "set", f"{EPSILON}=2.5", loop, space=space())
    train(tmp_path / "space", loop, space=space(2.5))
    train(tmp_path / "neither", loop, space=space())
    found = [curves(child_folder(tmp_path / name, 0)) for name in ("set", "space", "neither")]
    assert found[0] == found[1] != found[2]


def test_it_is_the_epsilon_of_networks_that_are_retrained(tmp_path):
    found = []
    for name, overrides, epsilon in (("set", [f"{EPSILON}=2.5"], 1e-5), ("space", [], 2.5)):
        data = {**DATA, "path": str(tmp_path / "log")}
        trainer = make_trainer(*overrides, data=data, space=space(epsilon))
        task = RetrainTask(trainer.task(tmp_path / name, 0), "train_and_validation")
        assert TrainNetwork(task)(Proposal(0, {}, notes={"repetition": 0})).error is None
        found.append(curves(network_folder(tmp_path / name, "0000", 0)))
    assert found[0] == found[1]


def test_a_child_that_goes_on_keeps_it(tmp_path):
    given = (f"{EPSILON}=2.5", "trainer.checkpoint_every_s=0", "trainer.max_epochs=8")
    told = interrupt(tmp_path / "cut", *given, space=space())
    train(tmp_path / "cut", *told, space=space())
    uninterrupted(tmp_path / "whole", *given[1:], space=space(2.5))
    assert without_times(tmp_path / "cut") == without_times(tmp_path / "whole")


def test_every_batch_normalization_has_it_whoever_made_it(tmp_path):
    own = {"_target_": "tests.children.fit.test_batch_norm.Block"}
    trainer = make_trainer(space=space(1e-5, own))
    network, _ = trainer.space.freeze({}).build((4,))
    set_epsilon(network, 0.25)
    assert [layer.eps for layer in batch_norms(network)] == [0.25, 0.25]
    set_epsilon(network, None)
    assert [layer.eps for layer in batch_norms(network)] == [0.25, 0.25]
    norms = nn.Sequential(nn.LayerNorm(4, eps=1e-3), nn.InstanceNorm1d(4, eps=1e-3))
    set_epsilon(norms, 0.25)
    assert [layer.eps for layer in norms] == [1e-3, 1e-3]


@pytest.mark.parametrize("value", ["0", "-0.1", "true", "small", ".inf"])
def test_what_is_no_epsilon_is_refused_before_training(value):
    with pytest.raises(ConfigError, match=r"batch_norm_epsilon must be float > 0 or null, got"):
        make_trainer(f"{EPSILON}={value}", space=space())
