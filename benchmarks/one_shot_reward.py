"""What searches on shared weights derive, trained from scratch, at a tenth of the processor time.

    NASRUNNER_DATA=… python benchmarks/one_shot_reward.py --world cells --seeds 5

On 10,010 images of MNIST, 14 rows and columns, with real training, one child at a time. A one-shot
search trains one supernet for as long as a child, and then the best architecture that it names from
first weights; its reward is that child's. Random search and smbo train children from first weights
with the same settings, and are asked for the best reward they have had by the time that the
one-shot search took, and by ten times that.

A row is a searcher: the processor time of its command, from its start to its summary; its reward;
then for each of the others the best reward in the same time and in ten times as much, and how far
the one-shot search is ahead. Means over seeds; differences with a 95 % interval by Welch's t, since
seeds of different searches have nothing in common. In percent. A search's children share the
processor time of its command, its start included, as they share their seconds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # ships no types
from supernet_ranking import channels, stacked
from time_to_reward import processor_seconds

ON_MNIST = (
    *("data=mnist", "data.resolution=14", "data.train_share=0.182", "trainer.limit_val_batches=8"),
    *("executor=serial", "tracker=none", "max_failures=null"),
)
WORLDS = {
    "cells": (
        *("space=nasbench201", *channels(4), *stacked(1), "optimizer=sgd", "optimizer.lr=0.05"),
        *("optimizer.nesterov=true", "optimizer.weight_decay=5e-4"),
        *("scheduler=cosine", "scheduler.interval=step", "data.batch_size=64"),
        "trainer.max_epochs=6",
    ),
    "cnn": ("space=small_cnn", "trainer.max_epochs=6"),
    "mlp": ("space=mlp", "trainer.max_epochs=6"),
}
ONE_SHOT = {
    "spos": ("searcher=spos", "searcher.num_estimates=100"),
    "random_sharing": ("searcher=random_sharing", "searcher.num_estimates=100"),
    "enas": ("searcher=enas", "searcher.num_estimates=20", "searcher.learning_rate=0.005"),
    "darts": ("searcher=darts", "searcher.learning_rate=0.003"),
    "gdas": ("searcher=gdas", "searcher.learning_rate=0.003"),
}
TRAINED = ("spos", "random_sharing", "enas")  # how many of what they estimate is a setting
OF_SCRATCH = {"random": ("searcher=random",), "smbo": ("searcher=smbo",)}
TIMES = (1, 10)


class Search(NamedTuple):
    """A search's children.

    Attributes:
        seconds_N: of processor time that the command had taken when each had been trained.
        best_N: the highest reward up to each, in percent.
    """

    seconds_N: np.ndarray
    best_N: np.ndarray

    def by(self, seconds: float) -> float | None:
        """The best reward it had by then; None: the search was over before, or had none."""
        number = int(np.searchsorted(self.seconds_N, seconds, side="right"))
        is_within = number < len(self.best_N) or seconds <= 1.001 * self.seconds_N[-1]
        return float(self.best_N[number - 1]) if number and is_within else None


def searched(world: str, arguments: Sequence[str], seed: int) -> Search:
    """Runs one search in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nasrunner", *WORLDS[world], *ON_MNIST, *arguments]
        command += [f"seed={seed}", f"hydra.run.dir={folder}/study"]
        processor_s = processor_seconds(command, {**os.environ, "OMP_NUM_THREADS": "1"})
        lines = (Path(folder) / "study" / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    kinds = {each["index"]: each.get("kind") for each in events if each["event"] == "proposed"}
    outcomes = [each for each in events if each["event"] == "outcome"]
    seconds_N = np.cumsum([each["cost_s"] or 0.0 for each in outcomes])
    seconds_N *= processor_s / seconds_N[-1]
    rewards_N = np.array(
        [
            -np.inf if each["reward"] is None or kinds[each["index"]] else 100 * each["reward"]
            for each in outcomes
        ]
    )
    return Search(seconds_N, np.maximum.accumulate(rewards_N))


def ahead(ours: Sequence[float], others: Sequence[float]) -> str:
    """The difference of the means and its interval."""
    difference = statistics.fmean(ours) - statistics.fmean(others)
    if min(len(ours), len(others)) < 2:
        return f"{difference:+.2f}"
    low, high = stats.ttest_ind(ours, others, equal_var=False).confidence_interval(0.95)
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    """Searches, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", choices=WORLDS, default="cells")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--supernet-epochs", type=int, default=6)
    parser.add_argument("--children", type=int, default=30, help="of random search and smbo")
    parser.add_argument("--searchers", nargs="+", choices=ONE_SHOT, default=list(ONE_SHOT))
    given = parser.parse_args()
    trains = f"searcher.supernet={{trainer.max_epochs: {given.supernet_epochs}}}"
    seeds = range(given.seeds)
    with ThreadPoolExecutor(given.processes) as pool:

        def all_seeds(arguments: tuple[str, ...]) -> list[Search]:
            return list(pool.map(partial(searched, given.world, arguments), seeds))

        scratch = {
            name: all_seeds((*own, f"max_children={given.children}"))
            for name, own in OF_SCRATCH.items()
        }
        heads = [f"{name}, {many} times the time | ahead" for name in scratch for many in TIMES]
        heads = [head.replace("1 times the", "the same") for head in heads]
        print(f"{given.world}: {given.seeds} seeds\n", flush=True)
        print(f"| searcher | seconds | reward | {' | '.join(heads)} |\n{'|---' * 11}|", flush=True)
        for name in given.searchers:
            few = ("searcher.num_trained=1",) if name in TRAINED else ()
            found = all_seeds((*ONE_SHOT[name], *few, trains, "max_children=1"))
            seconds = statistics.fmean(each.seconds_N[-1] for each in found)
            rewards = [float(each.best_N[-1]) for each in found]
            cells = [f"{seconds:.1f}", f"{statistics.fmean(rewards):.2f}"]
            for searches in scratch.values():
                for many in TIMES:
                    others = [each.by(many * seconds) for each in searches]
                    known = [each for each in others if each is not None]
                    if len(known) < len(others):
                        cells += ["–", "–"]  # it had no child by then, or was over before
                    else:
                        cells += [f"{statistics.fmean(known):.2f}", ahead(rewards, known)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
