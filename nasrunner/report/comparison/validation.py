"""What one validation example is worth, and which differences are no larger than a few of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.ledger.goal_settings import reward_of_trainer
from nasrunner.recorded import RecordedStudy
from nasrunner.report.study.evaluations import number

FEW = 3
"""A difference of fewer examples is warned of."""


def worth_of_one(study: RecordedStudy, reward: float) -> float | None:
    """Returns by how much one more validation example that is right raises a reward.

    None where that is not known: the reward is no accuracy of all examples, or it is not recorded
    how many are validated on, or not all children are on as many.

    Args:
        study: whose reward and data it is.
        reward: where it is asked; a power of an accuracy has no single answer.
    """
    config = study.scored
    if reward_of_trainer(config) is not None:
        return None  # of a table: whatever its column says; of proxies: no accuracy
    if config.get("scalarization") is not None:
        return None  # of several
    given = study.reward
    count = _num_examples(study)
    if count is None or not _is_accuracy(config.get("task") or {}, given):
        return None
    power, scale = float(given.get("power", 1)), float(given.get("scale", 1.0))
    if reward <= 0:
        return None
    accuracy = (reward / scale) ** (1 / power)
    return float(scale * power * accuracy ** (power - 1) / count)


def about_validation(
    studies: Sequence[RecordedStudy], reward: float, gaps: Mapping[str, float]
) -> str:
    """Returns what a reader must know of the validation examples; empty where nothing is known.

    Args:
        studies: comparable ones.
        reward: the best of them.
        gaps: label of a search -> its difference from its baseline.
    """
    worths = [worth_of_one(study, reward) for study in studies]
    if worths[0] is None or len(set(worths)) > 1:
        return ""
    one, count = worths[0], _num_examples(studies[0])
    sentences = [f"One of the {count:,} validation examples is worth {number(one)} of reward."]
    splits = {study.config["data"].get("split_seed") for study in studies}
    # A data module that does not say may split as the study's seed lets it.
    if len(splits) == 1 and splits != {None} and len({study.seed for study in studies}) > 1:
        sentences.append(
            "All seeds share one split: an interval says what other seeds would give on these "
            "examples, not what other examples would; data.split_seed=${seed} draws a split for "
            "each."
        )
    if small := [label for label, gap in gaps.items() if 0 < abs(gap) < FEW * one]:
        verb = "is" if len(small) == 1 else "are"
        noun = "difference" if len(small) == 1 else "differences"
        sentences.append(f"The {noun} of {', '.join(small)} {verb} below {FEW} examples.")
    return " ".join(sentences)


def _num_examples(study: RecordedStudy) -> int | None:
    """How many examples validate each child, as they say, or in older studies the configuration."""
    if (study.config.get("evaluation") or {}).get("folds"):
        return None
    outcomes = (child.outcome for child in study.recorded if child.outcome is not None)
    told = {o.metrics["val_targets"] for o in outcomes if "val_targets" in o.metrics}
    if told:
        return int(told.pop()) if len(told) == 1 else None
    count, trainer = study.config["data"].get("validation_examples"), study.config["trainer"]
    is_part = trainer.get("limit_val_batches") or trainer.get("overfit_batches")
    return count if type(count) is int and not is_part else None


def _is_accuracy(task: Mapping[str, Any], reward: Mapping[str, Any]) -> bool:
    """Whether the reward is a power of the share of the validation examples that are right."""
    if str(task.get("_target_")).rpartition(".")[2] in ("MultiLabel", "Segmentation"):
        return False  # it is of labels, or of pixels
    metric = (task.get("metrics") or {}).get("accuracy") or {}
    is_micro = metric.get("average", "micro") == "micro" and "_target_" not in metric
    name, mode = reward.get("metric"), reward.get("mode")
    return name == "val_accuracy" and mode == "max" and is_micro and reward.get("power", 1) > 0
