import pytest
import torch
import torchmetrics

from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import Classification, Regression, are_within
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError


def classification(metrics, metric="val_loss", num_outputs=3, label_smoothing=0.0):
    return construct(
        {"_target_": f"{Classification.__module__}.Classification", "metrics": metrics}
        | {"label_smoothing": label_smoothing},
        "task",
        num_outputs=num_outputs,
        reward=Reward(metric, "min", "last", 1, 1),
    )


def regression(loss="mse", metrics=None, num_outputs=1, huber_delta=1.0, diverged="failed"):
    return construct(
        {"_target_": f"{Regression.__module__}.Regression", "loss": loss}
        | {"huber_delta": huber_delta},
        "task",
        num_outputs=num_outputs,
        metrics=metrics or {},
        reward=Reward("val_loss", "min", "last", 1, 1, diverged=diverged),
    )


def test_accuracy_and_f1_are_those_of_the_logits():
    task = classification({"accuracy": {"average": "micro"}, "f1_score": {"average": "macro"}})
    logits = torch.eye(3)[[0, 1, 1, 2]]
    target = torch.tensor([0, 1, 0, 2])
    for metric in task.metrics.values():
        metric.update(*task.measured(logits, target))
    assert task.metrics["accuracy"].compute().item() == pytest.approx(3 / 4)
    assert task.metrics["f1_score"].compute().item() == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_label_smoothing_spreads_the_target():
    loss = classification({}, label_smoothing=0.3).loss(
        torch.log(torch.tensor([[0.5, 0.25, 0.25]])), torch.tensor([0])
    )
    p = torch.tensor([0.5, 0.25, 0.25]).log()
    assert loss.item() == pytest.approx(-(0.8 * p[0] + 0.1 * p[1] + 0.1 * p[2]).item())


def test_huber_is_linear_above_its_delta():
    loss = regression("huber", huber_delta=1.0).loss(torch.tensor([[3.0]]), torch.tensor([[0.0]]))
    assert loss.item() == pytest.approx(2.5)


def test_squared_errors_are_the_mean_and_those_of_each_example():
    task, predicted = regression("mse", num_outputs=2), torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    assert task.loss(predicted, torch.zeros(2, 2)).item() == 2.5
    assert task.losses(predicted, torch.zeros(2, 2)).tolist() == [5.0, 0.0]


def test_a_guess_has_the_metrics_of_chance():
    task = classification({"accuracy": {}, "f1_score": {}}, num_outputs=4)
    logits, target = torch.zeros(400, 4), torch.arange(400) % 4
    assert task.by_chance("val_loss") == pytest.approx(task.loss(logits, target).item())
    assert task.by_chance("val_accuracy") == 1 / 4
    assert task.by_chance("val_f1_score") is None
    assert regression(metrics={"r2_score": {}}).by_chance("val_r2_score") == 0.0
    assert regression().by_chance("val_loss") is None


@pytest.mark.parametrize(
    ("labels", "fits"),
    [([], True), ([0], True), ([2], True), ([3], False), ([-1], False), ([0, 1, 3], False)],
)
def test_labels_are_those_of_so_many_classes(labels, fits):
    assert are_within(torch.tensor(labels, dtype=torch.long), 3) is fits


def test_regression_refuses_targets_that_would_broadcast():
    with pytest.raises(ValueError, match=r"outputs are \(5, 1\) but the targets are \(5,\)"):
        regression().loss(torch.zeros(5, 1), torch.zeros(5))


def test_metrics_of_one_output_take_vectors():
    task = regression(metrics={"r2_score": {}, "pearson_corr_coef": {}})
    predicted, target = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [2.0], [4.0]])
    for metric in task.metrics.values():
        metric.update(*task.measured(predicted, target))
    # 1 - 1 / (16/9 + 1/9 + 25/9)
    assert task.metrics["r2_score"].compute().item() == pytest.approx(1 - 9 / 42)
    assert task.metrics["pearson_corr_coef"].compute().item() == pytest.approx(
        3 / (2 * 14 / 3) ** 0.5
    )


class Own(torchmetrics.MeanMetric):
    higher_is_better = False


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("train_loss", "min"),
        ("val_loss", "min"),
        ("val_r2_score", "max"),
        ("val_mean_absolute_error", "min"),
        ("val_pearson_corr_coef", None),  # torchmetrics does not say
        ("val_own", "min"),
    ],
)
def test_which_values_are_better_is_known_of_the_metric(name, better):
    names = ("r2_score", "mean_absolute_error", "pearson_corr_coef")
    task = regression(metrics={**{each: {} for each in names}, "own": Own()})
    assert task.mode_of(name) == better
    for mode in ("max", "min"):
        if better in (None, mode):
            task.check_mode("task.reward.mode", name, mode)
        else:
            with pytest.raises(ConfigError, match=rf"mode={mode}, but {name} .*legal: {better}"):
                task.check_mode("task.reward.mode", name, mode)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classification({"acuracy": {}}), r"acuracy: .*did you mean 'accuracy'"),
        (lambda: classification({"accuracy": {"averge": 1}}), r"metrics\.accuracy: .*averge"),
        (lambda: classification({}, metric="val_acc"), r"'val_acc' is never logged.*val_loss"),
        (
            lambda: classification({}, label_smoothing=1.0),
            r"smoothing must be float in \[0, 1\), got 1.0",
        ),
        (lambda: classification({}, num_outputs=1), r"num_outputs >= 2, got 1; .* task=regression"),
        (
            lambda: regression(diverged="chance"),
            "what val_loss a guess has is not",
        ),
        (
            lambda: regression("mae"),
            "task.loss must be one of mse, huber or a mapping with _target_, got 'mae'",
        ),
        (lambda: regression(huber_delta=0.0), "huber_delta must be float > 0, got 0.0"),
        (lambda: classification({"roc": {}}).rehearse(), r"metrics\.roc must give one number"),
    ],
)
def test_what_cannot_work_is_found_before_training(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
