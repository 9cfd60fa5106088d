"""Targets are standardized for networks, and undone in whatever leaves them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from nasrunner.children.tasks.target_scale import TargetScale
from nasrunner.children.tasks.tasks import Regression, make_task
from nasrunner.compose.construct import construct
from nasrunner.compose.saved import saved_config
from nasrunner.compose.upgrade import upgraded
from nasrunner.core import ConfigError, DataError
from tests.children.blobs import make_trainer
from tests.children.studies import make_study, rehearse, train
from tests.children.tasks.kinds import LABELS, MLP, TARGETS

SCALES = torch.tensor([1e-5, 1.0, 3e6])


def task_of(*overrides: str) -> Regression:
    config = make_trainer(*overrides, task="regression", data=TARGETS, space=MLP).config
    task = make_task(config, construct)
    assert isinstance(task, Regression)
    return task


class Known:
    """Data whose training targets are known."""

    def __init__(self, targets: Any) -> None:
        self.targets = targets

    def training_targets(self) -> Any:
        return self.targets


def test_it_is_scikit_learns_scaler_of_every_target() -> None:
    targets = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * SCALES + SCALES
    scale, known = TargetScale.of(targets), StandardScaler().fit(targets.double().numpy())
    found = scale.standardized(targets)
    np.testing.assert_allclose(found, known.transform(targets.numpy()), rtol=0, atol=1e-5)
    np.testing.assert_allclose(scale.in_units(found), targets, rtol=1e-5)
    again = TargetScale.from_dict(scale.as_dict())
    assert torch.equal(again.standardized(targets), found)


@pytest.mark.parametrize("value", [0.0, 0.1, -7e8])
def test_a_constant_target_is_only_moved(value: float) -> None:
    targets = torch.stack([torch.full((9,), value), torch.arange(9.0)], dim=1)
    found = TargetScale.of(targets).standardized(targets)
    assert found[:, 0].tolist() == [0.0] * 9
    assert found[:, 1].std(correction=0).item() == pytest.approx(1)


def test_targets_that_are_no_finite_numbers_are_counted() -> None:
    targets = torch.tensor([[1.0, 2.0], [torch.nan, 2.0], [torch.inf, torch.nan]])
    with pytest.raises(DataError, match=r"finite numbers, but 2 of the 3 training examples"):
        TargetScale.of(targets)


def test_losses_are_of_standardized_targets_and_metrics_in_their_units() -> None:
    task = task_of("task.loss=huber", "task.huber_delta=0.5")
    targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(1)) * SCALES + 2 * SCALES
    task.learn_from(Known(targets))
    mean, std = targets.mean(0), targets.std(0, correction=0)
    outputs, batch = torch.tensor([[0.0, 1.0, -2.0], [0.5, 0.0, 0.0]]), targets[:2]
    learnt = (batch - mean) / std
    expected = torch.nn.functional.huber_loss(outputs, learnt, delta=0.5, reduction="none")
    assert task.loss(outputs, batch).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    torch.testing.assert_close(task.losses(outputs, batch), expected.mean(1))
    predicted, measured = task.measured(outputs, batch)
    torch.testing.assert_close(predicted, outputs * std + mean)
    assert torch.equal(measured, batch)


def test_a_loss_moves_a_network_as_much_in_any_unit() -> None:
    """A gradient of outputs does not depend on the unit of targets."""
    targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    gradients = []
    for unit in (1.0, 4096.0):
        task = task_of()
        task.learn_from(Known(targets * unit))
        outputs = torch.zeros(20, 3, requires_grad=True)
        task.loss(outputs, targets * unit).backward()  # type: ignore[no-untyped-call]  # torch's
        assert outputs.grad is not None
        gradients.append(outputs.grad)
    torch.testing.assert_close(*gradients)


def test_false_leaves_targets_as_they_are_and_asks_nobody_for_them() -> None:
    task = task_of("task.normalize_targets=false")
    task.learn_from(object())
    outputs, targets = torch.zeros(2, 3), torch.full((2, 3), 3.0)
    assert task.loss(outputs, targets).item() == 9.0
    assert task.measured(outputs, targets)[0] is outputs


def test_data_that_do_not_say_their_targets_are_refused_before_training(tmp_path: Path) -> None:
    own = {"_target_": "tests.children.blobs.OwnBlobs", "in_shape": [4], "num_outputs": 1}
    data = {**own, "batch_size": 30, "is_regression": True}
    study = make_study(tmp_path / "a", "task=regression", data=data, space={"affine": {"units": 1}})
    with pytest.raises(
        ConfigError,
        match=r"task.normalize_targets=true: OwnBlobs has no training_targets\(\), which returns "
        r"all training targets, \(N, data.num_outputs\); legal without it: false",
    ):
        rehearse(study)
    off = ("task=regression", "task.normalize_targets=false")
    outcome = train(make_study(tmp_path / "b", *off, data=data, space={"affine": {"units": 1}}))
    assert outcome.status == "completed", outcome.error


@pytest.mark.parametrize("name", ["classification", "multi_label"])
def test_tasks_without_numbers_do_not_take_it(name: str) -> None:
    config = make_trainer(task=name, data=LABELS, space=MLP, is_rehearsed=False).config
    config = {**config, "task": {**config["task"], "normalize_targets": True}}
    with pytest.raises(ConfigError, match=r"takes no 'normalize_targets'"):
        make_task(config, construct)


def test_children_of_a_study_have_one_unit() -> None:
    space = {**MLP, "hyperparameters": {"task.normalize_targets": {"oneof": [True, False]}}}
    with pytest.raises(ConfigError, match=r"task.normalize_targets must be the same for all"):
        make_trainer(task="regression", data=TARGETS, space=space)


def test_studies_that_were_recorded_before_learn_targets_as_they_are(tmp_path: Path) -> None:
    study = make_study(tmp_path, "task=regression", data=TARGETS, space=MLP)
    config = saved_config(study)
    del config["task"]["normalize_targets"]
    told: list[str] = []
    found = upgraded(config, ("data", "task"), told.append)
    assert "normalize_targets" not in found["task"]
    assert told == []
    task = make_task(found, construct)
    task.learn_from(object())
    assert task.target_scale is None
