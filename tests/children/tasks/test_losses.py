"""Losses by ``_target_`` and weights of classes: torch's values, or a sentence."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from nasrunner.children.tasks.tasks import Task
from nasrunner.compose.construct import construct
from nasrunner.compose.trust import check_targets
from nasrunner.core import ConfigError
from tests.children.blobs import train
from tests.children.tasks.kinds import UNEQUAL

# B = batch, K = number of outputs

PLACES = {
    "Classification": ("tasks", {"label_smoothing": 0.0}),
    "Regression": ("tasks", {"loss": "mse", "huber_delta": 1.0}),
    "MultiLabel": ("multi_label", {"loss": None, "class_weights": None}),
    "Segmentation": ("segmentation", {"loss": None, "class_weights": None}),
}
REWARD = {
    "_target_": "nasrunner.children.tasks.reward.Reward",
    "metric": "val_loss",
    "mode": "min",
    "reduce": "best",
    "last_epochs": 5,
    "power": 1,
    "diverged": "keep",
}


class Focal(nn.Module):
    """A user's own loss: focal, Lin et al. 2017, arXiv:1708.02002, the mean of a batch."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits_BK: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
        losses_B = functional.cross_entropy(logits_BK, target_B, reduction="none")
        return ((1 - (-losses_B).exp()) ** self.gamma * losses_B).mean()


class EachFocal(Focal):
    """The same of each example."""

    def forward(self, logits_BK: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
        losses_B = functional.cross_entropy(logits_BK, target_B, reduction="none")
        return (1 - (-losses_B).exp()) ** self.gamma * losses_B


class PixelFocal(Focal):
    """The same of each pixel, by probabilities: it has a loss for pixels that do not count, too."""

    def forward(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        shares_BKHW = logits_BKHW.softmax(dim=1)
        share_BHW = shares_BKHW.gather(1, target_BHW.clamp(min=0)[:, None])[:, 0]
        return -((1 - share_BHW) ** self.gamma) * share_BHW.log()


class CountedFocal(Focal):
    """The same of the pixels that count, one number for a batch: NaN where none does."""

    def forward(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        counts_BHW = target_BHW != -100
        return super().forward(logits_BKHW.movedim(1, -1)[counts_BHW], target_BHW[counts_BHW])


def smoothed(
    logits_BKHW: torch.Tensor, target_BHW: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """A user's function whose own mean is over all pixels."""
    losses_BHW = functional.cross_entropy(
        logits_BKHW, target_BHW, reduction="none", label_smoothing=0.1
    )
    return losses_BHW.mean() if reduction == "mean" else losses_BHW


class Data:
    """A data module that says what its training targets are."""

    def __init__(self, targets: Any) -> None:
        self.targets = torch.as_tensor(targets)

    def training_targets(self) -> torch.Tensor:
        return self.targets


def task(kind: str, **arguments: Any) -> Task:
    module, needed = PLACES[kind]
    reward = {**REWARD, **arguments.pop("reward", {})}
    target = {"_target_": f"nasrunner.children.tasks.{module}.{kind}", "metrics": {}}
    found: Task = construct(
        {**target, **needed, **arguments, "reward": reward}, "task", num_outputs=3
    )
    found.rehearse()
    return found


def named(name: str, **arguments: Any) -> Mapping[str, Any]:
    return {"_target_": name, **arguments}


LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0], [1.0, 1.0, 1.5]])
CLASSES = torch.tensor([0, 2, 1, 0])
LABELS = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
PIXELS = torch.tensor([[[0, 1], [2, -100]], [[1, 1], [-100, 0]]])
IMAGES = torch.arange(24.0).view(2, 3, 2, 2).sin()


@pytest.mark.parametrize(
    ("kind", "loss", "expected"),
    [
        (
            "Classification",
            named("torch.nn.CrossEntropyLoss", weight=[1, 2, 5]),
            nn.CrossEntropyLoss(torch.tensor([1.0, 2, 5]))(LOGITS, CLASSES),
        ),
        (
            "Classification",
            named("torch.nn.MultiMarginLoss", p=2),
            nn.MultiMarginLoss(2)(LOGITS, CLASSES),
        ),
        (
            "Classification",
            named("torch.nn.functional.multi_margin_loss", _partial_=True, margin=0.5),
            functional.multi_margin_loss(LOGITS, CLASSES, margin=0.5),
        ),
        (
            "Classification",
            named("tests.children.tasks.test_losses.Focal", gamma=2),
            Focal(2)(LOGITS, CLASSES),
        ),
        (
            "Classification",
            named("tests.children.tasks.test_losses.EachFocal", gamma=2),
            Focal(2)(LOGITS, CLASSES),
        ),
        (
            "Regression",
            named("torch.nn.HuberLoss", delta=0.3),
            nn.HuberLoss(delta=0.3)(LOGITS, LABELS),
        ),
        ("Regression", named("torch.nn.L1Loss"), nn.L1Loss()(LOGITS, LABELS)),
        (
            "MultiLabel",
            named("torch.nn.MultiLabelSoftMarginLoss"),
            nn.MultiLabelSoftMarginLoss()(LOGITS, LABELS),
        ),
        (
            "Segmentation",
            named("torch.nn.CrossEntropyLoss", label_smoothing=0.1),
            nn.CrossEntropyLoss(label_smoothing=0.1)(IMAGES, PIXELS),
        ),
    ],
)
def test_a_loss_by_its_target_is_that_loss(
    kind: str, loss: Mapping[str, Any], expected: torch.Tensor
) -> None:
    given = (IMAGES, PIXELS) if kind == "Segmentation" else (LOGITS, CLASSES)
    given = given if kind in ("Segmentation", "Classification") else (LOGITS, LABELS)
    assert task(kind, loss=loss).loss(*given).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("kind", "loss", "message"),
    [
        ("Classification", "focal", "task.loss must be a mapping with _target_ or null, got 'fo"),
        ("Classification", named("torch.nn.MSELoss"), r"fails for logits of classes \(4, 3\) and"),
        ("Classification", named("torch.nn.CTCLoss"), r"missing 2 required .*'input_lengths'"),
        ("Classification", named("torch.nn.Linear", in_features=1, out_features=1), "parameters"),
        ("Segmentation", named("torch.nn.NLLLoss", reduction="sum"), "reduction=sum: .*legal: m"),
        ("MultiLabel", named("torch.nn.CrossEntropyLos"), "cannot import"),
        ("Classification", named("torch.nn.CrossEntropyLoss", weight=[1, 2]), "for all 3 classes"),
        *[
            (
                kind,
                named(f"torch.nn.{loss}", ignore_index=left_out, **more),
                rf"task.loss.ignore_index={left_out}: targets .* legal: -100, and task.class_weig",
            )
            for kind, left_out in (
                ("Segmentation", 255),
                ("Segmentation", 0),
                ("Classification", 2),
            )
            for loss, more in (
                ("CrossEntropyLoss", {}),
                ("NLLLoss", {}),
                ("functional.cross_entropy", {"_partial_": True}),
            )
        ],
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_does_not_suit_is_refused(kind: str, loss: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task(kind, loss=loss)


def test_the_smoothing_of_another_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"label_smoothing=0\.1 is of the cross entropy"):
        task("Classification", loss=named("torch.nn.MultiMarginLoss"), label_smoothing=0.1)


def test_balanced_weights_are_scikit_learns_and_one_on_average() -> None:
    targets = np.repeat([0, 1, 2], [70, 20, 10])
    weights = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    balanced = task("Classification", class_weights="balanced")
    balanced.learn_from(Data(targets))
    losses_B = functional.cross_entropy(LOGITS, CLASSES, reduction="none")
    expected = (losses_B * torch.tensor(weights)[CLASSES]).mean()
    assert balanced.loss(LOGITS, CLASSES).item() == pytest.approx(expected.item())
    assert weights[targets].mean() == pytest.approx(1)
    given = task("Classification", class_weights=weights.tolist())
    assert given.losses(LOGITS, CLASSES).mean() == pytest.approx(expected.item())


def test_a_class_that_no_training_example_has_counts_as_one() -> None:
    balanced = task("Classification", class_weights="balanced")
    balanced.learn_from(Data([0, 0, 0, 1]))
    losses_B = functional.cross_entropy(LOGITS, CLASSES, reduction="none")
    weights = torch.tensor([4 / 6, 4 / 2, 1.0])[CLASSES]
    assert balanced.losses(LOGITS, CLASSES).tolist() == pytest.approx((losses_B * weights).tolist())


def test_balanced_labels_have_torchs_pos_weight() -> None:
    targets = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 1]])  # the last always
    balanced = task("MultiLabel", class_weights="balanced")
    balanced.learn_from(Data(targets))
    pos_weight = torch.tensor([1.0, 3.0, 1.0])
    expected = functional.binary_cross_entropy_with_logits(LOGITS, LABELS, pos_weight=pos_weight)
    assert balanced.loss(LOGITS, LABELS).item() == pytest.approx(expected.item())


def test_pixels_that_do_not_count_have_no_weight_and_no_loss() -> None:
    plain, given = task("Segmentation"), task("Segmentation", class_weights=[1, 2, 3])
    losses_P = functional.cross_entropy(IMAGES, PIXELS, reduction="none")[PIXELS != -100]
    weights_P = torch.tensor([1.0, 2, 3])[PIXELS[PIXELS != -100]]
    assert plain.loss(IMAGES, PIXELS).item() == pytest.approx(losses_P.mean().item())
    assert given.loss(IMAGES, PIXELS).item() == pytest.approx((losses_P * weights_P).mean().item())
    assert given.losses(IMAGES, PIXELS).mean() == pytest.approx((losses_P * weights_P).mean())
    assert plain.num_targets(PIXELS) == 6
    assert isinstance(plain.num_targets(PIXELS.to("meta")), torch.Tensor)  # no step waits for it
    assert plain.loss(IMAGES, torch.full_like(PIXELS, -100)).item() == 0
    balanced = task("Segmentation", class_weights="balanced")
    balanced.learn_from(Data(PIXELS))  # of six pixels two are of class 0, three of 1, one of 2
    weights_P = torch.tensor([1.0, 2 / 3, 2.0])[PIXELS[PIXELS != -100]]
    expected = (losses_P * weights_P).mean().item()
    assert balanced.loss(IMAGES, PIXELS).item() == pytest.approx(expected)


COUNTED = functional.cross_entropy(IMAGES, PIXELS, reduction="none")[PIXELS != -100]
FOCAL = ((1 - (-COUNTED).exp()) ** 2 * COUNTED).mean()
HERE = "tests.children.tasks.test_losses"


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (named("torch.nn.CrossEntropyLoss"), COUNTED.mean()),
        (named("torch.nn.CrossEntropyLoss", reduction="none"), COUNTED.mean()),
        (named("torch.nn.CrossEntropyLoss", ignore_index=-100), COUNTED.mean()),
        (
            named("torch.nn.CrossEntropyLoss", weight=[1, 2, 5]),
            nn.CrossEntropyLoss(torch.tensor([1.0, 2, 5]))(IMAGES, PIXELS),
        ),
        (named(f"{HERE}.EachFocal", gamma=2), FOCAL),
        (named(f"{HERE}.PixelFocal", gamma=2), FOCAL),
        (named(f"{HERE}.CountedFocal", gamma=2), FOCAL),
        (
            named(f"{HERE}.smoothed", _partial_=True),
            nn.CrossEntropyLoss(label_smoothing=0.1)(IMAGES, PIXELS),
        ),
    ],
)
def test_pixels_that_do_not_count_are_not_in_the_mean_of_any_loss(
    loss: Mapping[str, Any], expected: torch.Tensor
) -> None:
    plain = task("Segmentation", loss=loss)
    assert plain.loss(IMAGES, PIXELS).item() == pytest.approx(expected.item())
    if "Counted" not in loss["_target_"] and "weight" not in loss:
        weighted = task("Segmentation", loss=loss, class_weights=[1, 1, 1])
        assert weighted.loss(IMAGES, PIXELS).item() == pytest.approx(expected.item())
        assert weighted.losses(IMAGES, PIXELS).mean() == pytest.approx(expected.item())
    images = IMAGES.clone().requires_grad_()
    nothing = plain.loss(images, torch.full_like(PIXELS, -100))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing.item() == 0
    assert images.grad is not None
    assert not images.grad.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_weights": "equal"}, "class_weights must be balanced or list of float >= 0 or nu"),
        ({"class_weights": [1, 2]}, r"balanced, null or 3 numbers >= 0, .*got \[1, 2\]"),
        ({"class_weights": [0, 0, 0]}, "not all 0"),
        (
            {
                "class_weights": "balanced",
                "loss": named("tests.children.tasks.test_losses.Focal", gamma=2),
            },
            "task.loss: Focal gives one number for a batch, where class_weights",
        ),
    ],
)
def test_weights_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task("Classification", **arguments)


def test_data_that_do_not_say_their_targets_have_no_balanced_weights() -> None:
    balanced = task("Classification", class_weights="balanced")
    with pytest.raises(ConfigError, match=r"object has no training_targets\(\).*a list of 3 wei"):
        balanced.learn_from(object())


def test_a_weighted_child_learns_the_rare_class(tmp_path: Any) -> None:
    fit = functools.partial(train, space={"affine": {"units": 2}}, data=UNEQUAL)
    last = ("task.reward.reduce=last", "trainer.max_epochs=10", "optimizer.lr=0.1")
    plain = fit(tmp_path / "plain", *last)
    weighted = fit(tmp_path / "weighted", *last, "task.class_weights=balanced")
    assert plain.metrics["val_one_class"] == pytest.approx(0.9)
    assert plain.reward == plain.metrics["val_one_class"]
    assert "val_one_class" not in weighted.metrics


@pytest.mark.parametrize("kind", ["Classification", "MultiLabel", "Segmentation", "Regression"])
def test_a_reward_of_any_metric_that_suits_needs_no_other_entry(kind: str) -> None:
    name = "pearson_corr_coef" if kind == "Regression" else "auroc"
    found = task(kind, reward={"metric": f"val_{name}", "mode": "max"})
    assert list(found.metrics) == [name]
    with pytest.raises(ConfigError, match=r"task.reward.metric: 'val_aurok' is never logged"):
        task(kind, reward={"metric": "val_aurok"})


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"roc": {}}, "metrics.roc must give one number"),
        ({"auroc": {"average": "none"}}, "metrics.auroc must give one number"),
        (
            {"own": named("torchmetrics.regression.MeanSquaredError")},
            r"metrics.own: MeanSquaredError does not suit Classification: .*same shape",
        ),
        (
            {"own": named("torchmetrics.classification.BinaryF1Score")},
            "metrics.own: BinaryF1Score does not suit Classification",
        ),
        ({"f1_score": 3}, "metrics.f1_score must be a mapping of its arguments"),
    ],
)
def test_a_metric_that_does_not_suit_is_refused(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task("Classification", metrics=metrics)


def test_logits_between_zero_and_one_are_no_probabilities() -> None:
    found = task("MultiLabel", metrics={"f1_score": {}})
    logits, target = torch.tensor([[0.3, 0.4, -0.1]]), torch.tensor([[1.0, 1.0, 0.0]])
    found.add_to(found.metrics.values(), *found.measured(logits.clamp(min=0.1), target))
    # All three are above 0, and so above a half of what a sigmoid makes of them.
    assert found.value_of(found.metrics["f1_score"]).item() == pytest.approx(2 / 3)


def test_probabilities_are_computed_once_for_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    found = task("Classification", metrics={"f1_score": {}, "auroc": {}, "accuracy": {}})
    given = []
    softmax = found.probabilities
    monkeypatch.setattr(found, "probabilities", lambda x: softmax(given.append(x) or x))
    found.add_to(found.metrics.values(), *found.measured(LOGITS, CLASSES))
    assert len(given) == 1
    # Of class 0 one of two is right, of the others all: the mean over classes.
    assert found.value_of(found.metrics["accuracy"]).item() == pytest.approx(2.5 / 3)


def test_losses_of_torch_are_trusted_in_a_strangers_study() -> None:
    loss = named("torch.nn.CrossEntropyLoss", weight=[1, 2, 5])
    target = "nasrunner.children.tasks.tasks.Classification"
    config = {"task": {"_target_": target, "loss": loss}}
    check_targets(config, ("task",), {})
    config["task"]["loss"] = named("my_losses.Focal")
    with pytest.raises(ConfigError, match="my_losses"):
        check_targets(config, ("task",), {})
