"""What weights are known by in the networks of other children."""

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.inheritance.keys import Key, anatomy, anatomy_on_meta
from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.progress.borrowing import Borrowed, Lent
from nasrunner.core.order import rollout
from nasrunner.core.shapes import as_in_shape
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, load_space

SHAPES = dict.fromkeys(
    (
        *("darts_rnn", "enas_cell", "nasrl_cell", "nasrl_cell_small", "rnn_baselines"),
        "text_classifier",
    ),
    (8,),
) | {"signals": (2, 20)}
IMAGES = (3, 32, 32)


def looked_at(tree, in_shape=(6,), **answers):
    space = parse_space(tree)
    frozen = space.freeze(space.walk(lambda decision: answers.get(decision.path, 0)))
    return anatomy_on_meta(frozen, as_in_shape(in_shape))


def affine(units):
    return {"affine": {"units": units}}


@one_in(3, 2, "name", SPACES)
def test_every_weight_of_every_shipped_space_is_known_by_its_operation(name):
    space = load_space(name)
    rng = np.random.default_rng(0)
    in_shape = SHAPES.get(name, IMAGES)
    for _ in range(3):
        frozen = space.freeze(rollout(space, rng))
        found = anatomy_on_meta(frozen, in_shape)
        assert all(key.bigram is not None for key in found.keys.values())
        assert len(set(found.keys.values())) == len(found.keys)


def test_a_bigram_is_a_module_its_shapes_and_the_module_before():
    found = looked_at({"concat": [affine(4), "relu", affine(5)]})
    first, second = found.keys["0.weight"], found.keys["2.weight"]
    assert first.bigram.module == 'affine(4, True, "default")'
    assert (first.bigram.in_shape, first.bigram.before) == ("(6,)", "input")
    assert (second.bigram.in_shape, second.bigram.out_shape) == ("(4,)", "(5,)")
    assert second.bigram.before == "relu()"
    assert second.name == "weight"


def test_dropout_is_passed_over():
    plain = looked_at({"concat": [affine(4), "relu", affine(5)]})
    dropped = looked_at({"concat": [affine(4), "relu", {"dropout": {"p": 0.5}}, affine(5)]})
    assert plain.keys["2.weight"] == dropped.keys["3.weight"]


def test_another_module_before_makes_another_key():
    one = looked_at({"concat": [affine(4), "relu", affine(5)]})
    other = looked_at({"concat": [affine(4), "tanh", affine(5)]})
    assert one.keys["0.weight"] == other.keys["0.weight"]
    assert one.keys["2.weight"] != other.keys["2.weight"]


def test_equal_bigrams_of_a_network_are_told_apart():
    tied = {"repeat_tied": {"times": 3, "body": {"concat": [affine(6), "relu"]}}}
    found = looked_at({"concat": [affine(6), "relu", tied, affine(2)]})
    occurrences = [found.keys[f"2.{place}.0.weight"].bigram.occurrence for place in range(3)]
    assert occurrences == [0, 1, 2]


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_branches_keep_their_own_weights(merge):
    def fork(*units):
        return {"fork": {"merge": merge, "branches": [affine(each) for each in units]}}

    one, other = (looked_at({"concat": [fork(*u), affine(2)]}) for u in ((3, 3, 4), (4, 3, 3)))
    assert one.keys["0.branches.2.weight"] == other.keys["0.branches.0.weight"]
    assert one.keys["0.branches.1.weight"] == other.keys["0.branches.2.weight"]


def test_the_shortcut_of_a_residual_has_a_key():
    found = looked_at({"concat": [{"residual": {"body": affine(4)}}, affine(2)]})
    assert found.keys["0.branches.0.weight"].bigram.module.startswith("projection(")


def model(cell, tied=True):
    recurrent = {"recurrent": {"cell": cell, "layers": 1, "units": "same"}}
    return {"language_model": {"body": recurrent, "vocabulary": 7, "tied": tied, "units": 4}}


def test_an_embedding_is_known_by_the_same_in_models_of_other_bodies():
    one, other = looked_at(model("lstm_cell")), looked_at(model("rnn_cell"))
    assert one.keys["vectors.weight"] == other.keys["vectors.weight"]
    inner = {name for name in one.keys if name.startswith("body.")}
    assert inner
    assert not {one.keys[name] for name in inner} & {other.keys[name] for name in other.keys}


def test_tied_weights_are_borrowed_once_as_the_first_of_them():
    space = parse_space(model("lstm_cell"))
    frozen = space.freeze({})
    own = anatomy(frozen, (6,), lambda: frozen.build((6,))[0])
    keys = own.keys
    assert keys["vectors.weight"] != keys["decoder.weight"]
    weights = {"vectors.weight": torch.ones(7, 4), "decoder.weight": torch.zeros(7, 4)}
    lent = Lent(frozen, anatomy_on_meta(frozen, (6,)), weights)
    metrics = Borrowed((lent,)).lend(frozen, own, (6,), 0)
    assert own.network.decoder.weight is own.network.vectors.weight
    assert torch.equal(own.network.vectors.weight, torch.ones(7, 4))
    assert metrics["inherited_tensors"] == 1
    assert metrics["inherited_share"] == 28 / sum(p.numel() for p in own.network.parameters())


class Odd(nn.Module):
    """A layer of a user's own, with weights beside its submodules'."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


def test_a_layer_of_a_users_own_is_one_operation():
    found = looked_at({"concat": [{"_target_": f"{__name__}.Odd"}, affine(2)]})
    key = found.keys["0.scale"]
    assert isinstance(key, Key)
    assert key.name == "scale"
    assert "Odd" in key.bigram.module


@pytest.mark.parametrize("name", ["mlp", "figure1", "small_cnn", "nasbench201", "nasrl_conv_small"])
def test_a_searcher_finds_the_same_bigrams_without_building(name):
    space, rng = load_space(name), np.random.default_rng(1)
    networks = SpaceNetworks(space, IMAGES, "float32", identifies=True)
    for _ in range(3):
        genotype = rollout(space, rng)
        built = anatomy_on_meta(space.freeze(genotype), IMAGES)
        with_weights = {key.bigram for key in built.keys.values()}
        known = networks.bigrams(genotype)
        assert {bigram for bigram, parameters in known.items() if parameters} == with_weights
        total = sum(parameter.numel() for parameter in built.network.parameters())
        assert sum(known.values()) == total
