import json
import subprocess
import sys

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from nasrunner.children.blueprint import count_flops
from nasrunner.children.tasks.reward import Reward
from nasrunner.core import ConfigError, DataError, Proposal, SpaceError
from nasrunner.spaces.language.parsing import parse_space
from tests.children.blobs import BLOBS, CONFIG, MLP, OWN, broken, make_trainer
from tests.toys import train_one

IMAGES = {**BLOBS, "in_shape": [3, 32, 32], "num_outputs": 10}


def shipped(name):
    text = (CONFIG / "space" / f"{name}.yaml").read_text()
    return yaml.safe_load(text.replace('"${data.num_outputs}"', "10"))


def searched(**settings):
    return {**MLP, "hyperparameters": settings}


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        (["trainer.max_epoch=3"], {}, r"trainer.max_epoch: .*did you mean 'max_epochs'\?.*Legal"),
        (["trainer.precision=17"], {}, "trainer.precision must be one of .* got 17"),
        (["trainer.accelerator=tpv"], {}, "trainer: .*tpv"),
        (["trainer.checkpoint=bset"], {}, "checkpoint must be one of best, last, .* got 'bset'"),
        (["trainer.stop_patience=-1"], {}, "stop_patience must be int >= 0 or null, got -1"),
        (["trainer.stop_min_delta=-1"], {}, "stop_min_delta must be float >= 0, got -1"),
        (["optimizer.lr=-1"], {}, "optimizer: Invalid learning rate: -1"),
        (["optimizer.lrr=1"], {}, r"optimizer.lrr: Adam takes no 'lrr', did you mean 'lr'"),
        (["optimizer._target_=torch.nn.ReLU"], {}, "optimizer"),
        (["scheduler.factor=2"], {}, "scheduler: .*factor"),
        (
            ["scheduler.factor=2"],
            {"scheduler": "plateau"},
            r"factor must be float in \(0, 1\), got 2",
        ),
        (["scheduler.monitor=val_f1"], {"scheduler": "plateau"}, "'val_f1' is never logged"),
        (
            [
                "scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau",
                "scheduler.total_iters=0",
            ],
            {},
            "scheduler.total_iters: ReduceLROnPlateau takes no",
        ),
        (["task.reward.metric=val_acc"], {}, "'val_acc' is never logged, .*val_accuracy"),
        (
            ["task.reward.metric=val_loss"],
            {},
            "task.reward.mode=max, but val_loss is better when it is lower; legal: min",
        ),
        (
            ["task.reward.mode=min"],
            {},
            "task.reward.mode=min, but val_accuracy is better when it is higher; legal: max",
        ),
        (
            ["scheduler.monitor=val_accuracy"],
            {"scheduler": "plateau"},
            "scheduler.mode=min, but val_accuracy is better when it is higher; legal: max",
        ),
        (["task.reward.power=0"], {}, "task.reward.power must be a number > 0, got 0"),
        (["task.metrics.f1={}"], {}, r"task.metrics.f1: there is no such metric, .*f1_score"),
        (["task.metrics.accuracy.average=median"], {}, r"task.metrics.accuracy: .*median"),
        (["task.label_smooth=0.1"], {}, "task.label_smooth: Classification takes no"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_before_training(overrides, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(*overrides, **arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer.lrr": {"oneof": [1, 2]}}, r"has no 'optimizer.lrr', did you mean 'optimizer"),
        ({"lr": 0.1}, r"has no 'lr', did you mean 'optimizer.lr'\?"),
        ({"optimizer.amsgrad": True}, r"no 'optimizer.amsgrad' yet: \+optimizer.amsgrad=… adds"),
        ({"optimiser.lr": 0.1}, r"has no 'optimiser.lr', did you mean 'optimizer.lr'"),
        (
            {"optimizer.lr": {"oneof": [0.1, -0.1]}},
            r"optimizer: Invalid learning rate: -0.1 "
            r"\(with space.hyperparameters optimizer.lr=-0.1\)",
        ),
        (
            {"optimizer": {"oneof": [{"_target_": "torch.optim.Adm"}]}},
            "optimizer._target_: cannot import 'torch.optim.Adm'",
        ),
        (
            {"trainer.precision": {"oneof": ["32-true", "31-true"]}},
            "trainer.precision must be one of .* got '31-true'",
        ),
        ({"task.label_smoothing": {"oneof": [0.0, 2.0]}}, "label_smoothing must be float in"),
    ],
)
def test_every_option_of_a_hyperparameter_is_tried_before_training(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(space=searched(**settings))


def test_a_hyperparameter_may_lie_below_one_that_replaces_its_parent():
    sgd = {"_target_": "torch.optim.SGD", "lr": 1.0, "momentum": 0.9}
    settings = {"optimizer": {"oneof": [sgd]}, "optimizer.momentum": {"oneof": [0.5, 0.9]}}
    make_trainer(space=searched(**settings))


def test_a_missing_file_is_found_before_training(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.csv is missing"):
        make_trainer(data={**BLOBS, "path": str(tmp_path / "nowhere.csv")})


def test_a_data_module_must_be_one():
    data = {"_target_": "types.SimpleNamespace", "in_shape": [4], "num_outputs": 3}
    with pytest.raises(DataError, match=r"must name a LightningDataModule, got types.Simple"):
        make_trainer(data=data)


def test_what_the_data_module_says_of_itself_must_agree():
    data = {**OWN, "_target_": "tests.children.blobs.Liar"}
    with pytest.raises(DataError, match=r"num_outputs is 3, but the data module says 4"):
        make_trainer(data=data)


def test_construction_says_nothing(capfd, recwarn):
    make_trainer()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_blueprint_counts_parameters_and_operations_by_hand():
    trainer = make_trainer()
    blueprint = trainer.inspect({"0/affine/units": 1})
    assert blueprint.parameters == 4 * 16 + 16 + 16 * 3 + 3
    assert blueprint.flops == 2 * (4 * 16 + 16 * 3)
    assert blueprint.text == "affine(units=16) → relu → affine(units=3)"
    assert blueprint.drawing == f"<svg>{blueprint.text}</svg>"
    assert blueprint.values == {"0/affine/units": 16}


def test_a_convolution_counts_two_for_each_multiply_add():
    space = {"concat": [{"conv2d": {"filters": 5, "kernel_size": 3}}, {"affine": {"units": 10}}]}
    for _ in range(2):  # the second time from what the first has found out
        blueprint = make_trainer(data=IMAGES, space=space, is_rehearsed=False).inspect({})
        assert blueprint.flops == 2 * 32 * 32 * 9 * 3 * 5 + 2 * 5 * 32 * 32 * 10


def test_remembered_layers_cost_the_same_as_those_that_are_run():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    space = parse_space(shipped("small_cnn"))
    for choice in range(3):
        genotype = space.walk(lambda d, choice=choice: choice % len(d.options))
        with torch.device("meta"):
            network, _ = space.freeze(genotype).build((3, 32, 32))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.empty(1, 3, 32, 32, device="meta"))
        for _ in range(2):
            with torch.device("meta"):
                network, _ = space.freeze(genotype).build((3, 32, 32))
            assert count_flops(network, (3, 32, 32)) == counter.get_total_flops()


def test_the_output_must_fit_the_data():
    trainer = make_trainer(space={"affine": {"units": 4}}, is_rehearsed=False)
    with pytest.raises(SpaceError, match=r"output has the shape \(4,\) but must have \(3,\)"):
        trainer.inspect({})


def test_an_impossible_shape_names_its_place():
    space = {"concat": [{"conv2d": {"filters": 2, "kernel_size": 3}}]}
    trainer = make_trainer(space=space, is_rehearsed=False)
    with pytest.raises(SpaceError, match=r"'0/conv2d': no conv2d on an input of shape \(4,\)"):
        trainer.inspect({})


def test_a_module_of_a_users_own_is_inspected_without_training():
    trainer = make_trainer(space=broken("raise"), is_rehearsed=False)
    assert trainer.inspect({}).parameters == 1 + 4 * 3 + 3


class NoWeights(TorchDispatchMode):
    """Refuses every operation that computes numbers for a large tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                assert tensor.numel() < 1000, f"{func} makes a tensor of {tuple(tensor.shape)}"
        return made


@pytest.mark.parametrize("name", ["figure1", "deepconv"])
def test_inspection_computes_neither_weights_nor_outputs(name):
    trainer = make_trainer(data=IMAGES, space=shipped(name), is_rehearsed=False)
    genotype = trainer.space.walk(lambda decision: len(decision.options) - 1)
    with NoWeights():
        assert trainer.inspect(genotype).parameters > 1000
        with pytest.raises(AssertionError, match="makes a tensor"):
            torch.nn.Linear(100, 100)


def test_a_study_folder_is_given_and_children_keep_to_theirs(tmp_path):
    trainer = make_trainer()
    train_one(trainer.task(tmp_path, 0), Proposal(12345, trainer.space.walk(lambda decision: 0)))
    assert [path.name for path in tmp_path.iterdir()] == ["children"]
    written = json.loads((tmp_path / "children" / "12345" / "proposal.json").read_text())
    assert written["index"] == 12345


class Loss(Reward):
    """A user's reward with a direction that no configuration says."""

    def __init__(self, metric, reduce, last_epochs, power, scale=1.0, diverged="failed"):
        super().__init__(metric, "min", reduce, last_epochs, power, scale, diverged)


def test_what_rewards_are_made_of_is_known_whether_configured_or_not():
    told = make_trainer(is_rehearsed=False).rewarded
    assert told == {"metric": "val_accuracy", "mode": "max"}
    own = (f"task.reward._target_={__name__}.Loss", "task.reward.metric=val_loss")
    trainer = make_trainer(*own, is_rehearsed=False)
    del trainer.config["task"]["reward"]["mode"]  # as ~task.reward.mode does
    assert trainer.rewarded == {"metric": "val_loss", "mode": "min"}


def test_a_study_is_composed_without_importing_lightning():
    code = (
        "import sys, nasrunner.children.lightning, nasrunner.compose.launch\n"
        "unwanted = {'pytorch_lightning', 'torchmetrics'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
