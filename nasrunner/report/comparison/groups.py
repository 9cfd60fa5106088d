"""Which studies may be compared, and the groups whose averages are."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nasrunner.core.errors import ConfigError, suggest
from nasrunner.recorded import RecordedStudy
from nasrunner.report.comparison.progress import Progress, progress
from nasrunner.report.comparison.settings import distinct_labels, flat, searcher_name, settings
from nasrunner.report.comparison.statistics import Difference, difference
from nasrunner.trackers.mlflow_file import recall

Grouping = Literal["settings", "name"]

_HOW_CHILDREN_TRAIN = ("root", "split_seed", "batch_size", "eval_batch_size", "drop_last", "pad")
"""Keys of a data set that do not change what a reward means."""

_WHAT_A_TABLE_SAYS = ("_target_", "reward", "key_column", "template", "symbols")

_MAX_DIFFERENCES = 3


@dataclass(frozen=True)
class Group:
    """Studies that differ by seed and budget: repetitions of one search.

    Attributes:
        label: what it is called on the page.
        searcher: the name of its searcher.
        studies: in the order of their seeds.
    """

    label: str
    searcher: str
    studies: tuple[RecordedStudy, ...]

    @cached_property
    def progress(self) -> tuple[Progress, ...]:
        """How each study went."""
        return tuple(map(progress, self.studies))

    @cached_property
    def rewarded(self) -> tuple[Progress, ...]:
        """How those went in which a child has a reward; a mean has no place for the others."""
        return tuple(each for each in self.progress if each.has_reward)

    @property
    def repeated_seeds(self) -> list[int]:
        """Seeds that more than one of its studies have: those are no independent repetitions."""
        counts = Counter(study.seed for study in self.studies)
        return sorted(seed for seed, count in counts.items() if count > 1)

    def best_by_seed(self, num_evaluations: int) -> dict[int, float]:
        """Seed -> best reward after so many evaluations; the mean where a seed occurs repeatedly.

        Left out are studies that have not come so far, or had no reward by then.
        """
        found: dict[int, list[float]] = {}
        for study, each in zip(self.studies, self.progress, strict=True):
            best = each.best_after(num_evaluations)
            if best is not None and np.isfinite(best):
                found.setdefault(study.seed, []).append(best)
        return {seed: float(np.mean(values)) for seed, values in found.items()}


def place_of(study: RecordedStudy) -> str:
    """Where a reader finds a study: its folder, or the MLflow run it was fetched from."""
    facts = recall(study.folder)
    return f"runs:/{facts['run_id']}" if "tracking_uri" in facts else str(study.folder)


def check_comparable(studies: Sequence[RecordedStudy]) -> None:
    """Refuses studies whose rewards do not measure the same.

    Raises:
        ConfigError: two of them differ in space, reward or data; names both and says how.
    """
    first = studies[0]
    for other in studies[1:]:
        for what, mine, theirs in (
            ("spaces", _space(first), _space(other)),
            ("rewards", _reward(first.config), _reward(other.config)),
            ("data", _data(first.config), _data(other.config)),
        ):
            if mine != theirs:
                raise ConfigError(
                    f"{place_of(first)} and {place_of(other)} cannot be compared, their {what} "
                    "differ: " + "; ".join(_differences(mine, theirs))
                )


def groups(studies: Sequence[RecordedStudy], by: Grouping) -> list[Group]:
    """Puts repetitions of one search together, in the order in which the searches come.

    Args:
        studies: comparable ones.
        by: ``settings``: all that differ by seed, name, budget and places only; ``name``: all
            that the user called the same.
    """
    found: dict[str, list[RecordedStudy]] = {}
    for study in studies:
        key = study.name if by == "name" else json.dumps(settings(study.config), sort_keys=True)
        found.setdefault(key, []).append(study)
    members = [sorted(group, key=lambda study: study.seed) for group in found.values()]
    names = [searcher_name(group[0].config["searcher"]) for group in members]
    labels = (
        list(found)
        if by == "name"
        else distinct_labels(names, [group[0].config for group in members])
    )
    return [
        Group(label, name, tuple(group))
        for label, name, group in zip(labels, names, members, strict=True)
    ]


def find_baseline(found: Sequence[Group], wanted: str | None) -> Group | None:
    """The group that all others are compared with; None where there is no other, or no baseline.

    Args:
        found: all groups.
        wanted: a label or the name of a searcher; None: random search, if it is there.

    Raises:
        ConfigError: no group is called so, or several have this searcher.
    """
    name = wanted or "random"
    matching = [g for g in found if g.label == name] or [g for g in found if g.searcher == name]
    if len(matching) == 1:
        return matching[0]
    if wanted is None:
        return None
    labels = [group.label for group in found]
    if matching:
        several = " | ".join(group.label for group in matching)
        raise ConfigError(f"baseline={name} is several groups: {several}. Name one of them")
    raise ConfigError(f"baseline={name} is not among what is compared, {suggest(name, labels)}")


def compared(group: Group, baseline: Group, num_evaluations: int) -> Difference:
    """How much a group is ahead of the baseline after so many evaluations."""
    return difference(group.best_by_seed(num_evaluations), baseline.best_by_seed(num_evaluations))


def _space(study: RecordedStudy) -> dict[str, Any]:
    """The decisions first: they say best how two spaces differ; then what is fixed in them."""
    decisions = {f"decision {kind!r}": v for kind, v in study.header["space"].items()}
    space = study.config["space"]
    return decisions | flat({"space": space if isinstance(space, Mapping) else {"": space}})


def _reward(config: Mapping[str, Any]) -> dict[str, Any]:
    trainer = config["trainer"]
    if isinstance(trainer.get("reward"), str):  # a tabular benchmark: nothing else is asked
        table = {f"trainer.{key}": trainer.get(key) for key in _WHAT_A_TABLE_SAYS}
        return table | {"trainer.path": Path(str(trainer.get("path"))).name}
    task = config.get("task") or {}
    given = {key: task.get(key) for key in ("_target_", "reward")}
    return flat({"trainer": {"_target_": trainer.get("_target_")}, "task": given})


def _data(config: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {k: v for k, v in config["data"].items() if k not in _HOW_CHILDREN_TRAIN}
    return flat({"data": chosen})


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    keys = [k for k in dict.fromkeys([*mine, *theirs]) if _shown(mine, k) != _shown(theirs, k)]
    for key in keys[:_MAX_DIFFERENCES]:
        yield f"{key} is {_shown(mine, key)} in the first, {_shown(theirs, key)} in the second"
    if len(keys) > _MAX_DIFFERENCES:
        yield f"and {len(keys) - _MAX_DIFFERENCES} more"


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], default=str) if key in values else "missing"
