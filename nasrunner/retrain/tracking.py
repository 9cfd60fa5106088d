"""Writes retrained networks, and the points of their grids, to where their study was tracked."""

from collections.abc import Iterator, Mapping
from typing import Any

from nasrunner.compose.construct import construct
from nasrunner.retrain.grid_search import Point
from nasrunner.retrain.networks import MLP_CLASSIFIER, Network
from nasrunner.retrain.results import Results
from nasrunner.retrain.session import Session
from nasrunner.retrain.training.recipe import repetition_seed
from nasrunner.retrain.tuned import Tuned
from nasrunner.tracked import own_tracking_uri
from nasrunner.trackers.mlflow.retrained import RetrainedNetwork, write_retrained
from nasrunner.trackers.mlflow.tracker import MlflowTracker


def track(session: Session, results: Results) -> str | None:
    """Writes the networks to MLflow, if it has the study; returns why it could not be done."""
    study, config = session.study, dict(session.config["tracker"])
    is_mlflow = str(config["_target_"]).endswith("MlflowTracker")
    if not is_mlflow or not (study.folder / "mlflow.json").is_file():
        return None
    try:
        if config["tracking_uri"] == study.config["tracker"].get("tracking_uri"):
            config["tracking_uri"] = own_tracking_uri(study)  # as seen from any folder
        tracker: MlflowTracker = construct(config, "tracker")
        if outage := tracker.address.outage:
            return f"{tracker.address.shown} does not answer: {outage}"
        networks = list(_tracked(session, results))
        write_retrained(tracker.address, tracker.experiment or study.name, study.folder, networks)
    except Exception as error:  # whatever MLflow raises: the results are in the folder
        return " ".join(str(error).split())
    return None


def _tracked(session: Session, results: Results) -> Iterator[RetrainedNetwork]:
    for tuned in results.tuned:
        yield from (_point(session, tuned, p) for p in tuned.points if p.outcome.reward is not None)
    for network in results.networks:
        if network.tested is not None:
            settings = results.settings_of(network.job.name)
            yield _network(session, network, network.tested, settings)


def _point(session: Session, tuned: Tuned, point: Point) -> RetrainedNetwork:
    outcome = point.outcome
    return RetrainedNetwork(
        kind="grid",
        name=f"{tuned.name}/{outcome.proposal.index:04d}",
        folder=point.folder,
        outcome=outcome,
        blueprint=session.trainer.inspect(session.searches[tuned.name].child.proposal.genotype),
        ended_s=point.ended_s,
        settings=point.settings,
        facts={"nasrunner.child": str(int(tuned.name))},
    )


def _network(
    session: Session, network: Network, tested: Mapping[str, Any], settings: Mapping[str, Any]
) -> RetrainedNetwork:
    job = network.job
    facts = {
        "nasrunner.on": session.request.on,
        "nasrunner.repetition": str(job.repetition),
        "nasrunner.seed": str(repetition_seed(session.study.seed, job.repetition)),
    }
    blueprint = None
    if job.name != MLP_CLASSIFIER:
        facts["nasrunner.child"] = str(job.proposal.index)
        facts["nasrunner.architecture"] = job.proposal.hash
        blueprint = session.trainer.inspect(job.proposal.genotype)
    folder = job.folder(session.folder)
    return RetrainedNetwork(
        kind="retrained",
        name=folder.name,
        folder=folder,
        outcome=network.outcome,
        blueprint=blueprint,
        ended_s=float(tested["time"]),
        settings=settings,
        facts=facts,
    )
