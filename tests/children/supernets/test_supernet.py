"""Supernets that are trained, searched and gone on with: loop, executor, children, and kills."""

import dataclasses
import functools
import itertools
import json
import re
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.fit.batch_norm import batch_norms
from nasrunner.children.proxies.shared_scoring import SharedScoring
from nasrunner.children.supernets.covering import numbers_remembered
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.children.supernets.supernet import Supernet, covered, supernet_of
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, LostFileError, Proposal, Source, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.one_shot.paths import FairPaths, UniformPaths
from nasrunner.searchers.one_shot.single_path import SinglePathOneShot
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.recurrent.stateful import StatefulLayer
from tests.children.blobs import DIGITS, IMAGES, make_trainer
from tests.children.progress.test_inheriting import KilledError, run, serial
from tests.children.progress.test_studies import told
from tests.sampling import one_in
from tests.toys import train_one

UNITS = {"affine": {"units": {"oneof": [4, 8, 16]}}}
SPACE = {"concat": [UNITS, {"or": ["relu", "tanh"]}, UNITS, "relu", {"affine": {"units": 3}}]}
CONV = {"conv2d": {"filters": {"oneof": [2, 4]}, "kernel_size": {"oneof": [1, 3]}}}
NORMED = {"concat": [CONV, "batch_norm", "relu", "global_pool", {"affine": {"units": 3}}]}


def one_shot(*, is_fair=True, **arguments):
    inner = functools.partial(RegularizedEvolution, population_size=3, tournament_size=2)
    settings = {"num_estimates": 6, "num_trained": 2, "supernet": {"trainer.max_epochs": 6}}
    return SinglePathOneShot(searcher=inner, is_fair=is_fair, **settings, **arguments)


def study(folder, **changes):
    return run(folder, serial(), one_shot, "all", **changes)


def test_a_study_trains_a_supernet_estimates_its_networks_and_trains_the_best(tmp_path):
    study(tmp_path)
    proposed, outcomes = told(tmp_path, "proposed"), told(tmp_path, "outcome")
    kinds = [each.get("kind", "train") for each in proposed]
    assert kinds == ["supernet", *["estimate"] * 6, "train", "train"]
    assert {each["status"] for each in outcomes} == {"completed"}
    assert outcomes[0]["reward"] is None
    assert outcomes[0]["metrics"]["epochs"] == 6
    rewards = [each["reward"] for each in outcomes[1:7]]
    assert max(rewards) > 0.6  # of three classes
    scores = {tuple(p["genotype"].items()): r for p, r in zip(proposed[1:7], rewards, strict=True)}
    best = sorted(scores, key=lambda each: -scores[each])
    trained = [tuple(each["genotype"].items()) for each in proposed[7:]]
    assert [scores[each] for each in trained] == [scores[each] for each in best[:2]]
    assert len({*trained}) == 2


def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path):
    study(tmp_path / "whole")
    for survives in (2, 5, 6):
        with pytest.raises(KilledError):
            study(tmp_path / "parts", survives=survives)
    study(tmp_path / "parts")
    for kind in ("proposed", "outcome"):
        assert told(tmp_path / "parts", kind) == told(tmp_path / "whole", kind)


def task_of(folder, *overrides, space=NORMED, data=None, optimizer="adam", **changes):
    trainer = make_trainer(
        "trainer.max_epochs=6",
        "trainer.checkpoint=all",
        *overrides,
        space=space,
        data=data or IMAGES,
        optimizer=optimizer,
    )
    searcher = one_shot(space=trainer.space, seed=0, **changes)
    return trainer.task(folder, 0, searcher.policy())


SUPERNET = Proposal(0, {}, kind="supernet", seed=5)


def weights_in(folder, name="last.ckpt"):
    path = ChildFolder.of(folder, 0).path / name
    return torch.load(path, weights_only=True)["state_dict"]


EVERY_EPOCH = "trainer.checkpoint_every_s=0"
TANH = {"concat": [CONV, "batch_norm", "tanh", "global_pool", {"affine": {"units": 3}}]}
"""A space whose weights have the shapes that those of ``NORMED`` have."""


def interrupted_one(monkeypatch, task, steps=20):
    """Leaves the ``last.ckpt`` of a supernet that was interrupted, and returns its path."""
    draw, left = SharedWeights.network, iter(range(steps))

    def interrupted(shared, genotype):
        if shared._device.type != "meta" and shared._is_closed and next(left, None) is None:
            raise KeyboardInterrupt
        return draw(shared, genotype)

    monkeypatch.setattr(SharedWeights, "network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_one(task, SUPERNET)
    monkeypatch.undo()
    return ChildFolder.of(task.folder, 0).last


@one_in(2, 0, "is_fair", [True, False])
def test_an_interrupted_supernet_becomes_what_it_would_have_been(tmp_path, monkeypatch, is_fair):
    train_one(task_of(tmp_path / "whole", is_fair=is_fair), SUPERNET)
    task = task_of(tmp_path / "parts", EVERY_EPOCH, is_fair=is_fair)
    assert interrupted_one(monkeypatch, task).exists()
    outcome = train_one(task_of(tmp_path / "parts", EVERY_EPOCH, is_fair=is_fair), SUPERNET)
    assert outcome.status == "completed"
    whole, parts = (weights_in(tmp_path / each) for each in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"space": TANH}, "it belongs to a supernet of another space"),
        (
            {"is_fair": False},
            r"it belongs to another supernet of this space \(searcher: UniformPaths there, Fair",
        ),
    ],
)
def test_the_training_of_another_supernet_is_not_gone_on_with(
    tmp_path, monkeypatch, changes, reason
):
    theirs = interrupted_one(monkeypatch, task_of(tmp_path / "other", EVERY_EPOCH, **changes))
    own = ChildFolder.of(tmp_path / "own", 0)
    own.path.mkdir(parents=True)
    shutil.copy(theirs, own.last)
    outcome = train_one(task_of(tmp_path / "own", EVERY_EPOCH), SUPERNET)
    assert outcome.error is None
    told = rf"last.ckpt is not used, and training starts anew: {reason}"
    assert re.search(told, (own.path / "log.txt").read_text())
    train_one(task_of(tmp_path / "whole", EVERY_EPOCH), SUPERNET)
    whole, trained = (weights_in(tmp_path / each) for each in ("whole", "own"))
    assert all(torch.equal(whole[name], trained[name]) for name in whole)


def test_a_supernet_of_an_earlier_version_is_gone_on_with(tmp_path, monkeypatch):
    task = task_of(tmp_path, EVERY_EPOCH)
    path = interrupted_one(monkeypatch, task)
    checkpoint = torch.load(path, weights_only=True)
    assert json.loads(checkpoint["nasrunner"].pop("supernet"))["searcher"] == "FairPaths"
    torch.save(checkpoint, path)
    stopped_at = path.stat().st_mtime
    assert train_one(task, SUPERNET).error is None
    lines = ChildFolder.of(tmp_path, 0).curves()
    assert [line["epoch"] for line in lines if "train_loss" in line] == list(range(6))
    assert any(line["time"] < stopped_at for line in lines)


def test_weights_that_a_step_leaves_out_have_a_momentum(tmp_path):
    option = {"concat": ["relu", {"affine": {"units": 4}}]}
    space = {"concat": ["flatten", {"affine": {"units": 4}}, {"or": ["tanh", option]}, UNITS]}
    space = {"concat": [*space["concat"], {"affine": {"units": 3}}]}
    found = []
    for fused in ("true", "false"):
        task = task_of(tmp_path / fused, f"optimizer.fused={fused}", space=space, optimizer="sgd")
        assert train_one(task, SUPERNET).error is None
        found.append(weights_in(tmp_path / fused))
    assert found[0].keys() == found[1].keys()
    for name, weight in found[0].items():
        torch.testing.assert_close(weight, found[1][name])


def test_an_estimate_has_the_weights_of_the_supernet_and_statistics_of_its_own(
    tmp_path, monkeypatch
):
    task = task_of(tmp_path, "trainer.shared_batch_norm=3")
    train_one(task, SUPERNET)
    genotype = task.space.walk(lambda decision: 0)
    estimate = Proposal(1, genotype, kind="estimate", sources=(Source(0, "weights"),), seed=7)
    seen = {}
    validated = SharedScoring._validated

    def look(self, found, values, num_batches):
        inputs = []
        network = found.module.network
        network.register_forward_pre_hook(lambda layer, x: inputs.append(x[0].clone()))
        result = validated(self, found, values, num_batches)
        seen.update(network=network, inputs=inputs, data=found.data.data)
        return result

    monkeypatch.setattr(SharedScoring, "_validated", look)
    outcome = train_one(task, estimate)
    shared = {
        name.removeprefix("shared.weights."): value
        for name, value in weights_in(tmp_path, "best.ckpt").items()
    }
    network, inputs = seen["network"], seen["inputs"]
    kernel = next(v for k, v in shared.items() if "conv2d" in k and k.count("weight"))
    assert torch.equal(network[0].weight, kernel[:2, :, 1:2, 1:2])
    means = [network[0](x).mean((0, 2, 3)) for x in inputs[:3]]
    variances = [network[0](x).var((0, 2, 3)) for x in inputs[:3]]
    torch.testing.assert_close(network[1].running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(network[1].running_var, torch.stack(variances).mean(0))
    network.eval()
    with torch.no_grad():
        right = [
            (network(x).argmax(1) == y).float()
            for x, y in itertools.islice(seen["data"].val_dataloader(), 10)
        ]
    assert outcome.reward == pytest.approx(float(torch.cat(right).mean()))
    assert outcome.metrics["val_accuracy"] == outcome.reward


ESTIMATE = Proposal(1, {}, kind="estimate", sources=(Source(0, "weights"),), seed=7)


def test_nothing_is_estimated_without_the_weights_of_the_supernet(tmp_path):
    task = task_of(tmp_path)
    estimate = dataclasses.replace(ESTIMATE, genotype=task.space.walk(lambda decision: 0))
    with pytest.raises(LostFileError, match=r"0000 lacks the weights of the supernet, or they can"):
        train_one(task, estimate)


def test_nothing_is_estimated_with_the_weights_of_another_spaces_supernet(tmp_path):
    wider = {"conv2d": {"filters": {"oneof": [8, 16]}, "kernel_size": {"oneof": [5, 7]}}}
    task = task_of(tmp_path, "trainer.max_epochs=1")
    assert train_one(task, SUPERNET).error is None
    changed = task_of(tmp_path, space={"concat": [wider, *NORMED["concat"][1:]]})
    estimate = dataclasses.replace(ESTIMATE, genotype=changed.space.walk(lambda decision: 0))
    with pytest.raises(LostFileError, match=r"0000 holds the weights of a supernet of another spa"):
        train_one(changed, estimate)
    assert train_one(task, estimate).error is None


def headed(*first, units=8):
    hidden = {"affine": {"units": units}}
    return {"concat": [*first, "batch_norm", "global_pool", hidden, {"affine": {"units": 3}}]}


SIMILAR = {
    "fewer options": headed({"conv2d": {**CONV["conv2d"], "kernel_size": 3}}),
    "another decision": headed(CONV, {"optional": "relu"}),
    "a smaller layer": headed(CONV, units=4),
}


@pytest.mark.parametrize("space", SIMILAR.values(), ids=SIMILAR)
def test_a_supernet_of_a_similar_space_is_told_from_the_studys_own(tmp_path, space):
    task = task_of(tmp_path, "trainer.max_epochs=1", space=headed(CONV))
    assert train_one(task, SUPERNET).error is None
    changed = task_of(tmp_path, space=space)
    other, own = (
        dataclasses.replace(ESTIMATE, genotype=each.space.walk(lambda decision: 0))
        for each in (changed, task)
    )
    with pytest.raises(LostFileError, match=r"0000 holds the weights of a supernet of another spa"):
        train_one(changed, other)
    assert train_one(task, own).error is None


def test_a_supernet_beyond_the_memory_is_refused_before_its_study(tmp_path):
    trainer = make_trainer(space=NORMED, data=IMAGES, is_rehearsed=False)
    trainer.max_memory_gb = 1e-6
    trainer.task(tmp_path, 0, one_shot(space=trainer.space, seed=0).policy())
    with pytest.raises(SpaceError, match=r"takes at least .* more than limits\.memory_gb=1e-06 "):
        trainer.rehearsal()()


OTHERS = {
    "another searcher": ([], {"is_fair": False}, r"searcher: UniformPaths there, FairPaths here"),
    "other settings": (["optimizer.lr=0.013"], {}, r"optimizer.lr: 0.013 there, 0.\d+ here"),
    "another length": (["trainer.max_epochs=2"], {}, r"trainer.max_epochs: 2 there, 1 here"),
}


@pytest.mark.parametrize(("overrides", "arguments", "told"), OTHERS.values(), ids=OTHERS)
def test_another_supernet_of_the_same_space_is_told_from_the_studys_own(
    tmp_path, overrides, arguments, told
):
    task = task_of(tmp_path / "own", "trainer.max_epochs=1")
    other = task_of(tmp_path / "other", "trainer.max_epochs=1", *overrides, **arguments)
    assert [train_one(each, SUPERNET).error for each in (task, other)] == [None, None]
    own, theirs = (ChildFolder.of(tmp_path / each, 0).best for each in ("own", "other"))
    kept = own.read_bytes()
    shutil.copy(theirs, own)
    estimate = dataclasses.replace(ESTIMATE, genotype=task.space.walk(lambda decision: 0))
    with pytest.raises(
        LostFileError, match=rf"another supernet of this space \({told}.*until its own best.ckpt is"
    ):
        train_one(task, estimate)
    own.write_bytes(kept)
    assert train_one(task, estimate).error is None


def test_a_network_of_mixtures_is_no_supernet_that_estimates_are_made_with(tmp_path):
    task = task_of(tmp_path, "trainer.max_epochs=1")
    assert train_one(task, SUPERNET).error is None
    best = ChildFolder.of(tmp_path, 0).best
    stored = torch.load(best, weights_only=True)
    stored["state_dict"] = {**stored["state_dict"], "alphas.0/or": torch.zeros(2)}
    torch.save(stored, best)
    estimate = dataclasses.replace(ESTIMATE, genotype=task.space.walk(lambda decision: 0))
    with pytest.raises(LostFileError, match="weights of a network that no architectures are drawn"):
        train_one(task, estimate)


@pytest.mark.parametrize(
    ("overrides", "space", "reason"),
    [
        (["trainer.proxies=[flops]"], NORMED, r"trainer.proxies=\['flops'\]: estimates with the"),
        (
            [],
            {"hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.2]}}, **NORMED},
            "space.hyperparameters: optimizer.lr are searched, and a supernet is trained with one",
        ),
    ],
)
def test_what_no_supernet_can_be_trained_with_is_refused_first(overrides, space, reason):
    trainer = make_trainer(*overrides, space=space, data=IMAGES, is_rehearsed=False)
    for proposal in one_shot(space=trainer.space, seed=0).asks_for:
        with pytest.raises(ConfigError, match=reason):
            trainer.check(proposal)


def test_an_estimate_needs_weights_that_are_kept_and_a_supernet_for_itself_does_not():
    trainer = make_trainer("trainer.checkpoint=none", space=NORMED, data=IMAGES, is_rehearsed=False)
    supernet, estimate = one_shot(space=trainer.space, seed=0).asks_for
    assert (supernet.kind, estimate.kind) == ("supernet", "estimate")
    trainer.check(supernet)
    with pytest.raises(
        ConfigError, match=r"trainer.checkpoint=none keeps no weights of a supernet"
    ):
        trainer.check(estimate)


def test_last_weights_of_a_supernet_are_estimated_with(tmp_path):
    task = task_of(tmp_path, "trainer.checkpoint=last")
    train_one(task, SUPERNET)
    genotype = task.space.walk(lambda decision: 0)
    estimate = Proposal(1, genotype, kind="estimate", sources=(Source(0, "weights"),), seed=7)
    outcome = train_one(task, estimate)
    assert (outcome.status, outcome.error) == ("completed", None)
    assert not ChildFolder.of(tmp_path, 0).best.exists()


def test_the_weights_that_are_kept_are_those_of_its_end(tmp_path):
    task = task_of(tmp_path, "optimizer.lr=0.3", "trainer.max_epochs=4")
    outcome = train_one(task, SUPERNET)
    curve = [line["val_accuracy"] for line in ChildFolder.of(tmp_path, 0).curves()]
    assert max(curve) > curve[-1]
    assert outcome.metrics["val_accuracy"] == curve[-1]
    best, last = weights_in(tmp_path, "best.ckpt"), weights_in(tmp_path)
    weights = [name for name in best if name.startswith("shared.weights.")]
    assert weights
    assert all(torch.equal(best[name], last[f"network.{name}"]) for name in weights)


@pytest.mark.parametrize(("given", "expected"), [("0.25", 0.25), ("null", 1e-5)])
def test_a_supernet_normalizes_with_the_epsilon_of_its_settings(tmp_path, given, expected):
    task = task_of(tmp_path, f"trainer.batch_norm_epsilon={given}")
    net, _ = supernet_of(task, task.config, 0).build((3, 6, 6))
    network = net.shared.network(task.space.walk(lambda decision: 0))
    assert [each.eps for each in batch_norms(network)] == [expected]


@pytest.mark.parametrize("kind", [FairPaths, UniformPaths])
def test_evaluation_draws_alike_and_changes_no_training(kind):
    space = parse_space(NORMED)
    drawn = {}
    for is_evaluated in (True, False):
        weights, _ = covered(space, (3, 6, 6), "slices", 0)
        net, genotypes = Supernet(weights, kind(space), 0), []
        draw = weights.network
        weights.network = lambda g, draw=draw, seen=genotypes: seen.append(g) or draw(g)
        x = torch.randn(4, 3, 6, 6)
        training, evaluations = [], []
        for _ in range(5):
            for mode, drawn_there in ((True, training), (False, evaluations)):
                net.train(mode)
                for _ in range(3 if mode or is_evaluated else 0):  # of rows of two options
                    net(x)
                drawn_there.append(list(genotypes))
                genotypes.clear()
        drawn[is_evaluated] = training
        assert evaluations == [evaluations[0]] * 5
    assert drawn[True] == drawn[False]
    assert drawn[True] != [drawn[True][0]] * 5


def test_impossible_architectures_do_not_fail_a_supernet():
    sizes = {"filters": {"oneof": [2, 4]}, "kernel_size": {"oneof": [3, 5]}, "padding": "valid"}
    layers = [{"conv2d": sizes}, {"conv2d": sizes}, "global_pool", {"affine": {"units": 3}}]
    space = parse_space({"concat": layers})  # two kernels of 5, the first visited, need 9 x 9
    weights, out_shape = covered(space, (3, 8, 8), "slices", 0)
    assert out_shape == (3,)
    assert [w.shape[2:] for w in weights.parameters() if w.dim() == 4] == [(5, 5), (5, 5)]


@pytest.mark.parametrize(
    ("fidelity", "reason"),
    [
        (
            {"width": 0.5},
            "^searcher.supernet: width must be the same for a supernet and for the networks",
        ),
        ({"trainer.shared_batch_norm": 3}, "got 3 for it alone; legal are numbers of its training"),
        (
            {"nonsense": 3},
            "^searcher.supernet: the child's configuration has no 'nonsense'",
        ),
    ],
)
def test_a_supernet_has_no_number_that_its_networks_lack(fidelity, reason):
    trainer = make_trainer(space=NORMED, data=IMAGES)
    with pytest.raises(ConfigError, match=reason):
        trainer.check(Proposal(0, {}, kind="supernet", fidelity=fidelity))


@pytest.mark.parametrize("key", ["split_seed", "test_examples", "validation_examples"])
def test_a_supernet_trains_on_nothing_that_its_networks_are_measured_on(key):
    trainer = make_trainer(space=NORMED, data=DIGITS, is_rehearsed=False)
    own = DIGITS[key]
    trainer.check(Proposal(0, {}, kind="supernet", fidelity={f"data.{key}": own}))
    other = Proposal(0, {}, kind="supernet", fidelity={f"data.{key}": own + 1})
    reason = f"^searcher.supernet: data.{key}={own + 1} holds out other examples than {own},"
    with pytest.raises(ConfigError, match=reason):
        trainer.check(other)


def test_what_a_network_costs_is_measured_of_its_estimate_and_the_loss_of_training_refused(
    tmp_path,
):
    trainer = make_trainer(space=NORMED, data=IMAGES)
    trainer.objectives = ("latency_ms", "val_accuracy")
    task = trainer.task(tmp_path, 0, UniformPaths(trainer.space))
    assert train_one(task, SUPERNET).error is None
    genotype = trainer.space.walk(lambda _: 0)
    estimate = Proposal(1, genotype, kind="estimate", sources=(Source(0, "weights"),), seed=7)
    assert train_one(task, estimate).metrics["latency_ms"] > 0
    trainer.objectives = ("train_loss", "val_accuracy")
    with pytest.raises(
        ConfigError, match=r"objectives.train_loss: an estimate with shared weights"
    ):
        trainer.check(estimate)


@pytest.mark.parametrize("kind", ["supernet", "train"])
def test_a_cheaper_training_that_is_never_validated_is_refused(kind):
    trainer = make_trainer("trainer.check_val_every_n_epoch=3", space=NORMED, data=IMAGES)
    trainer.check(Proposal(0, {}, kind=kind, fidelity={"trainer.max_epochs": 3}))
    with pytest.raises(
        ConfigError, match=r"max_epochs=2 ends training before val_accuracy is meas"
    ):
        trainer.check(Proposal(0, {}, kind=kind, fidelity={"trainer.max_epochs": 2}))


def test_a_reward_that_no_estimate_has_is_refused():
    rewarded = ("task.reward.metric=train_loss", "task.reward.mode=min")
    trainer = make_trainer(*rewarded, space=NORMED, data=IMAGES)
    trainer.check(SUPERNET)
    estimate = Proposal(1, {}, kind="estimate", sources=(Source(0, "weights"),))
    with pytest.raises(ConfigError, match=r"task.reward.metric=train_loss: an estimate with shar"):
        trainer.check(estimate)


def test_the_data_of_a_supernet_are_tried_before_it_is_trained():
    trainer = make_trainer(space=NORMED, data=IMAGES)
    trainer.check(Proposal(0, {}, kind="supernet", fidelity={"data": 0.1}))
    with pytest.raises(
        ConfigError, match=r"data.batch_size must be at most 9.*searcher.supernet: data=0.1"
    ):
        trainer.rehearsal()()


def curve_of(folder, *overrides, epsilon=1e-5):
    normed = [
        {"batch_norm": {"eps": epsilon}} if e == "batch_norm" else e for e in NORMED["concat"]
    ]
    outcome = train_one(task_of(folder, *overrides, space={"concat": normed}), SUPERNET)
    return outcome.metrics["val_loss"], outcome.metrics["train_loss"]


def test_a_supernet_is_trained_with_the_epsilon_of_the_setting(tmp_path):
    given = curve_of(tmp_path / "set", "trainer.batch_norm_epsilon=2.5")
    assert given == curve_of(tmp_path / "space", epsilon=2.5) != curve_of(tmp_path / "neither")


class Counting(nn.Module):
    """A user's module that remembers the mean of its inputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.batches += 1
            self.mean += (x.detach().mean() - self.mean) / self.batches
        return x - self.mean


class Summing(nn.Module):
    """A user's module that adds the batches of a pass."""

    def __init__(self):
        super().__init__()
        self.reset_state()

    def reset_state(self):
        self.sum = 0.0

    def forward(self, x):
        self.sum = self.sum + x.detach()
        return self.sum + 0 * x


def test_each_batch_of_a_supernet_begins_without_what_others_left(tmp_path):
    space = parse_space({"concat": [{"_target_": f"{__name__}.Summing"}, UNITS]})
    weights, _ = covered(space, (4,), "slices", 0)
    supernet = Supernet(weights, UniformPaths(space), 0)
    x = torch.ones(5, 4)
    found = {tuple(supernet(x)[0].tolist()) for _ in range(12)}
    assert len(found) == 3  # of the three widths
    supernet(x[:2])


def recurrent_supernet():
    cell = {"enas_cell": {"nodes": 3, "activations": ["tanh", "relu"]}}
    body = {"recurrent": {"cell": cell}}
    given = {"vocabulary": 9, "units": 4, "tied": True, "slowness": 0.5, "body": body}
    space = parse_space({"language_model": given})
    weights, _ = covered(space, (5,), "slices", 0)
    return Supernet(weights, UniformPaths(space), 0).train()


def test_layers_that_are_kept_hold_no_outputs():
    supernet = recurrent_supernet()
    ran = []
    for _ in range(4):
        _, network = supernet.draw(supernet.policy, np.random.default_rng(0))
        with supernet.set_to(network):
            supernet(torch.arange(10).view(2, 5) % 9)
        ran += [each for each in network.modules() if isinstance(each, StatefulLayer)]
    assert [layer.state for layer in ran] == [None] * 4


def test_what_layers_of_the_drawn_network_add_to_the_loss_is_the_supernets():
    supernet = recurrent_supernet()
    weights = supernet.shared
    supernet(torch.arange(10).view(2, 5) % 9)
    supernet.take_penalty().backward()
    assert supernet.take_penalty() is None
    trained = [key for key, each in weights.weights.items() if each.grad is not None]
    assert any("from_input" in key for key in trained)
    supernet.eval()(torch.zeros(2, 5, dtype=torch.long))
    assert supernet.take_penalty() is None


def test_what_a_users_module_remembers_is_of_the_network_that_is_estimated(tmp_path, monkeypatch):
    own, last = {"_target_": f"{__name__}.Counting"}, {"affine": {"units": 3}}
    task = task_of(tmp_path, "trainer.shared_batch_norm=4", space={"concat": [UNITS, own, last]})
    assert train_one(task, SUPERNET).error is None
    estimate = Proposal(1, task.space.walk(lambda _: 0), kind="estimate", seed=7)
    estimate = dataclasses.replace(estimate, sources=(Source(0, "weights"),))
    validated, networks = SharedScoring._validated, []

    def look(self, found, *given):
        networks.append(found.module.network)
        return validated(self, found, *given)

    monkeypatch.setattr(SharedScoring, "_validated", look)
    assert train_one(task, estimate).error is None
    (counting,) = (each for each in networks[0].modules() if isinstance(each, Counting))
    assert counting.batches == 4
    assert counting.mean != 0


def test_weights_beyond_the_memory_are_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr("nasrunner.children.supernets.covering.memory_gb", lambda: 1e-7)
    outcome = train_one(task_of(tmp_path), SUPERNET)
    assert outcome.status == "failed"
    # Of NORMED's largest layers, each number with its gradient and Adam's two moments.
    numbers = (4 * 3 * 3 * 3 + 4) + 2 * 4 + (4 * 3 + 3)
    assert outcome.error.endswith(
        f"a supernet's training takes at least {numbers * 16 / 1e9:.4g} GB, more than the 1e-07 GB "
        f"that this machine has: {numbers} parameters, each 4 times (as weight, as gradient, in "
        "the optimizer's state); legal: a smaller space, or more memory"
    )


def test_a_limit_of_memory_holds_for_supernets(tmp_path):
    trainer = make_trainer(space=SPACE, max_memory_gb=1e-6)
    policy = one_shot(space=trainer.space, seed=0).policy()
    outcome = train_one(trainer.task(tmp_path, 0, policy), SUPERNET)
    assert outcome.status == "failed"
    assert "GB, more than limits.memory_gb=1e-06 (null: what this machine has): " in outcome.error
    assert not ChildFolder.of(tmp_path, 0).best.exists()


class NeedsClosure(torch.optim.SGD):
    """A user's optimizer that takes no step without a closure."""

    def step(self, closure=None):
        assert closure is not None
        closure()
        return super().step()


@pytest.mark.parametrize(
    ("optimizer", "remembered"),
    [
        ({"_target_": "torch.optim.Adam", "lr": 0.1}, 2),
        ({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}, 1),
        ({"_target_": "torch.optim.SGD", "lr": 0.1}, 0),
        ({"_target_": "torch.optim.LBFGS", "lr": 0.1}, 0),
        ({"_target_": "torch.optim.RMSprop", "lr": 0.1, "momentum": 0.9}, 2),
        ({"_target_": f"{__name__}.NeedsClosure", "lr": 0.1, "momentum": 0.9}, 1),
    ],
    ids=str,
)
def test_what_an_optimizer_remembers_is_counted(optimizer, remembered):
    assert numbers_remembered({"optimizer": optimizer}, construct) == remembered


def test_networks_without_weights_have_no_supernet(tmp_path):
    space = parse_space({"concat": [{"or": ["relu", "tanh"]}]})
    with pytest.raises(SpaceError, match="0 cannot be built, and the others have no weights"):
        covered(space, (4,), "slices", 0)


def put_back(network, is_training):
    """Sets the mode of each module as Lightning does after a validation, without ``train``."""
    for layer in network.modules():
        layer.training = is_training


def test_dropout_drops_again_once_a_validation_has_ended():
    space = parse_space({"concat": [{"dropout": {"p": 0.5}}, UNITS]})
    weights, _ = covered(space, (40,), "slices", 0)
    supernet = Supernet(weights, UniformPaths(space), 0).train()
    x = torch.ones(2, 40)

    def has_dropped():
        """Whether the same network says another thing in a second call."""
        network = weights.network({"1/affine/units": 0})
        return not torch.equal(network(x), network(x))

    assert has_dropped()
    supernet.eval()
    assert not has_dropped()
    put_back(supernet, is_training=True)
    assert has_dropped()
    put_back(supernet, is_training=False)
    assert not has_dropped()
