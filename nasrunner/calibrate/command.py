"""The command ``nasrunner-calibrate``: trains a sample, and measures cheap rankings on it."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from nasrunner.arguments import checked_without_job
from nasrunner.calibrate.agreement import PartScores, agreement
from nasrunner.calibrate.arguments import (
    FEWEST,
    HELP,
    CalibrateArguments,
    parse,
    without_config_dir,
)
from nasrunner.calibrate.cheaper import begun, rungs_of, trained_at
from nasrunner.calibrate.inherited import trained_with_inherited
from nasrunner.calibrate.planning import CheaperTrainings, plan
from nasrunner.calibrate.predicting import predicted, surrogates
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.recommending import (
    Found,
    cheapest,
    command_with,
    trained_alone,
    write_option,
)
from nasrunner.calibrate.scoring import scored
from nasrunner.calibrate.studies import Studies
from nasrunner.calibrate.table import show, write
from nasrunner.command_line import is_answered, one_sentence
from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import (
    build_networks,
    build_space,
    build_trainer,
    in_shape_of,
)
from nasrunner.compose.saved import started_in
from nasrunner.compose.searched import resolved
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.records import Outcome
from nasrunner.core.screen.text import printable
from nasrunner.explanation import explain
from nasrunner.recorded import RecordedStudy, check_readable
from nasrunner.study.one_thread import OneThread

_PROGRAM = "nasrunner-calibrate"
_USUAL_NUM_CHILDREN = 30


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    given = sys.argv[1:]
    if is_answered(given, HELP):
        return
    skeleton.register()
    overrides, own_dir = without_config_dir(given)
    told = partial(explain, overrides=overrides, own_dir=own_dir)
    with one_sentence(_PROGRAM, "stopped; go on with from=<the study's folder>", told):
        _calibrate(parse(given))


def _calibrate(arguments: CalibrateArguments) -> None:
    studies = Studies(arguments.trust, _warn)
    is_new = arguments.source is None
    begin = _trained if is_new else _continued
    folder, planned = begin(arguments, studies)
    study = studies.read(folder)
    sample = sample_of(study)
    if len(sample) < FEWEST:
        raise ConfigError(
            f"{folder}: a ranking to speak of needs at least {FEWEST} different architectures that "
            f"were trained to their ends, and it has {len(sample)}"
        )
    target = str(study.config["searcher"]["_target_"]).rpartition(".")[2]
    if target != "RandomSearch":
        _warn(f"the children are what {target} proposed, and no random sample of the space")
    rankings = cheap_rankings(arguments, planned, studies, study, sample)
    rewards_N = np.array([each.known_reward for each in sample])
    training_s = float(np.mean([each.cost_s for each in sample]))
    found = {
        name: (ranking, agreement(ranking.parts, rewards_N, np.random.default_rng(study.seed)))
        for name, ranking in rankings.items()
    }
    show(found, len(sample), training_s)
    best = cheapest(found, arguments.bound, training_s)
    rung = cheapest(trained_alone(found), arguments.bound, training_s)
    summary: dict[str, Any] = {"num_children": len(sample), "training_s": training_s}
    summary |= {"bound": arguments.bound, "recommended": best, "rungs_from": rung}
    for path in write(folder, arguments.what, found, summary):
        sys.stdout.write(f"{printable(str(path))}\n")
    recommend(found, best, rung, arguments, folder, training_s)


def recommend(
    found: Found,
    best: str | None,
    rung: str | None,
    arguments: CalibrateArguments,
    folder: Path,
    training_s: float,
) -> None:
    """Says which ranking is the cheapest that agrees well enough, and how to search with it.

    Args:
        found: all rankings.
        best: the cheapest; None: there is none.
        rung: the cheapest of cheaper trainings, with which the option begins that is written.
        arguments: what the command was given.
        folder: the calibration's.
        training_s: what a full training costs.
    """
    above = f"whose interval begins above bound={arguments.bound:g}"
    if best is None:
        sys.stdout.write(
            f"no ranking has an interval that begins above bound={arguments.bound:g}: more "
            "children make intervals narrower (num_children=), and a lower bound takes what there "
            "is\n"
        )
        return
    sys.stdout.write(f"the cheapest ranking {above}: {best}\n")
    if rung is not None:
        if rung != best:
            sys.stdout.write(
                f"{best} trains nothing, so it is no rung of a search: what is written is of "
                f"{rung}, the cheapest training {above}\n"
            )
        conf = write_option(folder, found, rung, training_s)
        command = command_with(conf, arguments.overrides)
        sys.stdout.write(f"a search with rungs from {rung} on: {printable(command)}\n")
    elif arguments.what in ("fidelities", "inherited", "all"):
        sys.stdout.write(
            f"no cheaper training is one {above}: full trainings have no rungs below\n"
        )


def _trained(arguments: CalibrateArguments, studies: Studies) -> tuple[Path, CheaperTrainings]:
    """Trains a random sample in a folder of its own, once what comes after it is known to work."""
    num_children = arguments.num_children or _USUAL_NUM_CHILDREN
    own_dir = arguments.own_dir
    search_path = [skeleton.search_path(own_dir)] if own_dir else []
    given = [
        *checked_without_job(arguments.overrides, own_dir, _PROGRAM),
        *search_path,
        "searcher=random",
        "duplicates=resample",
    ]
    named = any(each.partition("=")[0] == "study" for each in given)
    given += [f"max_children={num_children}", *([] if named else ["study=calibration"])]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        composed = compose("config", overrides=given)
    skeleton.check_keys(composed)
    skeleton.complete_data(composed)
    config = {**resolved(composed), "baseline": None}
    find_user_modules(config, lambda: [Path.cwd()])
    _check_trained(config)
    check_sample(config, num_children)
    began = datetime.fromtimestamp(time.time()).strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = (arguments.to or Path("outputs", str(config["study"]), began)).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"to={folder} is not empty: nothing was changed; give another folder, or go on with "
            f"what is there: from={folder}"
        )
    planned = plan(arguments, config, _warn)
    studies.run(config, folder)
    return folder, planned


def _check_trained(config: Mapping[str, Any]) -> None:
    """Refuses children whose rewards are scores of a proxy, with which no ranking is compared."""
    if str(config["trainer"]["_target_"]).endswith(".ZeroCostTrainer"):
        raise ConfigError(
            "trainer: rankings are compared with rewards of trainings, and ZeroCostTrainer trains "
            "nothing; legal are trainer=lightning and tables"
        )


def check_sample(config: dict[str, Any], num_children: int) -> None:
    """Refuses a space that has no such sample, before any training.

    Raises:
        ConfigError: it has fewer architectures, or its networks all look the same.
    """
    space = build_space(config)
    if space.size() < num_children:
        raise ConfigError(
            f"num_children={num_children}: the space has {space.size()} architectures, and each is "
            "trained once"
        )
    networks = build_networks(config, space, build_trainer(config, space))
    rng = np.random.default_rng(0)
    drawn = [space.walk(lambda d: int(rng.integers(len(d.options)))) for _ in range(100)]
    described = networks.describe(drawn)
    rows_NF = described.rows_NF[described.is_possible_N]
    if len(rows_NF) and np.array_equal(
        rows_NF, rows_NF[:1].repeat(len(rows_NF), 0), equal_nan=True
    ):
        raise ConfigError(
            f"space: its networks all look the same, {len(rows_NF)} of {len(rows_NF)} random ones "
            "in their operations, paths, parameters, FLOPs and settings: there is nothing to rank"
        )


def _continued(arguments: CalibrateArguments, studies: Studies) -> tuple[Path, CheaperTrainings]:
    """Goes on with a study that was broken off; leaves one that has ended as it is."""
    assert arguments.source is not None
    folder = arguments.source.absolute()
    check_readable(folder)
    config = studies.config(folder)
    _check_trained(config)
    find_user_modules(config, lambda: [Path.cwd(), *started_in(folder)])
    planned = plan(arguments, config, _warn)
    studies.go_on(folder)
    return folder, planned


def sample_of(study: RecordedStudy) -> list[Outcome]:
    """Returns the outcomes of full trainings, each architecture once."""
    found: dict[str, Outcome] = {}
    for outcome in study.state.history.outcomes:
        is_usable = outcome.is_full and outcome.reward is not None and outcome.reused_from is None
        if is_usable and outcome.is_trained and math.isfinite(outcome.known_reward):
            found.setdefault(outcome.proposal.architecture, outcome)
    return list(found.values())


def cheap_rankings(
    arguments: CalibrateArguments,
    planned: CheaperTrainings,
    studies: Studies,
    study: RecordedStudy,
    sample: Sequence[Outcome],
) -> dict[str, CheapRanking]:
    """Returns the rankings of the children that are compared with their rewards, by name.

    Args:
        arguments: what the command was given.
        planned: the cheaper trainings.
        studies: trains the children once more, where that is asked for.
        study: whose children they are.
        sample: their full trainings.
    """
    what, found = arguments.what, dict[str, CheapRanking]()
    config = dict(study.config)
    find_user_modules(config, lambda: [Path.cwd()])
    if what in ("proxies", "all"):
        children = [each.proposal for each in sample]
        in_shape = in_shape_of(config["data"])
        found |= scored(config, study.space, in_shape, study.folder, children, _warn)
    if what in ("predictors", "all"):
        found |= _predicted(study, config, sample)
    if what in ("fidelities", "inherited", "all"):
        found |= _cheaper(arguments, planned, studies, study, sample)
    return found


def _cheaper(
    arguments: CalibrateArguments,
    planned: CheaperTrainings,
    studies: Studies,
    study: RecordedStudy,
    sample: Sequence[Outcome],
) -> dict[str, CheapRanking]:
    config = studies.config(study.folder)
    trainer = build_trainer(config, study.space)
    found = dict(begun(study, sample, trainer))
    for name, numbers in planned.fidelities.items():
        for number in numbers:
            try:
                found |= [trained_at((name, number), config, study.folder, sample, studies)]
            except ConfigError as error:
                if arguments.fidelities is not None:
                    raise
                _warn(f"{name}={number:g} is left out: {error}")
    for epochs in rungs_of(sample) if planned.inherits else ():
        found |= [trained_with_inherited(epochs, config, study.folder, sample, studies)]
    if not found and arguments.what == "fidelities":
        raise ConfigError(
            f"what=fidelities: trainings of {type(trainer).__name__} have no usual parts or "
            "cheaper ones as configured; fidelities={...} says which to compare"
        )
    if not found and arguments.what == "inherited":
        raise ConfigError(
            "what=inherited: no child of the sample was trained for more than one epoch, so there "
            "are no first epochs to compare"
        )
    return found


def _predicted(
    study: RecordedStudy, config: dict[str, Any], sample: Sequence[Outcome]
) -> dict[str, CheapRanking]:
    space = study.space
    networks = build_networks(config, space, build_trainer(config, space))
    genotypes = [each.proposal.genotype for each in sample]
    rewards_N = np.array([each.known_reward for each in sample])
    start_s = time.process_time()
    rows_NF = networks.describe(genotypes).rows_NF
    counting_s = (time.process_time() - start_s) / len(sample)
    found = {}
    for name in ("parameters", "flops"):
        known = {place: o.metrics[name] for place, o in enumerate(sample) if name in o.metrics}
        counted = PartScores(list(known), list(known.values()))
        found[name] = CheapRanking([counted], counting_s, len(sample) - len(known))
    sees = not np.array_equal(rows_NF, rows_NF[:1].repeat(len(rows_NF), 0), equal_nan=True)
    if not sees:
        _warn("the networks all look the same: surrogates are measured on genotypes alone")
    for name, configured in surrogates(sees_networks=sees).items():
        with OneThread().held():
            found[name] = predicted(configured, space, networks, genotypes, rewards_N, study.seed)
    return found


def _warn(message: str) -> None:
    sys.stderr.write(f"{_PROGRAM}: warning: {printable(message)}\n")


if __name__ == "__main__":
    main()
