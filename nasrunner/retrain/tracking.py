"""Writes retrained networks to where their study was tracked."""

from nasrunner.children.retraining import repetition_seed
from nasrunner.composition import construct
from nasrunner.retrain.networks import MLP_CLASSIFIER, Network
from nasrunner.retrain.results import Results
from nasrunner.retrain.session import Session
from nasrunner.tracked import tracking_uri_of
from nasrunner.trackers.mlflow import MlflowTracker
from nasrunner.trackers.mlflow_retrained import RetrainedNetwork, write_retrained


def track(session: Session, results: Results) -> str | None:
    """Writes the networks to MLflow, if it has the study; returns why it could not be done."""
    study, config = session.study, dict(session.config["tracker"])
    is_mlflow = str(config["_target_"]).endswith("MlflowTracker")
    if not is_mlflow or not (study.folder / "mlflow.json").is_file():
        return None
    try:
        if config["tracking_uri"] == study.config["tracker"].get("tracking_uri"):
            config["tracking_uri"] = tracking_uri_of(study)  # as seen from any folder
        tracker: MlflowTracker = construct(config, "tracker")
        networks = [_tracked(session, each) for each in results.networks if each.tested]
        write_retrained(tracker.address, tracker.experiment or study.name, study.folder, networks)
    except Exception as error:  # whatever MLflow raises: the results are in the folder
        return " ".join(str(error).split())
    return None


def _tracked(session: Session, network: Network) -> RetrainedNetwork:
    job = network.job
    assert network.tested is not None
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
    return RetrainedNetwork(folder.name, folder, network.outcome, blueprint, network.tested, facts)
