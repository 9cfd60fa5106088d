"""The networks that people made, in conf/space, have the parameters that their papers print."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nasrunner.core import SearchSpace
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.enumeration import enumerate_genotypes

TEXT = (Path(__file__).parents[2] / "conf" / "space" / "cnn_baselines.yaml").read_text("utf-8")
CIFAR, IMAGENET = ((3, 32, 32), 10), ((3, 224, 224), 1000)


def space(num_outputs: int, text: str = TEXT) -> SearchSpace:
    parsed: Any = yaml.safe_load(text.replace('"${data.num_outputs}"', str(num_outputs)))
    return parse_space(parsed)


def num_parameters(label: str, task: tuple[tuple[int, ...], int], text: str = TEXT) -> int:
    in_shape, num_outputs = task
    networks = space(num_outputs, text)
    frozen = [networks.freeze(genotype) for genotype in enumerate_genotypes(networks)]
    (network,) = (each for each in frozen if each.text() == label)
    with torch.device("meta"):
        return sum(p.numel() for p in network.build(in_shape)[0].parameters())


@pytest.mark.parametrize(
    ("label", "millions"),
    [  # Zoph & Le 2017, table 1
        ("resnet_110", "1.7"),
        ("wide_resnet_16_8", "11.0"),
        ("wide_resnet_28_10", "36.5"),
        ("densenet_40_12", "1.0"),
        ("densenet_100_12", "7.0"),
        ("densenet_100_24", "27.2"),
        ("densenet_bc_190_40", "25.6"),
    ],
)
def test_a_network_for_cifar_has_the_parameters_of_the_papers_table(
    label: str, millions: str
) -> None:
    assert f"{num_parameters(label, CIFAR) / 1e6:.1f}" == millions


def test_vgg_16_has_138_million_parameters_for_imagenet() -> None:
    """Simonyan & Zisserman 2015, table 2, configuration D."""
    convolutions = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    pairs = list(itertools.pairwise(convolutions))
    assert len(pairs) == 13
    by_hand = sum(9 * a * b + b for a, b in pairs)
    by_hand += (512 * 7 * 7 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert num_parameters("vgg_16", IMAGENET) == by_hand == 138_357_544


def test_alexnet_has_60_million_parameters_for_imagenet() -> None:
    """Krizhevsky, Sutskever & Hinton 2012, figure 2: two towers, 6x6 maps at the classifier."""
    alexnet = TEXT.index("alexnet")
    end = TEXT.index("vgg_16")
    unpadded = re.sub("padding: same", "padding: valid", TEXT[alexnet:end])
    assert unpadded.count("padding: valid") == 3
    towers = [(11, 3, 96, 1), (5, 96, 256, 2), (3, 256, 384, 1), (3, 384, 384, 2), (3, 384, 256, 2)]
    by_hand = sum(size**2 * a // groups * b + b for size, a, b, groups in towers)
    by_hand += (256 * 6 * 6 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    text = TEXT[:alexnet] + unpadded + TEXT[end:]
    assert num_parameters("alexnet", IMAGENET, text) == by_hand == 60_965_224


def test_the_shortcut_of_resnet_110_skips_pixels_and_pads_channels() -> None:
    """He et al. 2016, section 4.2: option A, which has no parameters."""
    networks = space(10)
    frozen = networks.freeze({"or": 2})
    assert frozen.text() == "resnet_110"
    torch.manual_seed(0)
    network, _ = frozen.build((3, 32, 32))
    (fork, _) = [
        each
        for each in network.modules()
        if type(each).__name__ == "Merge" and isinstance(each.branches[0], torch.nn.MaxPool2d)
    ]
    fork.branches[1] = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 1, 2), Times0())
    x_BCHW = torch.randn(2, 16, 32, 32)
    y_BCHW = fork(x_BCHW)
    assert torch.equal(y_BCHW[:, :16], x_BCHW[:, :, ::2, ::2])
    assert not y_BCHW[:, 16:].any()


class Times0(torch.nn.Module):
    """Makes zeros of what a body computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0
