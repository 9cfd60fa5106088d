"""Supernets on two devices, each of them a process, with gloo on CPUs."""

import base64
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.compose.launch import build_searcher, build_space, build_trainer, run_study
from nasrunner.compose.saved import saved_config
from nasrunner.core import ConfigError, Outcome, Proposal, Source
from nasrunner.core.machine.child_folder import DERIVED, ChildFolder
from nasrunner.core.space import smallest
from nasrunner.study.ledger import read_events
from tests.children.studies import assert_all_end, make_study, wait_until
from tests.sampling import one_in
from tests.toys import train_one

UNITS = {"affine": {"units": 8}}
DEEP = {"concat": [{"affine": {"units": 16}}, "relu", UNITS]}
SPACE = {
    "concat": [{"or": [UNITS, DEEP]}, "tanh", {"or": ["empty", UNITS, DEEP]}, "relu", UNITS],
}
SPACE = {"concat": [*SPACE["concat"], {"affine": {"units": 10}}]}
"""Nothing in it looks at more than one example."""

ALIKE = ("optimizer=sgd", "optimizer.lr=0.05", "trainer.checkpoint=all", "trainer.max_epochs=2")
SUPERNET = Proposal(0, {}, kind="supernet", seed=5)


def supernet_study(folder: Path, *overrides: str, space: dict[str, Any] | None = None) -> Path:
    return make_study(folder, *ALIKE, *overrides, space=space or SPACE)


def task_of(study: Path):
    """What trains the supernet of a study, as its loop would call it."""
    config = saved_config(study)
    space = build_space(config)
    policy = build_searcher(config, space).policy()
    return build_trainer(config, space).task(study, config["seed"], policy)


def train(study: Path, proposal: Proposal = SUPERNET) -> Outcome:
    return train_one(task_of(study), proposal)


def checkpoint(study: Path) -> dict[str, Any]:
    return torch.load(ChildFolder.of(study, 0).last, weights_only=True)


def remembered(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a supernet keeps beside its weights; tensors among it as lists."""

    def unpacked(record: dict[str, Any]) -> Any:
        if "base64 of a tensor" not in record:
            return record
        text = base64.b64decode(record["base64 of a tensor"])
        return np.frombuffer(text, record["dtype"]).tolist()

    (packed,) = (value for name, value in state.items() if name.endswith("_extra_state"))
    found: dict[str, Any] = json.loads(bytes(packed.tolist()), object_hook=unpacked)
    return found


def numbers_in(value: Any) -> list[float]:
    """All numbers in lists and mappings, in order."""
    if isinstance(value, dict):
        return [each for _, part in sorted(value.items()) for each in numbers_in(part)]
    if isinstance(value, list):
        return [each for part in value for each in numbers_in(part)]
    return [float(value)] if isinstance(value, int | float) else []


def derived(study: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ChildFolder.of(study, 0).text(DERIVED).splitlines()]


ENAS = (
    "searcher=enas",
    "searcher.controller_steps=4",
    "searcher.controller_batch=3",
    "searcher.num_estimates=4",
    "searcher.num_trained=1",
    "searcher.learning_rate=0.02",
)
ALPHAS = ("searcher.learning_rate=0.02",)
ON_LOSS = ("task.reward.metric=val_loss", "task.reward.mode=min", "task.reward.power=-1")


@pytest.mark.slow
@one_in(
    2,
    0,
    ("searcher", "overrides"),
    [
        pytest.param("spos", ["data.batch_size=64"], id="spos"),
        # each batch of a step trains weights that others leave out
        pytest.param(
            "spos", ["data.batch_size=64", "trainer.accumulate_grad_batches=3"], id="accumulated"
        ),
        pytest.param("enas", [*ENAS, "data.batch_size=64"], id="enas by accuracy"),
        pytest.param("enas", [*ENAS, *ON_LOSS, "data.batch_size=96"], id="enas by loss"),
        # the last batch of 1,150 examples is one
        pytest.param("darts", [*ALPHAS, "data.batch_size=383"], id="darts"),
        pytest.param(
            "darts", [*ALPHAS, "data.batch_size=383", "searcher.order=second"], id="second"
        ),
        pytest.param("gdas", [*ALPHAS, "data.batch_size=64"], id="gdas"),
    ],
    rest=pytest.mark.matrix,
)
def test_two_ranks_train_what_one_process_does(tmp_path, searcher, overrides):
    given = (f"searcher={searcher}", *overrides)
    one = supernet_study(tmp_path / "one", *given)
    two = supernet_study(tmp_path / "two", "trainer.devices=2", "trainer.strategy=ddp", *given)
    outcomes = [train(study) for study in (one, two)]
    assert [(each.status, each.error) for each in outcomes] == [("completed", None)] * 2
    assert outcomes[0].found == outcomes[1].found
    assert_all_end(tmp_path)
    first, second = (checkpoint(study) for study in (one, two))
    assert first["global_step"] == second["global_step"] > 5
    weights, others = first["state_dict"], second["state_dict"]
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        if weight.dtype.is_floating_point:
            torch.testing.assert_close(others[name], weight, rtol=0, atol=1e-5, msg=name)
    numbers = [numbers_in(remembered(each)) for each in (weights, others)]
    assert len(numbers[0]) > 3
    assert numbers[1] == pytest.approx(numbers[0], abs=1e-5)
    if searcher != "spos":
        assert [each["genotype"] for each in derived(two)] == [
            each["genotype"] for each in derived(one)
        ]
        told = [ChildFolder.of(study, 0).probabilities() for study in (one, two)]
        assert [line["epoch"] for line in told[1]] == [0, 1]
        assert told[0][1]["decisions"].keys() == told[1][1]["decisions"].keys()
        assert numbers_in(told[1]) == pytest.approx(numbers_in(told[0]), abs=1e-4)
    momenta = [each["optimizer_states"][0]["state"] for each in (first, second)]
    assert momenta[0].keys() == momenta[1].keys()


@pytest.mark.slow
def test_parts_are_trained_beside_a_child_on_two_ranks(tmp_path):
    """The child is trained as by one process; parts are scaled by each rank's part of a batch."""
    given = ("searcher=petridish", "data.batch_size=64")
    one = supernet_study(tmp_path / "one", *given)
    two = supernet_study(tmp_path / "two", "trainer.devices=2", *given)
    task = task_of(one)
    genotype = smallest(task.space, np.random.default_rng(0))
    proposal = Proposal(0, genotype, kind="supernet", seed=5)
    outcomes = [train(study, proposal) for study in (one, two)]
    assert [(each.status, each.error) for each in outcomes] == [("completed", None)] * 2
    states = [checkpoint(study)["state_dict"] for study in (one, two)]
    shared = SharedWeights(task.space, (1, 8, 8))
    values = []
    for state in states:
        prefix = "network.shared.weights."
        given_weights = {k.removeprefix(prefix): v for k, v in state.items() if prefix in k}
        shared.restore(given_weights)
        values.append(shared.values(genotype))
    assert len(values[0]) >= 4
    for name, value in values[0].items():
        torch.testing.assert_close(values[1][name], value, rtol=0, atol=1e-5)
    first_P, second_P = (each["network.alpha_P"] for each in states)
    assert len(first_P) > 1
    assert not torch.equal(first_P, torch.ones_like(first_P))
    torch.testing.assert_close(second_P, first_P, rtol=0.05, atol=0.02)


WORKER = (
    "import sys, pathlib; from tests.children.supernets.test_ranks import train; "
    "train(pathlib.Path({!r}))"
)


@pytest.mark.slow
def test_a_killed_supernet_goes_on_to_the_bit_on_two_ranks(tmp_path):
    given = ("trainer.devices=2", *ENAS, "data.batch_size=64", "trainer.max_epochs=8")
    given = (*given, "trainer.checkpoint_every_s=0")
    whole, parts = (supernet_study(tmp_path / name, *given) for name in ("whole", "parts"))
    expected = train(whole)
    worker = subprocess.Popen([sys.executable, "-c", WORKER.format(str(parts))])
    wait_until(ChildFolder.of(parts, 0).last.exists)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert_all_end(parts)
    assert 0 < len(derived(parts)) < 8
    outcome = train(parts)
    assert (outcome.error, outcome.found) == (expected.error, expected.found)
    assert outcome.error is None
    first, second = (checkpoint(study) for study in (whole, parts))
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, weight in first["state_dict"].items():
        assert torch.equal(second["state_dict"][name], weight), name
    batches = [each["callbacks"]["Alternation"]["batches"] for each in (first, second)]
    assert batches[0] == batches[1]
    assert len(batches[0]) == 2
    assert derived(whole) == derived(parts)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_study_by_ddp_ends_with_trained_children(tmp_path, devices):
    sizes = ("searcher.num_estimates=3", "searcher.num_trained=1", "max_children=1")
    ranks = (f"trainer.devices={devices}", "trainer.strategy=ddp")
    study = supernet_study(tmp_path, "searcher=spos", *sizes, *ranks, "executor=serial")
    run_study({**saved_config(study), "baseline": None}, study)
    events = read_events(study / "ledger.jsonl")[0]
    kinds = [e.get("kind", "train") for e in events if e["event"] == "proposed"]
    assert kinds == ["supernet", "estimate", "estimate", "estimate", "train"]
    assert {e["status"] for e in events if e["event"] == "outcome"} == {"completed"}
    assert_all_end(tmp_path)


NORMED = {
    "concat": [
        {"conv2d": {"filters": {"oneof": [2, 4]}, "kernel_size": 3}},
        "batch_norm",
        "relu",
        {"affine": {"units": 10}},
    ]
}


def test_an_estimate_is_of_all_examples_however_many_devices_children_have(tmp_path):
    one, two = (
        supernet_study(
            tmp_path / str(number), "searcher=spos", f"trainer.devices={number}", space=NORMED
        )
        for number in (1, 2)
    )
    assert train(one).error is None
    shutil.copytree(ChildFolder.of(one, 0).path, ChildFolder.of(two, 0).path)
    genotype = task_of(one).space.walk(lambda decision: 0)
    weights = (Source(0, "weights"),)
    estimate = Proposal(1, genotype, kind="estimate", sources=weights, seed=7)
    found = [train(study, estimate) for study in (one, two)]
    assert [each.error for each in found] == [None, None]
    assert found[0].metrics == found[1].metrics
    assert found[0].reward > 0.2  # of ten classes


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["trainer.devices=2", "trainer.sync_batchnorm=true"],
            "trainer.sync_batchnorm=true: the networks of a supernet normalize each device's part",
        ),
        (
            ["trainer.num_nodes=2", "trainer.sync_batchnorm=true"],
            r"legal: false, or trainer\.devices=1 trainer\.num_nodes=1",
        ),
        (
            [
                "trainer.devices=2",
                "trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy, "
                "ddp_comm_hook: {_target_: builtins.object}}",
            ],
            r"trainer\.strategy\.ddp_comm_hook: only those gradients of a supernet are averaged",
        ),
    ],
)
def test_what_a_supernet_on_several_devices_could_not_honour_is_refused(
    tmp_path, overrides, reason
):
    study = supernet_study(tmp_path, "searcher=spos", *overrides)
    config = saved_config(study)
    space = build_space(config)
    trainer = build_trainer(config, space)
    with pytest.raises(ConfigError, match=reason):
        trainer.check(SUPERNET)
