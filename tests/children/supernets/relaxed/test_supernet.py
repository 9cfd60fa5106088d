"""Supernets of all options that are trained, derived from, and gone on with: studies and kills."""

import contextlib
import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.supernets.relaxed.learner import GradientLearner
from nasrunner.children.supernets.relaxed.mixtures import Mixture
from nasrunner.children.supernets.relaxed.supernet import AllOptions
from nasrunner.children.supernets.supernet import supernet_of
from nasrunner.core import ConfigError, Outcome, Proposal, SpaceError
from nasrunner.core.machine.child_folder import DERIVED, ChildFolder
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.space import living
from nasrunner.searchers.one_shot.darts import Darts
from nasrunner.searchers.one_shot.gdas import Gdas
from nasrunner.spaces.cells.path_dropout import DropsPaths
from nasrunner.spaces.language.parsing import parse_space
from tests.children.blobs import DIGITS, IMAGES, make_trainer
from tests.children.progress.test_inheriting import KilledError, run, serial
from tests.children.progress.test_studies import told
from tests.children.rehearsal.test_rehearsing import ON_TRAIN_LOSS, UNVALIDATED
from tests.children.supernets.test_supernet import put_back
from tests.sampling import one_in
from tests.toys import train_one

OPTION = {"concat": ["relu", {"conv2d": {"filters": "same", "kernel_size": 3}}, "batch_norm"]}
EDGE = {
    "or": [
        "zero",
        "empty",
        OPTION,
        {"max_pool": {"kernel_size": 3, "stride": 1, "padding": "same"}},
    ]
}
SPACE = {
    "concat": [
        {"conv2d": {"filters": 4, "kernel_size": 3}},
        {"cell": {"nodes": 3, "edge": EDGE}},
        "global_pool",
        {"affine": {"units": 3}},
    ]
}
EPOCHS = r"trainer.max_epochs: the temperature .* got -1; legal: >= 1, also in searcher.supernet"
STEPS = r"^searcher.supernet: trainer.max_steps=40 may end training before the temperature"
SUPERNET = Proposal(0, {}, kind="supernet", seed=5)
ADAM = {"learning_rate": 0.05, "betas": (0.5, 0.999), "weight_decay": 1e-3}
OTHERS = {"affine": False, "takes_zero": False, "max_skips": None, "num_sampled": 0}
OTHERS |= {"supernet": {"trainer.max_epochs": 6}}


def darts(order="first", **arguments):
    return Darts(order=order, **{**ADAM, **OTHERS, **arguments})


def second(**arguments):
    return darts("second", **arguments)


def gdas(**arguments):
    temperatures = {"first_temperature": 10.0, "last_temperature": 0.1}
    return Gdas(**{**temperatures, **ADAM, **OTHERS, **arguments})


def trainer_of(*overrides, space=SPACE, data=IMAGES, optimizer="sgd"):
    settings = ("trainer.max_epochs=6", "trainer.checkpoint=all", "optimizer.lr=0.05")
    return make_trainer(*settings, *overrides, space=space, data=data, optimizer=optimizer)


def task_of(folder, searcher=darts, *overrides, space=SPACE, **arguments):
    trainer = trainer_of(*overrides, space=space)
    made = searcher(space=trainer.space, seed=0, **arguments)
    return trainer.task(folder, 0, made.policy())


def built(searcher=darts, **arguments):
    """An untrained supernet, and its task."""
    task = task_of("nowhere", searcher, **arguments)
    network, _ = supernet_of(task, task.config, 0).build((3, 6, 6))
    return network


def networks_of(space):
    return SpaceNetworks(space, (3, 6, 6), "float32", identifies=True)


def study(folder, searcher, survives=None, max_children=3):
    return run(
        folder,
        serial(),
        functools.partial(searcher, num_sampled=2),
        survives=survives,
        trainer=trainer_of(),
        max_children=max_children,
    )


@one_in(3, 2, "searcher", [darts, second, gdas])
def test_a_study_trains_a_supernet_and_what_it_has_found(tmp_path, searcher):
    study(tmp_path, searcher)
    proposed, outcomes = told(tmp_path, "proposed"), told(tmp_path, "outcome")
    kinds = [each.get("kind", "train") for each in proposed]
    assert kinds[0] == "supernet"
    assert set(kinds[1:]) == {"train"}
    assert {each["status"] for each in outcomes} == {"completed"}
    assert outcomes[0]["reward"] is None
    found = outcomes[0]["found"]
    assert len(found) == 3
    networks, different = networks_of(trainer_of().space), {}
    for genotype in found:
        different.setdefault(networks.identity(genotype), genotype)
    assert [each["genotype"] for each in proposed[1:]] == list(different.values())
    assert max(each["reward"] for each in outcomes[1:]) > 0.6  # of three classes
    folder = ChildFolder.of(tmp_path, 0)
    derived = [json.loads(line) for line in folder.text(DERIVED).splitlines()]
    assert [each["epoch"] for each in derived] == list(range(6))
    assert derived[-1]["genotype"] == found[0]
    assert "zero" not in derived[-1]["text"]
    entropies = [line["architecture_entropy"] for line in folder.curves()]
    assert len(entropies) == 6
    assert entropies[0] < 1
    assert entropies[-1] < entropies[0]
    skips = [list(each["genotype"].values()).count(1) / 3 for each in derived]
    assert [line["skip_share"] for line in folder.curves()] == pytest.approx(skips)


@pytest.mark.slow
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path):
    study(tmp_path / "whole", darts)
    for survives in (2, 3):
        with pytest.raises(KilledError):
            study(tmp_path / "parts", darts, survives=survives)
    study(tmp_path / "parts", darts)
    for kind in ("proposed", "outcome"):
        assert told(tmp_path / "parts", kind) == told(tmp_path / "whole", kind)


def weights_in(folder):
    return torch.load(ChildFolder.of(folder, 0).path / "last.ckpt", weights_only=True)["state_dict"]


EVERY_EPOCH = "trainer.checkpoint_every_s=0"


def interrupted_one(monkeypatch, task):
    """Leaves the ``last.ckpt`` of a supernet that was interrupted, and returns its path."""
    step, left = GradientLearner.before_step, iter(range(20))

    def interrupted(learner, training, trials):
        if next(left, None) is None:
            raise KeyboardInterrupt
        step(learner, training, trials)

    monkeypatch.setattr(GradientLearner, "before_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_one(task, SUPERNET)
    monkeypatch.undo()
    return ChildFolder.of(task.folder, 0).last


@pytest.mark.parametrize(
    ("searcher", "space", "reason"),
    [
        (darts, {"concat": [*SPACE["concat"][:2], "relu", *SPACE["concat"][2:]]}, "another space"),
        (second, SPACE, "another supernet of this space (order: second there, first here)"),
        (gdas, SPACE, "another supernet of this space (temperatures.0: 10.0 there, 1.0 here)"),
    ],
)
def test_the_training_of_another_supernet_is_not_gone_on_with(
    tmp_path, monkeypatch, searcher, space, reason
):
    other = task_of(tmp_path / "other", searcher, EVERY_EPOCH, space=space)
    theirs = interrupted_one(monkeypatch, other)
    own = ChildFolder.of(tmp_path / "own", 0)
    own.path.mkdir(parents=True)
    shutil.copy(theirs, own.last)
    outcome = train_one(task_of(tmp_path / "own", darts, EVERY_EPOCH), SUPERNET)
    assert outcome.error is None
    log = (own.path / "log.txt").read_text()
    assert "last.ckpt is not used, and training starts anew: it belongs to " in log
    assert reason in log
    assert [line["epoch"] for line in own.curves() if "train_loss" in line] == list(range(6))
    whole = train_one(task_of(tmp_path / "whole", darts, EVERY_EPOCH), SUPERNET)
    assert list(outcome.found) == list(whole.found)


@one_in(3, 1, "searcher", [darts, second, gdas])
def test_an_interrupted_supernet_becomes_what_it_would_have_been(tmp_path, monkeypatch, searcher):
    whole = train_one(task_of(tmp_path / "whole", searcher), SUPERNET)
    task = task_of(tmp_path / "parts", searcher, EVERY_EPOCH)
    assert interrupted_one(monkeypatch, task).exists()
    parts = train_one(task_of(tmp_path / "parts", searcher, EVERY_EPOCH), SUPERNET)
    assert parts.status == "completed"
    assert list(parts.found) == list(whole.found)
    states = [weights_in(tmp_path / each) for each in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    texts = [ChildFolder.of(tmp_path / each, 0).text(DERIVED) for each in ("whole", "parts")]
    assert texts[0] == texts[1]


def test_both_loops_take_the_same_steps(tmp_path):
    found = []
    for fast in ("true", "false"):
        loop = f"trainer.fast_loop={fast}"
        assert train_one(task_of(tmp_path / fast, darts, loop), SUPERNET).error is None
        found.append(weights_in(tmp_path / fast))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_options_weights_are_none_of_the_weights_optimizer(tmp_path):
    train_one(task_of(tmp_path), SUPERNET)
    checkpoint = torch.load(ChildFolder.of(tmp_path, 0).path / "last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    names = [name for name in checkpoint["state_dict"] if "alphas" not in name]
    assert len(group["params"]) == sum("shared.weights" in name for name in names)
    assert len(checkpoint["state_dict"]) - len(names) == 3  # edges


def alphas_of(network, **by_edge):
    """Sets α of edges, named ``edge_01``: one number for each option."""
    with torch.no_grad():
        for edge, values in by_edge.items():
            path = f"1/cell/{edge[-2]}-{edge[-1]}/or"
            network.of(path).copy_(torch.tensor(values))


def genotype_of(*options):
    return {f"1/cell/{e}/or": k for e, k in zip(("0-1", "0-2", "1-2"), options, strict=True)}


def test_the_strongest_option_is_derived_without_zeros_or_with_them():
    strengths = {"edge_01": [3.0, 0, 2, 1], "edge_02": [0.0, 1, 2, 3], "edge_12": [0.0, 5, 2, 1]}
    for takes_zero, first in ((False, 2), (True, 0)):
        network = built(takes_zero=takes_zero)
        alphas_of(network, **strengths)
        assert network.learner.likeliest() == genotype_of(first, 3, 1)
        assert network.learner.found() == [genotype_of(first, 3, 1)]


def test_a_derived_architecture_of_zeros_alone_is_refused(tmp_path, monkeypatch):
    network = built(takes_zero=True)
    zeros = [9.0, 0, 0, 0]
    alphas_of(network, edge_01=[0.0, 0, 0, 9], edge_02=zeros, edge_12=zeros)
    with pytest.raises(SpaceError, match="nothing of its input reaches the output of the derived"):
        network.learner.found()
    monkeypatch.setattr(GradientLearner, "likeliest", lambda _: genotype_of(0, 0, 0))
    outcome = train_one(task_of(tmp_path, takes_zero=True), SUPERNET)
    assert outcome.status == "failed"
    assert "in a new study: searcher.takes_zero=false, or other settings" in outcome.error


def test_what_is_drawn_is_found_beside_the_derived_one():
    network = built(num_sampled=4)
    alphas_of(network, edge_01=[0.0, 99, 0, 0], edge_02=[0.0, 0, 99, 0])
    found = network.learner.found()
    assert len(found) == 4  # of the third edge's options
    assert {tuple(each.values())[:2] for each in found} == {(1, 2)}
    assert found[0] == network.learner.likeliest()
    assert network.learner.found() == found


def test_too_many_skips_end_the_training_and_the_architecture_before_is_found(
    tmp_path, monkeypatch
):
    derived = iter([genotype_of(2, 2, 2), genotype_of(1, 2, 2), genotype_of(1, 1, 2)])
    now: list[dict[str, int]] = []
    after_epoch = GradientLearner.after_epoch

    def next_epoch(learner, trials):
        now.append(next(derived))
        return after_epoch(learner, trials)

    monkeypatch.setattr(GradientLearner, "after_epoch", next_epoch)
    monkeypatch.setattr(GradientLearner, "likeliest", lambda _: now[-1])
    outcome = train_one(task_of(tmp_path, max_skips=1), SUPERNET)
    assert outcome.status == "completed"
    shares = [line["skip_share"] for line in ChildFolder.of(tmp_path, 0).curves()]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3])
    assert list(outcome.found) == [genotype_of(1, 2, 2)]


def test_where_every_derived_architecture_skips_too_often_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(GradientLearner, "likeliest", lambda _: genotype_of(1, 1, 2))
    outcome = train_one(task_of(tmp_path, max_skips=1), SUPERNET)
    assert outcome.metrics["epochs"] == 1
    assert outcome.metrics["found_skips"] == 2
    assert list(outcome.found) == [genotype_of(1, 1, 2)]
    for most, end in ((1, "more than searcher.max_skips=1: each that was"), (2, "1 architecture")):
        searcher = darts(space=trainer_of().space, seed=0, max_skips=most)
        searcher.register(SUPERNET)
        searcher.learn(outcome)
        assert end in searcher.why_done
        assert ("2 skips" in searcher.why_done) == (most == 1)


def test_first_alphas_noise_and_draws_have_random_numbers_of_their_own(monkeypatch):
    begun = []

    def look(*numbers):
        rng = seeded(*numbers)
        begun.append(rng.bit_generator.state["state"]["state"])
        return rng

    for module in ("supernet", "learner"):
        monkeypatch.setattr(f"nasrunner.children.supernets.relaxed.{module}.seeded", look)
    built(gdas, num_sampled=3).learner.found()
    assert len(begun) == len(set(begun)) == 3


def test_a_draw_runs_one_option_and_gives_every_option_a_gradient():
    network = built(gdas).train()
    ran = []
    for layer in network.network().modules():
        if isinstance(layer, Mixture):
            for place, option in enumerate(layer.options):
                option.register_forward_hook(lambda *_, at=(layer.paths[0], place): ran.append(at))
    alphas = network.parameters_of_options()
    for alpha in alphas:
        alpha.requires_grad_(True)
    x = torch.randn(4, 3, 6, 6)
    counts = np.zeros(4)
    for _ in range(40):
        ran.clear()
        network(x).square().sum().backward()
        assert len(dict(ran)) == len(ran) == 3  # one of each edge
        for _, place in ran:
            counts[place] += 1
    assert (counts > 10).all()
    assert all((alpha.grad != 0).all() for alpha in alphas)
    ran.clear()
    network.eval()(x)
    assert dict(ran) == {p: int(network.of(p).argmax()) for p in genotype_of(0, 0, 0)}


def test_a_draw_counts_one_and_has_the_gradient_of_its_soft_weight(monkeypatch):
    network = built(gdas).train()
    noise = np.array([0.0, 1.0, 3.0, -1.0])

    class Fixed:
        def gumbel(self, size):
            return noise[:size]

    network._rng = Fixed()
    network.num_trained = 2
    alpha = network.of("1/cell/0-1/or").requires_grad_(True)
    (weights,) = network._drawn([alpha])
    assert weights.chosen == 2
    assert float(weights.values[2].detach()) == pytest.approx(1.0)
    (found,) = torch.autograd.grad(weights.values[2], [alpha])
    temperature = 10.0 + 2 / 5 * (0.1 - 10.0)  # the third epoch of six
    soft = ((alpha.log_softmax(0) + torch.tensor(noise).float()) / temperature).softmax(0)
    (exact,) = torch.autograd.grad(soft[2], [alpha])
    torch.testing.assert_close(found, exact)


def test_what_cannot_be_searched_by_gradients_is_refused_before_training(tmp_path):
    wide = {"concat": [{"conv2d": {"filters": {"oneof": [2, 4]}, "kernel_size": 1}}, "flatten"]}
    with pytest.raises(SpaceError, match="'0/conv2d/filters' cannot be kept open: a mixture adds"):
        task_of(tmp_path, space={"concat": [*wide["concat"], {"affine": {"units": 3}}]})
    with pytest.raises(SpaceError, match="the space has one architecture, and a mixture is of"):
        task_of(tmp_path, space={"concat": ["flatten", {"affine": {"units": 3}}]})
    trainer = trainer_of(optimizer="adam")
    policy = second(space=trainer.space, seed=0).policy()
    with pytest.raises(ConfigError, match=r"order=second looks ahead by a step of SGD, and the"):
        trainer.task(tmp_path, 0, policy)
    for precision in ("16-mixed", "16"):
        with pytest.raises(
            ConfigError, match=rf"trainer\.precision={precision} scales the loss of"
        ):
            task_of(tmp_path, gdas, f"trainer.precision={precision}")
    endless = task_of(tmp_path, gdas, "trainer.max_epochs=-1", "trainer.max_time=00:00:00:01")
    outcome = train_one(endless, SUPERNET)
    assert "trainer.max_epochs: the temperature that options are drawn with goes" in outcome.error


DEAD = {
    "on the only path": (["zero", "zero"], "of the space: all options of '0/or' are zeros; legal"),
    "inside of options": ([{"concat": ["relu", "zero"]}, "zero"], "all options of '0/or' are zer"),
}


@pytest.mark.parametrize(("options", "told"), DEAD.values(), ids=DEAD)
def test_a_space_of_zeros_alone_is_refused_before_training(tmp_path, options, told):
    space = {"concat": [{"or": options}, "flatten", {"affine": {"units": 3}}]}
    with pytest.raises(SpaceError, match=told):
        task_of(tmp_path, space=space)


def test_a_most_of_skips_is_refused_where_nothing_is_a_skip(tmp_path):
    space = {"concat": [{"or": ["relu", "tanh"]}, "flatten", {"affine": {"units": 3}}]}
    with pytest.raises(ConfigError, match=r"searcher.max_skips=0 ends .* no decision .*legal: nul"):
        task_of(tmp_path, space=space, max_skips=0)
    task_of(tmp_path, space=space)


def test_different_networks_that_are_alive_are_drawn_beside_the_derived_one():
    network = built(num_sampled=60)
    found = network.learner.found()
    space = network.space
    assert len({networks_of(space).identity(each) for each in found}) == len(found) > 20
    assert not any(living(space.freeze(each)).network.is_zero for each in found)
    searcher = darts(space=trainer_of().space, seed=0, num_sampled=60)
    searcher.register(SUPERNET)
    searcher.learn(Outcome(SUPERNET, "completed", found=found))
    assert (
        f"{len(found)} architectures; for searcher.num_sampled=60 no further" in searcher.why_done
    )


@pytest.mark.parametrize("searcher", [darts, gdas])
def test_weights_beyond_the_memory_are_refused_before_the_study(tmp_path, searcher):
    trainer = trainer_of()
    trainer.max_memory_gb = 1e-6
    trainer.task(tmp_path, 0, searcher(space=trainer.space, seed=0).policy())
    with pytest.raises(SpaceError, match=r"takes at least .* more than limits\.memory_gb=1e-06 "):
        trainer.rehearsal()()


def test_weights_beyond_the_memory_are_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr("nasrunner.children.supernets.covering.memory_gb", lambda: 1e-7)
    outcome = train_one(task_of(tmp_path), SUPERNET)
    assert outcome.status == "failed"
    assert "parameters, each 3 times (as weight, as gradient, in the" in outcome.error
    monkeypatch.undo()
    limited = dataclasses.replace(task_of(tmp_path), max_memory_gb=1e-6)
    assert "more than limits.memory_gb=1e-06 (null:" in train_one(limited, SUPERNET).error


class Remembering(nn.Module):
    """A user's layer that counts the batches since it was told to forget."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def reset_state(self):
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return x * self.seen


def test_layers_forget_the_batches_before():
    remembering = {"_target_": f"{__name__}.Remembering"}
    space = {"concat": [remembering, {"or": ["relu", "tanh"]}, "flatten", {"affine": {"units": 3}}]}
    network = built(space=space).eval()
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(network(x), network(x))


BLOCKS = {
    "concat": [
        {
            "cell_stack": {
                "normal": {
                    "block_cell": {
                        "blocks": 2,
                        "inputs": "distinct",
                        "operation": {"or": ["zero", OPTION, "empty"]},
                    }
                },
                "filters": 4,
                "times": 1,
                "stages": 1,
            }
        },
        "global_pool",
        {"affine": {"units": 3}},
    ]
}


def test_a_block_keeps_the_two_edges_whose_strongest_operations_are_the_strongest():
    network = built(space=BLOCKS)
    cell = "0/cell_stack/normal/block_cell"
    strengths = {  # of the option, the identity, and zeros, which count for nothing
        "2/0": [1.0, 0, 0],
        "2/1": [0.0, 1, 9],
        "3/0": [2.0, 0, 1],
        "3/1": [1.0, 1, 9],  # the weakest, for zeros take nearly all of it
        "3/2": [0.0, 1, 0],
    }
    with torch.no_grad():
        for edge, values in strengths.items():
            network.of(f"{cell}/{edge}/or").copy_(torch.tensor(values))
    derived = {
        f"{cell}/2/0/or": 0,
        f"{cell}/2/1/or": 1,
        f"{cell}/3/from": 1,  # 0 and 2
        f"{cell}/3/0/or": 0,
        f"{cell}/3/2/or": 1,
    }
    assert network.learner.likeliest() == derived
    assert network.learner.skips.number_in(derived) == 2


@one_in(2, 0, "searcher", [darts, gdas])
def test_cells_that_keep_some_of_their_edges_are_searched(tmp_path, searcher):
    outcome = train_one(task_of(tmp_path, searcher, space=BLOCKS, num_sampled=3), SUPERNET)
    assert outcome.error is None
    assert len(outcome.found) == 4
    space = trainer_of(space=BLOCKS).space
    assert all(space.freeze(each).build((3, 6, 6))[1] == (3,) for each in outcome.found)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_paths_are_dropped_as_often_where_the_architecture_learns(tmp_path, monkeypatch, fast_loop):
    (stack, *rest) = BLOCKS["concat"]
    stack = {"cell_stack": {**stack["cell_stack"], "path_dropout": 0.6}}
    before_step, probability = GradientLearner.before_step, DropsPaths._probability
    found = {True: [], False: []}
    is_learning = False

    def learning(learner, training, trials):
        nonlocal is_learning
        is_learning = True
        before_step(learner, training, trials)
        is_learning = False

    def noted(layer):
        found[is_learning].append(probability(layer))
        return found[is_learning][-1]

    monkeypatch.setattr(GradientLearner, "before_step", learning)
    monkeypatch.setattr(DropsPaths, "_probability", noted)
    space = {"concat": [stack, *rest]}
    loop = f"trainer.fast_loop={fast_loop}", "trainer.max_epochs=3"
    outcome = train_one(task_of(tmp_path, darts, *loop, space=space), SUPERNET)
    assert outcome.error is None
    assert sorted(set(found[True])) == pytest.approx([0.0, 0.2, 0.4])
    assert found[True] == found[False]


def language_model(cell, activations=("tanh", "relu")):
    body = {"recurrent": {"cell": {cell: {"nodes": 3, "activations": [*activations]}}}}
    sizes = {"vocabulary": 10, "tied": True, "units": 6}
    return parse_space({"language_model": {**sizes, "body": body}})


def recurrent(cell, searcher=darts, **arguments):
    space = language_model(cell, **arguments)
    relaxation = searcher(space=space, seed=0).policy()
    network, shape = AllOptions(space, relaxation, "slices", 0, 6).make((5,))
    assert shape == (5, 10)
    return network


def test_a_decision_of_one_option_has_no_share_in_the_entropy():
    for activations in (["tanh"], ["tanh", "relu"]):
        network = recurrent("enas_cell", activations=activations)
        for alpha in network.parameters_of_options():
            alpha.data.zero_()
        assert network.learner.after_epoch(None)["architecture_entropy"] == pytest.approx(1.0)


def test_a_node_keeps_the_edge_of_the_strongest_activation():
    network = recurrent("darts_rnn")
    cell = "language_model/recurrent/darts_rnn"
    strengths = {  # tanh, relu, and zeros, which count for nothing
        "1/from/0": [0.0, 1, 9],
        "2/from/0": [1.0, 0, 9],
        "2/from/1": [1.0, 0, 0],
        "3/from/0": [0.0, 0, 0],
        "3/from/1": [0.0, 0, 1],
        "3/from/2": [0.0, 3, 1],
    }
    assert len(network.parameters_of_options()) == len(strengths)
    with torch.no_grad():
        for edge, values in strengths.items():
            network.of(f"{cell}/{edge}/activation").copy_(torch.tensor(values))
    assert network.learner.likeliest() == {
        f"{cell}/1/activation": 1,
        f"{cell}/2/source": 1,
        f"{cell}/2/activation": 0,
        f"{cell}/3/source": 2,
        f"{cell}/3/activation": 1,
    }


@pytest.mark.parametrize("cell", ["darts_rnn", "enas_cell"])
@pytest.mark.parametrize("searcher", [darts, gdas])
def test_all_recurrent_cells_at_once_learn_how_much_each_counts(cell, searcher):
    network = recurrent(cell, searcher).train()
    tokens = torch.randint(0, 10, (4, 5))
    for alpha in network.parameters_of_options():
        alpha.requires_grad_(True)
    for _ in range(8):  # options are drawn by gdas
        network(tokens).square().mean().backward()
    assert all(alpha.grad.abs().sum() > 0 for alpha in network.parameters_of_options())
    found = network.learner.found()
    (derived,) = found
    child, _ = language_model(cell).freeze(derived).build((5,))
    assert child(tokens).shape == (4, 5, 10)


def test_dropout_of_options_drops_again_once_a_validation_has_ended():
    dropping = {"concat": [{"dropout": {"p": 0.5}}, {"affine": {"units": 3}}]}
    space = {"concat": ["flatten", {"or": [dropping, {"affine": {"units": 3}}]}]}
    network = built(space=space).train()
    x = torch.ones(2, 3, 6, 6)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    put_back(network, is_training=True)
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "Unvalidated",
            r"has no val_dataloader\(\), but the architecture of a supernet learns from",
        ),
        ("EmptyValidation", "has no validation batch, but the architecture of a supernet learns"),
    ],
)
def test_data_that_no_architecture_can_learn_from_are_refused_first(tmp_path, name, reason):
    data = {**UNVALIDATED, "_target_": f"tests.children.odd_data.{name}"}
    units = {"affine": {"units": 3}}
    trainer = make_trainer(
        *ON_TRAIN_LOSS, data=data, space={"concat": [units, {"or": ["relu", "tanh"]}, units]}
    )
    trainer.task(tmp_path, 0, darts(space=trainer.space, seed=0).policy())
    with pytest.raises(ConfigError, match=reason):
        trainer.rehearsal()()


def test_temperatures_need_a_number_of_epochs_before_training(tmp_path):
    trainer = trainer_of("trainer.max_epochs=-1", "trainer.max_steps=40")
    for kind, allowed in ((darts, True), (gdas, False)):
        trainer.task(tmp_path, 0, kind(space=trainer.space, seed=0).policy())
        expected = contextlib.nullcontext() if allowed else pytest.raises(ConfigError, match=EPOCHS)
        with expected:
            trainer.check(SUPERNET)
        fidelity = {"trainer.max_epochs": 2}
        expected = contextlib.nullcontext() if allowed else pytest.raises(ConfigError, match=STEPS)
        with expected:
            trainer.check(dataclasses.replace(SUPERNET, fidelity=fidelity))
        fidelity["trainer.max_steps"] = -1
        trainer.check(dataclasses.replace(SUPERNET, fidelity=fidelity))


def test_options_may_be_weighed_by_more_validation_examples_but_not_by_those_of_the_test(tmp_path):
    trainer = make_trainer(space=SPACE, data=DIGITS, is_rehearsed=False)
    trainer.task(tmp_path, 0, darts(space=trainer.space, seed=0).policy())
    more = {"data.validation_examples": 700}
    trainer.check(dataclasses.replace(SUPERNET, fidelity=more))
    with pytest.raises(ConfigError, match=r"data.test_examples=10 holds out other examples than"):
        trainer.check(dataclasses.replace(SUPERNET, fidelity={**more, "data.test_examples": 10}))


def test_overfitting_a_few_batches_is_refused_before_training(tmp_path):
    trainer = trainer_of("trainer.overfit_batches=2")
    trainer.task(tmp_path, 0)  # children alone may
    for kind in (darts, gdas):
        policy = kind(space=trainer.space, seed=0).policy()
        with pytest.raises(ConfigError, match=r"^trainer.overfit_batches=2 puts training examples"):
            trainer.task(tmp_path, 0, policy)


def test_a_supernet_that_nothing_is_estimated_with_needs_no_weights_on_disk(tmp_path):
    trainer = trainer_of("trainer.checkpoint=none", "trainer.max_epochs=1")
    trainer.objectives = ("train_loss",)
    trainer.check(SUPERNET)
    policy = darts(space=trainer.space, seed=0).policy()
    outcome = train_one(trainer.task(tmp_path, 0, policy), SUPERNET)
    assert (outcome.error, len(outcome.found)) == (None, 1)
