"""What one step of the REINFORCE controller costs on a space of layers with skip connections.

    OMP_NUM_THREADS=1 python benchmarks/controller_step.py
    OMP_NUM_THREADS=1 python benchmarks/controller_step.py --layers 15 39 100 --children 8

A step proposes m children and observes their rewards, the last of which updates the controller.
Each layer asks filter height and width and the number of filters, and whether it takes each layer
before it. Milliseconds of processor time on one core, so that other processes on the machine count
little; the first step, in which torch sets itself up, is left out.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from omegaconf import OmegaConf

from nasrunner.compose.config import config_dir
from nasrunner.compose.construct import construct
from nasrunner.core import Outcome, Proposal, Searcher, SearchSpace
from nasrunner.spaces.language.parsing import parse_space


def space_of(num_layers: int) -> SearchSpace:
    """The shipped space with another number of layers."""
    config = OmegaConf.load(config_dir() / "space" / "nasrl_conv.yaml")
    config.concat[0].skip_layers.times = num_layers
    config.concat[-1].affine.units = 10
    return parse_space(OmegaConf.to_container(config))


def searcher_for(space: SearchSpace, num_children: int) -> Searcher:
    """The shipped controller with m children for an update."""
    config: Any = OmegaConf.load(config_dir() / "searcher" / "reinforce.yaml")
    config.children_per_replica = num_children
    searcher: Searcher = construct(config, "searcher", space=space, seed=0)
    return searcher


def reward_of(proposal: Proposal) -> float:
    """The share of skips and other answers that are not the first option."""
    return sum(map(bool, proposal.genotype.values())) / len(proposal.genotype)


def step_ms(searcher: Searcher, num_children: int) -> tuple[float, float]:
    """Milliseconds to propose the children, and to observe them with the update."""
    start = time.process_time()
    proposals = [searcher.propose() for _ in range(num_children)]
    between = time.process_time()
    for proposal in proposals:
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", reward_of(proposal)))
    return 1e3 * (between - start), 1e3 * (time.process_time() - between)


def main() -> None:
    """Prints one line for each number of layers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", nargs="+", type=int, default=[15, 39])
    parser.add_argument("--children", type=int, default=8, help="m, of a step")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    heads = "".join(f"{head:>12}" for head in ("decisions", "sample", "update", "step", "longest"))
    print(f"{'layers, ms':<12}{heads}")
    for num_layers in arguments.layers:
        space = space_of(num_layers)
        searcher = searcher_for(space, arguments.children)
        step_ms(searcher, arguments.children)
        times = [step_ms(searcher, arguments.children) for _ in range(arguments.steps)]
        sample, update = (statistics.median(each) for each in zip(*times, strict=True))
        whole = sorted(map(sum, times))
        num_decisions = len(space.walk(lambda decision: 0))
        cells = (sample, update, statistics.median(whole), whole[-1])
        print(f"{num_layers:<12}{num_decisions:>12}" + "".join(f"{each:>12.1f}" for each in cells))


if __name__ == "__main__":
    main()
