"""Writes what was retrained to MLflow: a run for each network, and each point of a grid."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasrunner.core.machine.child_folder import CONFIG, TESTED, ChildFolder
from nasrunner.core.tracking import RetrainedNetwork
from nasrunner.trackers.entries import network_entry
from nasrunner.trackers.mlflow import text
from nasrunner.trackers.mlflow.address import TrackingAddress
from nasrunner.trackers.mlflow.connection import (
    Connection,
    curve_metrics,
    metrics_at,
    ms,
    params,
    tags,
)
from nasrunner.trackers.mlflow.stores.file import recall
from nasrunner.trackers.wording import MAX_RUN_NAME, clipped

_FILES = (CONFIG, TESTED)
_STAMPS = {"retrained": "nasrunner.tested_s", "grid": "nasrunner.ended_s"}


class NoStudyRunError(Exception):
    """MLflow does not know the study."""


def write_retrained(
    address: TrackingAddress, experiment: str, study: Path, networks: Sequence[RetrainedNetwork]
) -> int:
    """Writes the networks that MLflow does not have yet, and returns how many those were.

    Their runs have their kind as the tag ``nasrunner.kind`` and no ``nasrunner.index``, which
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
    connection = Connection(address, experiment, known["study"], known)
    try:
        return _write_missing(connection, known["run_id"], networks)
    finally:
        connection.close()


def _write_missing(
    connection: Connection, study_run: str, networks: Sequence[RetrainedNetwork]
) -> int:
    parent = connection.client.get_run(study_run)
    written: set[tuple[str, str, str]] = set()
    for kind in dict.fromkeys(each.kind for each in networks):
        for run in connection.search(f"tags.`nasrunner.kind` = '{kind}'"):
            if run.info.status == "RUNNING":  # cut off while it was written
                connection.client.delete_run(run.info.run_id)
            else:
                known_as = (run.data.tags["nasrunner.network"], run.data.tags[_STAMPS[kind]])
                written.add((kind, *known_as))
    common = {
        name: value
        for name, value in parent.data.tags.items()
        if name.startswith(("nasrunner.study", "nasrunner.searcher", "mlflow.user"))
    }
    common["mlflow.parentRunId"] = parent.info.run_id
    missing = [each for each in networks if (each.kind, each.name, each.stamp) not in written]
    for network in missing:
        _write(connection, network, common)
    return len(missing)


def _write(connection: Connection, network: RetrainedNetwork, common: Mapping[str, str]) -> None:
    blueprint, outcome = network.blueprint, network.outcome
    run = connection.client.create_run(
        connection.experiment_id,
        start_time=ms(network.ended_s - outcome.cost_s),
        tags={
            **common,
            **{f"nasrunner.{name}": fact for name, fact in network.facts.items()},
            "nasrunner.kind": network.kind,
            "nasrunner.network": network.name,
            _STAMPS[network.kind]: network.stamp,
        },
        run_name=clipped(f"{network.kind} {network.name}", MAX_RUN_NAME),
    )
    folder, entry = ChildFolder(network.folder), network_entry(network)
    connection.client.log_batch(
        run.info.run_id,
        metrics=curve_metrics(entry.points) + metrics_at(0, network.ended_s, entry.figures),
        params=params(text.params_of(entry.values)),
        tags=tags({"mlflow.note.content": text.child_note(None, blueprint)}) if blueprint else [],
    )
    files = {name: folder.text(name) for name in _FILES if folder.holds(name)}
    if blueprint is not None:
        files["architecture.txt"] = blueprint.text
        files["genotype.json"] = json.dumps(outcome.proposal.genotype, indent=2)
    connection.upload(run.info.artifact_uri, files)
    connection.client.set_terminated(run.info.run_id, "FINISHED", ms(network.ended_s))
