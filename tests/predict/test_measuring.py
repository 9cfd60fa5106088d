"""Metrics that cannot be computed, and targets that a network does not know."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from nasrunner.children.tasks.multi_label import MultiLabel
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.segmentation import Segmentation
from nasrunner.children.tasks.tasks import Classification, Regression, Task
from nasrunner.core import DataError
from nasrunner.data.own.reading import Reading
from nasrunner.predict.measuring import PredictionMetrics
from nasrunner.predict.prediction import Meaning

REWARD = Reward("val_loss", "min", "best", 1, 1.0)


def regression() -> Regression:
    metrics: Any = {"r2_score": {}, "mean_absolute_error": {}}
    return Regression(num_outputs=1, loss="mse", huber_delta=1.0, metrics=metrics, reward=REWARD)


def test_a_metric_that_cannot_be_computed_is_left_out_and_told() -> None:
    measured = PredictionMetrics(regression(), has_loss=True)
    outputs, targets = torch.tensor([[1.0], [2.5], [4.0]]), torch.tensor([[1.5], [2.0], [3.0]])
    measured.add(outputs[:1], targets[:1])
    assert measured.values() == {"loss": 0.25, "mean_absolute_error": 0.5}
    (note,) = measured.notes()
    assert note.startswith(
        "r2_score of 1 example with targets cannot be computed and is left out: Needs at least two "
    )
    measured = PredictionMetrics(regression(), has_loss=True)
    for rows in (slice(1), slice(1, 3)):  # in pieces
        measured.add(outputs[rows], targets[rows])
    found = measured.values()
    assert found["r2_score"] == pytest.approx(r2_score(targets, outputs), rel=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(mean_absolute_error(targets, outputs))
    assert measured.notes() == []


@pytest.mark.parametrize(
    ("task", "y", "known", "found"),
    [
        (regression(), np.array([1, "?", np.inf, "2.5"], object), [0, 3], [[1], [2.5]]),
        (
            MultiLabel(num_outputs=2, loss=None, class_weights=None, metrics={}, reward=REWARD),
            np.array([[0, 1], [2, 0], [1, 1]]),
            [0, 2],
            [[0, 1], [1, 1]],
        ),
        (
            Segmentation(num_outputs=2, loss=None, class_weights=None, metrics={}, reward=REWARD),
            np.array([[[0, 1]], [[-100, 1]], [[0, 255]]]),
            [0, 1],
            [[[0, 1]], [[-100, 1]]],
        ),
    ],
)
def test_targets_that_are_none_are_left_out(
    task: Task, y: np.ndarray, known: list[int], found: list[Any]
) -> None:
    targets, is_known = Meaning.of(task, None).targets(y, "x")
    assert targets.tolist() == found
    assert np.flatnonzero(is_known).tolist() == known
    with pytest.raises(DataError, match=r"^x: targets must be .*, got "):
        Meaning.of(task, None).targets(np.zeros((3, 1, 1, 5)), "x")


def test_classes_of_numbers_are_known_by_their_texts() -> None:
    task = Classification(num_outputs=3, label_smoothing=0, metrics={}, reward=REWARD)
    reading = Reading("table", {"targets": ["y"]}, (2, 5, 7), None, None)
    targets, is_known = Meaning.of(task, reading).targets(np.array(["7", "2.0", "3", "x"]), "x")
    assert targets.tolist() == [2, 0]
    assert is_known.tolist() == [True, True, False, False]
