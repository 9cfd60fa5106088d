"""What a study was made of: its data, task, training and searcher."""

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from nasrunner.compose.config import shipped_option
from nasrunner.core.ledger.goal_settings import reward_of_trainer
from nasrunner.core.screen.passwords import without_passwords
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Cell, Listing, Part, Section, Table
from nasrunner.report.searcher_names import flat, option_name, searcher_name
from nasrunner.report.study.evaluations import counted, duration

_GROUPS = (
    *("data", "task", "optimizer", "scheduler", "trainer"),
    *("searcher", "baseline", "executor", "tracker"),
)


def configuration_section(study: RecordedStudy) -> Section:
    """Lists what a study was made of, where it is another than shipped; and all of it, folded."""
    config = without_passwords(study.config)
    rows: list[list[object]] = [["budget", _budget(study), ""]]
    for group in _GROUPS:
        chosen = config.get(group)
        if not isinstance(chosen, Mapping) or "_target_" not in chosen:
            continue
        is_searcher = group in ("searcher", "baseline")
        name = searcher_name(chosen) if is_searcher else option_name(group, chosen)
        told = "; ".join(f"{key}: {_shown(value)}" for key, value in _own(group, name, chosen))
        rows.append([group, Cell(name or chosen["_target_"], hover=chosen["_target_"]), told])
    caption = (
        "Of data what it was given; of the others what is not as in their file of conf/. The "
        "configuration has the rest."
    )
    parts: list[Part] = [
        Table("configuration", "Settings", caption, ("what", "is", "with"), rows),
        Listing("The whole configuration, as YAML", OmegaConf.to_yaml(OmegaConf.create(config))),
    ]
    return Section("Configuration", "", parts)


def about_data(study: RecordedStudy) -> str:
    """Names the data that children were trained on, in a sentence."""
    data = study.config.get("data") or {}
    name = data_name(study)
    shape, outputs = data.get("in_shape"), data.get("num_outputs")
    told = [f"Data: {name}"]
    told += [f"inputs of {_shape(shape)}"] if shape else []
    told += [counted(outputs, "output")] if isinstance(outputs, int) else []
    counts = {
        round(each.metrics["val_targets"])
        for each in study.state.history.outcomes
        if "val_targets" in each.metrics
    }
    told += [f"{counted(max(counts), 'target')} to validate on"] if len(counts) == 1 else []
    sentence = f"{', '.join(told)}."
    trainer = study.config["trainer"]
    if "path" in trainer and (named := reward_of_trainer(study.scored)) is not None:
        sentence += f" Nothing of it was loaded: rewards are {named[1]} of a table."
    return sentence


def data_name(study: RecordedStudy) -> str:
    """Returns what people call the data: its file in conf/data, or its class."""
    data = study.config.get("data") or {}
    target = str(data.get("_target_", "unknown"))
    return option_name("data", data) or target.rpartition(".")[2]


_CLASSES = ("_target_", "_partial_")


def _own(group: str, name: str | None, chosen: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The settings that are worth a line."""
    mine = {k: v for k, v in flat(chosen).items() if k.rpartition(".")[2] not in _CLASSES}
    if group == "data" or name is None or option_name(group, chosen) != name:
        return list(mine.items())
    shipped = flat(shipped_option(group, name))
    return [(key, value) for key, value in mine.items() if shipped.get(key, mine) != value]


def _shape(shape: object) -> str:
    if isinstance(shape, Mapping):
        return ", ".join(f"{name} {_shape(inside)}" for name, inside in shape.items())
    return "×".join(map(str, shape)) if isinstance(shape, list | tuple) else str(shape)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _budget(study: RecordedStudy) -> str:
    """What ends the study."""
    config = study.config
    told = []
    if (children := config.get("max_children")) is not None:
        told.append(counted(children, "child", "children"))
    if (epochs := config.get("max_epochs_total")) is not None:
        told.append(counted(epochs, "epoch"))
    if (hours := config.get("max_hours")) is not None:
        told.append(duration(3600 * hours))
    if (target := config.get("target_reward")) is not None:
        told.append(f"a reward of {target}")
    return " or ".join(told) or "none"
