"""Networks that begin with computing what smaller ones do."""

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.fit.assembling import first_network
from nasrunner.children.inheritance.channels import NotMorphismError
from nasrunner.children.inheritance.keys import anatomy
from nasrunner.children.inheritance.morphism import morphism
from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.progress.borrowing import Borrowed
from nasrunner.core import Proposal, Source, SpaceError
from nasrunner.core.order import rollout
from nasrunner.searchers.wrappers.morphing import morphing_mutation
from nasrunner.spaces.language.parsing import parse_space
from tests.children.blobs import IMAGES, make_trainer
from tests.children.progress.lineages import checkpoint
from tests.searchers.worlds import load_space
from tests.toys import train_one

UNITS = {"affine": {"units": {"oneof": [3, 5, 8]}}}


def conv(filters, **more):
    return {"conv2d": {"filters": filters, "kernel_size": 3, **more}}


MLP = {
    "concat": [
        UNITS,
        {"or": ["relu", "tanh"]},
        {"repeat": {"times": {"range": [0, 2, 1]}, "body": {"concat": [UNITS, "relu"]}}},
        {"affine": {"units": 3}},
    ]
}
CNN = {
    "concat": [
        conv({"oneof": [2, 4, 6]}),
        "batch_norm",
        "relu",
        {"optional": {"concat": [conv("same"), "batch_norm", "relu"]}},
        {"optional": {"residual": {"body": {"concat": [conv("same"), "relu", conv("same")]}}}},
        {"max_pool": {"kernel_size": 2}},
        UNITS,
        "relu",
        {"affine": {"units": 3}},
    ]
}
CONV1D = {"conv1d": {"filters": "same", "kernel_size": 5}}
SIGNALS = {
    "concat": [
        {"conv1d": {"filters": {"oneof": [2, 4, 6]}, "kernel_size": 4}},
        "batch_norm",
        "relu",
        {"optional": {"concat": [CONV1D, "batch_norm", "relu"]}},
        {"optional": {"residual": {"body": {"concat": [CONV1D, "relu", CONV1D]}}}},
        {"max_pool": {"kernel_size": 2, "padding": "same"}},
        {"separable_conv1d": {"filters": 4, "kernel_size": 3}},
        {"recurrent_encoder": {"cell": "gru_cell", "output": "mean"}},
        UNITS,
        "relu",
        {"affine": {"units": 3}},
    ]
}
SKIPS = {
    "concat": [
        {"skip_layers": {"times": 3, "layer": {"concat": [conv(4), "batch_norm", "relu"]}}},
        "global_pool",
        {"affine": {"units": 3}},
    ]
}


class Pair:
    """A parent with weights and statistics of any kind, and a child."""

    def __init__(self, space, in_shape, before, after, seed=0):
        self.in_shape = in_shape
        self.frozen = [space.freeze(each) for each in (before, after)]
        torch.manual_seed(seed)
        self.networks = [
            anatomy(each, in_shape, lambda each=each: each.build(in_shape)[0])
            for each in self.frozen
        ]
        for layer in self.networks[0].network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                with torch.no_grad():
                    layer.running_mean.normal_()
                    layer.running_var.uniform_(0.5, 2)
                    layer.weight.normal_()
                    layer.bias.normal_()

    def morphed(self, seed=1):
        pairs = zip(self.frozen, self.networks, strict=True)
        found = morphism(*pairs, self.in_shape, np.random.default_rng(seed))
        found.transfer(self.networks[0].network.state_dict())
        return found.kinds

    def outputs(self):
        x = torch.randn(7, *self.in_shape)
        return [each.network.eval()(x) for each in self.networks]


def pair(tree, in_shape, before=None, after=None):
    """The first architecture with these answers, and with those."""
    space = parse_space(tree)
    answers = [before or {}, {**(before or {}), **(after or {})}]
    genotypes = [
        space.walk(lambda decision, given=given: given.get(decision.path, 0)) for given in answers
    ]
    return Pair(space, in_shape, *genotypes)


def assert_preserved(found):
    ours, theirs = found.outputs()
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


TIMES, NEW = "2/repeat/times", "2/repeat/{}/0/affine/units"
TANH = {"1/or": 1}


@pytest.mark.parametrize(
    ("tree", "in_shape", "before", "after", "kinds"),
    [
        (MLP, (4,), {}, {"0/affine/units": 2}, {"wider"}),
        (MLP, (4,), TANH, {"0/affine/units": 1}, {"wider"}),
        (MLP, (4,), {TIMES: 1}, {NEW.format(0): 2}, {"wider"}),
        (MLP, (4,), {}, {TIMES: 1}, {"deeper"}),
        (MLP, (4,), {}, {TIMES: 2}, {"deeper"}),
        (MLP, (4,), {}, {TIMES: 1, "0/affine/units": 1, NEW.format(0): 1}, {"wider", "deeper"}),
        (CNN, (3, 6, 6), {}, {"0/conv2d/filters": 2}, {"wider"}),
        (CNN, (3, 6, 6), {}, {"6/affine/units": 1}, {"wider"}),
        (CNN, (3, 6, 6), {}, {"3/optional": 1}, {"deeper"}),
        (CNN, (3, 6, 6), {}, {"4/optional": 1}, {"skip"}),
        (CNN, (3, 6, 6), {}, {"3/optional": 1, "4/optional": 1}, {"deeper", "skip"}),
        (SIGNALS, (3, 9), {}, {"0/conv1d/filters": 1}, {"wider"}),
        (SIGNALS, (3, 9), {"3/optional": 1}, {"0/conv1d/filters": 2}, {"wider"}),
        (SIGNALS, (3, 9), {}, {"8/affine/units": 2}, {"wider"}),
        (SIGNALS, (3, 9), {}, {"3/optional": 1}, {"deeper"}),
        (SIGNALS, (3, 9), {}, {"4/optional": 1}, {"skip"}),
        (
            SKIPS,
            (3, 6, 6),
            {"0/skip_layers/2/from/1": 1, "0/skip_layers/3/from/2": 1},
            {"0/skip_layers/3/from/1": 1},
            {"skip"},
        ),
    ],
)
def test_a_wider_or_deeper_network_begins_with_computing_the_same(
    tree, in_shape, before, after, kinds
):
    found = pair(tree, in_shape, before, after)
    first, second = found.outputs()
    assert not torch.allclose(first, second, atol=1e-2)
    assert found.morphed() == kinds
    assert_preserved(found)


@pytest.mark.parametrize(
    ("tree", "in_shape", "before", "after", "reason"),
    [
        (MLP, (4,), {"0/affine/units": 2}, {"0/affine/units": 0}, "fewer units"),
        (MLP, (4,), TANH, {TIMES: 1}, "no identity"),  # what is negative would not come through
        (MLP, (4,), {}, {"1/or": 1}, "no identity"),
        (MLP, (4,), {}, {}, "differ in nothing that has weights"),
        (MLP, (4,), {TIMES: 2}, {TIMES: 1, NEW.format(1): 0}, "."),
        (SKIPS, (3, 6, 6), {}, {"0/skip_layers/2/from/1": 1}, "lacks what it took"),
        (SKIPS, (3, 6, 6), {}, {"0/skip_layers/3/from/1": 1}, "lacks what it took"),
    ],
)
def test_what_would_not_compute_the_same_is_no_morphism(tree, in_shape, before, after, reason):
    space = parse_space(tree)
    answers = [before, {**before, **after}]
    genotypes = [
        space.walk(lambda decision, given=given: given.get(decision.path, 0)) for given in answers
    ]
    with pytest.raises(NotMorphismError, match=reason):
        Pair(space, in_shape, *genotypes).morphed()


NORMED = {"concat": [UNITS, "layer_norm", "relu", {"affine": {"units": 3}}]}
RECURRENT = {
    "concat": [
        {"recurrent": {"cell": {"or": ["rnn_cell", "lstm_cell"]}, "units": 4}},
        "flatten",
        UNITS,
        "relu",
        {"affine": {"units": 3}},
    ]
}


def test_a_layer_it_does_not_know_may_stay_as_it_is_but_not_have_other_channels():
    found = pair(RECURRENT, (6, 4), {}, {"2/affine/units": 1})
    assert found.morphed() == {"wider"}
    assert_preserved(found)
    with pytest.raises(NotMorphismError, match="no layer whose channels may be others"):
        pair(NORMED, (4,), {}, {"0/affine/units": 1}).morphed()
    with pytest.raises(NotMorphismError, match="may be others"):
        pair(RECURRENT, (6, 4), {}, {"0/recurrent/or": 1, "2/affine/units": 1}).morphed()


def test_copied_units_and_divided_weights_by_hand():
    found = pair(MLP, (4,), {}, {"0/affine/units": 1})
    found.morphed()
    narrow, wide = (each.network.state_dict() for each in found.networks)
    assert torch.equal(wide["0.weight"][:3], narrow["0.weight"])
    assert torch.equal(wide["0.bias"][:3], narrow["0.bias"])
    last = {name: wide[name].clone() for name in ("0.weight", "0.bias")}
    copied = [
        next(unit for unit in range(3) if torch.equal(row, narrow["0.weight"][unit]))
        for row in last["0.weight"]
    ]
    name = next(name for name, value in wide.items() if value.shape == (3, 5))
    before = next(value for value in narrow.values() if value.shape == (3, 3))
    for unit in range(3):
        places = [place for place, each in enumerate(copied) if each == unit]
        torch.testing.assert_close(wide[name][:, places].sum(dim=1), before[:, unit])
        if len(places) > 1:  # of each output unit other shares: copies learn apart
            shares = wide[name][:, places] / before[:, [unit]]
            assert len(shares[:, 0].unique()) == 3
            assert ((shares > 0) & (shares < 1)).all()


def test_copies_of_a_unit_learn_apart():
    found = pair(MLP, (4,), {}, {"0/affine/units": 2})
    found.morphed()
    network = found.networks[1].network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    x, y = torch.randn(64, 4), torch.randint(3, (64,))
    before = [row for row in network[0].weight.detach().clone()]
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    after = network[0].weight.detach()
    pairs = [(i, j) for i in range(8) for j in range(i) if torch.equal(before[i], before[j])]
    assert len(pairs) >= 5
    apart = [(after[i] - after[j]).abs().max() > 1e-3 for i, j in pairs]
    assert sum(apart) >= len(pairs) // 2  # a unit that is dead for all examples learns nothing


@pytest.mark.parametrize(
    ("name", "in_shape", "expected"),
    [
        ("mlp", (1, 8, 8), 20),
        ("figure1", (1, 8, 8), 10),
        pytest.param("small_cnn", (3, 16, 16), 5, marks=pytest.mark.slow),
        pytest.param("nasrl_conv_small", (3, 8, 8), 15, marks=pytest.mark.slow),
        pytest.param("nasbench201", (3, 8, 8), 1, marks=pytest.mark.slow),
    ],
)
def test_whatever_is_found_in_a_shipped_space_is_preserved(name, in_shape, expected):
    space, rng = load_space(name), np.random.default_rng(0)
    networks = SpaceNetworks(space, in_shape, "float32", identifies=True)
    found = 0
    for number in range(30 if name != "nasbench201" else 4):
        parent = rollout(space, rng)
        try:
            child = morphing_mutation(space, parent, networks, rng)
        except SpaceError:
            continue
        if child is None:
            continue
        two = Pair(space, in_shape, parent, child, seed=number)
        assert two.morphed(seed=number)
        assert_preserved(two)
        found += 1
    assert found >= expected


@pytest.mark.parametrize(
    ("tree", "groups", "after"),
    [
        (MLP, {}, {TIMES: 1}),
        (MLP, {}, {"0/affine/units": 2}),
        (CNN, {"data": IMAGES}, {"0/conv2d/filters": 2}),
        (CNN, {"data": IMAGES}, {"3/optional": 1}),
        (CNN, {"data": IMAGES}, {"4/optional": 1}),
    ],
)
def test_a_child_trains_on_from_its_trained_parents_weights(tmp_path, tree, groups, after):
    trainer = make_trainer("trainer.max_epochs=3", space=tree, **groups)
    space = trainer.space
    parent = space.walk(lambda decision: 0)
    child = space.walk(lambda decision: after.get(decision.path, 0))
    trained = train_one(trainer.task(tmp_path, 0), Proposal(0, parent, seed=1))
    assert trained.error is None
    task = trainer.task(tmp_path, 0)
    proposal = Proposal(1, child, seed=2, sources=(Source(0, "morphism"),))
    frozen = space.freeze(child)
    own = anatomy(
        frozen,
        trainer.in_shape,
        lambda: first_network(frozen, trainer.in_shape, 2, trainer.config),
    )
    metrics = Borrowed.by(proposal, task, trainer.config).lend(frozen, own, trainer.in_shape, 2)
    assert metrics["inherited_share"] == 1
    before, _ = space.freeze(parent).build(trainer.in_shape)
    before.load_state_dict(checkpoint(tmp_path, 0, "best.ckpt")["state_dict"])
    x = torch.randn(20, *trainer.in_shape)
    torch.testing.assert_close(own.network.eval()(x), before.eval()(x), rtol=1e-5, atol=1e-5)
    went_on = train_one(task, proposal)
    assert (went_on.error, went_on.lacks, went_on.metrics["inherited_share"]) == (None, (), 1)
    assert went_on.reward >= 0.9 * trained.reward


def test_without_its_parents_weights_a_child_begins_as_ever(tmp_path):
    trainer = make_trainer("trainer.max_epochs=1", space=MLP)
    space, task = trainer.space, trainer.task(tmp_path, 0)
    child = space.walk(lambda decision: 0)
    own = train_one(task, Proposal(0, child, seed=2))
    lent = train_one(task, Proposal(1, child, seed=2, sources=(Source(9, "morphism"),)))
    assert (lent.error, lent.lacks, lent.reward) == (None, (9,), own.reward)
    assert lent.metrics["inherited_share"] == 0


def test_what_is_no_morphism_takes_what_fits_and_says_so(tmp_path):
    trainer = make_trainer("trainer.max_epochs=1", space=MLP)
    space, task = trainer.space, trainer.task(tmp_path, 0)
    wide, narrow = (
        space.walk(lambda d, a=a: a if d.path == "0/affine/units" else 0) for a in (2, 0)
    )
    train_one(task, Proposal(0, wide, seed=1))
    lent = train_one(task, Proposal(1, narrow, seed=2, sources=(Source(0, "morphism"),)))
    assert (lent.error, lent.lacks) == (None, ())
    assert lent.metrics["inherited_share"] < 1
    log = (tmp_path / "children" / "0001" / "log.txt").read_text()
    assert "this is no network morphism of its parent: 0/affine is another" in log
