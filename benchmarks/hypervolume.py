"""Searchers of several objectives on a tabular benchmark: the hypervolume they lack, as markdown.

    python benchmarks/hypervolume.py --seeds 30
    python benchmarks/hypervolume.py --size parameters --searchers nsga2 motpe

Reward and FLOPs (or parameters) of each architecture are read from the table. A cell is the share
of the whole table's hypervolume that the architectures evaluated so far do not dominate, in
percent: the mean over seeds with its 95 % interval (Student's t). The reference point is the worst
reward and the largest size in the table. The last columns are the difference to random search after
the last budget, with its 95 % interval (Welch's t), and the seconds of a search. Each makes 200
sequential evaluations a seed; repeated architectures count.
"""

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.stats  # type: ignore[import-untyped]  # ships no types
import torch
from searcher_curves import composed, world

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.goals import Goals, reference_point
from nasrunner.core.ledger.hypervolume import dominated
from nasrunner.core.ledger.objectives import REWARD, Objective
from nasrunner.core.order import listed

# S = seeds, N = budgets

BUDGETS = (50, 100, 200)
PARETO = "evolution learns=objectives population_size=30 tournament_size=10"
SEARCHERS = (
    "random",
    "nsga2",
    "nsga2 sampler.population_size=20",
    "motpe",
    PARETO,
    f"{PARETO} ageing=false",
    f"{PARETO} ageing=false crossover=0.5",
)


def goals_of(size: str) -> Goals:
    """The reward upwards and a size downwards."""
    return Goals((Objective(REWARD, "max"), Objective(size, "min")))


def measured(table: str, goals: Goals, proposal: Proposal) -> Outcome:
    """The outcome of a proposal with its objectives, as a study records it."""
    trainer = world(table).trainer
    row = trainer.lookup.table.rows()[trainer.lookup.key(proposal.genotype)]
    sizes = {
        "flops": row[str(trainer.flops)] * trainer.flops_factor,
        "parameters": row[str(trainer.parameters)] * trainer.parameters_factor,
    }
    return goals.judged(replace(trainer.lookup(proposal), metrics=sizes))


@cache
def whole(table: str, size: str) -> tuple[dict[str, float], float, int]:
    """The reference point, the hypervolume of all architectures, and their front's size."""
    goals, space = goals_of(size), world(table).space
    outcomes = [
        measured(table, goals, Proposal(i, genotype)) for i, genotype in enumerate(listed(space))
    ]
    reference = reference_point(goals, outcomes)
    volume = dominated(goals, outcomes, reference)
    assert volume is not None
    return reference, volume, len(goals.front(outcomes))


def missing(table: str, size: str, config: dict[str, Any], seed: int) -> tuple[list[float], float]:
    """What one search lacks at each budget, in percent, and the seconds it took."""
    torch.set_num_threads(1)
    goals = goals_of(size)
    reference, all_of_it, _ = whole(table, size)
    start = time.perf_counter()
    searcher, outcomes = world(table).searcher(config, seed), list[Outcome]()
    searcher.compare(goals.objectives)
    for _ in range(BUDGETS[-1]):
        proposal = searcher.propose()
        assert proposal is not None
        outcomes.append(measured(table, goals, proposal))
        searcher.observe(outcomes[-1])
    seconds = time.perf_counter() - start
    volumes = [dominated(goals, outcomes[:budget], reference) or 0.0 for budget in BUDGETS]
    return [100 * (1 - volume / all_of_it) for volume in volumes], seconds


def interval(values_S: np.ndarray) -> str:
    """A mean with half the width of its 95 % interval."""
    error = values_S.std(ddof=1) / math.sqrt(len(values_S))
    half = float(scipy.stats.t.ppf(0.975, len(values_S) - 1)) * error
    return f"{values_S.mean():.2f} ± {half:.2f}"


def difference(values_S: np.ndarray, random_S: np.ndarray) -> str:
    """How much less is missing than with random search, with its interval."""
    found = scipy.stats.ttest_ind(values_S, random_S, equal_var=False).confidence_interval(0.95)
    return f"{values_S.mean() - random_S.mean():+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def main() -> None:
    """Runs every searcher over its seeds and prints what it lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", default="nasbench_macro", help="nasbench_macro, nasbench201")
    parser.add_argument("--size", choices=("flops", "parameters"), default="flops")
    parser.add_argument("--searchers", nargs="+", default=SEARCHERS, help="random comes first")
    parser.add_argument("--seeds", type=int, default=30, help="of each searcher")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    searchers = list(dict.fromkeys(["random", *given.searchers]))
    reference, volume, num_front = whole(given.table, given.size)  # before the processes fork
    print(
        f"{given.table}: {num_front} architectures on the front of reward and {given.size}, "
        f"hypervolume {volume:.6g} from {reference}\n"
    )
    columns = [*map(str, BUDGETS), "to random", "seeds", "s a search"]
    print(f"| missing, % | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    random_S = np.zeros(0)
    with ProcessPoolExecutor(given.processes) as pool:
        for searcher in searchers:
            config = composed(given.table, searcher)["searcher"]
            task = partial(missing, given.table, given.size, config)
            runs = list(pool.map(task, range(given.seeds)))
            missing_SN = np.array([shares for shares, _ in runs])
            last_S = missing_SN[:, -1]
            random_S = last_S if searcher == "random" else random_S
            row = [interval(missing_SN[:, n]) for n in range(len(BUDGETS))]
            row += ["–" if searcher == "random" else difference(last_S, random_S)]
            row += [str(given.seeds), f"{np.mean([seconds for _, seconds in runs]):.2f}"]
            print(f"| {searcher} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
