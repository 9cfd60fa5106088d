"""What cheaper trainings say of children: parts of their trainings, and trainings at fidelities."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.calibrate.agreement import PartScores
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.studies import Studies
from nasrunner.compose.construct import construct
from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.goal_settings import reward_of_task
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.records import MEASURED, Outcome, Proposal, last_line
from nasrunner.recorded import RecordedStudy

FOLDER = "fidelities"
"""Where in the folder of a study its children's cheaper trainings lie, a study each."""

ETA = 3
_SEARCHER = "nasrunner.searchers.sampling.at_fidelity.AtFidelity"


def name_of(asked: tuple[str, float]) -> str:
    """Returns what a ranking by cheaper trainings is called: ``until=3``, ``data=0.1``."""
    return f"{asked[0]}={asked[1]:g}"


def rungs_below(epochs: int) -> list[int]:
    """Returns 1, 3, 9, …: after how many epochs ASHA would pause a training of so many."""
    rungs = []
    rung = 1
    while rung < epochs:
        rungs.append(rung)
        rung *= ETA
    return rungs


def begun(
    study: RecordedStudy, sample: Sequence[Outcome], trainer: ChildTrainer
) -> Iterator[tuple[str, CheapRanking]]:
    """Yields what the first epochs of full trainings say, from their curves: they cost no more
    training.

    Args:
        study: whose rewards they are.
        sample: the full trainings.
        trainer: of the study.
    """
    for epochs in rungs_of(sample):
        try:
            trainer.check(Proposal(0, {}, until=epochs))
        except ConfigError:
            return  # nothing can be paused there
        values, costs = {}, []
        for place, outcome in enumerate(sample):
            share = min(1.0, epochs / max(1, _num_epochs(outcome)))
            costs.append(share * outcome.cost_s)
            if (reward := _reward_after(study, trainer, outcome, epochs)) is not None:
                values[place] = reward
        asked = "until", float(epochs)
        yield name_of(asked), _ranking(asked, values, float(np.mean(costs)), len(sample))


def rungs_of(sample: Sequence[Outcome]) -> list[int]:
    """Returns after how many epochs ASHA would pause the longest of full trainings."""
    return rungs_below(max((_num_epochs(each) for each in sample), default=0))


def _num_epochs(outcome: Outcome) -> int:
    return max((len(values) for values in outcome.curve.values()), default=0)


def _reward_after(
    study: RecordedStudy, trainer: ChildTrainer, outcome: Outcome, epochs: int
) -> float | None:
    """The reward that a child would have had, had it been paused; None: nobody knows."""
    metric, mode = trainer.rewarded.get("metric"), trainer.rewarded.get("mode")
    if metric is None or metric not in outcome.curve:
        return None
    curve = {name: values[:epochs] for name, values in outcome.curve.items()}
    given = reward_of_task(study.config)
    if "_target_" not in given:
        last = curve[metric][-1]
        return last if mode == "max" else -last
    reward = construct(dict(given), "task.reward")
    num_epochs = len(curve[metric])
    lines = [
        {"epoch": epoch, **{name: values[epoch] for name, values in curve.items()}}
        for epoch in range(num_epochs)
    ]
    try:
        return float(reward(lines))
    except ValueError:  # it had diverged by then
        return None


def trained_at(
    asked: tuple[str, float],
    config: dict[str, Any],
    folder: Path,
    sample: Sequence[Outcome],
    studies: Studies,
) -> tuple[str, CheapRanking]:
    """Trains the children once more, at a fidelity, in a study of its own; goes on with that.

    Args:
        asked: the fidelity's name or key, and its number.
        config: the study's whose children they are.
        folder: its folder.
        sample: the children.
        studies: runs studies, and is told where a child could not be trained.
    """
    name = name_of(asked)
    searcher = given_architectures(sample, {asked[0]: asked[1]})
    again = config_again(config, searcher, len(sample), name)
    found, _ = trained_again(again, folder / FOLDER / name, folder, sample, studies, asked)
    return name, found


def given_architectures(sample: Sequence[Outcome], fidelity: Mapping[str, float]) -> dict[str, Any]:
    """Returns the configuration of a searcher that proposes the children once, at a fidelity."""
    genotypes = [dict(each.proposal.genotype) for each in sample]
    return {"_target_": _SEARCHER, "genotypes": genotypes, "fidelity": dict(fidelity)}


def trained_again(
    config: dict[str, Any],
    own: Path,
    folder: Path,
    sample: Sequence[Outcome],
    studies: Studies,
    asked: tuple[str, float],
) -> tuple[CheapRanking, list[Outcome]]:
    """Trains the children once more, in a study of its own; goes on with that.

    Args:
        config: that study's.
        own: its folder.
        folder: of the study whose children they are.
        sample: the children.
        studies: runs studies, and is told where a child could not be trained.
        asked: as of ``CheapRanking``.

    Returns:
        what their rewards say, and the outcomes.
    """
    ledger = own / "ledger.jsonl"
    if ledger.is_file() and ledger.stat().st_size:
        studies.go_on(own, folder)
    else:
        studies.run(config, own, folder)
    found = {each.proposal.hash: each for each in studies.read(own).state.outcomes.values()}
    values, costs, reasons = {}, [], []
    for place, full in enumerate(sample):
        outcome = found.get(full.proposal.hash)
        if outcome is None:
            continue
        costs.append(outcome.cost_s)
        if outcome.status in MEASURED and outcome.reward is not None:
            values[place] = outcome.reward
        else:
            reasons.append(f"{outcome.status}: {last_line(outcome.error)}")
    if reasons:
        name = own.relative_to(folder)
        studies.tell(
            f"{name} says nothing of {len(reasons)} of {len(sample)} children: {reasons[0]}"
        )
    cost_s = float(np.mean(costs)) if costs else 0.0
    return _ranking(asked, values, cost_s, len(sample)), list(found.values())


def _ranking(
    asked: tuple[str, float], values: Mapping[int, float], cost_s: float, num_children: int
) -> CheapRanking:
    scores = PartScores(list(values), list(values.values()))
    return CheapRanking([scores], cost_s, num_children - len(values), asked)


def config_again(
    config: dict[str, Any], searcher: Mapping[str, Any], num_children: int, name: str
) -> dict[str, Any]:
    """Returns the configuration of a study that trains each child once more.

    Args:
        config: of the study whose children they are.
        searcher: proposes each of them once.
        num_children: how many they are.
        name: what is added to the study's.
    """
    return {
        **config,
        "study": f"{config['study']}-{name}",
        "searcher": searcher,
        "baseline": None,
        "start_with": None,
        "max_children": None,  # it ends with the children
        "max_epochs_total": None,
        "max_hours": None,
        "target_reward": None,
        "max_failures": num_children + 1,  # one that fails says nothing, which is told
        "duplicates": "reuse",
        "keep_weights": "none",
    }
