"""Whether forward search joins better parts than chance: accuracy against parameters on digits.

    OMP_NUM_THREADS=1 python benchmarks/petridish.py --seeds 5
    OMP_NUM_THREADS=1 python benchmarks/petridish.py --seeds 5 --processes 2 --figure petridish.png

Each seed is searched twice with searcher=petridish in a space of two small cells, 6^3 networks
each: once parts join by |α|, once as many are drawn (searcher.is_random=true). All else is alike:
the start, the parts that are trained beside a child and for how long, and the weights that a grown
child begins with. As markdown: the mean accuracy and parameters of the children of each step, the
mean of the best accuracy so far, and the difference of the two searches, seed by seed, with its
95 % interval by Student's t. The figure has every child.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from scipy.stats import t  # type: ignore[import-untyped]  # ships no types

SPACE = """
concat:
  - conv2d: {filters: 8, kernel_size: 3}
  - batch_norm
  - cell: &cell
      nodes: 3
      edge:
        or:
          - zero
          - empty
          - concat: [relu, {conv2d: {filters: same, kernel_size: 1, bias: false}}, batch_norm]
          - concat: [relu, {conv2d: {filters: same, kernel_size: 3, bias: false}}, batch_norm]
          - concat: [relu, {separable_conv2d: {filters: same, kernel_size: 5}}, batch_norm]
          - average_pool: {kernel_size: 3, stride: 1, padding: same, count_padding: false}
  - max_pool: {kernel_size: 2}
  - cell: *cell
  - relu
  - global_pool
  - affine: {units: 10}
"""
WAYS = {"by |α|": "false", "by chance": "true"}
STUDY = (
    *("searcher=petridish", "space=forward", "data=digits", "tracker=none", "executor=serial"),
    *("searcher.supernet={trainer.max_epochs: 3}", "trainer.max_epochs=4", "searcher.penalty=0.0"),
    "trainer.accelerator=cpu",
)


class Child(NamedTuple):
    """A trained child.

    Attributes:
        parameters: how many.
        accuracy: of validation, in percent.
    """

    parameters: float
    accuracy: float


def searched(way: str, seed: int, children: int) -> list[Child]:
    """Runs one search; returns its children in order."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "conf" / "space").mkdir(parents=True)
        (Path(folder) / "conf" / "space" / "forward.yaml").write_text(SPACE, encoding="utf-8")
        own = (f"seed={seed}", f"max_children={children}", f"searcher.is_random={WAYS[way]}")
        command = [sys.executable, "-m", "nasrunner", "--config-dir=conf", *STUDY, *own]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        (ledger,) = Path(folder).glob("outputs/*/*/ledger.jsonl")
        events = [json.loads(line) for line in ledger.read_text().splitlines()]
    outcomes = [each for each in events if each["event"] == "outcome"]
    found = [
        Child(each["metrics"]["parameters"], 100 * each["reward"])
        for each in outcomes
        if each["reward"] is not None
    ]
    print(f"{way}, seed {seed}: {found}", file=sys.stderr, flush=True)
    return found


def interval(values: Sequence[float], digits: int = 2) -> str:
    """The mean and its 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def best_so_far(found: Sequence[Child], number: int) -> float:
    """The highest accuracy of the first children."""
    return max(each.accuracy for each in found[:number])


def draw(found: dict[str, list[list[Child]]], path: Path) -> None:
    """Draws accuracy against parameters, a dot for each child."""
    import matplotlib as mpl  # only where a figure is wanted

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for way, colour in zip(found, ("tab:blue", "tab:orange"), strict=True):
        every = [each for children in found[way] for each in children]
        parameters, accuracies = zip(*every, strict=True)
        axes.scatter(parameters, accuracies, s=14, alpha=0.5, color=colour, label=way)
        steps = range(min(map(len, found[way])))
        means = [
            [statistics.fmean(children[step][axis] for children in found[way]) for step in steps]
            for axis in (0, 1)
        ]
        axes.plot(*means, color=colour)
    axes.set_xlabel("parameters")
    axes.set_ylabel("validation accuracy, %")
    axes.legend(title="parts join")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Runs the searches, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--children", type=int, default=7)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    runs = [(way, seed, given.children) for seed in range(given.seeds) for way in WAYS]
    with ProcessPoolExecutor(given.processes) as pool:
        every = list(pool.map(searched, *zip(*runs, strict=True)))
    found = {
        way: [one for one, run in zip(every, runs, strict=True) if run[0] == way] for way in WAYS
    }
    print(f"{given.seeds} seeds\n")
    ways = [f"{way}: parameters | accuracy | best so far" for way in WAYS]
    print(f"| child | {' | '.join(ways)} | difference of the best |")
    print("|---" * (2 + 3 * len(WAYS)) + "|")
    for number in range(1, 1 + min(map(len, every))):
        cells = []
        for way in WAYS:
            children = [one[number - 1] for one in found[way]]
            cells.append(f"{statistics.fmean(each.parameters for each in children):,.0f}")
            cells.append(interval([each.accuracy for each in children]))
            cells.append(interval([best_so_far(one, number) for one in found[way]]))
        pairs = zip(*found.values(), strict=True)
        differences = [
            best_so_far(one, number) - best_so_far(other, number) for one, other in pairs
        ]
        print(f"| {number} | {' | '.join(cells)} | {interval(differences)} |")
    if given.figure is not None:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
