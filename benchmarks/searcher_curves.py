"""Searchers on tabular benchmarks: mean best-so-far reward against evaluations, as markdown.

    python benchmarks/searcher_curves.py --table nasbench201 --seeds 50
    python benchmarks/searcher_curves.py --table nasbench_macro --searchers random \
        "evolution population_size=10 tournament_size=3" "reinforce learning_rate=0.03"
    python benchmarks/searcher_curves.py --table nasbench201:c100_valid_12 --searchers smbo tpe

A table may name another of its columns as the reward: CIFAR-100 and ImageNet16-120 of NAS-Bench-201
were not looked at when the settings of smbo were chosen. A searcher is the name of a file in
conf/searcher, with changes of its settings behind it. Each makes 200 sequential evaluations a seed;
repeated architectures count. A cell shows the mean of the best reward so far ± its standard error.
Where there is a reference curve it stands below, with how far apart the two are in standard errors
of their difference: both have been estimated, over a number of seeds each, and the reference is
rounded to 0.01. Elsewhere the distance to the exact expectation of random search is given, in
percent points and in standard errors.
"""

import argparse
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.tables.tabular import TabularTrainer
from nasrunner.compose import config as skeleton
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_networks, build_space, build_trainer
from nasrunner.core import Outcome, Searcher, SearchSpace

# S = seeds, N = evaluations

ROOT = Path(__file__).parents[1]
BUDGETS = (10, 25, 50, 100, 150, 200)
ROUNDING = 0.01 / math.sqrt(12)  # standard deviation of a uniform rounding error

EVOLUTION = "evolution population_size=30 tournament_size=10"
SMALL_EVOLUTION = "evolution population_size=10 tournament_size=3"
REINFORCE = "reinforce learning_rate=0.01"
LEFT_OUT = {
    "filter": "of scores, which the tables have none of",
    "predicted": "beside the searcher that it is around",
    "exhaustive": "an order, not a search",
    "cmaes": "for ordered decisions, of which the tables have none",
    "evolution": "with populations of 30 and 10 instead of 100, half of the evaluations",
    "reinforce": "with learning rate 0.01 instead of 0.0006, which is made for 12,800 children",
    "gp": "seconds a proposal",
    "motpe": "of several objectives: hypervolume.py",
    "nsga2": "of several objectives: hypervolume.py",
}
"""Searchers that run only when they are named, and why."""


@dataclass(frozen=True)
class Reference:
    """Means at some budgets in percent, made with other code, over so many seeds.

    ``num_seeds`` is math.inf where the means are exact or nobody said over how many they are.
    """

    means: dict[int, float]
    num_seeds: float = math.inf


def _curve(*means: float) -> dict[int, float]:
    return dict(zip(BUDGETS, means, strict=True))


REFERENCES = {
    "nasbench_macro": {
        "random": Reference(_curve(92.43, 92.66, 92.77, 92.87, 92.91, 92.94)),
        EVOLUTION: Reference(_curve(92.44, 92.66, 92.91, 93.08, 93.11, 93.12), 500),
        SMALL_EVOLUTION: Reference(_curve(92.44, 92.73, 92.92, 93.05, 93.09, 93.10), 500),
        "local_search": Reference(_curve(92.41, 92.92, 93.07, 93.10, 93.11, 93.12), 500),
        "tpe": Reference(_curve(92.43, 92.88, 93.04, 93.10, 93.11, 93.12), 40),
    },
    "nasbench201": {
        "random": Reference({100: 83.70}),
        EVOLUTION: Reference({100: 84.44}),
        "local_search": Reference({100: 84.62}),
        "tpe": Reference({100: 84.56}),
    },
}


@dataclass(frozen=True)
class World:
    """A table, the space it covers, and what looks at that space's networks."""

    space: SearchSpace
    trainer: TabularTrainer
    networks: SpaceNetworks

    def searcher(self, config: dict[str, Any], seed: int) -> Searcher:
        """A searcher that has been shown the table's networks, as in a study."""
        made: Searcher = construct(config, "searcher", space=self.space, seed=seed)
        made.see(self.networks)
        return made

    def expectation(self, num_children: int) -> float:
        """Of the best of so many independent uniform draws from the table."""
        lookup = self.trainer.lookup
        rewards_R = np.sort([row[lookup.plain.reward] for row in lookup.table.rows().values()])
        below_R = np.arange(len(rewards_R) + 1) / len(rewards_R)
        return float(np.diff(below_R**num_children) @ rewards_R)


@cache
def world(table: str) -> World:
    """The table and its space as shipped; made once a process."""
    config = composed(table, "random")
    space = build_space(config)
    trainer = build_trainer(config, space)
    assert isinstance(trainer, TabularTrainer)
    return World(space, trainer, build_networks(config, space, trainer))


@cache
def composed(table: str, searcher: str) -> dict[str, Any]:
    """The configuration of a study with a shipped searcher, and changes of it, on a table."""
    skeleton.register()
    name, *changes = searcher.split()
    of, _, column = table.partition(":")
    overrides = ["study=curves", "data=cifar10", f"space={of}", f"trainer={of}"]
    overrides += [f"trainer.reward={column}"] if column else []
    overrides += [f"searcher={name}", *(f"searcher.{change}" for change in changes)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def run(table: str, config: dict[str, Any], seed: int) -> list[float]:
    """The rewards of one search, in the order evaluated; what is predicted is no evaluation."""
    torch.set_num_threads(1)
    here = world(table)
    searcher = here.searcher(config, seed)
    rewards: list[float] = []
    while len(rewards) < BUDGETS[-1]:
        proposal = searcher.propose()
        if proposal is None:  # exhausted: what is best stays so
            return rewards + [max(rewards)] * (BUDGETS[-1] - len(rewards))
        if proposal.is_prediction:
            searcher.observe(Outcome(proposal, "completed", proposal.predicted))
            continue
        outcome = here.trainer.lookup(proposal)
        assert outcome.reward is not None
        searcher.observe(outcome)
        rewards.append(outcome.reward)
    return rewards


@dataclass(frozen=True)
class Curve:
    """What one searcher reached over its seeds.

    Attributes:
        best_SN: best reward so far of each seed at ``BUDGETS``.
        seconds: of one seed, in one process.
    """

    best_SN: np.ndarray
    seconds: float

    @property
    def means(self) -> np.ndarray:
        """At each budget."""
        means_N: np.ndarray = self.best_SN.mean(axis=0)
        return means_N

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the means."""
        deviations_N: np.ndarray = self.best_SN.std(axis=0, ddof=1)
        return deviations_N / math.sqrt(len(self.best_SN))

    def distance(self, reference: Reference) -> float:
        """The largest one to a reference over its budgets, in standard errors."""
        places = [BUDGETS.index(budget) for budget in reference.means]
        deviations = self.best_SN.std(axis=0, ddof=1)[places]
        spread = deviations**2 * (1 / len(self.best_SN) + 1 / reference.num_seeds) + ROUNDING**2
        apart = (self.means[places] - list(reference.means.values())) / np.sqrt(spread)
        return float(apart[np.abs(apart).argmax()])


def measure(table: str, searcher: str, num_seeds: int, pool: ProcessPoolExecutor) -> Curve:
    """Runs a searcher over its seeds in all processes."""
    task = partial(timed, table, composed(table, searcher)["searcher"])
    runs = list(pool.map(task, range(num_seeds), chunksize=max(1, num_seeds // 16)))
    best_SN = np.maximum.accumulate([rewards for rewards, _ in runs], axis=1)
    seconds = sum(seconds for _, seconds in runs) / num_seeds
    return Curve(best_SN[:, [budget - 1 for budget in BUDGETS]], seconds)


def timed(table: str, config: dict[str, Any], seed: int) -> tuple[list[float], float]:
    """The rewards of one search and the seconds it took, without loading the table."""
    world(table)
    start = time.perf_counter()
    return run(table, config, seed), time.perf_counter() - start


def report(table: str, searcher: str, curve: Curve) -> None:
    """Prints the rows of one searcher."""
    expected = world(table).expectation(100)
    at_100 = BUDGETS.index(100)
    over = float(curve.means[at_100]) - expected
    row = [f"{m:.3f} ± {e:.3f}" for m, e in zip(curve.means, curve.errors, strict=True)]
    error = float(curve.errors[at_100])
    row += [f"{over:+.3f} ({over / error:+.1f})" if error > 1e-6 else f"{over:+.3f}"]
    reference = REFERENCES.get(table, {}).get(searcher)
    row += [f"{curve.distance(reference):+.1f}" if reference else "–"]
    row += [str(len(curve.best_SN)), f"{curve.seconds:.2f}"]
    print(f"| {searcher} | {' | '.join(row)} |", flush=True)
    if reference is not None:
        shown = [f"{reference.means[b]:.2f}" if b in reference.means else "" for b in BUDGETS]
        print(f"| – reference | {' | '.join(shown)} | | | | |")


def shipped() -> list[str]:
    """Every searcher in conf/searcher that makes sense on the tables."""
    names = sorted(path.stem for path in (ROOT / "conf" / "searcher").glob("*.yaml"))
    return [name for name in names if name not in LEFT_OUT] + [
        EVOLUTION,
        SMALL_EVOLUTION,
        REINFORCE,
    ]


def main() -> None:
    """Runs every searcher over its seeds and prints the curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", metavar="TABLE[:COLUMN]", required=True, help=", ".join(REFERENCES)
    )
    parser.add_argument(
        "--searchers",
        nargs="+",
        help="default: all in conf/searcher, but "
        + "; ".join(f"{name} ({why})" for name, why in LEFT_OUT.items()),
    )
    parser.add_argument("--seeds", type=int, default=50, help="of each searcher")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    searchers: Sequence[str] = arguments.searchers or shipped()
    here = world(arguments.table)  # before the processes are forked
    columns = [*map(str, BUDGETS), "over random at 100 (errors)", "apart", "seeds", "s a seed"]
    print(f"| {arguments.table} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    exact = " | ".join(f"{here.expectation(budget):.3f}" for budget in BUDGETS)
    print(f"| random, exact expectation | {exact} | | | | |")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for searcher in searchers:
            report(
                arguments.table,
                searcher,
                measure(arguments.table, searcher, arguments.seeds, pool),
            )


if __name__ == "__main__":
    main()
