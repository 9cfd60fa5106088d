"""Describes a study in Markdown: how it stands, its best children, and what may be done next."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.ledger.ranking import mean_of
from nasrunner.core.ledger.steps import Reach
from nasrunner.core.ports import StudyInfo, Summary
from nasrunner.core.screen.commands import network_commands, report_command, resume_command
from nasrunner.core.screen.passwords import without_password
from nasrunner.trackers.wording import BESIDE, clipped, many, words_of

_MAX_CELL, _MAX_ARCHITECTURE = 300, 1500  # characters: MLflow takes 5000 in all

_BUDGETS = {
    "max_children": "{} children",
    "max_epochs_total": "{} epochs in all",
    "max_hours": "{} h",
    "target_reward": "until a reward of {}",
}


def running_note(
    info: StudyInfo, num_recorded: int, best: Sequence[Mapping[str, Any]], reach: Reach | None
) -> str:
    """Describes a study that runs.

    Args:
        info: the study.
        num_recorded: children that have ended, of its budget.
        best: its best children, as of ``Summary``.
        reach: how far these were trained; None: to their ends.
    """
    stands = f"Runs: {many(num_recorded, 'child', 'children')} recorded." if best else "Runs."
    return "\n\n".join([stands, *_found(best, reach), *_setting(info)])


def ended_note(info: StudyInfo, summary: Summary) -> str:
    """Describes a study that has ended."""
    counts, beside = (
        ", ".join(
            many(n, *words_of(name))
            for name, n in summary.counts.items()
            if n and (name in BESIDE) == is_
        )
        for is_ in (False, True)
    )
    ends = f"; {summary.about_ends}" if summary.about_ends else ""
    told = f"{counts or 'none'}{ends}{'; beside them ' if beside else ''}{beside}"
    parts = [f"Ended: {summary.reason}. Children: {told}."]
    if summary.about_predictions:
        parts.append(f"{summary.about_predictions}.")
    if summary.began_with is not None:
        parts.append(f"Began with {_cell(summary.began_with)}.")
    if summary.failure is not None:
        parts.append(f"Failed: {_cell(summary.failure)}.")
    if summary.baseline is not None:
        parts.append(f"Baseline: {summary.baseline.text()}.")
    parts += _found(summary.best, summary.reach)
    parts += _setting(info)
    parts.append(_next(info, has_best=bool(summary.best)))
    return "\n\n".join(parts)


def fenced(text: str) -> str:
    """Returns a text as a Markdown block, in lines that are not cut off in narrow columns."""
    lines = textwrap.fill(text, 76, break_long_words=False, subsequent_indent="  ")
    return f"```\n{lines}\n```"


def _found(best: Sequence[Mapping[str, Any]], reach: Reach | None) -> list[str]:
    """The table of the best children, and the architecture of the first."""
    if not best:
        return []
    parts = []
    if reach is not None:
        parts.append(f"No child was trained {reach.missed}: the best are {reach.short}.")
    rows = ["| child | reward | parameters | architecture |", "|---|---|---|---|"]
    for each in best:
        mean = mean_of(each["trainings"], each["reward_std"])
        rows.append(
            f"| {_child_and_run(each)} | {each['reward']:.4g}{mean} | "
            f"{_count(each.get('parameters'))} | {_cell(each['architecture'])} |"
        )
    parts.append("\n".join(rows))
    first = best[0]
    whole = fenced(clipped(first["architecture"], _MAX_ARCHITECTURE))
    parts.append(f"Best architecture, child {_child_and_run(first)}:\n\n{whole}")
    return parts


def _setting(info: StudyInfo) -> list[str]:
    """The data and the budget."""
    config, parts = info.config, []
    data = config.get("data")
    if isinstance(data, Mapping) and _trains(config):
        name = str(data.get("_target_", "")).rpartition(".")[2]
        place = data.get("path") or data.get("root")
        told = f"{name} ({place})" if place else name
        parts.append(f"Data: {_cell(without_password(told))}.")
    budget = [told.format(value) for key, told in _BUDGETS.items() if (value := config.get(key))]
    epochs = (config.get("trainer") or {}).get("max_epochs")
    budget += [f"up to {epochs} epochs each"] if epochs else []
    if budget:
        parts.append(f"Budget: {', '.join(budget)}.")
    return parts


def _next(info: StudyInfo, *, has_best: bool) -> str:
    """The commands that begin where the study lies, for whoever reads this there."""
    commands = next_commands(info, has_best=has_best, is_absolute=True)
    commands.append(resume_command(info.folder, is_absolute=True))
    return "Next:\n\n```\n" + "\n".join(commands) + "\n```"


def next_commands(info: StudyInfo, *, has_best: bool, is_absolute: bool = False) -> list[str]:
    """Returns the commands with which people look at a study, train what it has found, and use it.

    Args:
        info: the study.
        has_best: whether a child has a reward.
        is_absolute: whether its folder is named as from anywhere, and not from here.
    """
    commands = [report_command(info.folder, is_absolute=is_absolute)]
    if has_best and _trains(info.config):
        commands += network_commands(info.folder, is_absolute=is_absolute)
    return commands


def _trains(config: Mapping[str, Any]) -> bool:
    """Tells whether rewards are of trainings, and not those of a table."""
    return "path" not in (config.get("trainer") or {})


def _child_and_run(best: Mapping[str, Any]) -> str:
    """A best child's number, and that which its run is named after, if another."""
    run = best.get("begun_as")
    return f"{best['index']:04d}" + ("" if run is None else f" (run {run:04d})")


def _cell(text: str) -> str:
    return clipped(text, _MAX_CELL).replace("|", "\\|").replace("\n", " ")


def _count(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "–"
