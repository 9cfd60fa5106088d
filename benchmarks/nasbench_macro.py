"""Searchers on NAS-Bench-Macro against reference curves of mean best-so-far accuracy.

    python benchmarks/nasbench_macro.py
    python benchmarks/nasbench_macro.py --searchers random reinforce --learning-rate 0.03

Every searcher makes 200 sequential evaluations per seed; repeated architectures count. A cell
shows the mean of the best accuracy so far ± its standard error, and below it the reference and
how far apart the two are, in standard errors of their difference: both have been estimated, over
a number of seeds each, and the reference is rounded to 0.01.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import optuna
from omegaconf import OmegaConf

from nasrunner.children.table import Table
from nasrunner.core import Outcome, Searcher, SearchSpace
from nasrunner.searchers.evolution import RegularizedEvolution
from nasrunner.searchers.random import RandomSearch
from nasrunner.searchers.reinforce import Reinforce
from nasrunner.searchers.tpe import Tpe
from nasrunner.spaces.language import parse_space

ROOT = Path(__file__).parents[1]
BUDGETS = (10, 25, 50, 100, 150, 200)
ROUNDING = 0.01 / math.sqrt(12)  # standard deviation of a uniform rounding error


@dataclass(frozen=True)
class Reference:
    """Means at ``BUDGETS`` in percent over so many seeds; math.inf: an exact expectation."""

    means: tuple[float, ...]
    num_seeds: float


REFERENCES = {
    "random": Reference((92.43, 92.66, 92.77, 92.87, 92.91, 92.94), math.inf),
    "evolution P=30 S=10": Reference((92.44, 92.66, 92.91, 93.08, 93.11, 93.12), 500),
    "evolution P=10 S=3": Reference((92.44, 92.73, 92.92, 93.05, 93.09, 93.10), 500),
    "tpe": Reference((92.43, 92.88, 93.04, 93.10, 93.11, 93.12), 40),
}


def searchers(learning_rate: float, batch_size: int) -> dict[str, Callable[..., Searcher]]:
    """What is measured, by name."""
    return {
        "random": RandomSearch,
        "evolution P=30 S=10": partial(
            RegularizedEvolution, population_size=30, tournament_size=10
        ),
        "evolution P=10 S=3": partial(RegularizedEvolution, population_size=10, tournament_size=3),
        "tpe": partial(Tpe, sampler=optuna.samplers.TPESampler),
        "reinforce": partial(
            Reinforce,
            hidden_units=35,
            num_layers=2,
            init_range=0.08,
            learning_rate=learning_rate,
            batch_size=batch_size,
            baseline_decay=0.95,
            entropy_bonus=0.0,
        ),
    }


@cache
def macro_space() -> SearchSpace:
    """The space as shipped."""
    config = OmegaConf.create({"data": {"num_outputs": 10}})
    config.space = OmegaConf.load(ROOT / "conf/space/nasbench_macro.yaml")
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def macro_table(path: Path) -> Table:
    """The table as ``conf/trainer/tabular.yaml`` reads it."""
    source = OmegaConf.load(ROOT / "conf/trainer/tabular.yaml").source
    return Table(path, "arch", ("mean_acc",), source)


def run(make: Callable[..., Searcher], path: Path, seed: int) -> list[float]:
    """The accuracies of one search, in the order evaluated."""
    rows = macro_table(path).rows()
    searcher = make(space=macro_space(), seed=seed)
    rewards = []
    for _ in range(BUDGETS[-1]):
        proposal = searcher.propose()
        assert proposal is not None
        reward = rows["".join(map(str, proposal.genotype.values()))]["mean_acc"]
        searcher.observe(Outcome(proposal, "completed", reward))
        rewards.append(reward)
    return rewards


def report(name: str, rewards_SN: np.ndarray, seconds: float) -> None:
    """Prints the rows of one searcher; S = seeds, N = evaluations."""
    num_seeds = len(rewards_SN)
    best_SN = np.maximum.accumulate(rewards_SN, axis=1)[:, [n - 1 for n in BUDGETS]]
    deviations = best_SN.std(axis=0, ddof=1)
    cells = zip(best_SN.mean(axis=0), deviations / math.sqrt(num_seeds), strict=True)
    print(f"{name:<22}" + "".join(f"{m:8.3f} ±{e:.3f}" for m, e in cells) + f"{num_seeds:7}")
    if name in REFERENCES:
        reference = REFERENCES[name]
        spread = deviations**2 * (1 / num_seeds + 1 / reference.num_seeds) + ROUNDING**2
        apart = (best_SN.mean(axis=0) - reference.means) / np.sqrt(spread)
        cells = zip(reference.means, apart, strict=True)
        print(f"{'  reference':<22}" + "".join(f"{m:8.2f} {z:+5.1f}" for m, z in cells))
        print(f"{'':<22}largest: {max(abs(apart)):.1f} standard errors; {seconds:.0f} s")
    else:
        random = REFERENCES["random"].means[BUDGETS.index(150)]
        at_150 = best_SN[:, BUDGETS.index(150)]
        error = at_150.std(ddof=1) / math.sqrt(num_seeds)
        print(
            f"{'':<22}at 150: {at_150.mean() - random:+.3f} against random search's expectation, "
            f"{(at_150.mean() - random) / error:+.1f} standard errors; {seconds:.0f} s"
        )


def main() -> None:
    """Runs every searcher over its seeds and prints the curves."""
    data = Path(os.environ.get("NASRUNNER_DATA", ROOT / "data"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    table = data / "nasbench_macro/nasbench_macro.csv.gz"
    parser.add_argument("--table", type=Path, default=table, help="default: %(default)s")
    parser.add_argument("--searchers", nargs="+", help="names, or their first words; default: all")
    parser.add_argument("--seeds", type=int, default=200, help="of each searcher but TPE")
    parser.add_argument("--tpe-seeds", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of REINFORCE")
    parser.add_argument("--batch-size", type=int, default=8, help="of REINFORCE")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'evaluations':<22}" + "".join(f"{n:>15}" for n in BUDGETS) + "  seeds")
    with ProcessPoolExecutor(arguments.processes) as pool:
        made = searchers(arguments.learning_rate, arguments.batch_size)
        for name, make in made.items():
            if arguments.searchers and not name.startswith(tuple(arguments.searchers)):
                continue
            seeds = range(arguments.tpe_seeds if name == "tpe" else arguments.seeds)
            start = time.perf_counter()
            task = partial(run, make, arguments.table)
            rewards_SN = np.array(list(pool.map(task, seeds, chunksize=5)))
            if name == "reinforce":
                name += f" lr={arguments.learning_rate:g}"
            report(name, rewards_SN, time.perf_counter() - start)


if __name__ == "__main__":
    main()
