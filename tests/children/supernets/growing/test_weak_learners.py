"""Parts beside a network: it computes and learns what it would without them, and they learn."""

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.supernets.growing.building import that_fit, with_parts
from nasrunner.children.supernets.growing.weak_learners import Coefficients, WeakLearners
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core.space import additions, grown, smallest
from nasrunner.spaces.language.parsing import parse_space
from tests.children.supernets.test_shared_weights import conv

# P = parts

NORMED = {"concat": [conv("same", 3), "batch_norm"]}
SPACES = {
    "optional": {"concat": [conv(4), {"optional": {"residual": {"body": NORMED}}}, "relu"]},
    "cell": {"concat": [conv(4), {"cell": {"nodes": 3, "edge": {"or": ["zero", NORMED]}}}]},
    "passing": {"cell": {"nodes": 3, "edge": {"or": ["zero", "empty", NORMED, conv("same", 1)]}}},
    "tied": {"concat": [conv(4), {"repeat_tied": {"times": {"oneof": [1, 2]}, "body": NORMED}}]},
    "repeat": {"repeat": {"times": {"oneof": [0, 1]}, "body": {"or": [NORMED, "tanh"]}}},
    "shared": {
        "share": {
            "label": "twice",
            "module": {"or": ["empty", NORMED]},
            "body": {
                "concat": [{"shared": {"label": "twice"}}, "relu", {"shared": {"label": "twice"}}]
            },
        }
    },
}
SHAPE = (3, 6, 6)
every_space = pytest.mark.parametrize("name", SPACES)


def grower(name):
    """A space, its smallest architecture, the parts that fit beside it, and shared weights."""
    space = parse_space({"concat": [SPACES[name], "flatten", {"affine": {"units": 3}}]})
    rng = np.random.default_rng(0)
    genotype = smallest(space, rng)
    weights = SharedWeights(space, SHAPE, seed=1)
    parts = that_fit(weights, genotype, additions(space, genotype, rng))
    return weights, genotype, parts


def built(name):
    weights, genotype, parts = grower(name)
    coefficients = Coefficients()
    coefficients.alpha_P = torch.ones(len(parts), requires_grad=True)
    network, _ = with_parts(weights, genotype, parts, coefficients)
    return weights, genotype, parts, coefficients, network


def step(network, x):
    y = network(x)
    nn.functional.cross_entropy(y, torch.arange(len(x)) % 3).backward()
    return y.detach()


@every_space
def test_the_network_computes_and_learns_to_the_bit_what_it_does_without_parts(name):
    weights, genotype, parts, coefficients, network = built(name)
    assert parts
    x = torch.randn(7, *SHAPE, generator=torch.Generator().manual_seed(2))
    alone = weights.network(genotype).train()
    expected = step(alone, x)
    own = {key: each.grad.clone() for key, each in weights.weights.items() if each.grad is not None}
    weights.zero_grad(set_to_none=True)
    assert torch.equal(step(network.train(), x), expected)
    for key, gradient in own.items():
        assert torch.equal(weights.weights[key].grad, gradient), key
    beside = [each for key, each in weights.weights.items() if key not in own]
    assert beside
    assert all(each.grad is not None and bool(each.grad.any()) for each in beside)
    assert bool(coefficients.alpha_P.grad.all())


@every_space
def test_nothing_is_computed_beside_the_network_in_evaluation(name):
    weights, genotype, _, _, network = built(name)
    x = torch.randn(7, *SHAPE)
    network.eval()
    for layer in network.modules():
        if isinstance(layer, WeakLearners):
            layer.parts = nn.ModuleList()  # a part would be missed
    assert torch.equal(network(x), weights.network(genotype).eval()(x))


@every_space
def test_alpha_has_the_gradient_of_the_loss_towards_each_grown_child(name):
    """By finite differences, of networks that a share of one part has joined."""
    weights, genotype, parts, coefficients, _ = built(name)
    x, y = torch.randn(8, *SHAPE).double(), torch.arange(8) % 3
    weights.double()
    coefficients.alpha_P = torch.ones(len(parts), dtype=torch.float64, requires_grad=True)
    network, _ = with_parts(weights, genotype, parts, coefficients)
    nn.functional.cross_entropy(network.train()(x), y).backward()
    for number, part in enumerate(parts):
        change = []
        for share in (1e-5, -1e-5):
            mixed, _ = with_parts(weights, genotype, [part], Coefficients())
            mixed = mixed.train()
            for layer in list(mixed.modules()):
                if isinstance(layer, WeakLearners):
                    layer.forward = towards(layer, share, is_scaled=True)
            change.append(nn.functional.cross_entropy(mixed(x), y).item())
        expected = (change[0] - change[1]) / 2e-5
        assert coefficients.alpha_P.grad[number].item() == pytest.approx(expected, abs=1e-7)


def towards(layer, share, *, is_scaled=False):
    """Adds a share of what a part changes, or of the same with a mean square of 1."""

    def forward(x):
        now = layer.now(x)
        (part,) = layer.parts
        (follows,) = layer.follow
        change = part(now if follows else x) - now
        return now + share * (change / (change**2).mean().add(1e-5).sqrt() if is_scaled else change)

    return forward


@every_space
def test_a_joined_part_has_the_weights_that_it_was_trained_with(name):
    weights, genotype, parts, _, _ = built(name)
    x = torch.randn(5, *SHAPE)
    for part in parts:
        joined, _ = with_parts(weights, genotype, [part], Coefficients())
        for layer in list(joined.modules()):
            if isinstance(layer, WeakLearners):
                layer.forward = towards(layer, 1.0)
        child = weights.network(grown(weights.space, genotype, [part]))
        torch.testing.assert_close(joined.eval()(x), child.eval()(x))


def test_parts_that_change_the_shape_do_not_fit():
    pooled = {"optional": {"max_pool": {"kernel_size": 2}}}
    space = parse_space({"concat": [pooled, {"optional": "tanh"}, {"affine": {"units": 3}}]})
    rng = np.random.default_rng(0)
    genotype = smallest(space, rng)
    found = additions(space, genotype, rng)
    weights = SharedWeights(space, SHAPE, device="meta")
    assert [each.path for each in found] == ["0/optional", "1/optional"]
    assert [each.path for each in that_fit(weights, genotype, found)] == ["1/optional"]


def test_a_part_is_told_from_what_it_replaces():
    layer = WeakLearners(
        nn.Identity(), [nn.Tanh()], [False], [0], coefficients := Coefficients(), is_zero=False
    )
    coefficients.alpha_P = torch.ones(1, requires_grad=True)
    x = torch.tensor([2.0], requires_grad=True)
    layer.train()(x).sum().backward()
    assert x.grad.item() == 1.0
    assert coefficients.alpha_P.grad.item() == pytest.approx(-1.0, abs=1e-4)
