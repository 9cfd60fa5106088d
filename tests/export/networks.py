"""Random networks of a space with weights and statistics that training could have left."""

import functools
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from nasrunner.core import SearchSpace, Shape, SpaceError
from nasrunner.export.source.construction import Constructions, build
from nasrunner.export.source.standalone import StandAlone, write
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.enumeration import draw

CONFIG = Path(__file__).parents[2] / "conf"
OF_TOKENS = (
    "darts_rnn",
    "enas_cell",
    "nasrl_cell",
    "nasrl_cell_small",
    "rnn_baselines",
    "text_classifier",
)
"""Networks that take tokens, which ``test_texts`` exports."""
OF_THE_SAME = (
    "cnn_baselines",
    "deepconv_digits",
    "deepconv_hyperparameters",
    "nasrl_conv",
    "nasrl_conv_schedule",
)
"""Large networks of modules that the other spaces have, too."""
SPACES = sorted(
    {path.stem for path in (CONFIG / "space").glob("*.yaml")} - {*OF_TOKENS, *OF_THE_SAME}
)
IN_SHAPES: dict[str, Shape] = {"mlp": (20,), "signals": (2, 12)}
"""Of the spaces that are not given small images."""


@functools.cache
def shipped(name: str) -> SearchSpace:
    """A space of ``conf/space`` with ten outputs."""
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose(overrides=[f"+space={name}", "+data={num_outputs: 10}"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return parse_space(plain["space"])


def in_shape_of(name: str) -> Shape:
    return IN_SHAPES.get(name, (3, 8, 8))


def possible(space: SearchSpace, in_shape: Shape, count: int) -> list[int]:
    """The first seeds that draw a network which can be built for such inputs."""
    found: list[int] = []
    for seed in range(20 * count):
        try:
            with torch.device("meta"):
                space.freeze(draw(space, seed)).build(in_shape)
        except SpaceError:
            continue
        found.append(seed)
        if len(found) == count:
            return found
    raise AssertionError(f"fewer than {count} of {20 * count} networks can be built")


def trained(space: SearchSpace, in_shape: Shape, seed: int) -> tuple[nn.Module, Constructions]:
    """A network of the space as if it had been trained."""
    torch.manual_seed(seed)
    network, calls = build(space.freeze(draw(space, seed)), in_shape)
    disturb(network)
    return network, calls


def disturb(network: nn.Module) -> None:
    """Gives every parameter and statistic a value that is not the one it starts with."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
                module.num_batches_tracked.fill_(17)


def written(network: nn.Module, calls: Constructions, in_shape: Shape) -> StandAlone:
    return write(
        network, calls, in_shape, title=["A network.", "", "Of a test."], normalization=None
    )


def difference(network: nn.Module, other: nn.Module, in_shape: Shape, *, trains: bool) -> float:
    """The largest difference of their outputs; dropout draws the same numbers in both."""
    largest = 0.0
    for batch in (7,) if trains else (1, 7):
        x = torch.randn(batch, *in_shape, generator=torch.Generator().manual_seed(batch))
        outputs = []
        for each in (network, other):
            torch.manual_seed(5)
            outputs.append(each.train(trains)(x))
        largest = max(largest, float((outputs[0] - outputs[1]).detach().abs().max()))
    return largest
