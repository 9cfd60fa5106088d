"""Mixtures of options: set to one of each they are a child, and others are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.supernets.relaxed.mixtures import Mix, Mixture, OptionWeights, mixed
from nasrunner.children.supernets.relaxed.report import mixture_size
from nasrunner.children.supernets.relaxed.supernet import rows_of
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import SpaceError
from nasrunner.core.order import rollout
from nasrunner.core.space import relaxed
from nasrunner.spaces.language.parsing import parse_space
from tests.children.supernets.test_shared_weights import conv, example, shape_of, trained_step
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, load_space

MIXED = ("darts_cnn", "darts_rnn", "nasbench201", "nasbench_macro", "signals")
"""The shipped spaces whose options all have one shape."""

NORMED = {"concat": [conv("same", {"oneof": [1, 3, 5]}), "batch_norm"]}
OWN = {
    "kernels": {"concat": [conv(4), conv("same", [{"oneof": [1, 3]}, {"oneof": [3, 5]}])]},
    "times": {"repeat_tied": {"times": {"oneof": [0, 1, 3]}, "body": NORMED}},
    "repeated": {"repeat": {"times": {"oneof": [1, 2]}, "body": {"or": [NORMED, "zero"]}}},
    "swapped": {"concat": [conv(4), {"maybe_swap": ["batch_norm", "relu"]}]},
    "optional": {"concat": [conv(4), {"optional": {"residual": {"body": NORMED}}}]},
    "nested": {"or": [{"or": ["relu", NORMED]}, "zero", {"concat": ["tanh", NORMED]}]},
    "nodes": {"cell": {"nodes": {"oneof": [2, 3]}, "edge": {"or": ["zero", "empty", NORMED]}}},
    "blocks": {
        "cell_stack": {
            "normal": {
                "block_cell": {
                    "blocks": 2,
                    "inputs": "distinct",
                    "operation": {"or": ["zero", NORMED, "empty"]},
                }
            },
            "filters": 4,
            "times": 1,
            "stages": 2,
        }
    },
    "shared": {
        "share": {
            "label": "twice",
            "module": {"or": [NORMED, "empty", "sigmoid"]},
            "body": {
                "concat": [
                    {"shared": {"label": "twice"}},
                    {"or": ["relu", {"concat": ["tanh", {"_target_": "torch.nn.Softsign"}]}]},
                    {"shared": {"label": "twice"}},
                ]
            },
        }
    },
}


RECURRENT = {
    name: {
        "language_model": {
            "vocabulary": 10,
            "tied": True,
            "units": 6,
            "body": {"recurrent": {"cell": {cell: {"nodes": 4, "activations": ["tanh", "relu"]}}}},
        }
    }
    for name, cell in (("darts_like", "darts_rnn"), ("enas_like", "enas_cell"))
}


def space_of(network):
    return parse_space({"concat": [network, "flatten", {"affine": {"units": 3}}]})


def mixture_of(space, shape, **arguments):
    """A space's relaxed network, its weights, and where the weights of its options stand."""
    weights, mix, found = SharedWeights(space, shape, **arguments), Mix(), relaxed(space)
    mixed(weights, found.network, mix, affine=True)  # weights grow while they are met
    network, _ = mixed(weights, found.network, mix, affine=True)
    return network, weights, mix, found


def set_to(mix, relaxed_space, genotype):
    """Gives the options of a genotype the weight 1, and all others 0; inactive ones are mixed.

    Of decisions of which a cell keeps some, those that it does not keep have zeros.
    """
    parts = {path for kept in relaxed_space.selections.values() for each in kept for path in each}
    mix.weights = {
        each.path: OptionWeights(
            [
                torch.tensor(float(genotype.get(each.path, -1 if each.path in parts else k) == k))
                for k in range(len(each.options))
            ]
        )
        for each in relaxed_space.decisions
    }
    for path, (said_by, edges) in relaxed_space.followed.items():
        for source, edge in enumerate(edges):
            is_taken = source == genotype.get(said_by, 0)
            count = len(mix.weights[edge].values)
            mix.weights[edge] = OptionWeights(
                [torch.tensor(float(is_taken and k == genotype.get(path, 0))) for k in range(count)]
            )


@pytest.mark.parametrize(
    "name",
    [*OWN, *RECURRENT, *(pytest.param(name, marks=pytest.mark.slow) for name in MIXED)],
)
@pytest.mark.parametrize("widths", ["slices", "copies"])
def test_a_mixture_set_to_one_option_of_each_is_the_child(name, widths):
    if name in RECURRENT:
        space, shape = parse_space(RECURRENT[name]), (5,)
    else:
        space = load_space(name) if name in MIXED else space_of(OWN[name])
        shape = shape_of(name)
    network, weights, mix, found_space = mixture_of(space, shape, widths=widths)
    rng, x = np.random.default_rng(0), example(shape)
    for _ in range(3 if name in MIXED else 6):
        genotype = rollout(space, rng)
        set_to(mix, found_space, genotype)
        for layer in network.modules():
            if hasattr(layer, "weigh"):
                layer.weigh(rows_of(layer, mix.weights))
        child, _ = space.freeze(genotype).build(shape)
        assert child.load_state_dict(weights.values(genotype), strict=False).unexpected_keys == []
        for layer in (*network.modules(), *child.modules()):
            if isinstance(layer, nn.Dropout):  # each option of a mixture draws a mask of its own
                layer.p = 0.0
        weights.zero_grad()
        child.zero_grad()
        computed = [trained_step(each, x) for each in (network, child)]
        torch.testing.assert_close(*computed, rtol=1e-5, atol=1e-5)
        found = [w.grad for w in weights.parameters() if w.grad is not None]
        own = [w.grad for w in child.parameters()]
        for part in (lambda g: g.square().sum(), lambda g: g.abs().sum()):
            sums = [torch.stack([part(g) for g in each]).sum() for each in (found, own)]
            torch.testing.assert_close(*sums, rtol=1e-4, atol=1e-6)


def test_options_count_by_their_weights():
    space = parse_space({"or": ["relu", "zero", "tanh"]})
    network, _, mix, found = mixture_of(space, (4,))
    (decision,) = found.decisions
    values = [torch.tensor(each, requires_grad=True) for each in (0.5, 0.2, 0.3)]
    mix.weights = {decision.path: OptionWeights(values)}
    x = torch.randn(3, 4)
    y = network(x)
    torch.testing.assert_close(y, 0.5 * x.relu() + 0.3 * x.tanh())
    y.sum().backward()
    torch.testing.assert_close(values[2].grad, x.tanh().sum())
    mix.weights = {decision.path: OptionWeights(values, chosen=1)}
    assert torch.equal(network(x), torch.zeros(3, 4))


def test_only_the_chosen_option_is_computed():
    space = space_of({"or": [conv(4), {"concat": [conv(4, 5), "relu"]}]})
    network, weights, mix, found = mixture_of(space, (1, 8, 8))
    (decision,) = found.decisions
    values = [torch.tensor(0.0), torch.tensor(2.0)]
    mix.weights = {decision.path: OptionWeights(values, chosen=1)}
    network(torch.randn(2, 1, 8, 8)).sum().backward()
    assert {key.split(":")[0] for key, w in weights.weights.items() if w.grad is None} == {
        "0/or/0/conv2d"
    }


def test_decisions_that_are_made_once_are_mixed_alike_wherever_they_stand():
    network, _, _, found = mixture_of(load_space("nasbench201"), (3, 8, 8), device="meta")
    decisions = found.decisions
    mixtures = [each for each in network.modules() if isinstance(each, Mixture)]
    assert len(mixtures) == 90
    assert {path for each in mixtures for path in each.paths} == {d.path for d in decisions}
    assert len(decisions) == 6


def test_batch_normalization_in_options_can_be_without_scale():
    space = space_of({"concat": [conv(4), "batch_norm", {"or": [NORMED, "empty"]}]})
    weights, mix = SharedWeights(space, (1, 8, 8)), Mix()
    network, _ = mixed(weights, relaxed(space).network, mix, affine=False)
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    assert [each.weight is None for each in norms] == [False, True]
    assert sum("batch_norm" in key for key in weights.weights) == 2


REFUSED = {
    "figure1": r"'0/conv2d/filters' cannot be kept open: a mixture adds up what its options make, "
    r"and that has the shapes \(32, 8, 8\), \(64, 8, 8\); legal: options of one shape",
    "deepconv": r"'0/conv2d/filters' cannot be kept open: .* \(48, 4, 4\), \(64, 4, 4\), …, \(128",
    "deepconv_digits": "hyperparameters/optimizer' cannot be kept open",
    "mlp": "'0/affine/units' cannot be kept open: .* shapes",
    "small_cnn": "'0/conv2d/filters' cannot be kept open: .* shapes",
    "mlp_string": "'0/string/first' cannot be kept open: what it decides is no sum",
    "nasrl_cell": "'language_model/recurrent/recurrent_cell/0/combination' cannot be kept open",
    "nasrl_cell_small": "recurrent_cell/0/combination' cannot be kept open",
    "nasrl_conv": "'0/skip_layers/2/from/1' cannot be kept open: what it decides is no sum",
    "nasrl_conv_pooling": "'0/skip_layers/2/from/1' cannot be kept open",
    "nasrl_conv_schedule": "'0/skip_layers/2/from/1' cannot be kept open",
    "nasrl_conv_small": "'0/skip_layers/2/from/1' cannot be kept open",
    "nasrl_conv_strides": "'0/skip_layers/2/from/1' cannot be kept open",
    "rnn_baselines": "cannot be kept open: the operation around it builds its parts",
    "enas_cell": "parameters=24000000 of language_model solves the size of a child, and a network",
    "enas_macro": "/2/from/1' cannot be kept open: what it decides is no sum .*; legal: .*or enas$",
    "enas_micro": "block_cell/2/left/from' cannot be kept open: what it decides is no sum",
    "nasnet": "block_cell/2/left/from' cannot be kept open: what it decides is no sum",
    "pnas": "block_cell/blocks' cannot be kept open: what it decides is no sum",
    "cnn_baselines": "'or/1/7/max_pool': no max_pool on an input of shape",
    "deepconv_hyperparameters": "hyperparameters/optimizer",
    "segmentation": "'0/conv2d/filters' cannot be kept open: a mixture adds up",
    "text_classifier": "recurrent_cell/0/combination' cannot be kept open",
}


@one_in(3, 0, "name", [name for name in SPACES if name not in MIXED])
def test_a_space_without_a_mixture_says_which_decision_has_none(name):
    with pytest.raises(SpaceError, match=REFUSED[name]):
        mixture_of(load_space(name), shape_of(name), device="meta")


def test_what_stands_after_a_decision_must_have_the_weights_it_has_in_every_child():
    shared = {"shared": {"label": "part"}}
    space = parse_space(
        {
            "share": {
                "label": "part",
                "module": {"or": [NORMED, "relu"]},
                "body": {"concat": [{"or": [shared, "tanh"]}, shared]},
            }
        }
    )
    with pytest.raises(SpaceError, match=r"'0/or' cannot be kept open: what stands at .* after it"):
        mixture_of(space, (2, 8, 8))


def test_which_edges_a_cell_keeps_is_told_by_the_strongest_operations_of_all():
    found = relaxed(load_space("darts_cnn"))
    assert len(found.decisions) == 28  # of 14 edges of two cells
    assert {len(each.options) for each in found.decisions} == {8}
    cell = "0/cell_stack/normal/block_cell"
    kept = found.selections[f"{cell}/3/from"]
    assert kept[1] == (f"{cell}/3/0/or", f"{cell}/3/2/or")
    assert len(found.selections) == 6  # block 2 takes both of its values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"output": "loose_ends"},
            "all edges at once need output=all of block_cell, got loose_end",
        ),
        ({"combine": "concat"}, "all edges at once need combine=add of block_cell, got concat"),
        ({"operation": NORMED}, "which edges a block keeps is told by the weights of their"),
        ({"inputs": "any"}, r"2/left/from' cannot be kept open: what it decides is no sum"),
    ],
)
def test_cells_whose_edges_are_no_sums_have_no_mixture(changes, message):
    stack = OWN["blocks"]["cell_stack"]
    cell = {**stack["normal"]["block_cell"], **changes}
    space = space_of({"cell_stack": {**stack, "normal": {"block_cell": cell}}})
    with pytest.raises(SpaceError, match=message):
        mixture_of(space, (1, 8, 8), device="meta")


def test_a_space_with_a_schedule_is_no_mixture_as_its_searchers_say():
    times = {"schedule": {"start": 1, "step": 1, "end": 2, "every": 4}}
    repeated = {"repeat": {"times": times, "body": {"or": ["empty", "relu"]}}}
    space = parse_space({"concat": ["flatten", repeated]})
    assert "has a schedule" in mixture_size(space, (1, 8, 8), "slices").refused
