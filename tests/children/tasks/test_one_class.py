"""Children that answer one class whatever they are asked are known for it, and so is a study."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nasrunner.children.evaluating import mean_outcome
from nasrunner.children.progress.attempts import rewarded_metrics
from nasrunner.children.tasks.one_class import ChosenClasses
from nasrunner.children.tasks.tasks import Classification
from nasrunner.core import Outcome, Proposal
from nasrunner.study.proposals.one_class import about_one_class
from tests.children.blobs import train

ALONE = SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda value, reduce_op: value)


def chosen(*batches: tuple[list[int], list[int]]) -> ChosenClasses:
    """What is known of a pass: the answers and the targets of each of its batches."""
    found = ChosenClasses()
    for answers, targets in batches:
        scores = torch.nn.functional.one_hot(torch.tensor(answers, dtype=torch.long), 3)
        found.add(scores.float(), torch.tensor(targets))
    return found


@pytest.mark.parametrize(
    ("batches", "share"),
    [
        ([([1, 1], [1, 0]), ([1], [1])], 2 / 3),
        ([([1, 1], [1, 0]), ([0], [0])], None),
        ([([2, 2, 2, 2], [0, 0, 0, 0])], 0.0),
        ([([0, 1], [0, 1])], None),
        ([([], [])], None),
        ([], None),
    ],
)
def test_the_share_is_that_of_the_one_class_answered(batches: Any, share: float | None) -> None:
    found = chosen(*batches)
    assert found.share_of_one(ALONE) == (None if share is None else pytest.approx(share))
    assert found.share_of_one(ALONE) is None  # it has begun anew


class OfAnswers(Classification):
    """A user's task whose metrics are given answers."""

    def measured(
        self, predicted_BK: torch.Tensor, target_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return predicted_BK.argmax(dim=1), target_B

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        return measured


def test_a_task_that_measures_something_else_is_trained(tmp_path: Path) -> None:
    target = f"task._target_={__name__}.OfAnswers"
    found = train(tmp_path, target, "trainer.max_epochs=1", space={"affine": {"units": 3}})
    assert found.status == "completed"
    assert "val_one_class" not in found.metrics


def test_ranks_look_at_all_answers() -> None:
    told = []

    def reduce(value: torch.Tensor, reduce_op: str) -> torch.Tensor:
        told.append(reduce_op)
        other = torch.tensor([1.0, -1.0] if reduce_op == "min" else [1.0, 2.0])
        return torch.minimum(value, other) if reduce_op == "min" else value + other

    ranks = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    assert chosen(([1, 1], [1, 1])).share_of_one(ranks) == 3 / 4
    assert chosen(([0, 0], [0, 0])).share_of_one(ranks) is None  # rank 1 has answered 1
    assert chosen().share_of_one(ranks) == 1 / 2
    assert told == ["min", "sum"] * 3


def line(epoch: int, accuracy: float, **others: float) -> dict[str, float]:
    return {"epoch": epoch, "val_loss": 0.5, "val_accuracy": accuracy, "train_loss": 1.0, **others}


def test_a_reward_of_another_validation_is_not_of_one_class() -> None:
    lines = [line(0, 0.9, val_one_class=0.9), line(1, 0.95), line(2, 0.9, val_one_class=0.9)]
    assert rewarded_metrics(lines, [0])["val_one_class"] == 0.9
    assert "val_one_class" not in rewarded_metrics(lines, [1])
    assert "val_one_class" not in rewarded_metrics(lines, [1, 2])


def outcome(index: int, reward: float | None, **metrics: float) -> Outcome:
    status = "failed" if reward is None else "completed"
    return Outcome(Proposal(index, {"a": index}), status, reward, metrics)


def test_of_several_trainings_all_must_be_of_one_class() -> None:
    both = [outcome(0, 0.9, val_one_class=0.9), outcome(1, 0.8, val_one_class=0.8)]
    assert mean_outcome(both)[1]["val_one_class"] == pytest.approx(0.85)
    assert "val_one_class" not in mean_outcome([*both, outcome(2, 0.9)])[1]


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        (
            [outcome(0, 0.9375, val_one_class=0.9375), outcome(1, 0.9375, val_one_class=0.9375)],
            "0.9375 of them are of it: the reward is that share",
        ),
        (
            [outcome(0, -0.3, val_one_class=0.9375), outcome(1, None)],
            "0.9375 of them are of it: the reward says nothing",
        ),
        ([outcome(0, 0.9375, val_one_class=0.9375), outcome(1, 0.94)], ""),
        ([outcome(1, None)], ""),
        ([], ""),
    ],
)
def test_a_study_whose_every_child_answers_one_class_says_so(
    outcomes: list[Outcome], told: str
) -> None:
    found = about_one_class(outcomes)
    assert told in found
    assert bool(told) == bool(found)
