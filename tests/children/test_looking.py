"""Modules of a user's own that look at values, which the meta device has none of."""

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.blueprint import Size, measure
from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import SpaceError
from nasrunner.spaces import external
from nasrunner.spaces.language.parsing import parse_space

HERE = "tests.children.test_looking"


class Plain(nn.Module):
    """Looks at nothing but shapes."""

    def __init__(self, in_shape, units=4):
        super().__init__()
        self.layer = nn.Linear(in_shape[0], units)

    def forward(self, x):
        return self.layer(x)


class Branching(Plain):
    """Takes another way where values are below a bound."""

    def forward(self, x):
        return self.layer(x) if float(x.sum()) >= 0 else self.layer(-x)


class Numpy(Plain):
    """Computes with another library."""

    def forward(self, x):
        scale = torch.from_numpy(np.tanh(x.detach().numpy())).to(x)
        return self.layer(x + scale)


class Wrong(Branching):
    """Looks at values, and cannot be applied to them."""

    def forward(self, x):
        return super().forward(x)[:, None] @ torch.ones(3, 3)


def space(name):
    units = {"units": {"oneof": [4, 8]}} if name != "Wrong" else {}
    return parse_space(
        {
            "concat": [
                {"affine": {"units": 5}},
                {"_target_": f"{HERE}.{name}", **units},
                {"affine": {"units": 2}},
            ]
        }
    )


@pytest.mark.parametrize("name", ["Branching", "Numpy"])
@pytest.mark.parametrize("units", [0, 1])
def test_a_module_that_looks_at_values_is_counted_as_one_that_does_not(name, units):
    counted = {}
    for each in (name, "Plain"):
        frozen = space(each).freeze({f"1/{each}/units": units})
        counted[each] = measure(frozen, (3,), 2)
    assert counted[name] == counted["Plain"]
    inside = 5 * (4, 8)[units] + (4, 8)[units]
    assert counted[name].parameters == 4 * 5 + inside + 2 * (4, 8)[units] + 2
    assert counted[name].flops == 2 * (3 * 5 + 5 * (4, 8)[units] + 2 * (4, 8)[units])


def test_its_networks_are_described_and_told_apart():
    found = {}
    for name in ("Branching", "Plain"):
        networks = SpaceNetworks(space(name), (3,), "float32", identifies=True)
        genotypes = [{f"1/{name}/units": index} for index in range(2)]
        given = networks.describe(genotypes)
        assert given.is_possible_N.all()
        found[name] = dict(zip(given.names, given.rows_NF.T.tolist(), strict=True))
        assert len({networks.identity(each) for each in genotypes}) == 2
    for name in ("parameters", "flops"):
        assert found["Branching"][name] == found["Plain"][name]


def test_what_cannot_be_run_on_the_cpu_either_is_impossible():
    with pytest.raises(SpaceError, match=r"no Wrong on an input of shape \(5,\): RuntimeError"):
        measure(space("Wrong").freeze({}), (3,), 2)


def test_a_module_that_needs_more_memory_than_there_is_is_not_run(monkeypatch):
    monkeypatch.setattr(external, "memory_gb", lambda: 1e-7)
    with pytest.raises(SpaceError, match=r"looks at values, .* takes 1.92e-07 GB of this machine"):
        measure(space("Branching").freeze({"1/Branching/units": 0}), (3,), 2)
    assert measure(space("Plain").freeze({"1/Plain/units": 0}), (3,), 2) == Size(54, 54, 86)
