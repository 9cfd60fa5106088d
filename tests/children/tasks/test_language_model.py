import json
import math
from dataclasses import replace

import pytest
import torch

from nasrunner.children.tasks.language_model import LanguageModel
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import out_shape_of
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Proposal, SpaceError, child_folder
from nasrunner.retrain.training.network import TrainNetwork
from nasrunner.retrain.training.recipe import network_folder
from nasrunner.retrain.training.tasks import RetrainTask
from tests.children.blobs import Killed, make_trainer
from tests.children.texts import TEXT, Memory, first_network, model, text_trainer
from tests.data.texts import digits
from tests.sampling import one_in
from tests.toys import train_one


def task(unit="word", metrics=None, metric="val_perplexity", num_outputs=3):
    return LanguageModel(
        num_outputs=num_outputs,
        unit=unit,
        metrics=metrics or {},
        reward=Reward(metric, "min", "best", 1, -2, 80),
    )


def train(folder, *overrides, **arguments):
    trainer = text_trainer(*overrides, **arguments)
    genotype = trainer.space.walk(lambda decision: 0)
    return train_one(trainer.task(folder, 0), Proposal(0, genotype))


def curves(folder):
    lines = (child_folder(folder, 0) / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


def weights(path):
    return torch.load(path, weights_only=False)["state_dict"]


def loss_of_streams(state, tokens, num_streams):
    """The mean loss of a network that reads whole streams at once, computed here."""
    network = first_network(text_trainer())
    network.load_state_dict(state)
    for layer in network.modules():
        if isinstance(layer, Memory):
            layer.reset_state()  # it has seen zeros when the shape of its output was found out
    length = (len(tokens) - 1) // num_streams
    x = torch.as_tensor(tokens[: num_streams * length]).view(num_streams, length)
    y = torch.as_tensor(tokens[1 : num_streams * length + 1])
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(network.eval()(x).flatten(0, 1), y).item()


def test_the_loss_is_the_mean_over_all_steps_of_all_streams():
    p_BTV = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.2, 0.2, 0.6]] * 2])
    target_BT = torch.tensor([[0, 0], [2, 1]])
    expected = -sum(map(math.log, (0.5, 0.25, 0.6, 0.2))) / 4
    assert task().loss(p_BTV.log(), target_BT).item() == pytest.approx(expected)
    assert task().num_targets(target_BT) == 4


def test_guessing_among_v_tokens_has_perplexity_v_and_log2_v_bits():
    loss = task("character", num_outputs=50).loss(torch.zeros(2, 3, 50), torch.ones(2, 3).long())
    found = task("character").following(loss)
    assert found["perplexity"].item() == pytest.approx(50)
    assert found["bits_per_character"].item() == pytest.approx(math.log2(50))


def test_words_have_no_bits_per_character():
    assert task("word").logged_names() == ["train_loss", "val_loss", "val_perplexity"]
    assert "val_bits_per_character" in task("character").logged_names()
    with pytest.raises(ConfigError, match="'val_bits_per_character' is never logged"):
        task("word", metric="val_bits_per_character")


def test_a_perplexity_beyond_float32_is_its_largest_number():
    assert task().following(torch.tensor(1e4))["perplexity"].item() == pytest.approx(3.4028235e38)


def test_metrics_of_classification_take_each_step_for_an_example():
    measuring = task(metrics={"accuracy": {"average": "micro"}})
    predicted_BTV, target_BT = (
        torch.eye(3)[torch.tensor([[0, 1], [2, 2]])],
        torch.tensor([[0, 1], [2, 0]]),
    )
    accuracy = measuring.metrics["accuracy"]
    accuracy.update(*measuring.measured(predicted_BTV, target_BT))
    assert accuracy.compute().item() == pytest.approx(3 / 4)


def test_one_prediction_for_a_whole_sequence_is_refused():
    with pytest.raises(ValueError, match=r"outputs are \(2, 3\) but the targets are \(2, 5\)"):
        task().loss(torch.zeros(2, 3), torch.zeros(2, 5).long())


def test_a_child_learns_and_logs_what_follows_from_its_loss(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=12", "optimizer.lr=0.03")
    assert outcome.error is None
    line = curves(tmp_path)[-1]
    assert line["step"] == 12 * 11
    assert line["val_perplexity"] == pytest.approx(math.exp(line["val_loss"]))
    assert line["val_bits_per_character"] == pytest.approx(line["val_loss"] / math.log(2))
    best = min(each["val_perplexity"] for each in curves(tmp_path))
    assert best < 9  # of ten digits
    assert outcome.reward == pytest.approx(80 / best**2)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_batches_of_few_steps_read_each_stream_as_one(tmp_path, fast_loop):
    loop = f"trainer.fast_loop={fast_loop}"
    train(tmp_path, loop, "trainer.checkpoint=last", "optimizer.lr=0", "trainer.max_epochs=1")
    state = weights(child_folder(tmp_path, 0) / "last.ckpt")
    state = {name.removeprefix("network."): value for name, value in state.items()}
    (line,) = curves(tmp_path)
    assert line["train_loss"] == pytest.approx(loss_of_streams(state, digits(0, 302), 4), rel=1e-6)
    assert line["val_loss"] == pytest.approx(loss_of_streams(state, digits(302, 364), 2), rel=1e-6)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_every_pass_begins_with_nothing_remembered(tmp_path, monkeypatch, fast_loop):
    monkeypatch.setattr(Memory, "told", told := [])
    overrides = (f"trainer.fast_loop={fast_loop}", "trainer.max_epochs=2")
    train(tmp_path, *overrides, is_rehearsed=False)
    told = told[told.index("reset") :]  # before, its output's shape was found out
    training = [(True, 4, 7)] * 10 + [(True, 4, 5)]
    validation = [(False, 2, 7)] * 4 + [(False, 2, 2)]
    assert told == 2 * ["reset", *training, "reset", *validation, "reset"]


def test_training_goes_on_after_a_validation_within_its_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "told", told := [])
    overrides = ("trainer.val_check_interval=0.5", "trainer.max_epochs=1")
    outcome = train(tmp_path, *overrides, data={"eval_batch_size": 4}, is_rehearsed=False)
    assert outcome.error is None
    told = told[told.index("reset") :]
    steps, validation = [(True, 4, 7)] * 5, ["reset", *[(False, 4, 7)] * 2, (False, 4, 1), "reset"]
    assert told == ["reset", *steps, *validation, *steps, *validation, (True, 4, 5)]


def test_the_fast_loop_takes_the_steps_of_lightnings_own(tmp_path):
    for name in ("true", "false"):
        train(tmp_path / name, f"trainer.fast_loop={name}", space=model(dropout=0.3))
    assert curves(tmp_path / "true") == curves(tmp_path / "false")


def test_what_layers_add_to_the_loss_is_minimized_with_it_in_both_loops(tmp_path):
    space, overrides = model(), ("trainer.checkpoint=last", "trainer.max_epochs=2")
    space["language_model"]["slowness"] = 0.5
    for name in ("true", "false"):
        loop = f"trainer.fast_loop={name}"
        assert train(tmp_path / name, loop, *overrides, space=space).error is None
    train(tmp_path / "without", *overrides)
    state, same, other = (
        weights(child_folder(tmp_path / name, 0) / "last.ckpt")
        for name in ("true", "false", "without")
    )
    assert all(torch.equal(state[name], same[name]) for name in state)
    assert not all(torch.equal(state[name], other[name]) for name in state)
    assert slowness_of(state) < slowness_of(other)
    first, of_other = curves(tmp_path / "true")[0], curves(tmp_path / "without")[0]
    assert first["train_loss"] == pytest.approx(of_other["train_loss"], rel=0.05)  # without it


def slowness_of(state):
    """The mean square of how far the first 70 digits of the text move what leaves the body."""
    network = first_network(text_trainer())
    network.load_state_dict({name.removeprefix("network."): each for name, each in state.items()})
    h = network.eval().body(network.vectors(torch.as_tensor(digits(0, 70))[None]))
    return (h[:, 1:] - h[:, :-1]).square().mean().item()


@one_in(2, 0, "fast_loop", ["true", "false"])
def test_an_interrupted_child_becomes_what_it_would_have_been(tmp_path, fast_loop):
    stop = "{_target_: tests.children.blobs.StopOnce, path: %s, epoch: 2}"
    overrides = (
        "trainer.checkpoint_every_s=0",
        "trainer.checkpoint=last",
        "trainer.max_epochs=4",
        f"trainer.fast_loop={fast_loop}",
    )
    for name in ("interrupted", "whole"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole" / "stopped").touch()
    told = {n: stop % (tmp_path / n / "stopped") for n in ("interrupted", "whole")}
    space = model(dropout=0.3)
    folder = tmp_path / "interrupted"
    with pytest.raises(Killed):
        train(folder, *overrides, f"trainer.callbacks=[{told['interrupted']}]", space=space)
    assert (child_folder(folder, 0) / "last.ckpt").exists()
    train(folder, *overrides, f"trainer.callbacks=[{told['interrupted']}]", space=space)
    train(tmp_path / "whole", *overrides, f"trainer.callbacks=[{told['whole']}]", space=space)
    assert curves(folder) == curves(tmp_path / "whole")
    assert len(curves(folder)) == 4
    first, second = (
        weights(child_folder(tmp_path / name, 0) / "last.ckpt") for name in ("interrupted", "whole")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_is_tested_on_every_token_of_the_test_part(tmp_path):
    child = text_trainer(data={"eval_batch_size": 1}).task(tmp_path, 0)
    genotype = child.space.walk(lambda decision: 0)
    for on in ("train", "train_and_validation"):
        outcome = TrainNetwork(RetrainTask(replace(child, folder=tmp_path / on), on))(
            Proposal(0, genotype, notes={"repetition": 0})
        )
        assert outcome.error is None
        tested = json.loads((network_folder(tmp_path / on, "0000", 0) / "tested.json").read_text())
        assert tested["examples"] == 41
        metrics = tested["metrics"]
        assert metrics["test_perplexity"] == pytest.approx(math.exp(metrics["test_loss"]))


def test_a_blueprint_counts_parameters_and_operations_by_hand():
    rnn = {"recurrent": {"cell": "rnn_cell"}}
    space = {"language_model": {"vocabulary": 10, "units": 8, "tied": False, "body": rnn}}
    blueprint = text_trainer(space=space).inspect({})
    assert blueprint.flops == 7 * 2 * (8 * 8 + 8 * 8 + 8 * 10)  # of the seven steps of an example
    assert blueprint.parameters == 10 * 8 + (8 * 8 + 8 + 8 * 8) + (8 * 10 + 10)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"concat": [{"embedding": {"vocabulary": 10, "units": 8}}, {"affine": {"units": 10}}]},
            r"output has the shape \(10,\) but must have \(7, 10\)",
        ),
        ({"affine": {"units": 10}}, "must have|cannot be run on the meta device"),
    ],
)
def test_a_network_that_does_not_predict_each_token_is_impossible(space, message):
    with pytest.raises(SpaceError, match=message):
        text_trainer(space=space, is_rehearsed=False).inspect({})


@pytest.mark.parametrize(
    ("overrides", "data", "message"),
    [
        (
            ["trainer.devices=2"],
            {},
            "data: the streams of Numbers cannot be divided among the devices of "
            "trainer.devices=2 .*; legal: trainer.devices=1 trainer.num_nodes=1",
        ),
        ([], {"batch_size": 44}, "data.batch_size=44 streams .* the training part has 301"),
        ([], {"eval_batch_size": 9}, "data.eval_batch_size=9 .* the validation part has 61"),
        (["task.unit=byte"], {}, "task.unit must be one of word, character"),
        (["task.reward.power=0"], {}, "task.reward.power must be a number other than 0"),
    ],
)
def test_what_cannot_work_is_one_sentence_before_training(overrides, data, message):
    with pytest.raises(ConfigError, match=message):
        text_trainer(*overrides, data=data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: text_trainer(task="classification"),
            r"output has the shape \(7, 10\) but must have \(10,\): .* task=language_model",
        ),
        (
            lambda: make_trainer("task.unit=word", task="language_model"),
            "task: LanguageModel has a target for each token, .*in_dtype=float32",
        ),
    ],
)
def test_a_task_that_does_not_fit_the_data_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_text_says_what_a_token_is():
    assert text_trainer().config["task"]["unit"] == TEXT["unit"] == "character"


def test_a_type_that_is_null_is_that_of_numbers() -> None:
    target = "nasrunner.children.tasks.language_model.LanguageModel"
    config = {"task": {"_target_": target}, "data": {"num_outputs": 3, "in_dtype": None}}
    with pytest.raises(ConfigError, match=r"data of data\.in_dtype=float32 has not"):
        out_shape_of(config, construct, (5,))
