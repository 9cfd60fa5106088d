"""What the default searcher gains by seeing networks that are trained: regret, paired over seeds.

    NASRUNNER_DATA=… python benchmarks/trained_networks.py --world mlp --seeds 16
    NASRUNNER_DATA=… python benchmarks/trained_networks.py --world cnn --seeds 8

Each seed searches twice as benchmarks/network_views.py does, with genotypes alone and with the
views that ship, but here every child is trained: MLPs (conf/space/mlp.yaml) on 2,000 images of
MNIST, small CNNs (conf/space/small_cnn.yaml) on the digits of 8x8 pixels or, with ``cnn_mnist``, on
the same 2,000 images; ``mlp_rates`` searches the MLPs together with their learning rate and weight
decay. With --in-flight several children are trained at once: a proposal is made when the oldest of
them has ended. An architecture is trained once, with first weights of its own, and its
outcome kept in --kept for whichever search comes to it, so that a search is interrupted and gone on
with as one likes. With --pool so many random architectures are trained, and each search chooses
among them alone: many seeds cost no more than one then.

A cell shows the mean regret ± its standard error: the best validation accuracy of all children that
were ever trained here less the best that the search has found, in percent points. The last rows are
the ratio of the means with a 95 % interval (percentiles of 10,000 bootstraps over seeds), and of
how many seeds the searcher that sees networks was ahead, level and behind.
"""

import argparse
import json
import os
import tempfile
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import configured, shipped_space, trainer_of
from children import run as train

from nasrunner.children.lightning import LightningTrainer
from nasrunner.children.networks import SpaceNetworks
from nasrunner.compose.construct import construct
from nasrunner.core import Genotype, Outcome, Proposal, SearchSpace, Space
from nasrunner.core.order import Key, key_of, rollout

# S = seeds, B = budgets

BUDGETS = (10, 20, 40)
OF_A_POOL = (20, 40, 80)
SMALL_MNIST = (
    "data.validation_examples=58000",  # leaves 2,000 to train on
    "trainer.limit_val_batches=2",  # 4,096 images
)


@dataclass(frozen=True)
class Case:
    """What is searched, on what."""

    space: str
    data: str
    overrides: tuple[str, ...] = ()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "mlp": Case("mlp", "mnist", (*SMALL_MNIST, "trainer.max_epochs=8")),
    "mlp_rates": Case(
        "mlp",
        "mnist",
        (*SMALL_MNIST, "trainer.max_epochs=8"),
        {
            "optimizer.lr": {"loguniform": [1e-4, 1e-1]},
            "optimizer.weight_decay": {"oneof": [0.0, 1e-5, 1e-3]},
        },
    ),
    "cnn": Case("small_cnn", "digits", ("trainer.max_epochs=3",)),
    "cnn_mnist": Case("small_cnn", "mnist", (*SMALL_MNIST, "trainer.max_epochs=3")),
}


@dataclass(frozen=True)
class World:
    """A space, what trains its children, and what looks at its networks."""

    space: SearchSpace
    trainer: LightningTrainer
    networks: SpaceNetworks

    def trained(self, proposal: Proposal, kept: Path) -> Outcome:
        """A child's outcome, trained unless it was before."""
        path = kept / f"{proposal.hash}.json"
        if path.is_file():
            return Outcome(proposal, "completed", reward=json.loads(path.read_text())["reward"])
        with tempfile.TemporaryDirectory() as folder:
            outcome = train(self.trainer.task(Path(folder), 0), proposal.genotype)
        reward = outcome.known_reward
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps({"reward": reward, "genotype": proposal.genotype}))
        written.rename(path)
        return Outcome(proposal, "completed", reward=reward)


@cache
def world(name: str) -> World:
    """The world of a case; made once a process."""
    case = CASES[name]
    config = configured("optimizer.lr=0.001", *case.overrides, data=case.data, optimizer="adam")
    space = shipped_space(case.space, config["data"]["num_outputs"], case.hyperparameters)
    trainer = trainer_of(space, config)
    return World(space, trainer, SpaceNetworks(space, trainer.in_shape, "float32", identifies=True))


@dataclass(frozen=True)
class OfAPool:
    """Candidates that are all of a pool."""

    pool: Sequence[Genotype]
    num_parents: int = 1

    def draw(
        self, space: Space, parents: object, taken: Collection[Key], rng: object
    ) -> list[Genotype]:
        """Those that were not taken."""
        return [genotype for genotype in self.pool if key_of(genotype) not in taken]


def drawn_pool(name: str, size: int) -> list[Genotype]:
    """So many random architectures, no network twice."""
    here, rng = world(name), np.random.default_rng(0)
    found: dict[str, Genotype] = {}
    while len(found) < size:
        genotype = rollout(here.space, rng)
        found.setdefault(here.networks.identity(genotype), genotype)
    return list(found.values())


def train_of_pool(name: str, kept: Path, genotype: Genotype) -> float:
    """The reward of one of a pool."""
    torch.set_num_threads(1)
    return world(name).trained(Proposal(0, genotype), kept).known_reward


def run(
    name: str,
    kept: Path,
    num_in_flight: int,
    pool: Sequence[Genotype],
    views: list[str] | None,
    seed: int,
) -> list[float]:
    """The best rewards of one search at all budgets."""
    torch.set_num_threads(1)
    here = world(name)
    config: dict[str, Any] = configured(searcher="smbo")["searcher"]
    if views is not None:
        config = {**config, "surrogate": {**config["surrogate"], "views": views}}
    searcher: Any = construct(config, "searcher", space=here.space, seed=seed)
    searcher.see(here.networks)
    in_flight: deque[Proposal] = deque()
    if pool:
        searcher.candidates = OfAPool(pool)
        first = np.random.default_rng(seed).permutation(len(pool))[: searcher.num_random]
        for index, place in enumerate(first):
            in_flight.append(Proposal(index, pool[place]))
            searcher.register(in_flight[-1])
    budgets = OF_A_POOL if pool else BUDGETS
    rewards: list[float] = []
    while len(rewards) < budgets[-1]:
        while len(in_flight) < num_in_flight:
            proposal = searcher.propose()
            assert proposal is not None
            in_flight.append(replace(proposal, identity=here.networks.identity(proposal.genotype)))
        outcome = here.trained(in_flight.popleft(), kept)
        searcher.observe(outcome)
        rewards.append(outcome.known_reward)
    best = np.maximum.accumulate(rewards)
    return [float(best[budget - 1]) for budget in budgets]


def main() -> None:
    """Searches with and without networks, and prints the regrets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", choices=CASES, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--in-flight", type=int, default=1, help="children trained at once")
    parser.add_argument("--pool", type=int, default=0, help="so many are trained, and no others")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kept", type=Path, help="folder of outcomes; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept: Path = (arguments.kept or Path(temporary)) / arguments.world
        kept.mkdir(parents=True, exist_ok=True)
        pool = drawn_pool(arguments.world, arguments.pool)
        searched = partial(run, arguments.world, kept, arguments.in_flight, pool)
        with ProcessPoolExecutor(arguments.processes) as processes:
            outcomes = list(processes.map(partial(train_of_pool, arguments.world, kept), pool))
            found_SB = [
                np.array(list(processes.map(partial(searched, views), range(arguments.seeds))))
                for views in (["genotype"], None)
            ]
        if not pool:
            outcomes = [json.loads(path.read_text())["reward"] for path in kept.glob("*.json")]
    budgets = OF_A_POOL if pool else BUDGETS
    report(arguments.world, budgets, max(outcomes), len(outcomes), *found_SB)


def report(
    name: str,
    budgets: Sequence[int],
    best: float,
    trained: int,
    before_SB: np.ndarray,
    after_SB: np.ndarray,
) -> None:
    """Prints the table."""
    print(f"{name}: {trained} architectures trained, the best {100 * best:.2f} %\n")
    print(f"| compared by | {' | '.join(map(str, budgets))} |\n|{'---|' * (len(budgets) + 1)}")
    regrets = [100 * (best - each_SB) for each_SB in (before_SB, after_SB)]
    for title, regrets_SB in zip(("genotypes", "networks, too"), regrets, strict=True):
        errors_B = regrets_SB.std(axis=0, ddof=1) / np.sqrt(len(regrets_SB))
        cells = [
            f"{m:.3f} ± {e:.3f}" for m, e in zip(regrets_SB.mean(axis=0), errors_B, strict=True)
        ]
        print(f"| {title} | {' | '.join(cells)} |")
    cells = [
        _ratio(before_S, after_S) for before_S, after_S in zip(*(r.T for r in regrets), strict=True)
    ]
    print(f"| ratio | {' | '.join(cells)} |")
    signs_SB = np.sign(after_SB - before_SB)
    cells = [" / ".join(str((each == sign).sum()) for sign in (1, 0, -1)) for each in signs_SB.T]
    print(f"| ahead / level / behind | {' | '.join(cells)} |")


def _ratio(before_S: np.ndarray, after_S: np.ndarray) -> str:
    """The ratio of two means and its interval, which is open where the first may be 0."""
    if not before_S.any():
        return "–"
    drawn = np.random.default_rng(0).integers(len(before_S), size=(10_000, len(before_S)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(after_S[drawn].mean(axis=1) / before_S[drawn].mean(axis=1), nan=1.0)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return f"{after_S.mean() / before_S.mean():.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
