"""Numbers of cheaper trainings and of supernets' that cannot be trained with, before any child."""

import re

import pytest

from nasrunner.core import ConfigError, Proposal
from nasrunner.core.relaxation import Relaxation
from tests.children.blobs import IMAGES, MLP, make_trainer

NORMED = {"concat": ["flatten", {"affine": {"units": 4}}, "batch_norm", MLP]}
RELAXED = {
    "order": "first",
    "learning_rate": 0.05,
    "betas": (0.5, 0.999),
    "weight_decay": 1e-3,
    "temperatures": (10.0, 0.1),
    "affine": False,
    "takes_zero": False,
    "max_skips": None,
    "num_sampled": 0,
}
GIVEN = {"supernet": "with searcher.supernet:", "train": "at the fidelity"}


def rehearse(kind, fidelity, *overrides, space=MLP, **groups):
    """What happens before the first child of a study that trains with a fidelity."""
    trainer = make_trainer(*overrides, space=space, data=IMAGES, is_rehearsed=False, **groups)
    genotype = {} if kind == "supernet" else trainer.space.walk(lambda _: 0)
    trainer.check(Proposal(0, genotype, kind=kind, fidelity=fidelity))
    return trainer.rehearsal()()


@pytest.mark.parametrize("kind", ["supernet", "train"])
@pytest.mark.parametrize(
    ("key", "number", "told", "groups"),
    [
        ("optimizer.lr", -1, "optimizer: Invalid learning rate: -1.0", {}),
        (
            "optimizer.momentum",
            2,
            "optimizer.momentum must be in [0, 1), got 2.0",
            {"optimizer": "sgd"},
        ),
        ("trainer.stop_min_delta", -1, "trainer.stop_min_delta must be float >= 0, got -1.0", {}),
        ("data.batch_size", 0, "data.batch_size must be int >= 1, got 0", {}),
        (
            "scheduler.factor",
            1,
            "scheduler.factor must be float in (0, 1), got 1.0",
            {"scheduler": "plateau"},
        ),
    ],
)
def test_a_number_out_of_its_range_is_refused(kind, key, number, told, groups):
    with pytest.raises(ConfigError) as refused:
        rehearse(kind, {key: number}, **groups)
    assert str(refused.value) == f"{told} ({GIVEN[kind]} {key}={number})"


@pytest.mark.parametrize("kind", ["supernet", "train"])
def test_so_is_a_schedule_that_cannot_be_stepped(kind):
    told = f"scheduler.T_max must be a whole number >= 1 or auto, got 0 ({GIVEN[kind]} "
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
        rehearse(kind, {"scheduler.T_max": 0}, "scheduler.T_max=3", scheduler="cosine")


@pytest.mark.parametrize("kind", ["supernet", "train"])
def test_numbers_that_do_not_go_together_are_refused(kind):
    told = "data.batch_size leaves one example for the last training batch of an epoch"
    with pytest.raises(ConfigError, match=rf"^{told}.*\({GIVEN[kind]} data.batch_size=89\)$"):
        rehearse(kind, {"data.batch_size": 89}, space=NORMED)


@pytest.mark.parametrize("kind", ["supernet", "train"])
def test_numbers_that_can_be_trained_with_are_not(kind):
    fidelity = {"optimizer.lr": 0.1, "data.batch_size": 30, "trainer.max_epochs": 2}
    assert rehearse(kind, fidelity) == []


def test_what_no_child_can_be_trained_with_is_not_told_of_a_fidelity():
    with pytest.raises(ConfigError, match=r"^optimizer: Invalid learning rate: -1$"):
        rehearse("train", {"trainer.max_epochs": 2}, "optimizer.lr=-1")


@pytest.mark.parametrize("momentum", [1, 2.5])
def test_the_momentum_of_a_child_is_in_its_range(momentum):
    told = rf"^optimizer.momentum must be in \[0, 1\), got {momentum}$"
    with pytest.raises(ConfigError, match=told):
        make_trainer(f"optimizer.momentum={momentum}", data=IMAGES, space=MLP, optimizer="sgd")


PATIENCE = """trainer.stop_patience=2 may end the training of a supernet before its 6 epochs, and \
its schedules{} with it: searcher.supernet='{{trainer.stop_patience: 6}}' prevents that"""
TIME = """trainer.max_time=00:01:00:00 may end the training of a supernet before its 6 epochs, and \
its schedules{} with it: trainer.max_time=null prevents that"""
DRAWN = ", the temperature of its options too,"
SHORT = ("trainer.stop_patience=2", "trainer.max_time=00:01:00:00")


@pytest.mark.parametrize(
    ("weighs", "overrides", "fidelity", "told"),
    [
        ("softmax", SHORT, {}, [PATIENCE.format(""), TIME.format("")]),
        ("gumbel", SHORT, {}, [PATIENCE.format(DRAWN), TIME.format(DRAWN)]),
        ("gumbel", SHORT[:1], {"trainer.stop_patience": 6}, []),
        ("gumbel", SHORT[:1], {"trainer.stop_patience": 3}, []),  # as was asked for
        ("gumbel", (), {"trainer.max_epochs": 4}, []),
    ],
)
def test_what_may_cut_a_supernets_schedules_short_is_told_before_it_is_trained(
    tmp_path, weighs, overrides, fidelity, told
):
    layer = {"or": ["empty", {"affine": {"units": 4}}]}
    space = {"concat": ["flatten", {"affine": {"units": 4}}, layer, {"affine": {"units": 3}}]}
    settings = ("trainer.max_epochs=6", *overrides)
    trainer = make_trainer(*settings, space=space, data=IMAGES, is_rehearsed=False)
    trainer.task(tmp_path, 0, Relaxation(**{**RELAXED, "weighs": weighs}))
    trainer.check(Proposal(0, {}, kind="supernet", fidelity=fidelity))
    assert trainer.rehearsal()() == told
