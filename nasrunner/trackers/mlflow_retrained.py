"""Writes networks that were retrained to MLflow: a run each, under the run of their study."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core.ports import Blueprint
from nasrunner.core.records import Outcome
from nasrunner.trackers import mlflow_text as text
from nasrunner.trackers.mlflow_address import Address
from nasrunner.trackers.mlflow_connection import (
    Connection,
    curve_metrics,
    metrics_at,
    ms,
    params,
    tags,
)
from nasrunner.trackers.mlflow_curves import CurveReader
from nasrunner.trackers.mlflow_file import recall

_FILES = ("config.yaml", "tested.json")


class NoStudyRunError(Exception):
    """MLflow does not know the study."""


@dataclass(frozen=True)
class RetrainedNetwork:
    """A network that was trained anew and tested.

    Attributes:
        name: what tells it from the study's other networks: ``0007-seed1``.
        folder: where its files are.
        outcome: what came of it.
        blueprint: its architecture; None of what is no network of the space.
        tested: the record of its test.
        facts: more to tag its run with.
    """

    name: str
    folder: Path
    outcome: Outcome
    blueprint: Blueprint | None
    tested: Mapping[str, Any]
    facts: Mapping[str, str]


def write_retrained(
    address: Address, experiment: str, study: Path, networks: Sequence[RetrainedNetwork]
) -> int:
    """Writes the networks that MLflow does not have yet, and returns how many those were.

    Their runs have the tag ``nasrunner.kind = 'retrained'`` and no ``nasrunner.index``, which
    makes a run a child of the search.

    Args:
        address: where MLflow keeps the study.
        experiment: the study's experiment.
        study: the study's folder, whose ``mlflow.json`` names its run.
        networks: all of them.

    Raises:
        NoStudyRunError: the study's run is not there.
        Exception: whatever MLflow raises where it does not answer.
    """
    known = recall(study)
    is_there = address.database is None or address.database.exists()  # it would be made anew
    if "run_id" not in known or not is_there:
        raise NoStudyRunError(f"it does not have the run of {study}")
    connection = Connection(address, experiment, known["study"])
    parent = connection.client.get_run(known["run_id"])
    written: set[tuple[str, str]] = set()
    for run in connection.search("tags.`nasrunner.kind` = 'retrained'"):
        if run.info.status == "RUNNING":  # cut off while it was written
            connection.client.delete_run(run.info.run_id)
        else:
            written.add((run.data.tags["nasrunner.network"], run.data.tags["nasrunner.tested_s"]))
    common = {
        name: value
        for name, value in parent.data.tags.items()
        if name.startswith(("nasrunner.study", "nasrunner.searcher", "mlflow.user"))
    }
    common["mlflow.parentRunId"] = parent.info.run_id
    missing = [each for each in networks if (each.name, _tested_s(each)) not in written]
    for network in missing:
        _write(connection, network, common)
    return len(missing)


def _tested_s(network: RetrainedNetwork) -> str:
    return repr(network.tested["time"])


def _write(connection: Connection, network: RetrainedNetwork, common: Mapping[str, str]) -> None:
    blueprint, outcome = network.blueprint, network.outcome
    end_s = float(network.tested["time"])
    run = connection.client.create_run(
        connection.experiment_id,
        start_time=ms(end_s - outcome.cost_s),
        tags={
            **common,
            **network.facts,
            "nasrunner.kind": "retrained",
            "nasrunner.network": network.name,
            "nasrunner.tested_s": _tested_s(network),
        },
        run_name=text.clipped(f"retrained {network.name}", text.MAX_RUN_NAME),
    )
    points = CurveReader(network.folder / "curves.jsonl").read()
    on_curves = {name for point in points for name in point.values}
    single = {n: float(v) for n, v in outcome.metrics.items() if n not in on_curves}
    single["cost_s"] = outcome.cost_s
    if blueprint is not None and blueprint.parameters is not None:
        single["parameters"] = float(blueprint.parameters)
    connection.client.log_batch(
        run.info.run_id,
        metrics=curve_metrics(points) + metrics_at(0, end_s, single),
        params=params(text.params_of(blueprint.values)) if blueprint else [],
        tags=tags({"mlflow.note.content": text.child_note(None, blueprint)}) if blueprint else [],
    )
    found = [network.folder / name for name in _FILES if (network.folder / name).is_file()]
    files = {path.name: path.read_text() for path in found}
    if blueprint is not None:
        files["architecture.txt"] = blueprint.text
        files["genotype.json"] = json.dumps(outcome.proposal.genotype, indent=2)
    connection.upload(run.info.artifact_uri, files)
    connection.client.set_terminated(run.info.run_id, "FINISHED", ms(end_s))
