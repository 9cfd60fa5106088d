"""What zero-cost proxies say of NAS-Bench-201's cells, beside what counting says.

    python benchmarks/proxies.py --cells 300

Cells are drawn at random, built as a study would build them, and scored on one batch of CIFAR-10
(NASRUNNER_DATA holds cifar10/cifar-10-batches-py and nasbench201), all on the same 64 images. A row
shows the rank correlation of a proxy with the table: Spearman's ρ and Kendall's τ with the test
accuracy after 200 epochs, ρ with the validation accuracy after 12, and both with the first in the
best fifth of the cells; then the difference of τ from that of FLOPs, overall and in the best fifth.
Intervals are of 95 %, from 300 resamples of the cells, the same for all proxies. Cells that a
proxy says nothing of are left out of its row, as in the notebook of Abdelfattah et al. 2021
(arXiv:2101.08134), whose Spearman's ρ over all 15,625 cells is "published"; in a comparison
with FLOPs they are left out for both.

Scores are appended to a file, a line for each cell: the same command goes on with it, and with
--cells 0 only the table is made.

Beside it stands ρ with the accuracy that theirs is of, on the test images after 200 epochs of
training on 25,000; the others are of trainings on all 50,000.

Differs from the paper: a sample of the cells; another batch and other first weights; convolutions
of cells have no biases, see benchmarks/published_proxies.py.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, rankdata  # type: ignore[import-untyped]  # ships no types
from searcher_curves import composed, world
from torch import nn

from nasrunner.children.fit.assembling import first_network
from nasrunner.children.muted import without_messages
from nasrunner.children.proxies.batch import FirstBatch, first_batch
from nasrunner.children.proxies.scores import PROXIES, scores
from nasrunner.children.tables.table import BenchmarkTable
from nasrunner.compose.construct import construct
from nasrunner.core import DataError
from nasrunner.core.order import rollout
from nasrunner.core.randomness.seeds import child_seed

# N = cells, R = resamples

TABLE = "nasbench201"
TEST, VALIDATION, THEIRS = "c10_test_200", "c10_valid_12", "c10_test25k_200"
BATCH_SIZE = 64
PUBLISHED = {
    "grad_norm": 0.594,
    "snip": 0.596,
    "grasp": 0.514,
    "fisher": 0.360,
    "synflow": 0.737,
    "jacob_cov": 0.731,
}
"""Spearman's ρ on CIFAR-10, table 1 of the paper as its authors' notebook prints it."""

NUM_RESAMPLES = 300
TIMED_EVERY = 10  # cells, of which the proxies of one are timed
BEST_SHARE = 5  # the best fifth


def score_cells(path: Path, num_cells: int, seed: int, names: Sequence[str]) -> None:
    """Scores the first cells of a random order that the file lacks."""
    torch.set_num_threads(1)
    here = world(TABLE)
    config = {**composed(TABLE, "random"), "trainer": {"accelerator": "cpu"}}
    with without_messages():
        batch = first_batch(config, seed, construct, BATCH_SIZE)
    done = {record["cell"] for record in read(path)}
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    while len(drawn) < num_cells:
        genotype = rollout(here.space, rng)
        cell = here.trainer.lookup.key(genotype)
        if cell in drawn:
            continue
        drawn.add(cell)
        if cell in done:
            continue
        frozen = here.space.freeze(genotype)
        network = first_network(frozen, (3, 32, 32), child_seed(seed, genotype, 0), {"trainer": {}})
        record = {"cell": cell, "scores": scores(network, batch.x, batch.loss, names).values}
        if len(drawn) % TIMED_EVERY == 1:
            record["seconds"] = {name: seconds_of(name, network, batch) for name in names}
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def seconds_of(name: str, network: nn.Module, batch: FirstBatch) -> float:
    """The processor time of one proxy alone."""
    start_s = time.process_time()
    scores(network, batch.x, batch.loss, [name])
    return time.process_time() - start_s


def read(path: Path) -> list[dict[str, Any]]:
    """The cells that have been scored."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one of them is constant."""
    ranks = [rankdata(each) for each in (a_N, b_N)]
    if any(np.ptp(each) == 0 for each in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def kendall(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Kendall's tau-b."""
    return float(kendalltau(a_N, b_N).statistic)


def gain(a_N: np.ndarray, b_N: np.ndarray, than_N: np.ndarray) -> float:
    """How much higher the tau of one is than that of another."""
    return kendall(a_N, b_N) - kendall(than_N, b_N)


def interval(statistic: Callable[..., float], *columns: np.ndarray) -> str:
    """A statistic of all cells, and of the middle 95 % of resamples."""
    rng, num_cells = np.random.default_rng(0), len(columns[0])
    drawn = (rng.integers(num_cells, size=num_cells) for _ in range(NUM_RESAMPLES))
    found_R = [statistic(*(column[rows_N] for column in columns)) for rows_N in drawn]
    low, high = np.nanpercentile(found_R, [2.5, 97.5])
    return f"{statistic(*columns):.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


def report(records: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table."""
    rows = BenchmarkTable(
        Path(str(composed(TABLE, "random")["trainer"]["path"])),
        "arch",
        (TEST, VALIDATION, THEIRS),
        "",
    ).rows()
    test_N, early_N, theirs_N = (
        np.array([rows[record["cell"]][column] for record in records])
        for column in (TEST, VALIDATION, THEIRS)
    )
    is_best_N = test_N >= np.quantile(test_N, 1 - 1 / BEST_SHARE)
    columns = [
        "ρ, 200 epochs",
        "ρ, 25,000 images",
        "published",
        "τ, 200 epochs",
        "ρ, 12 epochs",
        "ρ, best fifth",
        "τ, best fifth",
        "τ minus FLOPs'",
        "in the best fifth",
        "cells",
        "seconds",
    ]
    print(f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    flops_N = np.array([record["scores"].get("flops", math.nan) for record in records])
    for name in PROXIES:
        score_N = np.array([record["scores"].get(name, math.nan) for record in records])
        known_N = np.isfinite(score_N)
        if not known_N.any():  # of --proxies it was none
            continue
        timed = [each["seconds"].get(name, math.nan) for each in records if "seconds" in each]
        seconds = np.nanmedian(timed)
        best_N = known_N & is_best_N
        row = [
            interval(spearman, score_N[known_N], test_N[known_N]),
            f"{spearman(score_N[known_N], theirs_N[known_N]):.2f}",
            f"{PUBLISHED[name]:.2f}" if name in PUBLISHED else "–",
            interval(kendall, score_N[known_N], test_N[known_N]),
            interval(spearman, score_N[known_N], early_N[known_N]),
            interval(spearman, score_N[best_N], test_N[best_N]),
            interval(kendall, score_N[best_N], test_N[best_N]),
            interval(gain, score_N[known_N], test_N[known_N], flops_N[known_N]),
            interval(gain, score_N[best_N], test_N[best_N], flops_N[best_N]),
            str(known_N.sum()),
            f"{seconds:.2f}",
        ]
        print(f"| {name} | {' | '.join(row)} |", flush=True)


def main() -> None:
    """Scores cells, and prints what the scores say of the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=300, help="how many are scored in all")
    parser.add_argument("--proxies", nargs="+", default=[*PROXIES], help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", type=Path, default=Path("proxies.jsonl"))
    arguments = parser.parse_args()
    if arguments.cells:
        try:
            score_cells(arguments.scores, arguments.cells, arguments.seed, arguments.proxies)
        except DataError as error:
            sys.exit(str(error))
    report(read(arguments.scores))


if __name__ == "__main__":
    main()
