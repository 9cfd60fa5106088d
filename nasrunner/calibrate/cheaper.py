"""What cheaper trainings say of children: parts of their trainings, and trainings at fidelities."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.calibrate.agreement import PartScores
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.studies import Studies
from nasrunner.compose.construct import construct
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.recorded import RecordedStudy

Fidelities = Mapping[str, Sequence[float]]
"""Name or key of a fidelity -> its numbers."""

FOLDER = "fidelities"
"""Where in the folder of a study its children's cheaper trainings lie, a study each."""

ETA = 3
_SHARES = {"data": (0.1, 0.3), "width": (0.25, 0.5)}
_SEARCHER = "nasrunner.searchers.sampling.at_fidelity.AtFidelity"


def name_of(asked: tuple[str, float]) -> str:
    """What a ranking by cheaper trainings is called: ``until=3``, ``data=0.1``."""
    return f"{asked[0]}={asked[1]:g}"


def rungs_below(epochs: int) -> list[int]:
    """1, 3, 9, …: after how many epochs ASHA would pause a training of so many."""
    rungs = []
    rung = 1
    while rung < epochs:
        rungs.append(rung)
        rung *= ETA
    return rungs


def usual_fidelities(
    config: Mapping[str, Any], trainer: ChildTrainer, genotype: Genotype
) -> dict[str, list[float]]:
    """The fidelities that are tried unless others are given: those that data and space can give.

    Args:
        config: the study's.
        trainer: of the study.
        genotype: of a child, whose epochs are taken.
    """
    epochs = trainer.most_epochs(Proposal(0, genotype)) or 1
    shape = config["data"].get("in_shape")
    is_image = isinstance(shape, Sequence) and len(shape) == 3
    tried: dict[str, Sequence[float]] = {
        "epochs": rungs_below(epochs),
        **_SHARES,
        "resolution": [min(shape[1:]) // 2] if is_image else [],
    }
    found = {
        name: [number for number in numbers if _why_not(trainer, name, number) is None]
        for name, numbers in tried.items()
    }
    return {name: numbers for name, numbers in found.items() if numbers}


def check_fidelities(given: Fidelities, trainer: ChildTrainer) -> None:
    """Refuses fidelities that cannot be trained at, or are full trainings.

    Raises:
        ConfigError: names the first of them.
    """
    for name, numbers in given.items():
        for number in numbers:
            if (reason := _why_not(trainer, name, number)) is not None:
                raise ConfigError(f"fidelities={{{name}: [{number}]}}: {reason}")


def _why_not(trainer: ChildTrainer, name: str, number: float) -> str | None:
    proposal = Proposal(0, {}, fidelity={name: number})
    try:
        trainer.check(proposal)
    except ConfigError as error:
        return str(error)
    is_full = not trainer.plainest(proposal).fidelity
    return "it is the full training, with which it would be compared" if is_full else None


def begun(
    study: RecordedStudy, sample: Sequence[Outcome], trainer: ChildTrainer
) -> Iterator[tuple[str, CheapRanking]]:
    """What the first epochs of full trainings say, from their curves: they cost no more training.

    Args:
        study: whose rewards they are.
        sample: the full trainings.
        trainer: of the study.
    """
    longest = max((_num_epochs(each) for each in sample), default=0)
    for epochs in rungs_below(longest):
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
        yield _ranking(("until", epochs), values, float(np.mean(costs)), len(sample))


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
    given = (study.config.get("task") or {}).get("reward")
    if not (isinstance(given, Mapping) and "_target_" in given):
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
    own = folder / FOLDER / name
    ledger = own / "ledger.jsonl"
    if ledger.is_file() and ledger.stat().st_size:
        studies.go_on(own, folder)
    else:
        studies.run(_config_at(asked, config, sample, name), own, folder)
    found = {each.proposal.hash: each for each in studies.read(own).state.outcomes.values()}
    values, costs, reasons = {}, [], []
    for place, full in enumerate(sample):
        outcome = found.get(full.proposal.hash)
        if outcome is None:
            continue
        costs.append(outcome.cost_s)
        if outcome.status == "completed" and outcome.reward is not None:
            values[place] = outcome.reward
        else:
            reasons.append(f"{outcome.status}: {last_line(outcome.error)}")
    if reasons:
        studies.tell(
            f"{name} says nothing of {len(reasons)} of {len(sample)} children: {reasons[0]}"
        )
    return _ranking(asked, values, float(np.mean(costs)) if costs else 0.0, len(sample))


def _ranking(
    asked: tuple[str, float], values: Mapping[int, float], cost_s: float, num_children: int
) -> tuple[str, CheapRanking]:
    scores = PartScores(list(values), list(values.values()))
    lacking = num_children - len(values)
    return name_of(asked), CheapRanking([scores], cost_s, lacking, asked)


def _config_at(
    asked: tuple[str, float], config: dict[str, Any], sample: Sequence[Outcome], name: str
) -> dict[str, Any]:
    """The configuration of a study that trains each child at a fidelity."""
    searcher = {
        "_target_": _SEARCHER,
        "genotypes": [dict(each.proposal.genotype) for each in sample],
        "fidelity": {asked[0]: asked[1]},
    }
    return {
        **config,
        "study": f"{config['study']}-{name}",
        "searcher": searcher,
        "baseline": None,
        "start_with": None,
        "max_children": len(sample),
        "max_epochs_total": None,
        "max_hours": None,
        "target_reward": None,
        "max_failures": len(sample) + 1,  # one that fails says nothing, which is told
        "duplicates": "reuse",
        "keep_weights": "none",
    }
