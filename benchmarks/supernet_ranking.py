"""How a supernet ranks NAS-Bench-201's cells that were never trained, beside counting FLOPs.

    NASRUNNER_DATA=… OMP_NUM_THREADS=1 python benchmarks/supernet_ranking.py --folder supernet

One network with the weights of all 15,625 cells is trained on CIFAR-10, a random cell at each step
(Guo et al. 2019, arXiv:1904.00420), and then so many random cells are validated with its weights,
all by the command a user would type: nasrunner searcher=random_sharing. To fit two cores, there are
fewer channels, and smaller images, than in the benchmark, and with --depth 1 fewer cells.

A row shows Kendall's τ with the table: with the test accuracy after 200 epochs, with the validation
accuracy after 12, and with the first in the best fifth of the cells; then the difference of τ from
that of FLOPs on the same cells, overall and in the best fifth. Intervals are of 95 %, from 300
resamples of the cells, the same for all rows. The last lines say what the best estimate is worth.

The folder is a study's: the same command goes on with it, where it was interrupted. What follows
the options overrides the study's settings: --folder fair searcher.is_fair=true.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from proxies import BEST_SHARE, TABLE, TEST, VALIDATION, gain, interval, kendall
from searcher_curves import composed, world

from nasrunner.children.tables.table import BenchmarkTable

# N = cells

CONVOLUTIONS = ((0, 1), (0, 4), (1, 1))
"""Of a residual block between two stages: branch, and place in it."""

STAGES = (2, 4, 6)
"""Where the three stages stand in the network."""

NAMES = ("supernet", "FLOPs", "parameters")


def channels(first: int) -> list[str]:
    """Overrides that give the three stages other channels than 16, 32 and 64."""
    body = "space.share.body.concat"
    found = [f"{body}.0.conv2d.filters={first}"]
    for place, factor in ((3, 2), (5, 4)):
        block = f"{body}.{place}.named.module.fork.branches"
        found += [
            f"{block}.{b}.concat.{i}.conv2d.filters={factor * first}" for b, i in CONVOLUTIONS
        ]
    return found


def stacked(times: int) -> list[str]:
    """Overrides that give each stage another number of cells than five."""
    return [f"space.share.body.concat.{place}.repeat_tied.times={times}" for place in STAGES]


def command(given: argparse.Namespace, overrides: list[str]) -> list[str]:
    """The study: a supernet, its estimates, and one short training, with which it ends."""
    found = [sys.executable, "-m", "nasrunner", "space=nasbench201", "data=cifar10"]
    found += [f"data.resolution={given.resolution}", *channels(given.channels)]
    found += stacked(given.depth)
    found += ["optimizer=sgd", "optimizer.lr=0.05", "optimizer.nesterov=true"]
    found += ["optimizer.weight_decay=5e-4", "scheduler=cosine", "scheduler.interval=step"]
    found += ["searcher=random_sharing", f"searcher.num_estimates={given.cells}"]
    found += ["searcher.num_trained=1", "max_children=1", "trainer.max_epochs=1"]
    found += [f"searcher.supernet={{trainer.max_epochs: {given.epochs}}}"]
    found += ["executor=serial", "tracker=none", f"seed={given.seed}", *overrides]
    return found


def searched(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace, list[str]], list[str]]
) -> Path:
    """Runs a study, or goes on with it, as the arguments say; returns its folder."""
    given, overrides = parser.parse_known_args()
    if wrong := [each for each in overrides if "=" not in each or each.startswith("-")]:
        parser.error(f"unknown arguments: {' '.join(wrong)}")
    folder: Path = given.folder
    run = [*command(given, overrides), f"hydra.run.dir={folder.resolve()}"]
    if not (folder / "summary.json").exists():
        status = subprocess.run(run, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
        if status:
            sys.exit(status)
    return folder


def read_estimates(folder: Path) -> dict[str, float]:
    """The estimated reward of each cell, by its name in the table; of equal cells the first."""
    lookup = world(TABLE).trainer.lookup
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    proposed = {each["index"]: each for each in events if each["event"] == "proposed"}
    found: dict[str, float] = {}
    for event in events:
        if event["event"] != "outcome" or event["reward"] is None:
            continue
        proposal = proposed[event["index"]]
        if proposal.get("kind") == "estimate":
            found.setdefault(lookup.key(proposal["genotype"]), event["reward"])
    return found


def report(estimates: dict[str, float]) -> None:
    """Prints the table."""
    path = Path(str(composed(TABLE, "random")["trainer"]["path"]))
    columns = (TEST, VALIDATION, "flops_M", "params_M")
    rows = BenchmarkTable(path, "arch", columns, "").rows()
    test_N, early_N, flops_N, parameters_N = (
        np.array([rows[cell][column] for cell in estimates]) for column in columns
    )
    supernet_N = np.array(list(estimates.values()))
    is_best_N = test_N >= np.quantile(test_N, 1 - 1 / BEST_SHARE)
    heads = [
        "τ, 200 epochs",
        "τ, 12 epochs",
        "τ, best fifth",
        "τ minus FLOPs'",
        "in the best fifth",
    ]
    print(
        f"{len(estimates)} cells, estimated from {supernet_N.min():.4f} to {supernet_N.max():.4f}\n"
    )
    print(f"| | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for name, score_N in zip(NAMES, (supernet_N, flops_N, parameters_N), strict=True):
        row = [
            interval(kendall, score_N, test_N),
            interval(kendall, score_N, early_N),
            interval(kendall, score_N[is_best_N], test_N[is_best_N]),
            interval(gain, score_N, test_N, flops_N),
            interval(gain, score_N[is_best_N], test_N[is_best_N], flops_N[is_best_N]),
        ]
        print(f"| {name} | {' | '.join(row)} |")
    best = int(supernet_N.argmax())
    print(
        f"\nThe best estimate is {list(estimates)[best]}, whose test accuracy is "
        f"{test_N[best]:.2f} %; of these cells {test_N.max():.2f} is the best and "
        f"{np.median(test_N):.2f} the median."
    )


def main() -> None:
    """Trains a supernet, estimates cells with it, and prints what that says of the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="of the study")
    parser.add_argument("--epochs", type=int, default=30, help="of the supernet")
    parser.add_argument("--channels", type=int, default=8, help="of the first stage; theirs: 16")
    parser.add_argument("--depth", type=int, default=5, help="cells in each of three stages")
    parser.add_argument("--resolution", type=int, default=16, help="rows and columns; theirs: 32")
    parser.add_argument("--cells", type=int, default=300, help="how many are estimated")
    parser.add_argument("--seed", type=int, default=0)
    report(read_estimates(searched(parser, command)))


if __name__ == "__main__":
    main()
