"""The command ``nasrunner-calibrate``: trains a sample, and measures cheap rankings on it."""

import csv
import io
import json
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
from rich.console import Console
from rich.table import Table

from nasrunner.arguments import checked
from nasrunner.calibrate.agreement import Agreement, PartScores, agreement
from nasrunner.calibrate.arguments import (
    FEWEST,
    HELP,
    CalibrateArguments,
    What,
    parse,
    without_config_dir,
)
from nasrunner.calibrate.predicting import predicted, surrogates
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.scoring import scored
from nasrunner.command_line import is_answered, one_sentence
from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import (
    build_networks,
    build_space,
    build_trainer,
    in_shape_of,
    run_study,
)
from nasrunner.compose.saved import STUDY_GROUPS, saved_config
from nasrunner.compose.searched import resolved
from nasrunner.compose.trust import GROUPS
from nasrunner.compose.upgrade import upgraded
from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.core.machine.files import keep_file
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.records import Outcome
from nasrunner.core.screen.text import printable
from nasrunner.explanation import explain
from nasrunner.recorded import RecordedStudy, check_readable, read_study
from nasrunner.study.one_thread import OneThread

_PROGRAM = "nasrunner-calibrate"
_USUAL_NUM_CHILDREN = 30
_COLUMNS = ("ranking", "tau", "low", "high", "rho", "cost_s", "share_of_training", "lacking")


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
    folder = _trained(arguments) if arguments.source is None else _continued(arguments)
    study = read_study(folder, builds=GROUPS, trust=arguments.trust)
    sample = sample_of(study)
    if len(sample) < FEWEST:
        raise ConfigError(
            f"{folder}: a ranking to speak of needs at least {FEWEST} different architectures that "
            f"were trained to their ends, and it has {len(sample)}"
        )
    target = str(study.config["searcher"]["_target_"]).rpartition(".")[2]
    if target != "RandomSearch":
        _warn(f"the children are what {target} proposed, and no random sample of the space")
    rankings = cheap_rankings(arguments.what, study, sample)
    rewards_N = np.array([each.known_reward for each in sample])
    training_s = float(np.mean([each.cost_s for each in sample]))
    found = {
        name: (ranking, agreement(ranking.parts, rewards_N, np.random.default_rng(study.seed)))
        for name, ranking in rankings.items()
    }
    _print(found, len(sample), training_s)
    for path in write(folder, arguments.what, found, len(sample), training_s):
        sys.stdout.write(f"{printable(str(path))}\n")


def _trained(arguments: CalibrateArguments) -> Path:
    """Trains a random sample in a folder of its own."""
    num_children = arguments.num_children or _USUAL_NUM_CHILDREN
    own_dir = arguments.own_dir
    search_path = [skeleton.search_path(own_dir)] if own_dir else []
    given = [
        *checked(arguments.overrides, own_dir),
        *search_path,
        "searcher=random",
        "duplicates=resample",
    ]
    named = any(each.partition("=")[0] == "study" for each in given)
    given += [f"max_children={num_children}", *([] if named else ["study=calibration"])]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        composed = compose("config", overrides=given)
    skeleton.check_keys(composed)
    skeleton.check_data(composed)
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
    _run(config, folder)
    return folder


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


def _continued(arguments: CalibrateArguments) -> Path:
    """Goes on with a study that was broken off; leaves one that has ended as it is."""
    assert arguments.source is not None
    folder = arguments.source.absolute()
    check_readable(folder)
    study = read_study(folder, builds=GROUPS, trust=arguments.trust)
    _check_trained(study.config)
    if study.reason is None or study.reason == "interrupted":
        saved = saved_config(folder, builds=GROUPS, trust=arguments.trust)
        _run(upgraded(saved, STUDY_GROUPS, _warn), folder)
    return folder


def _run(config: dict[str, Any], folder: Path) -> None:
    summary = run_study(config, folder)
    if summary.failure is not None:
        raise NasRunnerError(f"{folder}: {summary.failure}")
    if summary.reason == "interrupted":
        raise NasRunnerError(f"stopped; go on with {_PROGRAM} from={folder} what=…")


def sample_of(study: RecordedStudy) -> list[Outcome]:
    """The outcomes of full trainings, each architecture once."""
    found: dict[str, Outcome] = {}
    for outcome in study.state.history.outcomes:
        is_usable = outcome.is_full and outcome.reward is not None and outcome.reused_from is None
        if is_usable and math.isfinite(outcome.known_reward):
            found.setdefault(outcome.proposal.architecture, outcome)
    return list(found.values())


def cheap_rankings(
    what: What, study: RecordedStudy, sample: Sequence[Outcome]
) -> dict[str, CheapRanking]:
    """The rankings of the children that are compared with their rewards, by name."""
    config = dict(study.config)
    find_user_modules(config, lambda: [Path.cwd()])
    space = study.space
    if what == "proxies":
        children = [each.proposal for each in sample]
        return scored(config, space, in_shape_of(config["data"]), study.folder, children, _warn)
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


def write(
    folder: Path,
    what: What,
    found: Mapping[str, tuple[CheapRanking, Agreement]],
    num_children: int,
    training_s: float,
) -> list[Path]:
    """Writes the table as CSV and JSON; returns the paths."""
    rows = [_row(name, *each, training_s) for name, each in found.items()]
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    told = {"what": what, "num_children": num_children, "training_s": training_s, "rankings": rows}
    contents = {"csv": text.getvalue(), "json": json.dumps(told, indent=2) + "\n"}
    paths = [folder / f"calibration-{what}.{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        keep_file(path, content)
    return paths


def _row(name: str, ranking: CheapRanking, found: Agreement, training_s: float) -> dict[str, Any]:
    """A line of the table; what is not defined is empty."""
    share = ranking.cost_s / training_s if training_s > 0 else math.nan
    numbers = {
        "tau": found.tau,
        "low": found.low,
        "high": found.high,
        "rho": found.rho,
        "cost_s": ranking.cost_s,
        "share_of_training": share,
    }
    known = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    return {"ranking": name, **known, "lacking": ranking.lacking}


def _print(
    found: Mapping[str, tuple[CheapRanking, Agreement]], num_children: int, training_s: float
) -> None:
    table = Table("ranking", "Kendall's τ", "95 %", "Spearman's ρ", "s a child", "of a training")
    order = sorted(found.items(), key=lambda item: -np.nan_to_num(item[1][1].tau, nan=-2.0))
    for name, (ranking, each) in order:
        row = _row(name, ranking, each, training_s)
        interval = "–" if row["low"] is None else f"{each.low:.2f} … {each.high:.2f}"
        share = "–" if row["share_of_training"] is None else f"{row['share_of_training']:.2%}"
        label = name + (f" ({ranking.lacking} lacking)" if ranking.lacking else "")
        told = ("–" if row[key] is None else f"{row[key]:.2f}" for key in ("tau", "rho"))
        tau, rho = told
        table.add_row(label, tau, interval, rho, f"{ranking.cost_s:.3g}", share)
    console = Console()
    console.print(table)
    console.print(
        f"{num_children} children, {training_s:.3g} s each to train; intervals are over children"
    )


def _warn(message: str) -> None:
    sys.stderr.write(f"{_PROGRAM}: warning: {printable(message)}\n")


if __name__ == "__main__":
    main()
