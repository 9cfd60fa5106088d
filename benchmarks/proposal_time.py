"""What one proposal costs each searcher while its history grows, with rewards that cost nothing.

    OMP_NUM_THREADS=1 python benchmarks/proposal_time.py
    OMP_NUM_THREADS=1 python benchmarks/proposal_time.py --searchers smbo tpe --space deepconv

A history of random children is registered and observed, as a resumed study replays its ledger;
then proposals are made and observed one by one. A cell shows the mean and the largest of propose()
and observe() together, in milliseconds of processor time on one core, so that other processes on
the machine count little; the last column is the replay of the largest history, in seconds.

The state is one the searcher would have for random search and exhaustive search. The others would
have proposed better children, more alike: for them it is a state of the same size (history,
population, tree, surrogate) with other contents.
"""

import argparse
import math
import time

import torch
from omegaconf import OmegaConf

from nasrunner.compose.config import config_dir
from nasrunner.compose.construct import construct
from nasrunner.core import Decision, Genotype, Outcome, Proposal, Searcher, SearchSpace
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.spaces.language.parsing import parse_space

LEFT_OUT = ("cmaes", "gp", "exhaustive")
"""Not by default: minutes for 10,000 children, and none of them is meant for so many."""


def load(group: str, option: str) -> dict:
    """One option of a config group, for ten classes of 32x32 images."""
    config = {
        "data": {"num_outputs": 10, "in_shape": [3, 32, 32]},
        "it": OmegaConf.load(config_dir() / group / f"{option}.yaml"),
    }
    return OmegaConf.to_container(OmegaConf.create(config), resolve=True)["it"]


def outcome(proposal: Proposal) -> Outcome:
    """A reward that some answers raise and others lower."""
    answers = proposal.genotype.values()
    reward = sum((index * 7 + place) % 5 for place, index in enumerate(answers)) / len(answers)
    return Outcome(proposal, "completed", reward)


def children(space: SearchSpace, num_children: int) -> list[Outcome]:
    """Random children with their rewards, and the notes of a policy that draws uniformly."""
    source, found = RandomSearch(space=space, seed=0), []
    for index in range(num_children):
        genotype = source.suggest(index).genotype
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


def proposal_times_ms(searcher: Searcher, num_proposals: int) -> list[float]:
    """Milliseconds of each further proposal with its outcome."""
    times = []
    for _ in range(num_proposals):
        start = time.process_time()
        proposal = searcher.propose()
        if proposal is None:
            break
        searcher.observe(outcome(proposal))
        times.append(1e3 * (time.process_time() - start))
    return times


def main() -> None:
    """Prints one line for each searcher."""
    found = sorted(path.stem for path in (config_dir() / "searcher").glob("*.yaml"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [name for name in found if name not in LEFT_OUT]
    parser.add_argument("--searchers", nargs="+", choices=found, default=default)
    parser.add_argument("--space", default="mlp")
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 1_000, 10_000])
    parser.add_argument("--proposals", type=int, default=100, help="timed after each history")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = parse_space(load("space", arguments.space))
    history = children(space, max(arguments.sizes))
    heads = "".join(f"{f'{size:,} children':>22}" for size in arguments.sizes)
    print(f"{'ms a proposal: mean (longest)':<30}{heads}{'replay, s':>12}")
    for name in arguments.searchers:
        cells, seconds = "", 0.0
        for size in arguments.sizes:
            searcher = construct(load("searcher", name), "searcher", space=space, seed=0)
            seconds = replay(searcher, history[:size])
            times = proposal_times_ms(searcher, arguments.proposals)
            shown = f"{sum(times) / len(times):.1f} ({max(times):.0f})" if times else "exhausted"
            cells += f"{shown:>22}"
        print(f"{name:<30}{cells}{seconds:>12.1f}", flush=True)


if __name__ == "__main__":
    main()
