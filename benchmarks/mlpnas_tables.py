"""The tables of MLPNAS from a sweep whose best children were tested, and random search beside it.

Minutoli & Ciranni, "Neural Architecture Search: An Overview", tables 1 to 6: the best and the worst
of a search's five best architectures with their validation accuracy, the test accuracy of the best
after more training, and that of scikit-learn's MLPClassifier on the same split. Theirs are of one
search, these are means over seeds with 95 % intervals; the architectures are the first seed's. A
table holds studies that differ in nothing but their seed: where the titles of two would be the
same, they go on with the settings in which they differ.

    nasrunner --multirun --config-dir sweeps --config-name mlpnas
    nasrunner-retrain from=outputs/multirun/<time> mlp_classifier=true start=child \\
      trainer.max_epochs=50
    python benchmarks/mlpnas_tables.py outputs/multirun/<time>
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrunner.recorded import RecordedStudy, Repetition, find_studies
from nasrunner.report.comparison.groups import is_beside
from nasrunner.report.comparison.settings import distinct_labels, settings
from nasrunner.report.comparison.statistics import Estimate, difference, estimate
from nasrunner.report.searcher_names import searcher_name
from nasrunner.retrain.networks import MLP_CLASSIFIER

BEST = 5
"""Of so many architectures the survey shows the first and the last."""

BUDGETS = ("max_children", "max_epochs_total", "max_hours", "target_reward")
"""What ends a search; reports compare searches of several budgets, and a table is of one."""

Searches = Mapping[Repetition, RecordedStudy]
"""The studies of one table by their seed, and their searcher's where it has one of its own."""


def whole(study: RecordedStudy) -> dict[str, Any]:
    """All that a table is of: a study's configuration, with its budget among the settings."""
    return {**study.config, "budget": {key: study.config.get(key) for key in BUDGETS}}


def title_of(study: RecordedStudy) -> str:
    """The data set and the searcher in words, with the controller that stands inside others."""
    config = study.config
    controller = searcher = config["searcher"]
    while isinstance(inner := controller.get("searcher"), Mapping):
        controller = inner
    words = [searcher_name(searcher)]
    children = f"{config['max_children']} children"
    if "hidden_units" in controller:
        predictor = "predictor" if controller.get("predictor_weight") else "no predictor"
        words += [predictor, f"LSTM of {controller['hidden_units']}"]
        children += f" in batches of {controller.get('children_per_replica')}"
    data = str(config["data"]["_target_"]).rpartition(".")[2]
    return f"{data}: {', '.join([*words, children])}"


def tables_of(studies: Sequence[RecordedStudy]) -> list[tuple[str, Searches]]:
    """The title and the studies of each table, in the order of the titles.

    Raises:
        SystemExit: two have one setting and one seed, and a table would hide one of them.
    """
    found: dict[str, dict[Repetition, RecordedStudy]] = defaultdict(dict)
    for study in studies:
        same = found[json.dumps(settings(whole(study)), sort_keys=True)]
        if (other := same.get(study.repetition)) is not None:
            raise SystemExit(
                f"{other.folder} and {study.folder} have the same settings and seed={study.seed}: "
                "a table has one study of each seed; leave one of them out"
            )
        same[study.repetition] = study
    firsts = [next(iter(same.values())) for same in found.values()]
    titles = distinct_labels([title_of(each) for each in firsts], [whole(each) for each in firsts])
    return sorted(zip(titles, found.values(), strict=True), key=lambda table: table[0])


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
    found = {"best": rewards[0], "last": rewards[-1], "mean": sum(rewards) / len(rewards)}
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


def num_best(*searches: Searches) -> str:
    """``5``; where some have fewer architectures with a reward, how few: ``3 to 5``."""
    counts = {len(study.best(BEST)) for studies in searches for study in studies.values()}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def column(rows: Mapping[Repetition, Mapping[str, float]], name: str) -> str:
    """The mean over seeds of one number; a dash where no seed has it."""
    values = [row[name] for row in rows.values() if name in row]
    return shown(estimate(values)) if values else "–"


def architectures(study: RecordedStudy) -> tuple[str, str]:
    """The best architecture and the last of the best five, in words."""
    best = study.best(BEST)
    texts = [study.space.freeze(child.proposal.genotype).text() for child in (best[0], best[-1])]
    first, last = (text.replace("affine(units=", "(").replace(" → ", " ") for text in texts)
    return first, last


def table(studies: Searches) -> Iterator[str]:
    """The rows of one of the survey's tables, means over the seeds."""
    rows = {seed: facts(study) for seed, study in studies.items()}
    best, last = architectures(studies[min(studies)])
    name = "fifth" if (count := num_best(studies)) == str(BEST) else f"last of {count}"
    yield "| architecture (of the first seed) | validation | test |"
    yield "|---|---|---|"
    yield f"| scikit-learn's MLPClassifier | – | {column(rows, 'scikit-learn')} |"
    yield f"| {name}: {last} | {column(rows, 'last')} | – |"
    yield f"| best: {best} | {column(rows, 'best')} | {column(rows, 'test')} |"


def compared(studies: Searches, baselines: Searches) -> Iterator[str]:
    """How far the controller is ahead of random search of as many epochs."""
    mine = {seed: facts(study) for seed, study in studies.items()}
    theirs = {seed: facts(study) for seed, study in baselines.items()}
    yield "| | controller | random | controller ahead by | seeds ahead |"
    yield "|---|---|---|---|---|"
    labels = {"mean": f"mean of {num_best(studies, baselines)}"}
    for name in ("best", "mean", "test", "epochs"):
        one = {seed: row[name] for seed, row in mine.items() if name in row}
        other = {seed: row[name] for seed, row in theirs.items() if name in row}
        if not one.keys() & other.keys():
            continue
        digits = 0 if name == "epochs" else 4
        found = difference(one, other)
        ahead = "–" if found.num_ahead is None else f"{found.num_ahead} of {found.counts[0]}"
        cells = [shown(estimate(list(each.values())), digits) for each in (one, other)]
        label = labels.get(name, name)
        yield f"| {label} | {' | '.join(cells)} | {shown(found.estimate, digits, '+')} | {ahead} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table for each setting of the studies in some folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of multiruns or studies")
    found = find_studies(parser.parse_args(arguments).folders)
    rewarded = {study.folder: study for study in found if study.best(1)}
    for study in found:
        if study.folder not in rewarded:
            print(f"{study.folder} is left out: none of its children has a reward", file=sys.stderr)
    searches = [study for study in rewarded.values() if not is_beside(study, found)]
    for title, studies in tables_of(searches):
        print(f"\n{title}; {len(studies)} {'seed' if len(studies) == 1 else 'seeds'}\n")
        print("\n".join(table(studies)))
        places = {seed: study.folder / "baseline" for seed, study in studies.items()}
        beside = {seed: rewarded[place] for seed, place in places.items() if place in rewarded}
        if beside:
            print()
            print("\n".join(compared(studies, beside)))


if __name__ == "__main__":
    main()
