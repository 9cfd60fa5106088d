import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasrunner.children.blueprint import count_flops


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d((1, 2)),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(3),
        nn.AdaptiveAvgPool2d((None, 4)),
        nn.ConstantPad2d((1, 2, 3, 0), 0.0),
        nn.Flatten(),
        nn.Flatten(2),
        nn.Flatten(1, 2),
        nn.Linear(9, 5),
        nn.ReLU(),
        nn.BatchNorm2d(2),
    ],
    ids=str,
)
def test_what_follows_a_layer_costs_what_torch_counts(first: nn.Module) -> None:
    """A layer whose shape is worked out wrongly makes the next one cost something else."""
    with torch.no_grad():
        shape = first.eval()(torch.zeros(1, 2, 7, 9)).shape
    layers: list[nn.Module] = [first]
    if len(shape) == 4:
        layers += [nn.Conv2d(shape[1], 3, 2), nn.Flatten()]
        shape = torch.Size((1, 3 * (shape[2] - 1) * (shape[3] - 1)))
    network = nn.Sequential(*layers, nn.Linear(shape[-1], 2)).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 2, 7, 9, device="meta"))
    for _ in range(2):  # the second time from what the first has found out
        assert count_flops(network, (2, 7, 9)) == counter.get_total_flops()
