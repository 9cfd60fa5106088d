"""Which studies may be compared, and the groups whose averages are."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.goal_settings import reward_of_trainer
from nasrunner.recorded import RecordedStudy, Repetition
from nasrunner.report.comparison.progress import Progress, progress
from nasrunner.report.comparison.settings import distinct_labels, settings
from nasrunner.report.comparison.spaces import names_of_spaces
from nasrunner.report.searcher_names import flat, searcher_name
from nasrunner.tracker_addresses import addresses_of

Grouping = Literal["settings", "name"]

_HOW_CHILDREN_TRAIN = (
    *("root", "split_seed", "batch_size", "eval_batch_size", "drop_last", "pad", "cutout"),
)
"""Keys of a data set that do not change what a reward means."""

_WHAT_A_TABLE_SAYS = ("_target_", "reward", "key_column", "template", "symbols")

_MAX_DIFFERENCES = 3


@dataclass(frozen=True)
class Group:
    """Studies that differ by seed and budget: repetitions of one search.

    Attributes:
        label: what it is called on the page.
        searcher: the name of its searcher.
        space: the name of its space; empty where all that are compared have the same.
        studies: in the order of their seeds.
        is_full: rewards are of trainings to the end alone, as others have such that are compared
            with these; else those of the longest rung count where there is none.
    """

    label: str
    searcher: str
    space: str
    studies: tuple[RecordedStudy, ...]
    is_full: bool = False

    @cached_property
    def progress(self) -> tuple[Progress, ...]:
        """How each study went."""
        return tuple(progress(study, is_full=self.is_full) for study in self.studies)

    @cached_property
    def rewarded(self) -> tuple[Progress, ...]:
        """How those went in which a child has a reward; a mean has no place for the others."""
        return tuple(each for each in self.progress if each.has_reward)

    @property
    def repeated_seeds(self) -> list[int]:
        """Seeds that more than one of its studies have: those are no independent repetitions.

        Unless their searchers have others of their own.
        """
        counts = Counter(study.repetition for study in self.studies)
        return sorted({seed for (seed, _), count in counts.items() if count > 1})

    def best_by_seed(self, num_evaluations: int, count: int = 1) -> dict[Repetition, float]:
        """Seeds -> mean reward of the best ``count`` different children after so many evaluations.

        The mean where a pair of them occurs repeatedly. Left out are studies that have not come so
        far, or had fewer children with a reward by then.
        """
        found: dict[Repetition, list[float]] = {}
        for study, each in zip(self.studies, self.progress, strict=True):
            best = each.best_after(num_evaluations, count)
            if best is not None and np.isfinite(best):
                found.setdefault(study.repetition, []).append(best)
        return {seed: float(np.mean(values)) for seed, values in found.items()}


def folder_name(*, is_rescored: bool) -> str:
    """Returns what the folder of a page is called, by whose rewards it shows."""
    return "report-rescored" if is_rescored else "report"


def place_of(study: RecordedStudy) -> str:
    """Returns where a reader finds a study: its address in a tracker, or its folder."""
    return next((address for _, address in addresses_of(study)), str(study.folder))


def study_and_baseline(
    studies: Sequence[RecordedStudy],
) -> tuple[RecordedStudy, RecordedStudy] | None:
    """Returns one study and the search that ran beside it, where that is all there is."""
    for study, other in itertools.permutations(studies) if len(studies) == 2 else ():
        if is_beside(other, [study]):
            return study, other
    return None


def is_beside(study: RecordedStudy, others: Iterable[RecordedStudy]) -> bool:
    """Tells whether it is the baseline that ran beside one of the others, in a folder of its
    own.
    """
    return any(study.folder == other.folder / "baseline" for other in others)


def check_comparable(studies: Sequence[RecordedStudy]) -> None:
    """Refuses studies whose rewards do not measure the same. Their spaces may differ.

    Raises:
        ConfigError: two of them differ in reward or data; names both and says how.
    """
    first = studies[0]
    for other in studies[1:]:
        for what, mine, theirs in (
            ("rewards", _reward(first.scored), _reward(other.scored)),
            ("data", _data(first.config), _data(other.config)),
        ):
            if mine != theirs:
                raise ConfigError(
                    f"{place_of(first)} and {place_of(other)} cannot be compared, their {what} "
                    "differ: " + "; ".join(_differences(mine, theirs))
                )


def groups(studies: Sequence[RecordedStudy], by: Grouping) -> list[Group]:
    """Puts repetitions of one search together, in the order in which the searches come.

    A search is of one space, whatever it is called; a study and the baseline beside it, if there
    is nothing else, are two.

    Args:
        studies: comparable ones.
        by: ``settings``: all that differ by seed, name, budget and places only; ``name``: all
            that the user called the same.
    """
    found: dict[tuple[str, str, bool], list[RecordedStudy]] = {}
    pair = study_and_baseline(studies)
    for study, space in zip(studies, names_of_spaces(studies), strict=True):
        called = study.name if by == "name" else json.dumps(settings(study.config), sort_keys=True)
        is_beside_it = pair is not None and study is pair[1]
        found.setdefault((called, space, is_beside_it), []).append(study)
    members = [tuple(sorted(group, key=lambda study: study.repetition)) for group in found.values()]
    searchers = [searcher_name(group[0].config["searcher"]) for group in members]
    spaces = [space for _, space, _ in found]
    if by == "name":
        labels = [called for called, _, _ in found]
    else:
        configs = [{**group[0].config, "space": None} for group in members]  # spaces have names
        labels = distinct_labels(searchers, configs)
    if pair is not None and len(set(labels)) == 1:
        labels = [label + ", beside it" * key[2] for label, key in zip(labels, found, strict=True)]
    labels = [
        f"{label}, space={s}" if s else label for label, s in zip(labels, spaces, strict=True)
    ]
    is_full = len({study.reach for study in studies if study.best(1)}) > 1
    return [Group(*each, is_full) for each in zip(labels, searchers, spaces, members, strict=True)]


def _reward(config: Mapping[str, Any]) -> dict[str, Any]:
    made_of: dict[str, Any] = {}
    if config.get("scalarization") is not None:
        made_of = flat({key: config.get(key) for key in ("scalarization", "objectives")})
    return {**_measured(config), **made_of}


def _measured(config: Mapping[str, Any]) -> dict[str, Any]:
    trainer, task = config["trainer"], config.get("task") or {}
    named, _ = reward_of_trainer(config) or (None, None)
    if named == "reward" or "key_column" in trainer:  # a tabular benchmark: nothing else is asked
        table = {f"trainer.{key}": trainer.get(key) for key in _WHAT_A_TABLE_SAYS}
        metric = {} if "reward" in trainer else flat({"task": {"reward": task.get("reward")}})
        return table | {"trainer.path": Path(str(trainer.get("path"))).name} | metric
    kind = {"_target_": trainer.get("_target_")}
    if named == "proxy":  # nothing is trained: the task's reward is not asked
        scored = {key: trainer.get(key) for key in ("proxy", "batch_size")}
        return flat({"trainer": kind | scored, "task": {"_target_": task.get("_target_")}})
    given = {key: task.get(key) for key in ("_target_", "reward")}
    rewarded = (task.get("reward") or {}).get("metric")
    if task.get("normalize_targets") and str(rewarded).endswith("loss"):
        given["normalize_targets"] = True  # earlier studies, which lack it, have other units
    return flat({"trainer": kind, "task": given})


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
