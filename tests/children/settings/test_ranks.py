"""Cheaper trainings of children on two devices, each of them a process, with gloo on CPUs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrunner.children.processes import num_processes
from nasrunner.core import Outcome, Proposal
from tests.children.studies import assert_all_end, folder_of, make_study, task_of
from tests.sampling import one_in
from tests.toys import train_one

TWO = (
    "trainer.devices=2",
    "trainer.strategy=ddp",
    "trainer.max_epochs=3",
    "data.batch_size=128",
    "scheduler=cosine",  # whose rates depend on the epochs and on the steps of an epoch
    "scheduler.interval=step",
)


def network(filters: int) -> dict[str, Any]:
    convolution = {"conv2d": {"filters": filters, "kernel_size": 3}}
    return {
        "concat": [convolution, "batch_norm", "relu", convolution, {"affine": {"units": 10}}],
    }


WIDE, NARROW = network(6), network(3)


@dataclass(frozen=True)
class Trained:
    """What came of a child on two devices."""

    outcome: Outcome
    curves: list[dict[str, float]]
    weights: dict[str, torch.Tensor]


def trained(study: Path, **fields: Any) -> Trained:
    task = task_of(study)
    assert num_processes(task) == 2
    proposal = Proposal(0, task.space.walk(lambda decision: 0), **fields)
    outcome = train_one(task, proposal)
    assert (outcome.status, outcome.error) == ("completed", None)
    lines = (folder_of(study) / "curves.jsonl").read_text().splitlines()
    curves = [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]
    weights = torch.load(folder_of(study) / "best.ckpt", weights_only=True)["state_dict"]
    assert_all_end(study)
    return Trained(outcome, curves, weights)


STATISTIC = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
"""Of a batch normalization: no parameter."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The training without a fidelity."""
    return trained(make_study(tmp_path_factory.mktemp("plain"), *TWO, space=WIDE))


@pytest.mark.slow
@one_in(
    2,
    0,
    ("fidelity", "overrides", "space"),
    [
        ({"epochs": 2}, ["trainer.max_epochs=2"], WIDE),
        ({"data": 0.3}, ["data.train_share=0.3"], WIDE),
        ({"width": 0.5}, [], NARROW),
        ({"resolution": 4}, ["data.resolution=4"], WIDE),
    ],
    ids=["epochs", "data", "width", "resolution"],
    rest=pytest.mark.matrix,
)
def test_two_ranks_train_at_a_fidelity_what_the_settings_written_by_hand_make(
    tmp_path: Path,
    plain: Trained,
    fidelity: dict[str, float],
    overrides: list[str],
    space: dict[str, Any],
) -> None:
    cheap = trained(make_study(tmp_path / "a", *TWO, space=WIDE), fidelity=fidelity)
    by_hand = trained(make_study(tmp_path / "b", *TWO, *overrides, space=space))
    assert cheap.curves == by_hand.curves
    metrics = dict(cheap.outcome.metrics)
    sizes = {name: metrics.pop(name) for name in list(metrics) if name.startswith("trained_")}
    assert metrics == by_hand.outcome.metrics
    assert bool(sizes) == bool(fidelity.keys() & {"width", "resolution"})
    learnt = {n: w for n, w in by_hand.weights.items() if not STATISTIC.search(n)}
    number = sum(weight.numel() for weight in learnt.values())
    assert sizes.get("trained_parameters", number) == number
    assert cheap.outcome.curve == by_hand.outcome.curve
    assert cheap.weights.keys() == by_hand.weights.keys()
    assert all(torch.equal(cheap.weights[name], by_hand.weights[name]) for name in cheap.weights)
    assert cheap.curves != plain.curves
