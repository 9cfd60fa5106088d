"""What the default searcher gains by seeing networks that are trained: regret, paired over seeds.

    NASRUNNER_DATA=… python benchmarks/trained_networks.py --world mlp --seeds 16 --retrain 4
    NASRUNNER_DATA=… python benchmarks/trained_networks.py --world rnn --pool 200 --seeds 30

Each seed searches twice as benchmarks/network_views.py does, with genotypes alone and with the
views that ship, but here every child is trained:

* ``mlp``: MLPs (conf/space/mlp.yaml) on 2,000 images of MNIST; ``mlp_rates``: together with their
  learning rate and weight decay;
* ``cnn``: small CNNs (conf/space/small_cnn.yaml) on the digits of 8x8 pixels; ``cnn_mnist``: on
  the same 2,000 images of MNIST;
* ``skips``: networks of six convolutional layers and the skips between them, 33 decisions
  (conf/space/nasrl_conv_small.yaml), on the digits;
* ``rnn``: recurrent cells of 18 decisions (conf/space/nasrl_cell_small.yaml) with 30,000
  parameters on 40,000 characters of Penn Treebank.

With --in-flight several children are trained at once: a proposal is made when the oldest of
them has ended. An architecture is trained once, with first weights of its own, and its
outcome kept in --kept for whichever search comes to it, so that a search is interrupted and gone on
with as one likes. With --pool so many random architectures are trained, and each search chooses
among them alone: many seeds cost no more than one then.

A cell shows the mean regret ± its standard error: the best reward of all children that were ever
trained here less the best that the search has found, in percent points of validation accuracy or,
of ``rnn``, hundredths of a bit per character. The last rows are the ratio of the means and their
difference, with 95 % intervals (percentiles of 10,000 bootstraps over seeds), and of how many seeds
the searcher that sees networks was ahead, level and behind.

The best of many noisy rewards is lucky, the one that is the reference most of all. With --retrain
what every search has found in the end is trained so often with other seeds, and judged by the mean
of these trainings; so are the 20 that scored highest of all. The reference is then the mean of the
best of them, and not of the training by which it was taken for the best (``regrets.best_mean``).
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
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import configured, shipped_space, trainer_of
from children import run as train
from regrets import best_mean, informed, report, spread

from nasrunner.children.lightning import LightningTrainer
from nasrunner.children.networks import SpaceNetworks
from nasrunner.compose.construct import construct
from nasrunner.core import Genotype, Outcome, Proposal, SearchSpace, Space
from nasrunner.core.order import Key, key_of, rollout

# S = seeds, B = budgets, K = networks that were trained again, R = repetitions

BUDGETS = (10, 20, 40)
OF_A_POOL = (20, 40, 80)
NUM_HIGHEST = 20
"""So many of the highest reward are trained again."""

SMALL_MNIST = (
    "data.validation_examples=58000",  # leaves 2,000 to train on
    "data.eval_batch_size=2048",
    "trainer.limit_val_batches=2",  # 4,096 images
)


@dataclass(frozen=True)
class Case:
    """What is searched, on what; rewards times ``unit`` are what is printed."""

    space: str
    data: str
    overrides: tuple[str, ...] = ()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    task: str = "classification"
    learning_rate: float = 0.001
    unit: float = 100.0


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
    "skips": Case("nasrl_conv_small", "digits", ("trainer.max_epochs=3",)),
    "rnn": Case(
        "nasrl_cell_small",
        "ptb_char",
        (
            "data.train_tokens=40000",
            "data.validation_tokens=10000",
            "data.in_shape=[25]",
            "data.batch_size=64",
            "data.eval_batch_size=50",
            "trainer.max_epochs=2",
            "trainer.gradient_clip_val=1.0",
            "task.reward.metric=val_bits_per_character",
            "task.reward.power=1",
            "task.reward.scale=1",
            "task.reward.diverged=chance",
        ),
        changes={"language_model.parameters": 30_000},
        task="language_model",
        learning_rate=0.01,
    ),
}


@dataclass(frozen=True)
class World:
    """A space, what trains its children, and what looks at its networks."""

    space: SearchSpace
    trainer: LightningTrainer
    networks: SpaceNetworks

    def trained(self, proposal: Proposal, kept: Path, repetition: int = 0) -> Outcome:
        """A child's outcome, trained unless it was before; each repetition with other weights."""
        path = kept / f"{proposal.hash}{f'_{repetition}' if repetition else ''}.json"
        if path.is_file():
            return Outcome(proposal, "completed", reward=json.loads(path.read_text())["reward"])
        with tempfile.TemporaryDirectory() as folder:
            outcome = train(self.trainer.task(Path(folder), repetition), proposal.genotype)
        reward = outcome.known_reward
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps({"reward": reward, "genotype": proposal.genotype}))
        written.rename(path)
        return Outcome(proposal, "completed", reward=reward)


@cache
def world(name: str) -> World:
    """The world of a case; made once a process."""
    case = CASES[name]
    config = configured(
        f"optimizer.lr={case.learning_rate}",
        *case.overrides,
        data=case.data,
        optimizer="adam",
        task=case.task,
    )
    data = config["data"]
    space = shipped_space(case.space, data["num_outputs"], case.hyperparameters, case.changes)
    trainer = trainer_of(space, config)
    networks = SpaceNetworks(
        space, trainer.in_shape, data.get("in_dtype", "float32"), identifies=True
    )
    return World(space, trainer, networks)


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


def train_of_pool(name: str, kept: Path, genotype: Genotype, repetition: int = 0) -> float:
    """The reward of one training of one of a pool."""
    torch.set_num_threads(1)
    return world(name).trained(Proposal(0, genotype), kept, repetition).known_reward


def run(
    name: str,
    kept: Path,
    num_in_flight: int,
    pool: Sequence[Genotype],
    views: list[str] | None,
    seed: int,
) -> list[tuple[float, Genotype]]:
    """The best children of one search at all budgets, and their rewards."""
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
    children: list[tuple[float, Genotype]] = []
    while len(children) < budgets[-1]:
        while len(in_flight) < num_in_flight:
            proposal = searcher.propose()
            assert proposal is not None
            in_flight.append(replace(proposal, identity=here.networks.identity(proposal.genotype)))
        outcome = here.trained(in_flight.popleft(), kept)
        searcher.observe(outcome)
        children.append((outcome.known_reward, outcome.proposal.genotype))
    return [max(children[:budget], key=lambda child: child[0]) for budget in budgets]


def main() -> None:
    """Searches with and without networks, and prints the regrets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", choices=CASES, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--in-flight", type=int, default=1, help="children trained at once")
    parser.add_argument("--pool", type=int, default=0, help="so many are trained, and no others")
    parser.add_argument("--retrain", type=int, default=0, help="so often; 0, or at least 3")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kept", type=Path, help="folder of outcomes; default: a temporary one")
    arguments = parser.parse_args()
    budgets = OF_A_POOL if arguments.pool else BUDGETS
    if 0 < arguments.pool < budgets[-1]:
        parser.error(f"--pool must be 0 or at least {budgets[-1]}, got {arguments.pool}")
    if arguments.retrain < 0 or arguments.retrain in (1, 2):
        parser.error(f"--retrain must be 0 or at least 3, got {arguments.retrain}")
    unit = CASES[arguments.world].unit
    with tempfile.TemporaryDirectory() as temporary:
        kept: Path = (arguments.kept or Path(temporary)) / arguments.world
        kept.mkdir(parents=True, exist_ok=True)
        pool = drawn_pool(arguments.world, arguments.pool)
        searched = partial(run, arguments.world, kept, arguments.in_flight, pool)
        trained = partial(train_of_pool, arguments.world, kept)
        with ProcessPoolExecutor(arguments.processes) as processes:
            known = list(zip(processes.map(trained, pool), pool, strict=True))
            found = [
                list(processes.map(partial(searched, views), range(arguments.seeds)))
                for views in (["genotype"], None)
            ]
            if not pool:
                read = [
                    json.loads(path.read_text()) for path in kept.glob(f"{'[0-9a-f]' * 12}.json")
                ]
                known = [(each["reward"], each["genotype"]) for each in read]
            best = unit * max(reward for reward, _ in known)
            print(f"{arguments.world}: {len(known)} trained, the best {best:.2f}\n")
            found_SB = [np.array([[r for r, _ in seed] for seed in each]) for each in found]
            report("as searched", budgets, best, *(unit * each_SB for each_SB in found_SB))
            if arguments.retrain:
                chosen = [seed[-1][1] for each in found for seed in each]
                highest = sorted(known, key=lambda child: -child[0])[:NUM_HIGHEST]
                again = {key_of(g): g for g in [*(g for _, g in highest), *chosen]}
                repeated = product(again.values(), range(1, arguments.retrain + 1))
                rewards = list(processes.map(trained, *zip(*repeated, strict=True)))
                rewards_KR = unit * np.reshape(rewards, (len(again), arguments.retrain))
                place = {key: position for position, key in enumerate(again)}
                places = np.reshape([place[key_of(g)] for g in chosen], (2, -1, 1))
                report_retrained(rewards_KR, best, budgets[-1], *places)


def report_retrained(
    rewards_KR: np.ndarray, best: float, budget: int, before_SB: np.ndarray, after_SB: np.ndarray
) -> None:
    """Prints the regrets of what was found in the end, by trainings that did not choose it.

    Args:
        rewards_KR: of the trainings.
        best: the best reward of a training by which a network was chosen.
        budget: after so many children it was found.
        before_SB: positions of the networks that were found by genotypes alone.
        after_SB: those of the searches that see networks.
    """
    print(
        f"{len(rewards_KR)} trained {rewards_KR.shape[1]} times more: the best mean "
        f"{best_mean(rewards_KR):.2f}, a training's standard deviation {spread(rewards_KR):.3f}"
    )
    known_R = best - informed(rewards_KR, NUM_HIGHEST)
    print(
        f"regret as searched of one that trains the {NUM_HIGHEST} of the highest mean once: "
        f"{known_R.mean():.3f} ± {known_R.std(ddof=1) / np.sqrt(len(known_R)):.3f}\n"
    )
    means_K = rewards_KR.mean(axis=1)
    report("trained again", [budget], best_mean(rewards_KR), means_K[before_SB], means_K[after_SB])


if __name__ == "__main__":
    main()
