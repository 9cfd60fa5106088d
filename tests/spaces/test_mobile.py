import pytest
import torch
from torch import nn

from nasrunner.core import SpaceError
from nasrunner.spaces import InvertedResidual


def test_equal_shapes_have_a_shortcut() -> None:
    network, shape = InvertedResidual(2, expansion=3, kernel_size=5).build((2, 4, 6))
    assert shape == (2, 4, 6)
    x = torch.randn(7, 2, 4, 6)
    network.eval()
    layers = next(m for m in network.modules() if isinstance(m, nn.Sequential))
    torch.testing.assert_close(network(x), x + layers(x))


@pytest.mark.parametrize(("filters", "stride", "shape"), [(3, 1, (3, 5, 6)), (2, 2, (2, 3, 3))])
def test_other_shapes_have_none(filters: int, stride: int, shape: tuple[int, ...]) -> None:
    network, found = InvertedResidual(filters, 1, 3, stride).build((2, 5, 6))
    assert found == shape
    x = torch.randn(4, 2, 5, 6)
    network.eval()
    layers = next(m for m in network.modules() if isinstance(m, nn.Sequential))
    torch.testing.assert_close(network(x), layers(x))
    assert network(x).shape[1:] == shape


def test_the_middle_is_wider_and_looks_at_each_channel_alone() -> None:
    network, _ = InvertedResidual(4, expansion=3, kernel_size=5).build((2, 8, 8))
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.weight.shape for conv in convs] == [(6, 2, 1, 1), (6, 1, 5, 5), (4, 6, 1, 1)]
    assert all(conv.bias is None for conv in convs), "batch normalization follows"
    assert [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [6, 6, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 3), "filters must be int >= 1, got 0"),
        ((1, 0, 3), "expansion must be int >= 1, got 0"),
        ((1, 1, -1), "kernel_size must be int >= 1, got -1"),
        ((1, 1, 3, 0), "stride must be int >= 1, got 0"),
        ((1, 1, 4), "kernel_size must be odd, got 4"),
    ],
)
def test_an_impossible_argument_is_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        InvertedResidual(*arguments).build((2, 8, 8))


def test_a_vector_is_no_image() -> None:
    with pytest.raises(SpaceError, match=r"it takes \(channels, height, width\)"):
        InvertedResidual(1, 1, 1).build((8,))
