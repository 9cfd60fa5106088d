"""Networks with shared weights compute what children with these weights do."""

import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nasrunner.children.supernets.covering import cover
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import SpaceError
from nasrunner.core.order import rollout
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import SPACES, WIDE_SPACES, load_space

QUICK = ("figure1", "mlp", "mlp_string", "nasbench_macro", "signals", "small_cnn")
TOKENS = (
    *("darts_rnn", "enas_cell", "nasrl_cell", "nasrl_cell_small", "rnn_baselines"),
    "text_classifier",
)
UNSHARED = ("deepconv_hyperparameters",)
"""Spaces whose settings are searched; their networks are those of deepconv."""


def conv(filters, kernel=3):
    return {"conv2d": {"filters": filters, "kernel_size": kernel}}


def shape_of(name):
    if name == "signals":
        return (2, 12)
    return (5,) if name in TOKENS else (1, 8, 8)


def example(shape):
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 1:
        return torch.randint(0, 10, (3, *shape), generator=generator)
    return torch.randn(3, *shape, generator=generator)


def trained_step(network, x):
    """Gives all weights their gradients; returns what it computes, with the same dropout."""
    network.train()
    torch.manual_seed(1)
    y = network(x)
    y.square().sum().backward()
    return y.detach()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in SPACES
        if name not in UNSHARED
    ],
)
@pytest.mark.parametrize("widths", ["slices", "copies"])
def test_a_network_computes_what_a_child_with_its_weights_does(name, widths):
    space, shape = load_space(name), shape_of(name)
    shared = SharedWeights(space, shape, widths=widths)
    rng, possible = np.random.default_rng(0), 0
    x = example(shape)
    for _ in range(3 if name in WIDE_SPACES else 6):
        genotype = rollout(space, rng)
        try:
            network = shared.network(genotype)
        except SpaceError:
            continue
        possible += 1
        child, _ = space.freeze(genotype).build(shape)
        state = child.state_dict()
        assert child.load_state_dict(shared.values(genotype), strict=False).unexpected_keys == []
        assert set(shared.values(genotype)) == set(state) - set(dict(child.named_buffers()))
        shared.zero_grad()
        computed = [trained_step(each, x) for each in (network, child)]
        torch.testing.assert_close(*computed, rtol=0, atol=1e-5)
        grads = {
            id(each): each.grad.square().sum() for each in child.parameters() if each.requires_grad
        }
        found = [w.grad.square().sum() for w in shared.parameters() if w.grad is not None]
        torch.testing.assert_close(sum(found), sum(grads.values()), rtol=1e-4, atol=1e-8)
    assert possible


def test_smaller_layers_have_the_first_channels_and_the_centre_of_the_kernel():
    layer = conv({"oneof": [2, 4]}, {"oneof": [1, 3, 5]})
    space = parse_space({"concat": [layer, "flatten", {"affine": {"units": 3}}]})
    shared = SharedWeights(space, (1, 8, 8))
    genotypes = [space.walk(lambda d: len(d.options) - 1), space.walk(lambda d: 0)]
    large, small = (shared.values(each) for each in genotypes)
    assert torch.equal(small["0.weight"], large["0.weight"][:2, :, 2:3, 2:3])
    assert torch.equal(small["0.bias"], large["0.bias"][:2])
    before = {name: value.clone() for name, value in large.items()}
    shared.network(genotypes[1])(torch.randn(2, 1, 8, 8)).sum().backward()
    with torch.no_grad():
        for weight in shared.parameters():
            weight -= weight.grad
    after = shared.values(genotypes[0])
    changed = after["0.weight"] != before["0.weight"]
    assert changed[:2, :, 2, 2].all()
    changed[:2, :, 2, 2] = False
    assert not changed.any()


def test_smaller_layers_of_signals_have_the_first_channels_and_the_centre_of_the_kernel():
    layer = {"conv1d": {"filters": {"oneof": [2, 4]}, "kernel_size": {"oneof": [1, 3, 5]}}}
    space = parse_space({"concat": [layer, "flatten", {"affine": {"units": 3}}]})
    shared = SharedWeights(space, (1, 8))
    large, small = (
        shared.values(space.walk(choose)) for choose in (lambda d: len(d.options) - 1, lambda d: 0)
    )
    assert torch.equal(small["0.weight"], large["0.weight"][:2, :, 2:3])
    assert torch.equal(small["0.bias"], large["0.bias"][:2])


def test_what_grows_keeps_what_was_there():
    layer = conv({"oneof": [2, 4]}, {"oneof": [3, 5]})
    space = parse_space({"concat": [layer, "flatten", {"affine": {"units": 3}}]})
    shared = SharedWeights(space, (1, 8, 8))
    wide, deep = space.walk(lambda d: len(d.options) - 1), {}
    for filters, kernel in ((1, 0), (0, 1)):  # neither is the larger one in all dimensions
        answers = iter((filters, kernel))
        deep = space.walk(lambda d, answers=answers: next(answers))
        shared.network(deep)
    first = shared.values(deep)["0.weight"].clone()
    assert shared.values(wide)["0.weight"].shape == (4, 1, 5, 5)
    assert torch.equal(shared.values(deep)["0.weight"], first)


def test_first_weights_do_not_depend_on_who_asks_first():
    space = load_space("nasbench_macro")
    genotypes = [rollout(space, np.random.default_rng(seed)) for seed in range(4)]
    found = []
    for order in (genotypes, genotypes[::-1]):
        shared = SharedWeights(space, (1, 8, 8), seed=3)
        for genotype in order:
            shared.network(genotype)
        found.append(dict(shared.weights.items()))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_copies_share_nothing_between_sizes():
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [2, 4]}}}, "relu"]})
    small, large = ({"0/affine/units": index} for index in (0, 1))
    shared = SharedWeights(space, (3,), widths="copies")
    shared.network(large)
    shared.network(small)(torch.ones(1, 3)).sum().backward()
    assert sorted(tuple(w.shape) for w in shared.parameters()) == [(2,), (2, 3), (4,), (4, 3)]
    assert all(w.grad is None for w in shared.parameters() if w.shape[0] == 4)


@pytest.mark.parametrize("name", ["mlp", "nasbench_macro", "small_cnn"])
def test_a_cover_leaves_nothing_that_random_architectures_need(name):
    space = load_space(name)
    shared = SharedWeights(space, (1, 8, 8), device="meta")
    found = cover(shared, seed=0, most_s=60.0)
    assert found.is_settled
    assert found.news <= found.visited - 200
    changes, rng = shared.num_changes, np.random.default_rng(1)
    for _ in range(300):
        shared.network(rollout(space, rng))
    assert shared.num_changes == changes
    again = SharedWeights(space, (1, 8, 8), device="meta")
    for genotype in found.needed:
        again.network(genotype)
    sizes = [{key: w.shape for key, w in each.weights.items()} for each in (shared, again)]
    assert sizes[0] == sizes[1]


def test_what_is_closed_refuses_what_it_lacks():
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [2, 4]}}}, "relu"]})
    shared = SharedWeights(space, (3,))
    shared.network({"0/affine/units": 0})
    shared.close()
    shared.network({"0/affine/units": 0})
    with pytest.raises(SpaceError, match="is no weight of the supernet, or larger than there"):
        shared.network({"0/affine/units": 1})


class Twice(nn.Module):
    """A user's module whose two layers have one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def test_tied_weights_count_once():
    space = parse_space({"concat": [{"_target_": f"{__name__}.Twice"}, {"affine": {"units": 3}}]})
    weights = SharedWeights(space, (4,), device="meta")
    assert weights.size_of({}) == 4 * 4 + 4 * 3 + 3
    assert cover(weights, 0, 10.0).largest == sum(each.numel() for each in weights.parameters())


class Centred(nn.Module):
    """A user's module with a buffer that training changes in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.mean += 0.1 * (x.detach().mean() - self.mean)
        return x - self.mean


def test_a_network_that_is_first_validated_can_be_trained():
    own = {"_target_": f"{__name__}.Centred"}
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [2, 4]}}}, own]})
    weights = SharedWeights(space, (4,))
    for option in (1, 0):
        genotype = space.walk(lambda _, option=option: option)
        with torch.inference_mode():
            weights.eval().network(genotype)(torch.ones(2, 4))
        weights.train().network(genotype)(torch.ones(2, 4)).sum().backward()
    assert all(each.grad is not None for each in weights.parameters())


def cell_model(cell):
    body = {"recurrent": {"cell": {cell: {"nodes": 4, "activations": ["tanh", "relu"]}}}}
    return parse_space(
        {"language_model": {"vocabulary": 9, "units": 4, "tied": True, "body": body}}
    )


def test_matrices_of_recurrent_cells_are_shared_by_all_that_use_the_pair():
    """Pham et al. 2018, section 2.1: W_ij belongs to the pair; in DARTS to the node j alone."""
    for cell, of_third in (("enas_cell", {"0-3", "1-3", "2-3"}), ("darts_rnn", {"3"})):
        space = cell_model(cell)
        shared, rng = SharedWeights(space, (5,)), np.random.default_rng(0)
        for _ in range(60):
            genotype = rollout(space, rng)
            shared.network(genotype)(torch.zeros(2, 5, dtype=torch.long)).sum().backward()
        edges = {key.partition("edges:")[2].partition(":")[0] for key in shared.weights}
        assert {edge for edge in edges if edge.rpartition("-")[2] == "3"} == of_third
        assert sum("from_state" in key for key in shared.weights) == 1
        assert all(weight.grad is not None for weight in shared.parameters())


def test_first_weights_of_a_pair_do_not_depend_on_who_asks_first():
    space = cell_model("enas_cell")
    genotypes = [rollout(space, np.random.default_rng(seed)) for seed in range(8)]
    found = []
    for order in (genotypes, genotypes[::-1]):
        shared = SharedWeights(space, (5,), seed=3)
        for genotype in order:
            shared.network(genotype)
        found.append(dict(shared.weights.items()))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_the_layers_that_were_used_last_are_kept(monkeypatch):
    monkeypatch.setattr("nasrunner.children.supernets.shared_weights._MOST_KEPT", 3)
    space = cell_model("enas_cell")
    shared, rng = SharedWeights(space, (5,)), np.random.default_rng(0)
    drawn = list({str(each): each for each in (rollout(space, rng) for _ in range(6))}.values())
    first, *others = drawn[:5]
    tokens = torch.arange(10).view(2, 5) % 9
    network = shared.network(first)
    before = network(tokens)
    layers = [weakref.ref(shared.network(each)) for each in others[:2]]
    assert shared.network(first) is network
    for each in others[2:]:
        shared.network(each)
    assert [layer() is None for layer in layers] == [True, True]
    assert shared.network(first) is network
    for each in others[:3]:
        shared.network(each)
    anew = shared.network(first)
    assert anew is not network
    assert torch.equal(anew(tokens), before)


class Projecting(nn.Module):
    """A user's layer that draws something beside its weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("projection", torch.randn(4, 4))

    def forward(self, x):
        return self.layer(x) @ self.projection


class Drawn(TorchFunctionMode):
    """Counts how often numbers are drawn for a tensor."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        filled = args[0] if args else (kwargs or {}).get("tensor")
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "kaiming_uniform_"):
            self.count += filled.device.type != "meta"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [pytest.param("enas_cell", marks=pytest.mark.slow), "small_cnn"])
def test_layers_that_take_shared_weights_draw_none(name):
    space, shape = load_space(name), shape_of(name)
    counted = SharedWeights(space, shape, device="meta")
    needed = cover(counted, 0, 60.0).needed
    shared = SharedWeights(space, shape)
    for genotype in needed:
        shared.network(genotype)
    genotype = rollout(space, np.random.default_rng(7))
    before = shared.network(genotype).eval()(example(shape)).detach()
    again = SharedWeights(space, shape)
    again.restore(dict(shared.weights))
    with Drawn() as drawn:
        network = again.network(genotype)
    assert drawn.count == 0
    assert torch.equal(network.eval()(example(shape)), before)
    with Drawn() as drawn:
        space.freeze(genotype).build(shape)
    assert drawn.count > 0


def test_what_a_users_layer_draws_beside_its_weights_stays():
    own = {"_target_": f"{__name__}.Projecting"}
    space = parse_space({"concat": [own, {"or": ["relu", "tanh"]}, {"affine": {"units": 3}}]})
    shared = SharedWeights(space, (4,))
    genotype = {"1/or": 0}
    before = shared.network(genotype)(torch.ones(2, 4)).detach()
    again = SharedWeights(space, (4,))
    again.restore(dict(shared.weights))
    assert torch.equal(again.network(genotype)(torch.ones(2, 4)), before)
