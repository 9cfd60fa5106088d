"""Every kind of task is trained, interrupted, repeated, divided and scored as the others are."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    f1_score,
    jaccard_score,
    matthews_corrcoef,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from nasrunner.children.fit.module import ChildModule
from nasrunner.children.muted import without_messages
from nasrunner.children.proxies.batch import first_batch
from nasrunner.children.proxies.scores import scores
from nasrunner.children.tasks.tasks import make_task
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, DataError, Proposal, child_folder
from nasrunner.data.tensors import TensorDataModule
from tests.children.blobs import Killed, make_trainer
from tests.children.studies import make_study, train
from tests.children.tasks.kinds import (
    LABELS,
    MLP,
    OF_SQUARES,
    OF_TEXTS,
    SQUARES,
    TARGETS,
    TEXTS,
    UNEQUAL,
)
from tests.toys import train_one

KINDS = {
    "multi_label": {"task": "multi_label", "data": LABELS, "space": MLP},
    "regression": {"task": "regression", "data": TARGETS, "space": MLP},
    "text": {"task": "classification", "data": TEXTS, "space": OF_TEXTS},
    "segmentation": {"task": "segmentation", "data": SQUARES, "space": OF_SQUARES},
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def trained(folder: Path, kind: str, *overrides: str, index: int = 0, **arguments: Any) -> Any:
    """The outcome of the first network of a kind."""
    trainer = make_trainer(*overrides, **KINDS[kind], **arguments)
    genotype = trainer.space.walk(lambda decision: 0)
    return train_one(trainer.task(folder, 0), Proposal(index, genotype))


def predicted(folder: Path, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kept weights of a child make of all validation examples at once, and the targets."""
    trainer = make_trainer(**KINDS[kind], is_rehearsed=False)
    frozen = trainer.space.freeze(trainer.space.walk(lambda decision: 0))
    network, _ = frozen.build(trainer.in_shape)
    state = torch.load(child_folder(folder, 0) / "best.ckpt", weights_only=False)["state_dict"]
    network.load_state_dict(state)
    data: TensorDataModule = construct(trainer.config["data"], "data")
    data.setup("fit")
    x, target = data._fit.validation
    with torch.no_grad():
        return network.eval()(x), target


@each_kind
def test_its_networks_learn(kind: str, tmp_path: Path) -> None:
    outcome = trained(tmp_path, kind, "trainer.max_epochs=30", "optimizer.lr=0.03")
    least = {"multi_label": 0.85, "regression": -0.1, "text": 0.9, "segmentation": 0.7}[kind]
    assert outcome.status == "completed", outcome.error
    assert outcome.reward > least


METRICS = {
    "multi_label": ("f1_score", "auroc", "matthews_corr_coef"),
    "regression": ("mean_absolute_error", "r2_score", "pearson_corr_coef"),
    "text": ("f1_score", "auroc", "matthews_corr_coef"),
    "segmentation": ("jaccard_index", "f1_score", "matthews_corr_coef"),
}


@each_kind
def test_its_metrics_are_those_that_scikit_learn_has_of_all_examples(
    kind: str, tmp_path: Path
) -> None:
    given = ["task.reward.reduce=last", *(f"task.metrics.{name}={{}}" for name in METRICS[kind])]
    outcome = trained(tmp_path, kind, *given, "data.eval_batch_size=2")
    assert outcome.status == "completed", outcome.error
    y, target = predicted(tmp_path, kind)
    t: Any = target.numpy()
    expected: tuple[float, ...]
    if kind == "multi_label":
        p, chosen = y.sigmoid().numpy(), (y > 0).long().numpy()
        expected = (
            f1_score(t, chosen, average="macro", zero_division=0),
            roc_auc_score(t, p, average="macro"),
            matthews_corrcoef(t.ravel(), chosen.ravel()),
        )
        loss = functional.binary_cross_entropy_with_logits(y, target)
    elif kind == "regression":
        data: Any = construct(
            make_trainer(**KINDS[kind], is_rehearsed=False).config["data"], "data"
        )
        data.setup("fit")
        known = StandardScaler().fit(data.training_targets().numpy())
        loss = functional.mse_loss(y, torch.from_numpy(known.transform(t)).float())
        y = torch.from_numpy(known.inverse_transform(y.numpy()))
        of_each = [np.corrcoef(t[:, k], y[:, k].numpy())[0, 1] for k in range(3)]
        expected = mean_absolute_error(t, y), r2_score(t, y), float(np.mean(of_each))
    elif kind == "text":
        p, chosen = y.softmax(1).numpy(), y.argmax(1).numpy()
        expected = (
            f1_score(t, chosen, average="macro"),
            roc_auc_score(t, p[:, 1]),
            matthews_corrcoef(t, chosen),
        )
        loss = functional.cross_entropy(y, target)
    else:
        counts = t != -100
        t, chosen = t[counts], y.argmax(1).numpy()[counts]
        expected = (
            jaccard_score(t, chosen, average="macro"),
            f1_score(t, chosen, average="macro"),
            matthews_corrcoef(t, chosen),
        )
        loss = functional.cross_entropy(y, target)  # which leaves out -100
    found = [outcome.metrics[f"val_{name}"] for name in METRICS[kind]]
    assert found == pytest.approx(expected, abs=1e-5)
    assert outcome.metrics["val_loss"] == pytest.approx(loss.item(), rel=1e-5)


@each_kind
def test_one_that_was_interrupted_becomes_what_it_would_have_been(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("trainer.checkpoint_every_s=0", "task.class_weights=balanced")
    given = given if kind != "regression" else given[:1]
    whole = trained(tmp_path / "whole", kind, *given)
    validate = ChildModule.on_train_epoch_start

    def killed(module: Any) -> None:
        if module.current_epoch == 2:
            raise Killed
        validate(module)

    with monkeypatch.context() as patch:
        patch.setattr(ChildModule, "on_train_epoch_start", killed)
        with pytest.raises(Killed):
            trained(tmp_path / "killed", kind, *given)
    again = trained(tmp_path / "killed", kind, *given)
    assert again.reward == whole.reward
    assert again.metrics == whole.metrics


@each_kind
def test_the_fast_loop_and_lightnings_take_the_same_steps(kind: str, tmp_path: Path) -> None:
    fast = trained(tmp_path / "fast", kind)
    slow = trained(tmp_path / "slow", kind, "trainer.fast_loop=false")
    assert fast.metrics == pytest.approx(slow.metrics, rel=1e-6)


@each_kind
def test_it_is_repeated_and_cross_validated(kind: str, tmp_path: Path) -> None:
    outcome = trained(tmp_path, kind, evaluation={"repeats": 1, "folds": 2})
    assert outcome.status == "completed", outcome.error
    assert outcome.metrics["trainings"] == 2
    rewards = [
        json.loads((child_folder(tmp_path, 0) / f"trainings/{n}/outcome.json").read_text())[
            "reward"
        ]
        for n in range(2)
    ]
    assert outcome.reward == pytest.approx(np.mean(rewards))


@each_kind
def test_proxies_score_its_networks(kind: str) -> None:
    trainer = make_trainer(**KINDS[kind], is_rehearsed=False)
    frozen = trainer.space.freeze(trainer.space.walk(lambda decision: 0))
    network, _ = frozen.build(trainer.in_shape)
    with without_messages():
        batch = first_batch(trainer.config, 0, construct)
    found = scores(network, batch.x, batch.loss, ["parameters", "flops", "grad_norm", "snip"])
    assert not found.reasons
    assert all(math.isfinite(value) for value in found.values.values())


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path: Path) -> None:
    for kind in ("multi_label", "segmentation"):
        given = KINDS[kind]
        overrides = (f"task={kind}", "task.class_weights=balanced", "trainer.max_epochs=1")
        groups = {"data": given["data"], "space": given["space"]}
        two = ("trainer.devices=2", "trainer.strategy=ddp")
        alone = train(make_study(tmp_path / f"one-{kind}", *overrides, **groups))
        both = train(make_study(tmp_path / f"two-{kind}", *overrides, *two, **groups))
        assert both.status == "completed", both.error
        assert both.metrics["val_loss"] == pytest.approx(alone.metrics["val_loss"], rel=1e-4)
        assert both.reward == pytest.approx(alone.reward, abs=1e-4)


def test_texts_are_read_apart_from_each_other() -> None:
    trainer = make_trainer(**KINDS["text"], is_rehearsed=False)
    frozen = trainer.space.freeze(trainer.space.walk(lambda decision: 0))
    network, _ = frozen.build(trainer.in_shape)
    task = make_task(trainer.config, construct)
    unused: Any = None
    module = ChildModule(
        network, task, unused, unused, unused, unused, unused, is_channels_last=False, is_fast=False
    )
    module._reset_states()  # as at the beginning of an epoch
    x_BT = torch.arange(12).view(2, 6) % 10
    with torch.no_grad():
        first, again = module(x_BT), module(x_BT)
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("segmentation", {"space": MLP}, r"output has the shape \(3,\) but must have \(3, 8, 8\)"),
        ("segmentation", {"data": LABELS}, r"needs data.in_shape=\[channels, height, width\]"),
        ("text", {"space": MLP}, r"its network|none of its 2 networks"),
        ("multi_label", {"data": UNEQUAL | {"num_outputs": 2}}, "labels float32"),
        ("multi_label", {"data": TARGETS}, r"needs? .*labels float32 \(batch, 3\), each 0 or 1"),
    ],
)
def test_what_does_not_go_together_is_told_before_the_first_child(
    kind: str, changed: dict[str, Any], message: str
) -> None:
    given = KINDS[kind] | changed
    if given["data"]["num_outputs"] == 2 and kind == "multi_label":
        given["space"] = {"affine": {"units": 2}}
    with pytest.raises((ConfigError, DataError), match=message):
        make_trainer(**given)


def test_images_whose_pixels_have_classes_are_not_resized() -> None:
    with pytest.raises(DataError, match="resizes images, but not the classes of their pixels"):
        make_trainer("data.resolution=4", **KINDS["segmentation"])
