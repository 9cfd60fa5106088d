"""Test scores of each search's chosen child, which ``nasrunner-retrain`` trained and tested."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from nasrunner.core.errors import ConfigError
from nasrunner.recorded import OTHER_DATA, RecordedStudy, Repetition, retrain_settings
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

_ELSEWHERE = (
    "The architectures were rebuilt for {data}, and trained and tested on it; they were chosen by "
    "what they are worth on the data of their search."
)


def scores_sections(groups: Sequence[Group], baselines: Baselines) -> list[Section]:
    """Returns the test scores of searches, those on each data set in a section of its own; nothing
    where no study was retrained, or rewards are re-scored.

    What was tested was chosen by the rewards of the search.
    """
    studies = [study for group in groups for study in group.studies]
    if any(study.rescored is not None for study in studies):
        return []
    others = dict.fromkeys(name for study in studies for name in _other_data(study))
    found = [_scores_section(groups, baselines, data) for data in (None, *others)]
    return [section for section in found if section is not None]


def _scores_section(
    groups: Sequence[Group], baselines: Baselines, data: str | None
) -> Section | None:
    scores = {group.label: _by_seed(group, data) for group in groups}
    if not any(scores.values()):
        return None
    title = "Test scores" if data is None else f"Test scores on {data}"
    trained = [each for group in groups for s in group.studies if (each := _settings(s, data))]
    if any(each != trained[0] for each in trained):
        text = "The studies were retrained with different settings: their test scores are not "
        return Section(title, f"{text}compared.", [])
    found = [_difference(group, scores, baselines) for group in groups]
    rows = [
        [group.label, *_cells(group, scores[group.label], data), *cells, *verdict]
        for group, cells, verdict in zip(
            groups, differences(found, baselines), judged(found, baselines), strict=True
        )
        if scores[group.label]
    ]
    metric, is_lower_better = _metric(groups, data)
    negative = f" {metric} is better when lower, and counts negative." if is_lower_better else ""
    ends = ("95 % from", "95 % to")
    rewards = ("mean best reward",) if data is None else ()  # of the data that were searched on
    columns = ("searcher", "seeds", *rewards, f"mean {metric}", *ends)
    caption = (
        "Each search's best child of all its evaluations; where it has several networks, their "
        f"mean counts. Means over seeds.{negative} {how_sure(baselines)} "
        f"{how_judged(baselines, found)}"
    ).rstrip()
    table_columns = (*columns, *difference_columns(baselines), *verdict_columns(baselines))
    about = _TEXT if data is None else f"{_TEXT} {_ELSEWHERE.format(data=data)}"
    name = "test_scores" if data is None else f"test_scores_{data}"
    return Section(title, about, [Table(name, "Chosen children", caption, table_columns, rows)])


def score_of_chosen(study: RecordedStudy, data: str | None = None) -> float | None:
    """Returns that of the study's best child, higher is better; None where it was not tested.

    Args:
        study: the one.
        data: the option of the data set that it was rebuilt for; None: it is the one of the search.
    """
    best = study.best(1)
    record = _record(study, data)
    if not best or record is None:
        return None
    name = f"{best[0].proposal.index:04d}"
    sign = -1.0 if _is_lower_better(study) else 1.0
    for row in record["architectures"]:
        if row["name"] == name and record["metric"] in row["metrics"]:
            return sign * float(row["metrics"][record["metric"]]["mean"])
    return None


def _by_seed(group: Group, data: str | None) -> dict[Repetition, float]:
    found: dict[Repetition, list[float]] = {}
    for study in group.studies:
        if (score := score_of_chosen(study, data)) is not None:
            found.setdefault(study.repetition, []).append(score)
    return {seed: fmean(values) for seed, values in found.items()}


def _cells(group: Group, scores: Mapping[Repetition, float], data: str | None) -> list[object]:
    found = estimate(list(scores.values()))
    if data is not None:
        return [len(scores), found.mean, found.low, found.high]
    rewards: dict[Repetition, list[float]] = {seed: [] for seed in scores}
    for study, each in zip(group.studies, group.progress, strict=True):
        if score_of_chosen(study) is not None:
            rewards[study.repetition].append(float(each.best_E[-1]))
    mean_reward = fmean(map(fmean, rewards.values()))
    return [len(scores), mean_reward, found.mean, found.low, found.high]


def _difference(
    group: Group, scores: Mapping[str, Mapping[Repetition, float]], baselines: Baselines
) -> Difference | None:
    if group.label not in baselines:
        return None
    found = difference(scores[group.label], scores[baselines[group.label].label])
    return found if min(found.counts) else None


def _metric(groups: Sequence[Group], data: str | None) -> tuple[str, bool]:
    studies = [study for group in groups for study in group.studies]
    study = next(each for each in studies if score_of_chosen(each, data) is not None)
    record = _record(study, data)
    assert record is not None
    return str(record["metric"]).replace("_", " "), _is_lower_better(study)


def _is_lower_better(study: RecordedStudy) -> bool:
    reward = study.reward
    return reward.get("mode") == "min" or not str(reward.get("metric")).startswith("val_")


def _other_data(study: RecordedStudy) -> list[str]:
    """The options of other data sets that a study's children were rebuilt for."""
    places = sorted(study.folder.glob("retrained-*/retrain.yaml"))
    names = [path.parent.name.removeprefix("retrained-") for path in places]
    return [name for name in names if _is_of(study, name)]


def _place(study: RecordedStudy, data: str | None) -> Path:
    return study.folder / ("retrained" if data is None else f"retrained-{data}")


def _is_of(study: RecordedStudy, data: str | None) -> bool:
    """Whether the networks in a place were trained on what its name says."""
    path = _place(study, data) / "retrain.yaml"
    return path.is_file() and retrain_settings(path).get(OTHER_DATA) == data


def _record(study: RecordedStudy, data: str | None) -> Mapping[str, Any] | None:
    path = _place(study, data) / "retrain.json"
    if not _is_of(study, data):
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged: {error}; nasrunner-retrain writes it again"
        ) from error


def _settings(study: RecordedStudy, data: str | None) -> Mapping[str, Any]:
    """How its networks were trained, but for seeds; empty where none were."""
    if not _is_of(study, data):
        return {}
    settings = retrain_settings(_place(study, data) / "retrain.yaml")
    settings.pop("seed", None)
    places = ["split_seed", "root"]
    if settings["data"].get("digest") is not None:  # these are the data, wherever they lie
        places += ["path", "test_path"]
    kept = {k: v for k, v in settings["data"].items() if k not in places}
    if data is not None:  # as every search, it has a space of its own, with these data's outputs
        settings.pop("space", None)
    return {**settings, "data": kept}
