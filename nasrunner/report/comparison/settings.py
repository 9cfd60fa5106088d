"""The settings of studies: what makes them comparable, what tells them apart, how to say it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrunner.report.searcher_names import flat

_NO_SETTING = (
    "study",
    "seed",
    "searcher.seed",
    "baseline",
    "resume",
    "tracker",
    "max_children",
    "max_epochs_total",
    "max_hours",
    "target_reward",
    "max_failures",
    "keep_weights",
    "pack_children_above",
    "data.root",
    "data.split_seed",
    "trainer.path",
    "trainer.source",
)
"""Keys in which studies of one group may differ: names, seeds, budgets, what ran beside or stays"""


def settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the dotted keys that are alike in studies which differ by seed and budget only, as
    text.
    """
    chosen = {k: v for k, v in flat(config).items() if not _is_under(k, _NO_SETTING)}
    if "trainer.path" in flat(config):
        chosen["trainer.path"] = Path(str(config["trainer"]["path"])).name
    return {key: json.dumps(value, default=str) for key, value in chosen.items()}


def distinct_labels(names: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns labels that tell configurations apart: the name, and what differs among those it has.

    ``evolution, population_size=10``; in a label a key is as short as it can be.
    """
    given = [settings(config) for config in configs]
    labels = []
    for name, config in zip(names, configs, strict=True):
        rivals = [g for n, g in zip(names, given, strict=True) if n == name]
        keys = dict.fromkeys(key for rival in rivals for key in rival)
        differing = [key for key in keys if len({rival.get(key) for rival in rivals}) > 1]
        values = flat(config)
        shown = [f"{_brief(key, differing)}={_value(values.get(key))}" for key in differing]
        labels.append(", ".join([name, *shown]))
    return labels


def _brief(key: str, keys: Sequence[str]) -> str:
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def _value(value: object) -> str:
    if value is None:
        return "null"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:16]}…{text[-7:]}"


def _is_under(key: str, places: Sequence[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
