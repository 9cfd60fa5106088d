"""Cheaper trainings by changed numbers of the configuration."""

import pytest
import torch
import yaml

from nasrunner.children.settings.fidelity import reduced
from nasrunner.core import ConfigError, Proposal, child_folder
from nasrunner.core.records import Source
from tests.children.blobs import IMAGES, OWN, make_trainer
from tests.toys import train_one


def proposed(trainer, **fields):
    return Proposal(0, trainer.space.walk(lambda decision: 0), **fields)


def test_a_shorter_training_has_a_schedule_of_its_own(tmp_path):
    trainer = make_trainer("trainer.max_epochs=6", scheduler="cosine")
    proposal = proposed(trainer, fidelity={"trainer.max_epochs": 2.0, "optimizer.lr": 1})
    trainer.check(proposal)
    outcome = train_one(trainer.task(tmp_path / "a", 0), proposal)
    shorter = make_trainer("trainer.max_epochs=2", "optimizer.lr=1", scheduler="cosine")
    whole = train_one(shorter.task(tmp_path / "b", 0), proposed(trainer))
    assert (outcome.status, outcome.metrics, outcome.curve) == (
        "completed",
        whole.metrics,
        whole.curve,
    )
    told = yaml.safe_load((child_folder(tmp_path / "a", 0) / "config.yaml").read_text())
    assert repr(told["trainer"]["max_epochs"]) == "2"


def test_searched_values_may_refer_to_what_a_fidelity_changes(tmp_path):
    space = {
        "hyperparameters": {"optimizer.lr": {"oneof": ["${data.batch_size}", 0.1]}},
        "affine": {"units": 3},
    }
    trainer = make_trainer(space={"hyperparameters": space.pop("hyperparameters"), **space})
    proposal = proposed(trainer, fidelity={"data.batch_size": 4})
    train_one(trainer.task(tmp_path, 0), proposal)
    told = yaml.safe_load((child_folder(tmp_path, 0) / "config.yaml").read_text())
    assert told["optimizer"]["lr"] == 4


CONVOLUTIONS = {
    "concat": [
        {"conv2d": {"filters": 6, "kernel_size": 3}},
        "relu",
        {"residual": {"conv2d": {"filters": 6, "kernel_size": 3}}},
        {"affine": {"units": 3}},
    ]
}
NARROW = {
    "concat": [
        {"conv2d": {"filters": 3, "kernel_size": 3}},
        "relu",
        {"residual": {"conv2d": {"filters": 3, "kernel_size": 3}}},
        {"affine": {"units": 3}},
    ]
}


@pytest.mark.parametrize(
    ("fidelity", "overrides", "space"),
    [
        ({"epochs": 2}, ["trainer.max_epochs=2"], CONVOLUTIONS),
        ({"data": 0.5}, ["data.train_share=0.5"], CONVOLUTIONS),
        ({"width": 0.5}, [], NARROW),
        ({"resolution": 3}, ["data.resolution=3"], CONVOLUTIONS),
        (
            {"data": 0.5, "width": 0.5, "resolution": 3},
            ["data.train_share=0.5", "data.resolution=3"],
            NARROW,
        ),
    ],
)
def test_a_named_fidelity_is_the_training_that_the_configuration_would_make(
    tmp_path, fidelity, overrides, space
):
    trainer = make_trainer(space=CONVOLUTIONS, data=IMAGES)
    proposal = proposed(trainer, fidelity=fidelity)
    trainer.check(proposal)
    outcome = train_one(trainer.task(tmp_path / "a", 0), proposal)
    by_hand = make_trainer(*overrides, space=space, data=IMAGES)
    whole = train_one(by_hand.task(tmp_path / "b", 0), proposed(by_hand))
    assert outcome.status == "completed"
    metrics = dict(outcome.metrics)
    size = [metrics.pop(f"trained_{name}", None) for name in ("parameters", "flops")]
    assert (metrics, outcome.curve) == (whole.metrics, whole.curve)
    seen = by_hand.inspect(proposed(by_hand).genotype)
    if "width" in fidelity:
        assert size == [seen.parameters, seen.flops]
    told = yaml.safe_load((child_folder(tmp_path / "a", 0) / "config.yaml").read_text())
    assert told["fidelity"] == fidelity
    weights = [
        torch.load(child_folder(tmp_path / name, 0) / "best.ckpt", weights_only=True)["state_dict"]
        for name in "ab"
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    plain = train_one(trainer.task(tmp_path / "c", 0), proposed(trainer))
    assert plain.curve != outcome.curve


def test_a_share_is_of_the_examples_that_the_study_trains_on(tmp_path):
    trainer = make_trainer("data.train_share=0.5")
    half = proposed(trainer, fidelity={"data": 0.5})
    quarter = make_trainer("data.train_share=0.25")
    outcome = train_one(trainer.task(tmp_path / "a", 0), half)
    assert outcome.curve == train_one(quarter.task(tmp_path / "b", 0), proposed(quarter)).curve


NULL_SHARE = {**OWN, "_target_": "tests.children.blobs.SharedBlobs", "train_share": None}


def test_a_share_that_is_null_is_that_of_all_examples():
    trainer = make_trainer(data=NULL_SHARE, is_rehearsed=False)
    half, whole, key = (
        proposed(trainer, fidelity=fidelity)
        for fidelity in ({"data": 0.5}, {"data": 1}, {"data.train_share": 1})
    )
    for proposal in (half, whole, key):
        trainer.check(proposal)
    assert reduced(trainer.config, half.fidelity)["data"]["train_share"] == 0.5
    assert trainer.plainest(half).fidelity == {"data.train_share": 0.5}
    assert not trainer.plainest(whole).fidelity
    assert not trainer.plainest(key).fidelity


@pytest.mark.parametrize("share", ["half", True, [0.5]])
def test_a_share_of_what_is_no_number_is_refused(share):
    trainer = make_trainer(data={**NULL_SHARE, "train_share": share}, is_rehearsed=False)
    with pytest.raises(
        ConfigError, match=r"data\.train_share, which must be a number or null, got"
    ):
        trainer.check(proposed(trainer, fidelity={"data": 0.5}))


def test_the_rehearsal_loads_the_data_of_fidelities_that_were_asked_for():
    trainer = make_trainer()
    trainer.check(proposed(trainer, fidelity={"data": 0.5}))
    trainer.rehearsal()()
    trainer.check(proposed(trainer, fidelity={"data": 0.05}))
    message = "batch_size must be at most .* data.train_share=0.05 leaves, .*fidelity data=0.05"
    with pytest.raises(ConfigError, match=message):
        trainer.rehearsal()()


def test_a_network_that_is_impossible_at_a_resolution_has_failed_in_a_sentence(tmp_path):
    wide = {"conv2d": {"filters": 4, "kernel_size": 5, "padding": "valid"}}
    space = {"concat": [wide, {"affine": {"units": 3}}]}
    trainer = make_trainer(space=space, data=IMAGES)
    outcome = train_one(trainer.task(tmp_path, 0), proposed(trainer, fidelity={"resolution": 3}))
    assert outcome.status == "failed"
    assert "a window of (5, 5) does not fit into (3, 3)" in outcome.error


UNDECLARED = {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 3}


@pytest.mark.parametrize(
    ("fidelity", "arguments", "message"),
    [
        ({"data": 0.0}, {}, r"data must be a share in \(0, 1\], got 0.0"),
        ({"width": 1.5}, {}, r"width must be a share in \(0, 1\], got 1.5"),
        ({"data.train_share": 2}, {}, r"data.train_share must be a share in \(0, 1\], got 2"),
        ({"data": 0.5}, {"data": OWN}, "data.train_share .* which OwnBlobs does not take"),
        ({"resolution": 3}, {"data": OWN}, "data.resolution, which OwnBlobs does not take"),
        ({"resolution": 3}, {}, r"resizes images, .* but data.in_shape is \[4\]"),
        ({"resolution": 7}, {"data": IMAGES}, "pixels from 1 to 6, an image's side, got 7"),
        ({"resolution": 2.5}, {"data": IMAGES}, "pixels from 1 to 6, an image's side, got 2.5"),
        ({"width": 0.5}, {"space": UNDECLARED}, "no module of the space declares one"),
        (
            {"epochs": 2, "trainer.max_epochs": 1},
            {},
            "gives the number of trainer.max_epochs twice",
        ),
        ({"epoch": 2}, {}, "no 'epoch'; did you mean 'epochs'"),
    ],
)
def test_what_data_and_space_cannot_give_is_refused(fidelity, arguments, message):
    trainer = make_trainer(is_rehearsed=False, **arguments)
    with pytest.raises(ConfigError, match=message):
        trainer.check(proposed(trainer, fidelity=fidelity))


SEARCHED = {"hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.2]}}, "affine": {"units": 3}}


@pytest.mark.parametrize(
    ("fidelity", "message"),
    [
        ({"trainer.max_epoch": 3}, "no 'trainer.max_epoch'; did you mean 'trainer.max_epochs'"),
        ({"trainer.strategy": 3}, "trainer.strategy is 'auto' and no number; "),
        ({"trainer.fast_loop": 1}, "trainer.fast_loop is True and no number; "),
        ({"trainer.min_epochs": 1}, "trainer.min_epochs is null and no number; "),
        ({"trainer": 1}, "trainer is {.*} and no number; "),
        ({"trainer.max_epochs": 2.5}, "trainer.max_epochs must be a whole number, got 2.5"),
        ({"trainer.max_epochs": -3}, "trainer.max_epochs must be int >= 1, got -3"),
        ({"epochs": -1}, "epochs must be int >= 1, got -1"),
        ({"optimizer.eps": float("nan")}, "optimizer.eps must be a number, got nan"),
        ({"optimizer.lr": 1.0}, "optimizer.lr is searched; "),
        ({"trainer.devices": 2}, "trainer.devices must be the same for all children; "),
        ({"data.in_shape.0": 2}, "data.in_shape.0 must be the same for all children; "),
    ],
)
def test_what_cannot_be_changed_is_refused_in_a_sentence(fidelity, message):
    trainer = make_trainer(space=SEARCHED, is_rehearsed=False)
    with pytest.raises(ConfigError, match=message):
        trainer.check(proposed(trainer, fidelity=fidelity))


@pytest.mark.parametrize(
    ("arguments", "legal"),
    [
        ({}, "epochs, data, width"),
        ({"data": IMAGES}, "epochs, data, resolution, width"),
        ({"data": OWN}, "epochs, width"),
        ({"data": OWN, "space": UNDECLARED}, "epochs"),
    ],
)
def test_what_is_legal_is_told_as_names_and_not_as_every_number(arguments, legal):
    trainer = make_trainer(is_rehearsed=False, **arguments)
    with pytest.raises(ConfigError) as refused:
        trainer.check(proposed(trainer, fidelity={"objectives": 1}))
    assert str(refused.value) == (
        f"fidelity: the child's configuration has no 'objectives'; legal: {legal}, or the key of "
        "another number, such as data.batch_size"
    )


@pytest.mark.parametrize(
    ("fields", "evaluation", "message"),
    [
        ({"kind": "estimate"}, None, "makes no kind=estimate; legal: train, or estimate with"),
        ({"kind": "supernet"}, {"repeats": 2}, "evaluation: a supernet is trained once"),
        ({"until": 2}, {"repeats": 2}, "evaluation: .*repeats=1 folds=null"),
        ({"sources": (Source(0, "weights"),)}, {"folds": 3}, "evaluation: .*repeats=1 folds=null"),
        ({"until": 2, "fidelity": {"trainer.max_epochs": 3}}, None, "fidelity: .*not paused"),
        (
            {"sources": (Source(0, "training"),), "fidelity": {"trainer.max_epochs": 3}},
            None,
            "fidelity: .*goes on with nothing",
        ),
        (
            {"sources": (Source(0, "training"), Source(1, "weights"))},
            None,
            "sources: a child that goes on with a training has its weights",
        ),
    ],
)
def test_what_is_not_trained_is_refused_in_a_sentence(fields, evaluation, message):
    trainer = make_trainer(is_rehearsed=False, evaluation=evaluation)
    with pytest.raises(ConfigError, match=message) as refused:
        trainer.check(proposed(trainer, **fields))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"until": 2},
        {"sources": (Source(0, "training"),), "until": 5},
        {"sources": (Source(0, "weights"), Source(1, "weights"))},
        {"fidelity": {"trainer.max_epochs": 1}},
    ],
)
def test_what_is_trained_is_taken(fields):
    trainer = make_trainer(is_rehearsed=False)
    trainer.check(proposed(trainer, **fields))


RATES_AND_EPOCHS = {
    "hyperparameters": {"trainer.max_epochs": {"oneof": [2, 6]}, "optimizer.lr": 0.1},
    "concat": [{"affine": {"units": 10}}],
}


@pytest.mark.parametrize(
    ("fields", "is_plain"),
    [
        ({"until": 3}, False),
        ({"until": 4}, True),
        ({"until": 40}, True),
        ({"fidelity": {"trainer.max_epochs": 4.0}}, True),
        ({"fidelity": {"trainer.max_epochs": 3}}, False),
        ({"fidelity": {"epochs": 4, "data": 1, "width": 1.0}}, True),
        ({"fidelity": {"width": 0.5}}, False),
        ({"fidelity": {"data": 0.5}}, False),
        ({"fidelity": {"trainer.max_epochs": 4, "optimizer.lr": 0.5}}, False),
    ],
)
def test_what_changes_nothing_is_no_part_of_the_identity(fields, is_plain):
    trainer = make_trainer("trainer.max_epochs=4", is_rehearsed=False)
    proposal = proposed(trainer, **fields)
    assert (trainer.plainest(proposal).evaluation == proposal.hash) is is_plain


def test_numbers_that_are_equal_are_the_same_fidelity():
    trainer = make_trainer("trainer.max_epochs=4", is_rehearsed=False)
    whole, real, named = (
        trainer.plainest(proposed(trainer, fidelity=fidelity))
        for fidelity in ({"trainer.max_epochs": 3}, {"trainer.max_epochs": 3.0}, {"epochs": 3})
    )
    assert whole.evaluation == real.evaluation == named.evaluation


def test_the_resolution_that_images_have_changes_nothing():
    trainer = make_trainer(space=CONVOLUTIONS, data=IMAGES, is_rehearsed=False)
    same, other = (
        trainer.plainest(proposed(trainer, fidelity={"resolution": number})) for number in (6, 5)
    )
    assert not same.fidelity
    assert other.fidelity == {"data.resolution": 5}


def test_the_epochs_of_a_child_are_those_of_its_hyperparameters_and_fidelity():
    trainer = make_trainer("trainer.max_epochs=4", space=RATES_AND_EPOCHS, is_rehearsed=False)
    path = "hyperparameters/trainer.max_epochs"
    assert [trainer.most_epochs(Proposal(0, {path: index})) for index in (0, 1)] == [2, 6]
    kinds = [trainer.plainest(Proposal(0, {path: index}, until=4)).until for index in (0, 1)]
    assert kinds == [None, 4]


@pytest.mark.parametrize("limit", ["trainer.max_epochs=-1", "trainer.max_epochs=null"])
def test_where_the_clock_ends_training_nobody_knows_its_epochs(limit):
    trainer = make_trainer(limit, "trainer.max_time=00:00:01:00", is_rehearsed=False)
    proposal = proposed(trainer, until=3)
    assert trainer.most_epochs(proposal) is None
    assert trainer.plainest(proposal).until == 3
