"""The tables of MLPNAS from a sweep whose best children were tested, and random search beside it.

Minutoli & Ciranni, "Neural Architecture Search: An Overview", tables 1 to 6: the best and the worst
of a search's five best architectures with their validation accuracy, the test accuracy of the best
after more training, and that of scikit-learn's MLPClassifier on the same split. Theirs are of one
search, these are means over seeds with 95 % intervals; the architectures are the first seed's.

    nasrunner --multirun --config-dir sweeps --config-name mlpnas
    nasrunner-retrain from=outputs/multirun/<time> mlp_classifier=true start=child \\
      trainer.max_epochs=50
    python benchmarks/mlpnas_tables.py outputs/multirun/<time>
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrunner.recorded import RecordedStudy, find_studies
from nasrunner.report.comparison.groups import is_beside
from nasrunner.report.comparison.statistics import Estimate, difference, estimate
from nasrunner.retrain.networks import MLP_CLASSIFIER

BEST = 5
"""Of so many architectures the survey shows the first and the last."""

Setting = tuple[str, str]
"""The data set, and the controller in words."""


def setting_of(study: RecordedStudy) -> Setting:
    """What a table is of."""
    searcher, config = study.config["searcher"], study.config
    predictor = "predictor" if searcher.get("predictor_weight") else "no predictor"
    words = (
        f"{predictor}, LSTM of {searcher.get('hidden_units')}, {config['max_children']} children "
        f"in batches of {searcher.get('children_per_replica')}"
    )
    return str(config["data"]["_target_"]).rpartition(".")[2], words


def tested(study: RecordedStudy) -> dict[str, float]:
    """Mean test accuracy by the name of a retrained architecture; empty if there is none."""
    path = study.folder / "retrained" / "retrain.json"
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["architectures"]
    return {
        row["name"]: row["metrics"]["test_accuracy"]["mean"]
        for row in rows
        if "test_accuracy" in row["metrics"]
    }


def epochs(study: RecordedStudy) -> float:
    """How many epochs its children were trained for, all together."""
    outcomes = [child.outcome for child in study.trainings if child.outcome is not None]
    return sum(outcome.metrics.get("epochs", 0.0) for outcome in outcomes)


def facts(study: RecordedStudy) -> dict[str, float]:
    """What a table says of one search, in numbers."""
    best = study.best(BEST)
    rewards = [child.outcome.reward or 0.0 for child in best if child.outcome is not None]
    found = {"best": rewards[0], "fifth": rewards[-1], "mean of 5": sum(rewards) / len(rewards)}
    scores = tested(study)
    name = f"{best[0].proposal.index:04d}"
    if name in scores:
        found["test"] = scores[name]
    if MLP_CLASSIFIER in scores:
        found["scikit-learn"] = scores[MLP_CLASSIFIER]
    return {**found, "epochs": epochs(study)}


def shown(found: Estimate, digits: int = 4, sign: str = "") -> str:
    """``0.9123 (0.9011 to 0.9235)``."""
    if found.low is None or found.high is None:
        return f"{found.mean:{sign}.{digits}f}"
    ends = f"{found.low:{sign}.{digits}f} to {found.high:{sign}.{digits}f}"
    return f"{found.mean:{sign}.{digits}f} ({ends})"


def column(rows: Mapping[int, Mapping[str, float]], name: str) -> str:
    """The mean over seeds of one number; a dash where no seed has it."""
    values = [row[name] for row in rows.values() if name in row]
    return shown(estimate(values)) if values else "–"


def architectures(study: RecordedStudy) -> tuple[str, str]:
    """The best architecture and the last of the best five, in words."""
    best = study.best(BEST)
    texts = [study.space.freeze(child.proposal.genotype).text() for child in (best[0], best[-1])]
    first, last = (text.replace("affine(units=", "(").replace(" → ", " ") for text in texts)
    return first, last


def table(studies: Mapping[int, RecordedStudy]) -> Iterator[str]:
    """The rows of one of the survey's tables, means over the seeds."""
    rows = {seed: facts(study) for seed, study in studies.items()}
    best, fifth = architectures(studies[min(studies)])
    yield "| architecture (of the first seed) | validation | test |"
    yield "|---|---|---|"
    yield f"| scikit-learn's MLPClassifier | – | {column(rows, 'scikit-learn')} |"
    yield f"| fifth: {fifth} | {column(rows, 'fifth')} | – |"
    yield f"| best: {best} | {column(rows, 'best')} | {column(rows, 'test')} |"


def compared(
    studies: Mapping[int, RecordedStudy], baselines: Mapping[int, RecordedStudy]
) -> Iterator[str]:
    """How far the controller is ahead of random search of as many epochs."""
    mine = {seed: facts(study) for seed, study in studies.items()}
    theirs = {seed: facts(study) for seed, study in baselines.items()}
    yield "| | controller | random | controller ahead by | seeds ahead |"
    yield "|---|---|---|---|---|"
    for name in ("best", "mean of 5", "test", "epochs"):
        one = {seed: row[name] for seed, row in mine.items() if name in row}
        other = {seed: row[name] for seed, row in theirs.items() if name in row}
        if not one.keys() & other.keys():
            continue
        digits = 0 if name == "epochs" else 4
        found = difference(one, other)
        ahead = "–" if found.num_ahead is None else f"{found.num_ahead} of {found.counts[0]}"
        cells = [shown(estimate(list(each.values())), digits) for each in (one, other)]
        yield f"| {name} | {' | '.join(cells)} | {shown(found.estimate, digits, '+')} | {ahead} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table for each data set and controller of the studies in some folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of multiruns or studies")
    found = find_studies(parser.parse_args(arguments).folders)
    searches: dict[Setting, dict[int, RecordedStudy]] = defaultdict(dict)
    beside: dict[Setting, dict[int, RecordedStudy]] = defaultdict(dict)
    by_folder: dict[Any, RecordedStudy] = {study.folder: study for study in found}
    for study in found:
        if is_beside(study, found) or not study.best(BEST):
            continue
        setting = setting_of(study)
        searches[setting][study.seed] = study
        if (baseline := by_folder.get(study.folder / "baseline")) is not None:
            beside[setting][study.seed] = baseline
    for setting, studies in sorted(searches.items()):
        print(f"\n{setting[0]}: {setting[1]}; {len(studies)} seeds\n")
        print("\n".join(table(studies)))
        if beside[setting]:
            print()
            print("\n".join(compared(studies, beside[setting])))


if __name__ == "__main__":
    main()
