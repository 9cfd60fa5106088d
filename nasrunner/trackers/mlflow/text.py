"""What MLflow shows of a study and its children: names, params and descriptions."""

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nasrunner.core.ports import Blueprint, Summary
from nasrunner.core.records import Outcome
from nasrunner.trackers.notes import fenced
from nasrunner.trackers.wording import clipped, encodable

# MLflow's limits (mlflow/utils/validation.py): 250 for a name, 6000 for a param's value and 8000
# for a tag's; servers before 2.x take 500 and 5000.
MAX_NAME, MAX_PARAM, MAX_TAG = 250, 6000, 5000
MAX_RUN_NAME_IN_SQL, MAX_EXPERIMENT = 250, 500


def legal_names(names: Iterable[str]) -> dict[str, str]:
    """Maps each name to one that MLflow takes, and no two of them to the same.

    MLflow allows letters, digits and ``_ - . / :`` and space, in paths that are normal, and
    some of its databases do not tell upper from lower case.
    """
    given = list(dict.fromkeys(names))
    legal: dict[str, str] = {}
    taken = {name.casefold() for name in given if _is_legal(name)}
    seen: set[str] = set()
    for name in given:
        if _is_legal(name) and name.casefold() not in seen:
            legal[name] = name
        else:
            cleaned = posixpath.normpath(re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)).strip("/. ")
            digest = hashlib.sha256(encodable(name).encode()).hexdigest()
            length = 8
            while (made := f"{cleaned[: MAX_NAME - 65]}-{digest[:length]}").casefold() in taken:
                length += 1
            legal[name] = made
            taken.add(made.casefold())
        seen.add(legal[name].casefold())
    return legal


def _is_legal(name: str) -> bool:
    return (
        len(name) <= MAX_NAME
        and re.fullmatch(r"[A-Za-z0-9_\-. /]+", name) is not None
        and posixpath.normpath(name) == name
        and not name.startswith(("/", "."))
        and name == name.strip()
    )


def params_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Params by their MLflow names."""
    names = legal_names(values)
    return {names[key]: clipped(_shown(value), MAX_PARAM) for key, value in values.items()}


def config_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns a study's configuration as flat params; the space, a long tree, stands in
    config.yaml.
    """
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inside in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inside)
        else:
            flat[prefix] = value

    add("", {key: value for key, value in config.items() if key != "space"})
    return params_of(flat)


def child_note(
    outcome: Outcome | None, blueprint: Blueprint | None, children: Sequence[int] = ()
) -> str:
    """Returns a child's description, in Markdown.

    Args:
        outcome: what became of it; None while it runs.
        blueprint: its architecture.
        children: those whose trainings are one, where they are several.
    """
    parts = []
    if len(children) > 1:
        named = ", ".join(f"{index:04d}" for index in children)
        parts.append(f"One training, of the children {named}: each goes on with the one before.")
    if outcome is not None and outcome.reused_from is not None:
        parts.append(f"Same architecture as child {outcome.reused_from:04d}, whose outcome it has.")
    if outcome is not None and outcome.found:
        parts.append(f"It found {len(outcome.found):,} architectures, in found.json.")
    if blueprint is not None:
        parts.append(fenced(blueprint.text))
    if outcome is not None and outcome.error:
        status = "too large, not trained" if outcome.is_too_large else outcome.status
        parts.append(f"**{status}**\n\n```\n{outcome.error.strip()}\n```")
    return clipped("\n\n".join(parts), MAX_TAG)


def study_note(study_id: str, note: str) -> str:
    """Returns a study's description, in Markdown, with how to list its children."""
    listed = f"All children: search the runs for `tags.\"nasrunner.study\" = '{study_id}'`"
    return f"{clipped(note, MAX_TAG - len(listed) - 2)}\n\n{listed}"


def best_first(study_run: str) -> dict[str, str | bool]:
    """Returns what the page of an experiment asks for: a study's children, the best on top."""
    return {
        "searchFilter": f"tags.mlflow.parentRunId='{study_run}'",
        "orderByKey": "metrics.`reward`",
        "orderByAsc": False,
    }


def view_of_children(study_run: str) -> str:
    """Returns a view of the page of an experiment, as its button to share one stores it.

    Rewards and sizes are columns, and the charts begin with the reward.
    """
    section, name = "nasrunner", "reward"
    kept = {"isReordered": True, "deleted": False}
    chart = {"type": "BAR", "uuid": name, "metricKey": name, "displayName": name}
    view = {
        **best_first(study_run),
        "selectedColumns": ["metrics.`reward`", "metrics.`parameters`"],
        "isAccordionReordered": True,
        "compareRunSections": [{"uuid": section, "name": name, "display": True, **kept}],
        "compareRunCharts": [
            {**chart, "metricSectionId": section, "isGenerated": True, "deleted": False}
        ],
    }
    return json.dumps(view)


def study_metrics(summary: Summary) -> dict[str, float]:
    """Returns what a study saved and found beside its rewards, as metrics by their MLflow names."""
    front = summary.front or {}
    facts: dict[str, float | None] = {
        "effort": summary.effort,
        "trained_to_the_end": summary.num_full,
        "trained_again": summary.again if summary.num_again else None,
        "inheriting": summary.num_inheriting or None,
        "inherited_share": summary.inherited_share,
        "front_size": front.get("size"),
        "hypervolume": front.get("hypervolume"),
    }
    for step in summary.steps:
        after = "end" if step.after is None else f"{step.after:g}"
        facts[f"rank_correlation/{step.kind}_{step.before:g}_{after}"] = step.rank_correlation
    for each in summary.fidelities:
        if each.fidelity:
            named = " ".join(f"{name} {number:g}" for name, number in each.fidelity.items())
            facts[f"trained_at/{named}"] = each.num_children
    known = {name: float(value) for name, value in facts.items() if value is not None}
    names = legal_names(known)
    return {names[name]: value for name, value in known.items()}


def _shown(value: object) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)
