"""Proposals that a search would train again: exact duplicates, and those of one identity.

    python benchmarks/duplicates.py --seeds 50

Evolution and TPE make 200 sequential evaluations of each table. A cell shows how many of these are
of a genotype that was evaluated before; then how many are of a network that was, whatever genotype
made it (``core/network/canonical.py``); exact duplicates are among them. Means over the seeds ±
standard errors; random search is beside them.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from searcher_curves import EVOLUTION, SMALL_EVOLUTION, composed, world

from nasrunner.core.order import key_of

TABLES = ("nasbench201", "nasbench_macro")
SEARCHERS = (EVOLUTION, SMALL_EVOLUTION, "tpe", "random")
NUM_EVALUATIONS = 200


def run(table: str, config: dict[str, Any], seed: int) -> tuple[int, int]:
    """How many evaluations of one search are exact duplicates, and of one identity."""
    torch.set_num_threads(1)
    here = world(table)
    searcher = here.searcher(config, seed)
    genotypes, networks = set(), set()
    for _ in range(NUM_EVALUATIONS):
        proposal = searcher.propose()
        assert proposal is not None
        genotypes.add(key_of(proposal.genotype))
        networks.add(here.networks.identity(proposal.genotype))
        searcher.observe(here.trainer.lookup(proposal))
    return NUM_EVALUATIONS - len(genotypes), NUM_EVALUATIONS - len(networks)


def cell(found: Sequence[tuple[int, int]]) -> str:
    """Both means and their standard errors."""
    counts_S2 = np.array(found)
    errors = counts_S2.std(axis=0, ddof=1) / np.sqrt(len(counts_S2))
    pairs = zip(counts_S2.mean(axis=0), errors, strict=True)
    return ", ".join(f"{mean:.1f} ± {error:.1f}" for mean, error in pairs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"| table | {' | '.join(SEARCHERS)} |\n|{'---|' * (len(SEARCHERS) + 1)}")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for table in TABLES:
            cells = [
                cell(list(pool.map(partial(run, table, config), range(arguments.seeds))))
                for config in (composed(table, each)["searcher"] for each in SEARCHERS)
            ]
            print(f"| {table} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
