"""Steps of a supernet against the same steps in bare PyTorch: ``ratio <= 1.1``.

Run it as ``OMP_NUM_THREADS=1 python benchmarks/supernet_steps.py``. A step is forward, backward and
SGD with momentum on random images; bare PyTorch takes it with the children's own networks, whose
batch normalization has the statistics of the batch alone, as a supernet's has.

* one path: a supernet that draws another random architecture at each step, against a child of the
  same architecture. What the supernet does beside it is to draw, to freeze and to build.
* mixture: all options of each decision at once, against one step of the child of each option, which
  it has in all of its decisions: the sum of these.

The contenders take turns, in seconds of the processor; the sums over all turns are compared.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasrunner.children.settings.momentum import with_momentum
from nasrunner.children.supernets.relaxed.supernet import AllOptions
from nasrunner.children.supernets.supernet import Supernet, covered
from nasrunner.core import Genotype, SearchSpace
from nasrunner.core.decision import Decision
from nasrunner.core.order import rollout
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import enter
from nasrunner.searchers.one_shot.paths import UniformPaths
from nasrunner.spaces.language.parsing import parse_space

CONF = Path(__file__).parents[1] / "conf"
LIMIT = 1.1
MIXTURE = Relaxation(
    weighs="softmax",
    order="first",
    learning_rate=3e-4,
    betas=(0.5, 0.999),
    weight_decay=1e-3,
    temperatures=(1.0, 1.0),
    affine=True,
    takes_zero=True,
    max_skips=None,
    num_sampled=0,
)


class Case(NamedTuple):
    """A space, and what it is trained on.

    Attributes:
        space: its name.
        size: height and width of an image.
        batch_size: images of a step.
    """

    space: str
    size: int
    batch_size: int


CASES = (Case("nasbench201", 16, 32), Case("nasbench_macro", 16, 16), Case("nasbench201", 8, 16))


def main() -> None:
    """Prints both ratios of each case; exits with 1 where one of the first two is above 1.1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    is_met = True
    for number, case in enumerate(CASES):
        for name, (ours, bare) in measured(case, arguments.turns).items():
            is_goal = number < 2  # of the third, a step takes a few hundredths of a second
            is_met = is_met and (ours / bare <= LIMIT or not is_goal)
            print(
                f"{case.space}, {case.batch_size} images of {case.size}x{case.size}, {name}: "
                f"{1000 * ours / arguments.turns:.1f} ms a step, ratio {ours / bare:.3f}"
                f"{f'  limit {LIMIT:g}' if is_goal else ''}",
                flush=True,
            )
    sys.exit(0 if is_met else 1)


def measured(case: Case, turns: int) -> dict[str, tuple[float, float]]:
    """The seconds of all turns by contender: ours, and those of bare PyTorch."""
    space, shape = load(case.space), (3, case.size, case.size)
    torch.manual_seed(0)
    x = torch.randn(case.batch_size, *shape)
    target = torch.randint(0, 10, (case.batch_size,))
    supernet = single_paths(space, shape)
    one_path = stepping(supernet, x, target)
    mixture = stepping(AllOptions(space, MIXTURE, "slices", 0, None).make(shape)[0], x, target)
    options = [stepping(child, x, target) for child in children_of_options(space, shape)]
    drawn = np.random.default_rng(supernet.seed)
    found = {"one path": [0.0, 0.0], "mixture": [0.0, 0.0]}
    for turn in range(turns + 2):
        child = stepping(bare(space, rollout(space, drawn), shape), x, target)
        seconds = {
            "one path": [timed(one_path), timed(child)],
            "mixture": [timed(mixture), sum(map(timed, options))],
        }
        for name, each in seconds.items():
            if turn >= 2:  # the first ones warm up
                found[name] = [a + b for a, b in zip(found[name], each, strict=True)]
    return {name: (ours, theirs) for name, (ours, theirs) in found.items()}


def load(name: str) -> SearchSpace:
    """A shipped space, for ten classes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(f"space/{name}", ["+data={num_outputs: 10}"])
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def single_paths(space: SearchSpace, shape: tuple[int, ...]) -> Supernet:
    """A supernet that runs a random architecture at each step."""
    weights, _ = covered(space, shape, "slices", 0)
    return Supernet(weights, UniformPaths(space), 0)


def children_of_options(space: SearchSpace, shape: tuple[int, ...]) -> Iterator[nn.Module]:
    """The child of each option, which answers all of its decisions with it."""
    most = max(len(decision.options) for decision in space.decisions(enter(space)))
    for option in range(most):

        def choose(decision: Decision, option: int = option) -> int:
            return min(option, len(decision.options) - 1)

        yield bare(space, space.walk(choose), shape)


def bare(space: SearchSpace, genotype: Genotype, shape: tuple[int, ...]) -> nn.Module:
    """A child's network, normalized with the statistics of each batch."""
    network, _ = space.freeze(genotype).build(shape)
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return network


def stepping(network: nn.Module, x: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    """One step of training."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = with_momentum(torch.optim.SGD(weights, 0.01, momentum=0.9, fused=True))

    def step() -> None:
        loss = nn.functional.cross_entropy(network(x), target)
        for weight in weights:
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def timed(step: Callable[[], None]) -> float:
    """The processor's seconds of one step."""
    begin = time.process_time()
    step()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
