"""What the default searcher gains by seeing networks: regret on tables, paired over seeds.

    python benchmarks/network_views.py --tables nasbench201:in16_valid_12 nasbench_macro --seeds 50

Each seed searches twice, with ``surrogate.views=[genotype]`` (genotypes alone, as before networks
were looked at) and with the views that ship. A cell shows the mean regret, the table's best reward
less the best found, in the table's unit ± its standard error; the last row their ratio, and the
processor time of a proposal with all that the searcher does for it. The settings of the surrogate
were fixed on nasbench201:c10_valid_12 alone. With --in-flight several children are evaluated at
once: a proposal is made when the oldest of them has ended.
"""

import argparse
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from searcher_curves import composed, world

from nasrunner.core import Proposal

# S = seeds, B = budgets

BUDGETS = (25, 50, 100)


def run(
    table: str, num_in_flight: int, views: list[str] | None, seed: int
) -> tuple[list[float], float]:
    """The best rewards of one search at all budgets, and its seconds of processor time."""
    torch.set_num_threads(1)
    here = world(table)
    config: dict[str, Any] = composed(table, "smbo")["searcher"]
    if views is not None:
        config = {**config, "surrogate": {**config["surrogate"], "views": views}}
    start_s = time.process_time()
    searcher = here.searcher(config, seed)
    rewards: list[float] = []
    in_flight: deque[Proposal] = deque()
    while len(rewards) < BUDGETS[-1]:
        while len(in_flight) < num_in_flight:
            proposal = searcher.propose()
            assert proposal is not None
            in_flight.append(proposal)
        outcome = here.trainer.lookup(in_flight.popleft())
        searcher.observe(outcome)
        rewards.append(outcome.known_reward)
    best = np.maximum.accumulate(rewards)
    return [float(best[budget - 1]) for budget in BUDGETS], time.process_time() - start_s


def main() -> None:
    """Searches all tables with and without networks, and prints the regrets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", metavar="TABLE[:COLUMN]", required=True)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--in-flight", type=int, default=1, help="children evaluated at once")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"| table, compared by | {' | '.join(map(str, BUDGETS))} | ms a proposal |")
    print(f"|{'---|' * (len(BUDGETS) + 2)}")
    for table in arguments.tables:
        here = world(table)
        plain = here.trainer.lookup.plain
        best = max(row[plain.reward] for row in here.trainer.lookup.table.rows().values())
        means, times = [], []
        with ProcessPoolExecutor(arguments.processes) as pool:
            for title, views in (("genotypes", ["genotype"]), ("networks, too", None)):
                found = list(
                    pool.map(
                        partial(run, table, arguments.in_flight, views), range(arguments.seeds)
                    )
                )
                regrets_SB = best - np.array([rewards for rewards, _ in found])
                errors_B = regrets_SB.std(axis=0, ddof=1) / np.sqrt(arguments.seeds)
                times.append(1e3 * float(np.mean([s for _, s in found])) / BUDGETS[-1])
                means.append(regrets_SB.mean(axis=0))
                cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(means[-1], errors_B, strict=True)]
                print(f"| {table}, {title} | {' | '.join(cells)} | {times[-1]:.1f} |", flush=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [f"{ratio:.2f}" for ratio in means[1] / means[0]]
        print(f"| ratio | {' | '.join(ratios)} | {times[1] / times[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
