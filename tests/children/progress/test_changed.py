"""Going on with other hyperparameters, against loops of torch alone."""

import math
from collections.abc import Callable, Collection

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from tests.children.blobs import OWN, clouds, make_trainer
from tests.children.progress.lineages import KEEP, chain, checkpoint, curves
from tests.toys import train_one

SGD = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.9}
ADAM = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.01}
RMSPROP = {"_target_": "torch.optim.RMSprop", "_partial_": True, "lr": 0.01}
PLAIN_SGD = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1}
NUM_EPOCHS, NUM_STEPS = 8, 6  # an epoch
SWITCH = 3


def searched(key: str, options: list) -> dict:
    return {
        "hyperparameters": {key: {"oneof": options}},
        "concat": [{"affine": {"units": 8}}, "relu", {"affine": {"units": 3}}],
    }


def by_hand(
    make: list[Callable],
    rate: Callable[[int, int, int], float],
    *,
    keeps_state: bool,
    begun: Collection[str] = (),
):
    """The weights of a child whose optimizer is another one from epoch ``SWITCH`` on.

    Args:
        make: makes the first optimizer and the second.
        rate: (0 or 1, epoch, step) -> the learning rate.
        keeps_state: whether the second has the states of the first.
        begun: what else it has of each parameter, all zeros.
    """
    pl.seed_everything(123, workers=True, verbose=False)
    network, _ = (
        make_trainer(data=OWN, is_rehearsed=False).space.freeze({"0/affine/units": 0}).build((4,))
    )
    x, y = clouds((4,), 3, is_regression=False)
    parameters = list(network.parameters())
    optimizer, which, step = make[0](parameters), 0, 0
    for epoch in range(NUM_EPOCHS):
        if epoch == SWITCH:
            before, which = optimizer, 1
            optimizer = make[1](parameters)
            if keeps_state:
                optimizer.state.update(before.state)
                for parameter, state in before.state.items():
                    state.update({name: torch.zeros_like(parameter) for name in begun})
        for rows in torch.randperm(90).split(16):
            optimizer.param_groups[0]["lr"] = rate(which, epoch, step)
            optimizer.zero_grad()
            functional.cross_entropy(network(x[:90][rows]), y[:90][rows]).backward()
            optimizer.step()
            step += 1
    return network.state_dict()


def gone_on(folder, key, options, *overrides, **arguments):
    """The weights and the learning rates of a child that goes on with the second option."""
    overrides = (*KEEP, "optimizer.lr=0.1", *overrides)
    trainer = make_trainer(*overrides, space=searched(key, options), data=OWN, **arguments)
    task = trainer.task(folder, 0)
    genotypes = [{f"hyperparameters/{key}": option} for option in (0, 1)]
    outcomes = [train_one(task, each) for each in chain(trainer, (SWITCH, None), genotypes)]
    assert [each.error for each in outcomes] == [None, None]
    weights = checkpoint(folder, 1)["state_dict"]
    found = {n.removeprefix("network."): v for n, v in weights.items() if n.startswith("network")}
    return found, [line["learning_rate"] for line in curves(folder, 1)]


def assert_close(found, expected) -> None:
    assert len(found) == len(expected) == 4
    for (name, value), other in zip(found.items(), expected.values(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6, msg=name)


def cosine(base: float, place: float, total: float) -> float:
    return base * (1 + math.cos(math.pi * place / total)) / 2


@pytest.mark.parametrize(
    ("overrides", "arguments", "factor"),
    [
        ((), {}, lambda epoch, step: 1.0),
        ((), {"scheduler": "cosine"}, lambda epoch, step: cosine(1, epoch, NUM_EPOCHS)),
        (
            ("scheduler.interval=step",),
            {"scheduler": "cosine"},
            lambda epoch, step: cosine(1, step, NUM_EPOCHS * NUM_STEPS),
        ),
        (
            ("scheduler.milestones=[2,5]",),
            {"scheduler": "multistep"},
            lambda epoch, step: 0.1 ** ((epoch >= 2) + (epoch >= 5)),
        ),
    ],
)
def test_a_new_learning_rate_is_scheduled_from_where_the_training_was(
    tmp_path, overrides, arguments, factor
):
    options = [0.1, 0.03]
    found, rates = gone_on(
        tmp_path, "optimizer.lr", options, *overrides, optimizer="sgd", **arguments
    )
    sgd = [lambda p: torch.optim.SGD(p, 1.0, momentum=0.9)] * 2
    expected = by_hand(
        sgd, lambda which, epoch, step: options[which] * factor(epoch, step), keeps_state=True
    )
    assert_close(found, expected)
    if "scheduler.interval=step" not in overrides:
        wanted = [options[epoch >= SWITCH] * factor(epoch, 0) for epoch in range(NUM_EPOCHS)]
        assert rates == pytest.approx(wanted)


def test_another_momentum_goes_on_with_the_same_buffers(tmp_path):
    found, _ = gone_on(tmp_path, "optimizer.momentum", [0.9, 0.5], optimizer="sgd")
    sgd = [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.5),
    ]
    assert_close(found, by_hand(sgd, lambda *_: 0.1, keeps_state=True))


def test_another_optimizer_starts_afresh(tmp_path):
    found, rates = gone_on(tmp_path, "optimizer", [SGD, ADAM])
    makes = [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.01),
    ]
    expected = by_hand(makes, lambda which, *_: (0.1, 0.01)[which], keeps_state=False)
    assert_close(found, expected)
    assert rates == [0.1] * SWITCH + [0.01] * (NUM_EPOCHS - SWITCH)


OPTIONS = [
    (ADAM, torch.optim.Adam, "amsgrad", [False, True], {"max_exp_avg_sq"}),
    (ADAM, torch.optim.Adam, "amsgrad", [True, False], set()),
    (RMSPROP, torch.optim.RMSprop, "momentum", [0.0, 0.9], {"momentum_buffer"}),
    (RMSPROP, torch.optim.RMSprop, "centered", [False, True], {"grad_avg"}),
    (PLAIN_SGD, torch.optim.SGD, "momentum", [0.0, 0.9], set()),
]


@pytest.mark.parametrize(("optimizer", "make", "option", "values", "begun"), OPTIONS)
def test_what_an_option_keeps_beside_the_state_begins_with_it(
    tmp_path, optimizer, make, option, values, begun
):
    """All else goes on: moments, and the steps that they are of."""
    configured = [{**optimizer, option: value} for value in values]
    found, _ = gone_on(tmp_path, "optimizer", configured)
    makes = [lambda p, value=value: make(p, optimizer["lr"], **{option: value}) for value in values]
    rate = optimizer["lr"]
    assert_close(found, by_hand(makes, lambda *_: rate, keeps_state=True, begun=begun))


def test_another_schedule_is_where_it_would_have_been(tmp_path):
    _, rates = gone_on(
        tmp_path,
        "scheduler",
        [
            {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "_partial_": True, "gamma": g}
            for g in (0.5, 0.9)
        ],
    )
    wanted = [0.1 * (0.5 if e < SWITCH else 0.9) ** e for e in range(NUM_EPOCHS)]
    assert rates == pytest.approx(wanted)


def test_a_plateaus_reductions_are_kept(tmp_path):
    """Nothing improves by 100 %: the rate is halved after each epoch."""
    overrides = (
        "scheduler.patience=0",
        "scheduler.threshold=1",
        "scheduler.factor=0.5",
        "scheduler.min_lr=0.001",
    )
    _, rates = gone_on(tmp_path, "optimizer.lr", [0.1, 0.04], *overrides, scheduler="plateau")
    wanted = [
        max(0.001, (0.1 if epoch < SWITCH else 0.04) * 0.5**epoch) for epoch in range(NUM_EPOCHS)
    ]
    assert wanted[-1] == 0.001
    assert rates == pytest.approx(wanted)


def test_a_new_batch_size_changes_where_a_schedule_by_steps_is(tmp_path):
    _, rates = gone_on(
        tmp_path, "data.batch_size", [16, 45], "scheduler.interval=step", scheduler="cosine"
    )
    # the rate at the end of an epoch of 2 steps
    wanted = [cosine(0.1, 2 * (epoch + 1), 2 * NUM_EPOCHS) for epoch in range(SWITCH, NUM_EPOCHS)]
    assert rates[SWITCH:] == pytest.approx(wanted)


def test_a_state_that_is_gone_is_trained_again_with_the_settings_of_its_time(tmp_path):
    trainer = make_trainer(*KEEP, space=searched("optimizer.lr", [0.1, 0.03]), optimizer="sgd")
    task = trainer.task(tmp_path, 0)
    genotypes = [{"hyperparameters/optimizer.lr": option} for option in (0, 0, 1, 0)]
    proposals = chain(trainer, (1, 3, 5, None), genotypes)
    *_, ended = [train_one(task, each) for each in proposals]
    lines = curves(tmp_path, 3)
    for index in range(3):
        (tmp_path / "children" / f"{index:04d}" / "last.ckpt").unlink()
    again = train_one(task, proposals[-1])
    assert (again.error, again.metrics) == (None, ended.metrics)
    assert curves(tmp_path, 3) == lines
    assert [line["learning_rate"] for line in lines] == [0.1] * 3 + [0.03] * 2 + [0.1] * 3
    told = (tmp_path / "children" / "0003" / "proposal.json").read_text()
    assert '"index": 3' in told
