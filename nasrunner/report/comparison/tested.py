"""Test scores of each search's chosen child, which ``nasrunner-retrain`` trained and tested."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from nasrunner.core.errors import ConfigError
from nasrunner.recorded import RecordedStudy, Repetition, retrain_settings
from nasrunner.report.comparison.baselines import Baselines
from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.statistics import Difference, difference, estimate
from nasrunner.report.comparison.tables import (
    difference_columns,
    differences,
    how_judged,
    how_sure,
    judged,
    verdict_columns,
)
from nasrunner.report.page.parts import Section, Table

_TEXT = (
    "The best child of each search, retrained and tested once by nasrunner-retrain. The best of "
    "many rewards is too high an estimate of what a child is worth, and more so the more "
    "children there were; nothing was chosen by a test score."
)


def scores_section(groups: Sequence[Group], baselines: Baselines) -> Section | None:
    """Returns the test scores of searches; None where no study was retrained, or rewards are
    re-scored.

    What was tested was chosen by the rewards of the search.
    """
    if any(study.rescored is not None for group in groups for study in group.studies):
        return None
    scores = {group.label: _by_seed(group) for group in groups}
    if not any(scores.values()):
        return None
    title = "Test scores"
    trained = [each for group in groups for s in group.studies if (each := _settings(s))]
    if any(each != trained[0] for each in trained):
        text = "The studies were retrained with different settings: their test scores are not "
        return Section(title, f"{text}compared.", [])
    found = [_difference(group, scores, baselines) for group in groups]
    rows = [
        [group.label, *_cells(group, scores[group.label]), *cells, *verdict]
        for group, cells, verdict in zip(
            groups, differences(found, baselines), judged(found, baselines), strict=True
        )
        if scores[group.label]
    ]
    metric, is_lower_better = _metric(groups)
    negative = f" {metric} is better when lower, and counts negative." if is_lower_better else ""
    ends = ("95 % from", "95 % to")
    columns = ("searcher", "seeds", "mean best reward", f"mean {metric}", *ends)
    caption = (
        "Each search's best child of all its evaluations; where it has several networks, their "
        f"mean counts. Means over seeds.{negative} {how_sure(baselines)} "
        f"{how_judged(baselines, found)}"
    ).rstrip()
    table_columns = (*columns, *difference_columns(baselines), *verdict_columns(baselines))
    return Section(
        title, _TEXT, [Table("test_scores", "Chosen children", caption, table_columns, rows)]
    )


def score_of_chosen(study: RecordedStudy) -> float | None:
    """Returns that of the study's best child, higher is better; None where it was not tested."""
    best = study.best(1)
    record = _record(study)
    if not best or record is None:
        return None
    name = f"{best[0].proposal.index:04d}"
    sign = -1.0 if _is_lower_better(study) else 1.0
    for row in record["architectures"]:
        if row["name"] == name and record["metric"] in row["metrics"]:
            return sign * float(row["metrics"][record["metric"]]["mean"])
    return None


def _by_seed(group: Group) -> dict[Repetition, float]:
    found: dict[Repetition, list[float]] = {}
    for study in group.studies:
        if (score := score_of_chosen(study)) is not None:
            found.setdefault(study.repetition, []).append(score)
    return {seed: fmean(values) for seed, values in found.items()}


def _cells(group: Group, scores: Mapping[Repetition, float]) -> list[object]:
    rewards: dict[Repetition, list[float]] = {seed: [] for seed in scores}
    for study, each in zip(group.studies, group.progress, strict=True):
        if score_of_chosen(study) is not None:
            rewards[study.repetition].append(float(each.best_E[-1]))
    found = estimate(list(scores.values()))
    mean_reward = fmean(map(fmean, rewards.values()))
    return [len(scores), mean_reward, found.mean, found.low, found.high]


def _difference(
    group: Group, scores: Mapping[str, Mapping[Repetition, float]], baselines: Baselines
) -> Difference | None:
    if group.label not in baselines:
        return None
    found = difference(scores[group.label], scores[baselines[group.label].label])
    return found if min(found.counts) else None


def _metric(groups: Sequence[Group]) -> tuple[str, bool]:
    study = next(s for group in groups for s in group.studies if score_of_chosen(s) is not None)
    record = _record(study)
    assert record is not None
    return str(record["metric"]).replace("_", " "), _is_lower_better(study)


def _is_lower_better(study: RecordedStudy) -> bool:
    reward = study.reward
    return reward.get("mode") == "min" or not str(reward.get("metric")).startswith("val_")


def _record(study: RecordedStudy) -> Mapping[str, Any] | None:
    path = study.folder / "retrained" / "retrain.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged: {error}; nasrunner-retrain writes it again"
        ) from error


def _settings(study: RecordedStudy) -> Mapping[str, Any]:
    """How its networks were trained, but for seeds; empty where none were."""
    path = study.folder / "retrained" / "retrain.yaml"
    if not path.is_file():
        return {}
    settings = retrain_settings(path)
    settings.pop("seed", None)
    data = {k: v for k, v in settings["data"].items() if k not in ("split_seed", "root")}
    return {**settings, "data": data}
