"""Writes retrained networks, and the points of their grids, to where their study was tracked."""

from collections.abc import Iterator, Mapping
from typing import Any

from nasrunner.compose.construct import construct
from nasrunner.compose.trackers import files_of
from nasrunner.core.ports import StudyInfo
from nasrunner.core.tracking import PublicTracker, RetrainedNetwork
from nasrunner.recorded import OTHER_DATA
from nasrunner.retrain.grid_result import GridResult
from nasrunner.retrain.grid_search import GridPoint
from nasrunner.retrain.networks import MLP_CLASSIFIER, Network
from nasrunner.retrain.results import Results
from nasrunner.retrain.session import Session
from nasrunner.retrain.training.recipe import repetition_seed
from nasrunner.tracker_addresses import located


def track(session: Session, results: Results) -> str | None:
    """Gives the networks to the trackers that have the study; returns why it could not be done."""
    study, config = session.study, session.config["tracker"]
    files = files_of(config)
    if files and not any((study.folder / name).exists() for name in files):
        return None  # they do not have it
    info = StudyInfo(study.name, study.folder, study.config, study.config.get("max_children"))
    try:
        tracker: PublicTracker = construct(located(config, study), "tracker")
        tracker.retrained(info, list(_networks(session, results)))
    except Exception as error:  # whatever a tracker raises: the results are in the folder
        return " ".join(str(error).split())
    return None


def _networks(session: Session, results: Results) -> Iterator[RetrainedNetwork]:
    for grid in results.grids:
        yield from (_point(session, grid, p) for p in grid.points if p.outcome.reward is not None)
    for network in results.networks:
        if network.tested is not None:
            settings = results.settings_of(network.job.name)
            yield _network(session, network, network.tested, settings)


def _point(session: Session, grid: GridResult, point: GridPoint) -> RetrainedNetwork:
    outcome = point.outcome
    return RetrainedNetwork(
        kind="grid",
        name=_named(session, f"{grid.name}/{outcome.proposal.index:04d}"),
        folder=point.folder,
        outcome=outcome,
        blueprint=session.trainer.inspect(session.searches[grid.name].child.proposal.genotype),
        ended_s=point.ended_s,
        settings=point.settings,
        facts={"child": str(int(grid.name)), **_elsewhere(session)},
    )


def _network(
    session: Session, network: Network, tested: Mapping[str, Any], settings: Mapping[str, Any]
) -> RetrainedNetwork:
    job = network.job
    facts = {
        "on": session.request.on,
        "repetition": str(job.repetition),
        "seed": str(repetition_seed(session.study.seed, job.repetition)),
        **_elsewhere(session),
    }
    blueprint = None
    if job.name != MLP_CLASSIFIER:
        facts["start"] = session.request.start
        facts["child"] = str(job.proposal.index)
        facts["architecture"] = job.proposal.hash
        blueprint = session.trainer.inspect(job.proposal.genotype)
    folder = job.folder(session.folder)
    return RetrainedNetwork(
        kind="retrained",
        name=_named(session, folder.name),
        folder=folder,
        outcome=network.outcome,
        blueprint=blueprint,
        ended_s=float(tested["time"]),
        settings=settings,
        facts=facts,
    )


def _named(session: Session, name: str) -> str:
    """``mnist/0007-seed1`` of one that was trained on other data than the search's."""
    return "/".join(filter(None, (session.request.other_data, name)))


def _elsewhere(session: Session) -> dict[str, str]:
    data = session.request.other_data
    return {} if data is None else {OTHER_DATA: data}
