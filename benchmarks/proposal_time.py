"""What one proposal costs each searcher while its history grows, with rewards that cost nothing.

    OMP_NUM_THREADS=1 NASRUNNER_DATA=… python benchmarks/proposal_time.py
    OMP_NUM_THREADS=1 python benchmarks/proposal_time.py --searchers mcts local_search --space mlp

Three tables, each figure beside its goal. A history of random children is registered and observed,
as a resumed study replays its ledger; then proposals are made and observed one by one. A cell
shows the mean of propose() and observe() together, in milliseconds of processor time on one core,
so that other processes on the machine count little, and the largest of as many proposals more; the
mean is of all at once, for where the clock is a system call it takes microseconds to read. The
last column is the replay of the largest history, in seconds. No child is twice in a history as
long as its space has others, as searchers propose that leave nothing out.

The state is one the searcher would have for random search and exhaustive search. The others would
have proposed better children, more alike: for them it is a state of the same size (history,
population, tree, surrogate) with other contents.

Then how many architectures of a space are listed a second, and proposed by exhaustive search; and,
where the tables of NAS-Bench-201 are there, how many children a second of processor time a whole
study of random search has, with its ledger, without a tracker and without its start: what 8,000
take more than one.
"""

import argparse
import gc
import itertools
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch._dynamo  # by the first sum on the meta device otherwise: a second of one proposal's
from omegaconf import OmegaConf

from nasrunner.children.networks import SpaceNetworks
from nasrunner.compose.config import config_dir, shipped_option
from nasrunner.compose.construct import construct
from nasrunner.core import Decision, Genotype, Outcome, Proposal, Searcher, SearchSpace
from nasrunner.core.order import Place, rollout
from nasrunner.spaces.language.parsing import parse_space

LEFT_OUT = ("cmaes", "gp", "exhaustive", "ppo", "reinforce", "smbo_lstm")
"""Not by default: they take minutes for the history, or end with the space."""

WRAPPERS = ("asha", "filter", "hyperband", "inheriting", "predicted", "successive_halving")
"""Not at all: what they take is another searcher's."""

QUICK_MS = (0.1, 0.1)
IN_SHAPES = {"nasbench201": (3, 32, 32), "nasbench_macro": (3, 32, 32)}
"""Of one example; of other spaces a digit's."""

GOALS_MS = {
    "evolution": QUICK_MS,
    "local_search": QUICK_MS,
    "mcts": QUICK_MS,
    "mcts_bisection": QUICK_MS,
    "smbo": (15.0, 15.0),
    "smbo_ngrams": (100.0, 100.0),
    "tpe": (100.0, 100.0),
}
"""A proposal's, on small spaces: up to 400 recorded children, and with more; else 10 ms."""

LISTED_SPACES, LISTED_GOAL, NUM_LISTED = ("mlp", "nasbench201", "small_cnn"), 100_000, 15_000
STUDY_GOAL, STUDY_CHILDREN = 1_000, 8_000


def load(group: str, option: str) -> dict[str, Any]:
    """One option of a config group, for ten classes of 32x32 images."""
    config = {
        "data": {"num_outputs": 10, "in_shape": [3, 32, 32]},
        "it": shipped_option(group, option),
    }
    plain: Any = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    found: dict[str, Any] = plain["it"]
    return found


def outcome(proposal: Proposal) -> Outcome:
    """A reward that some answers raise and others lower."""
    answers = proposal.genotype.values()
    reward = sum((index * 7 + place) % 5 for place, index in enumerate(answers)) / len(answers)
    return Outcome(proposal, "completed", reward)


def listed(space: SearchSpace) -> Iterator[Genotype]:
    """Every architecture of a space, one by one."""
    place: Place | None = Place.of(space, {})
    while place is not None:
        yield place.genotype
        place = place.after()


def genotypes(space: SearchSpace, num_children: int) -> Iterator[Genotype]:
    """Random architectures; all of a small space before any comes again."""
    rng = np.random.default_rng(0)
    while space.size() <= num_children:
        every = list(listed(space))
        yield from (every[place] for place in rng.permutation(len(every)))
    yield from (rollout(space, rng) for _ in itertools.count())


def children(space: SearchSpace, num_children: int) -> list[Outcome]:
    """Random children with their rewards, and the notes of a policy that draws uniformly."""
    found = []
    for index, genotype in enumerate(
        itertools.islice(genotypes(space, num_children), num_children)
    ):
        notes = {"log_probability": log_probability(space, genotype), "update": 0}
        found.append(outcome(Proposal(index, genotype, notes=notes)))
    return found


def log_probability(space: SearchSpace, genotype: Genotype) -> float:
    """Of an architecture whose every answer is drawn uniformly."""
    num_options: list[int] = []

    def replay(decision: Decision) -> int:
        num_options.append(len(decision.options))
        return genotype[decision.path]

    space.walk(replay)
    return -sum(map(math.log, num_options))


def replay(searcher: Searcher, history: list[Outcome]) -> float:
    """Seconds to bring a searcher to the end of a history."""
    start = time.process_time()
    for one in history:
        searcher.register(one.proposal)
        searcher.observe(one)
    return time.process_time() - start


def mean_proposal_ms(searcher: Searcher, num_proposals: int) -> float | None:
    """Mean milliseconds of further proposals with their outcomes; None: there is none left."""
    proposals: list[Proposal] = []
    gc.collect()
    start = time.process_time()
    while len(proposals) < num_proposals and (proposal := searcher.propose()) is not None:
        proposals.append(proposal)
        searcher.observe(outcome(proposal))
    taken_s = time.process_time() - start
    start = time.process_time()
    for proposal in proposals:
        outcome(proposal)
    taken_s -= time.process_time() - start
    return 1e3 * taken_s / len(proposals) if proposals else None


def proposal_times_ms(searcher: Searcher, num_proposals: int) -> list[float]:
    """Milliseconds of each further proposal with its outcome."""
    times = []
    gc.collect()  # of the history: else in the middle of a proposal
    for _ in range(num_proposals):
        start = time.process_time()
        proposal = searcher.propose()
        proposed_s = time.process_time() - start
        if proposal is None:
            break
        observed = outcome(proposal)
        start = time.process_time()
        searcher.observe(observed)
        times.append(1e3 * (proposed_s + time.process_time() - start))
    return times


def configured(name: str, views: list[str] | None) -> dict[str, Any]:
    """A searcher's configuration, with these views of its surrogate if it has views."""
    config = load("searcher", name)
    surrogate = config.get("surrogate") or {}
    if views is not None and "views" in surrogate:
        config = {**config, "surrogate": {**surrogate, "views": views}}
    return config


def print_proposals(
    names: list[str], option: str, sizes: list[int], num_proposals: int, views: list[str] | None
) -> None:
    """Prints one line for each searcher."""
    space = parse_space(load("space", option))
    networks = SpaceNetworks(space, IN_SHAPES.get(option, (1, 8, 8)), "float32", identifies=False)
    history = children(space, max(sizes))
    heads = "".join(f"{f'{size:,} children':>20}{'goal':>8}" for size in sizes)
    print(f"{f'{option}, ms a proposal (longest)':<36}{heads}{'replay, s':>12}")
    for name in names:
        cells, seconds = "", 0.0
        for size in sizes:
            searcher = construct(configured(name, views), "searcher", space=space, seed=0)
            searcher.see(networks)
            seconds = replay(searcher, history[:size])
            mean_ms = mean_proposal_ms(searcher, num_proposals)
            longest_ms = max(proposal_times_ms(searcher, num_proposals), default=math.nan)
            shown = "exhausted" if mean_ms is None else f"{mean_ms:.3f} ({longest_ms:.1f})"
            cells += f"{shown:>20}{GOALS_MS.get(name, (10.0, 10.0))[size > 400]:>8}"
        print(f"{name:<36}{cells}{seconds:>12.1f}", flush=True)


def print_listings() -> None:
    """Prints one line for each space: architectures a second."""
    print(f"\n{'architectures a second':<36}{'listed':>20}{'proposed':>20}{'goal':>12}")
    for name in LISTED_SPACES:
        space = parse_space(load("space", name))
        start = time.process_time()
        count = sum(1 for _ in itertools.islice(listed(space), NUM_LISTED))
        listed_per_s = count / (time.process_time() - start)
        searcher = construct(load("searcher", "exhaustive"), "searcher", space=space, seed=0)
        mean_ms = mean_proposal_ms(searcher, NUM_LISTED)
        assert mean_ms is not None, "each of these spaces has more architectures"
        print(f"{name:<36}{listed_per_s:>20,.0f}{1e3 / mean_ms:>20,.0f}{LISTED_GOAL:>12,}")


def study_s(num_children: int) -> float:
    """Seconds of processor time of a whole study of so many children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        settings = ["experiment=nasbench201", "searcher=random", "tracker=none", "executor=serial"]
        subprocess.run(
            [
                *(sys.executable, "-m", "nasrunner", *settings),
                *(f"max_children={num_children}", f"hydra.run.dir={folder}/study"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the three tables."""
    every = sorted(path.stem for path in (config_dir() / "searcher").glob("*.yaml"))
    found = [name for name in every if name not in WRAPPERS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [name for name in found if name not in LEFT_OUT]
    parser.add_argument("--searchers", nargs="+", choices=found, default=default)
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--sizes", nargs="+", type=int, default=[400, 100_000])
    parser.add_argument("--proposals", type=int, default=100, help="timed after each history")
    parser.add_argument("--views", nargs="+", help="of smbo: genotype alone, for example")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_proposals(
        arguments.searchers,
        arguments.space,
        arguments.sizes,
        arguments.proposals,
        arguments.views,
    )
    print_listings()
    if not os.environ.get("NASRUNNER_DATA"):
        print("\nno study: NASRUNNER_DATA names no folder with nasbench201")
        return
    further_s = study_s(STUDY_CHILDREN) - study_s(1)
    rate = (STUDY_CHILDREN - 1) / further_s
    print(f"\n{'children of a study a second':<36}{rate:>20,.0f}{'':20}{STUDY_GOAL:>12,}")


if __name__ == "__main__":
    main()
