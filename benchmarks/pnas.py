"""How well the surrogates of progressive NAS rank one level ahead, and what is found so.

    OMP_NUM_THREADS=1 NASRUNNER_DATA=… python benchmarks/pnas.py --kept rewards.json --seeds 5

Children are MLPs (space=mlp, up to three blocks after the first layer) on 2,000 images of MNIST, 5
epochs each, rewarded by the accuracy on 4,096 others. Each is trained once, whoever proposes it,
and its reward kept in a file. As markdown, means over seeds with 95 % intervals by Student's t:

* Spearman's rho and Kendall's tau of predicted and measured rewards by depth, the prediction made
  before any child as deep was trained: of the children that searcher=pnas trained, the best by
  that prediction; and of random ones of each depth, by surrogates that are fitted to as many random
  ones of the smaller depths. Beside them those of two trainings of the same random children of the
  first seed, which differ in their seeds: what no ranking can be expected to exceed;
* the best reward, and the mean of the five best, of pnas with either surrogate and of as many
  random children of each depth, and the differences.
"""

import argparse
import functools
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from children import configured, run, shipped_space, trainer_of
from scipy.stats import t  # type: ignore[import-untyped]  # ships no types

from nasrunner.children.networks import SpaceNetworks
from nasrunner.compose.config import shipped_option
from nasrunner.compose.construct import construct
from nasrunner.core import Genotype, Outcome, Searcher, SearchSpace, Train, genotype_hash
from nasrunner.core.ledger.agreement import Predictions, kendalls_tau, rank_correlation
from nasrunner.searchers.progressive.growth import architectures, drawn, find_growth
from nasrunner.searchers.surrogates.smbo import standardised
from nasrunner.searchers.surrogates.surrogate import Surrogate

FIRST_LEVEL = 28  # all of them
NUM_TRAINED = 16
DEPTHS = (1, 2, 3)
NUM_CHILDREN = FIRST_LEVEL + NUM_TRAINED * len(DEPTHS)
SURROGATES = {"LSTM": "pnas_lstm", "MLP": "mlp"}
EPOCHS = 5
CHILD = (
    *("data.validation_examples=58000", "data.eval_batch_size=2048", "data.batch_size=64"),
    *("+trainer.limit_val_batches=2", "trainer.checkpoint=none", "task.reward.reduce=last"),
    *(f"trainer.max_epochs={EPOCHS}", f"trainer.check_val_every_n_epoch={EPOCHS}"),
)

Correlations = tuple[float, float]
"""Spearman's rho and Kendall's tau; NaN where they are not defined."""


class Rewards:
    """Rewards of architectures, each trained the first time that somebody asks.

    Args:
        path: the file that keeps them.
        space: what they are of.
    """

    def __init__(self, path: Path, space: SearchSpace) -> None:
        self.path = path
        self.known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
        self.num_trained = 0
        self._trainer = trainer_of(space, configured(*CHILD, data="mnist", optimizer="adam"))
        self._tasks: dict[int, Train] = {}

    def of(self, genotype: Genotype, seed: int = 0) -> float:
        """The reward of one training, that with this seed."""
        key = f"{genotype_hash(genotype)}-{seed}"
        if key not in self.known:
            reward = run(self._task(seed), genotype).reward
            assert reward is not None, "it was completed"
            self.known[key] = reward
            self.num_trained += 1
            if self.num_trained % 50 == 0:
                self.keep()
        return self.known[key]

    def keep(self) -> None:
        """Writes them."""
        self.path.write_text(json.dumps(self.known))

    def _task(self, seed: int) -> Train:
        if seed not in self._tasks:
            self._tasks[seed] = self._trainer.task(Path(tempfile.mkdtemp()), seed)
        return self._tasks[seed]


def progressive(surrogate: str, space: SearchSpace, seed: int) -> Searcher:
    """The shipped searcher, smaller, with a shipped surrogate."""
    option = {
        **shipped_option("searcher", "pnas"),
        "first_level": FIRST_LEVEL,
        "num_trained": NUM_TRAINED,
        "surrogate": shipped_option("surrogate", surrogate),
    }
    searcher: Searcher = construct(option, "searcher", space=space, seed=seed)
    return searcher


def searched(searcher: Searcher, rewards: Rewards) -> tuple[Predictions, np.ndarray]:
    """Runs a search; returns what it predicted, and the rewards of its different children."""
    searcher.see(SpaceNetworks(searcher.space, (1, 28, 28), "float32", identifies=True))
    predictions, found = Predictions(), []
    for _ in range(NUM_CHILDREN):
        proposal = searcher.propose()
        assert proposal is not None, "the space has many more"
        outcome = Outcome(proposal, "completed", rewards.of(proposal.genotype))
        searcher.observe(outcome)
        predictions.add(outcome)
        found.append((genotype_hash(proposal.genotype), outcome.known_reward))
    return predictions, np.array(sorted(dict(found).values(), reverse=True))


def random_ones(space: SearchSpace, seed: int) -> dict[int, list[Genotype]]:
    """All architectures of the smallest depth, and random ones of each other."""
    growth, rng = find_growth(space, None), np.random.default_rng(seed)
    found = {0: list(architectures(space, growth.legal(0, None)))}
    for depth in DEPTHS:
        legal = growth.legal(depth, None)
        found[depth] = [drawn(space, legal, rng) for _ in range(NUM_TRAINED)]
    return found


def ahead(surrogate: str, space: SearchSpace, rewards: Rewards, seed: int) -> list[Correlations]:
    """How a surrogate ranks random architectures of each depth, fitted to those of smaller ones."""
    option = shipped_option("surrogate", surrogate)
    option |= {"_partial_": False}
    model: Surrogate = construct(option, "surrogate", space=space)
    model.implied = find_growth(space, None).implied()
    by_depth, found = random_ones(space, seed), []
    smaller = list(by_depth[0])
    for depth in DEPTHS:
        measured = standardised(np.array([rewards.of(each) for each in smaller]))
        model.fit(smaller, measured, np.random.default_rng([seed, depth]))
        predicted, _ = model.predict(by_depth[depth])
        found.append(correlations(predicted, [rewards.of(each) for each in by_depth[depth]]))
        smaller += by_depth[depth]
    return found


def again(space: SearchSpace, rewards: Rewards, seed: int) -> list[Correlations]:
    """How a training with another seed ranks the same random architectures."""
    by_depth = random_ones(space, seed)
    return [
        correlations(*([rewards.of(each, which) for each in by_depth[depth]] for which in (0, 1)))
        for depth in DEPTHS
    ]


def correlations(one: Sequence[float], other: Sequence[float]) -> Correlations:
    """Both of them."""
    return known(rank_correlation(one, other), kendalls_tau(one, other))


def known(rho: float | None, tau: float | None) -> Correlations:
    """NaN for what is not defined."""
    return math.nan if rho is None else rho, math.nan if tau is None else tau


def interval(values: Sequence[float], digits: int) -> str:
    """The mean and its 95 % interval, which one value has not."""
    told = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return told
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{told} ± {t.ppf(0.975, len(values) - 1) * error:.{digits}f}"


def show_correlations(rows: Mapping[str, Sequence[Sequence[Correlations]]]) -> None:
    """Prints a row for each way to predict: rho, and tau in brackets, by depth."""
    print(f"| rho (tau) | {' | '.join(f'{depth} blocks' for depth in DEPTHS)} |")
    print(f"|{'---|' * (len(DEPTHS) + 1)}")
    for name, of_seeds in rows.items():
        cells = []
        for of_depth in zip(*of_seeds, strict=True):
            rho, tau = (interval(each, 2) for each in zip(*of_depth, strict=True))
            cells.append(f"{rho} ({tau})")
        print(f"| {name} | {' | '.join(cells)} |")


def show_rewards(found: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Prints the best rewards of each search in percent, and how far it is ahead of the random."""
    summed: dict[str, Callable[[np.ndarray], float]] = {
        "best": lambda rewards: 100 * float(rewards[0]),
        "mean of 5 best": lambda rewards: 100 * float(rewards[:5].mean()),
        "mean of all": lambda rewards: 100 * float(rewards.mean()),
    }
    print(f"\n| after {NUM_CHILDREN} children | {' | '.join(summed)} |\n|---|---|---|---|")
    for name, of_seeds in found.items():
        cells = []
        for figure in summed.values():
            own = [figure(rewards) for rewards in of_seeds]
            ahead_by = [
                each - figure(rewards) for each, rewards in zip(own, found["random"], strict=True)
            ]
            more = "" if name == "random" else f", ahead by {interval(ahead_by, 2)}"
            cells.append(interval(own, 2) + more)
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kept", type=Path, required=True, help="the file of rewards")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    changes = {"concat.2.repeat.times": {"range": [0, max(DEPTHS), 1]}}
    space, start_s = shipped_space("mlp", changes=changes), time.process_time()
    rewards, seeds = Rewards(arguments.kept, space), range(arguments.seeds)
    rows: dict[str, list[list[Correlations]]] = {}
    found: dict[str, list[np.ndarray]] = {}
    for name, surrogate in SURROGATES.items():
        made = functools.partial(progressive, surrogate, space)
        runs = [searched(made(seed), rewards) for seed in seeds]
        rows[f"{name}, children of the search"] = [
            [known(each.rank_correlation, each.kendalls_tau) for each in predictions.levels]
            for predictions, _ in runs
        ]
        found[f"pnas, {name}"] = [best for _, best in runs]
    for name, surrogate in SURROGATES.items():
        rows[f"{name}, random ones"] = [ahead(surrogate, space, rewards, seed) for seed in seeds]
    rows["another training, random ones of one seed"] = [again(space, rewards, seed=0)]
    for seed in seeds:
        genotypes = [each for ones in random_ones(space, seed).values() for each in ones]
        measured = np.array(sorted(map(rewards.of, genotypes), reverse=True))
        found.setdefault("random", []).append(measured)
    rewards.keep()
    show_correlations(rows)
    show_rewards(found)
    taken = time.process_time() - start_s
    print(f"\n{rewards.num_trained:,} trainings, {taken:.0f} s of processor time")


if __name__ == "__main__":
    main()
