"""Runs what a retraining asks for: grids first, then the networks that are tested."""

import contextlib

from nasrunner.compose.construct import construct
from nasrunner.compose.launch import graceful_stop
from nasrunner.core.ports import Executor
from nasrunner.retrain.grid_result import GridResult
from nasrunner.retrain.grid_search import Tuning
from nasrunner.retrain.networks import MLP_CLASSIFIER, Retraining
from nasrunner.retrain.results import ResultRow, Results, row_of
from nasrunner.retrain.retrain_folder import RetrainFolder
from nasrunner.retrain.session import Session, name_of
from nasrunner.retrain.show import Display
from nasrunner.study.rehearsal import rehearse

_SKLEARN = "scikit-learn's MLPClassifier, its defaults but max_iter=2000"


def run(session: Session, display: Display) -> Results:
    """Trains and tests what is not done yet, and writes the results.

    No network is tested before all grids are searched.

    Args:
        session: what is asked for.
        display: told of what is to be done, and of each training as it ends.

    Raises:
        ConfigError: the folder holds networks with other settings, or a network cannot be trained
            as configured; nothing was trained.
    """
    place = RetrainFolder(session.folder)
    with place.locked():
        place.check(session.settings())
        tuning = Tuning(list(session.searches.values()))
        display.tuning(tuning, session.num_networks)
        retraining = None if tuning.missing else _retraining(session, display)
        with contextlib.ExitStack() as stack:
            if retraining is None or retraining.missing:
                executor = _rehearsed(session, place, stack)
            if retraining is None:
                with graceful_stop(tuning):
                    tuning.run(executor, display.points)
                retraining = _retraining(session, display, tuning.stop_reason)
            if retraining.missing and retraining.stop_reason is None:
                with graceful_stop(retraining):
                    retraining.run(executor)
        results = _results(session, retraining)
        results.write()
        return results


def _retraining(session: Session, display: Display, stopped: str | None = None) -> Retraining:
    """The networks that are still to be trained: none more where the grids were stopped."""
    retraining = Retraining(session.jobs(), session.folder, display.ended)
    if stopped is None:
        display.began(retraining)
    else:
        retraining.stop(stopped)
    return retraining


def _rehearsed(session: Session, place: RetrainFolder, stack: contextlib.ExitStack) -> Executor:
    """Workers in which all that will be needed was tried; from now on the settings are fixed."""
    executor: Executor = construct(session.config["executor"], "executor")
    stack.callback(executor.close)
    rehearse(session.rehearsal, executor, session.folder)
    place.save(session.settings())
    return executor


def _results(session: Session, retraining: Retraining) -> Results:
    grids = [
        GridResult(name, search.folder, search.varying, search.space.size(), search.points())
        for name, search in session.searches.items()
    ]
    return Results(
        study=session.study.name,
        folder=session.folder,
        on=session.request.on,
        seed=session.study.seed,
        metric=session.metric,
        rows=_rows(session, retraining),
        networks=list(retraining.networks.values()),
        is_interrupted=retraining.stop_reason is not None,
        grids=grids,
        start=session.request.start,
        other_data=session.request.other_data,
    )


def _rows(session: Session, retraining: Retraining) -> list[ResultRow]:
    networks = list(retraining.networks.values())
    rows = []
    for child in session.children:
        name = name_of(child)
        found = [each for each in networks if each.job.name == name]
        blueprint = session.trainer.inspect(child.proposal.genotype)
        reward = child.outcome.reward if child.outcome is not None else None
        rows.append(row_of(name, blueprint.text, blueprint.parameters, reward, found))
    if found := [each for each in networks if each.job.name == MLP_CLASSIFIER]:
        parameters = found[0].outcome.metrics.get("parameters")
        size = None if parameters is None else int(parameters)
        rows.append(row_of(MLP_CLASSIFIER, _SKLEARN, size, None, found))
    return rows
