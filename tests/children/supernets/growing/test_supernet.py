"""Children that grow in supernets: what α learns, whole studies, weights handed on, and kills."""

import contextlib
import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.supernets.growing.supernet import GrowingSupernet
from nasrunner.children.supernets.stored import supernet_known_by, why_another
from nasrunner.children.supernets.supernet import supernet_of
from nasrunner.core import ConfigError, Proposal, Source, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.relaxation import ForwardGrowth
from nasrunner.core.space import smallest
from nasrunner.searchers.one_shot.petridish import Petridish
from tests.children.blobs import BLOBS, IMAGES, make_trainer
from tests.children.progress.test_inheriting import KilledError, run, serial
from tests.children.progress.test_studies import told
from tests.toys import train_one

OPTION = {"concat": ["relu", {"conv2d": {"filters": "same", "kernel_size": 3}}, "batch_norm"]}
SPACE = {
    "concat": [
        {"conv2d": {"filters": 4, "kernel_size": 3}},
        {"cell": {"nodes": 3, "edge": {"or": ["zero", "empty", OPTION, "tanh"]}}},
        "global_pool",
        {"affine": {"units": 3}},
    ]
}
BENT = {"concat": [{"affine": {"units": 16}}, "relu", {"affine": {"units": 4}}]}
TASK = {"concat": [{"or": ["empty", {"affine": {"units": 4}}, BENT]}, {"affine": {"units": 3}}]}
GROWTH = {"num_joined": 1, "max_parts": 100, "learning_rate": 0.1, "penalty": 1e-3}
SETTINGS = {**GROWTH, "cost": "parameters", "is_random": False}
NO_SCALER = SimpleNamespace(trainer=SimpleNamespace(precision_plugin=None), averaged=list)


def petridish(**arguments):
    return Petridish(**{**SETTINGS, "supernet": {"trainer.max_epochs": 2}, **arguments})


def trainer_of(*overrides, space=SPACE, data=IMAGES, **arguments):
    settings = ("trainer.max_epochs=3", "trainer.checkpoint=all")
    return make_trainer(*settings, *overrides, space=space, data=data, **arguments)


def supernet(space=TASK, data=BLOBS, **growth):
    task = trainer_of(space=space, data=data).task("nowhere", 0)
    task = dataclasses.replace(
        task, policy=ForwardGrowth(**{**GROWTH, "is_random": False, **growth})
    )
    genotype = smallest(task.space, np.random.default_rng(0))
    network, _ = supernet_of(task, task.config, 0, genotype).build(tuple(data["in_shape"]))
    assert isinstance(network, GrowingSupernet)
    return network.train()


def trained(network, batch, steps=150):
    """After steps of SGD on one batch, α's between them as in a study."""
    x, y = batch
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        network.learner.before_step(batch, NO_SCALER)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.learner.after_epoch(NO_SCALER)
    return network


def scales(seed=0):
    """Two classes that differ in how far their examples are from zero alone."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(200) % 2
    x = torch.randn(200, 4, generator=generator) * torch.tensor([0.3, 2.0])[y].unsqueeze(1)
    return x, y


def test_the_part_that_the_task_needs_has_the_highest_alpha():
    """No linear map tells the classes apart, so that a linear part is of no use."""
    network = trained(supernet(), scales())
    linear, bent = network.alpha_P.tolist()
    assert abs(bent) > 2 * abs(linear)
    (found,) = network.learner.found()
    assert list(found.values()) == [2]
    assert network.learner.likeliest() == found


def test_a_step_of_alpha_is_one_of_gradient_descent_and_shrinks_it():
    network = supernet(learning_rate=0.5, penalty=0.2)
    with torch.no_grad():
        network.alpha_P.copy_(torch.tensor([1.0, -0.05]))
    network.learner.note(torch.tensor([0.3, -0.2]))
    network.learner.note(torch.tensor([0.1, 0.0]))  # of another batch of the same step
    network.learner.before_step(None, NO_SCALER)
    network.learner.before_step(None, NO_SCALER)  # which has no batches
    # 1 - 0.5 * 0.4 = 0.8, then 0.1 nearer to zero; -0.05 + 0.1 = 0.05 is nearer than that
    assert network.alpha_P.tolist() == pytest.approx([0.7, 0.0])
    metrics = network.learner.after_epoch(NO_SCALER)
    assert metrics == {"num_parts": 2.0, "num_useful": 1.0}
    assert [list(each.values()) for each in network.learner.found()] == [[1]]


def test_parts_go_on_learning_after_a_validation():
    """Lightning puts the mode back of each module that it knows, and calls no ``train``."""
    network, (x, y) = supernet(), scales()
    modes = {each: each.training for each in network.modules()}
    network.eval()
    network(x)
    for each, mode in modes.items():
        each.training = mode
    before = network.alpha_P.tolist()
    nn.functional.cross_entropy(network(x), y).backward()
    network.learner.before_step((x, y), NO_SCALER)
    assert all(one != other for one, other in zip(network.alpha_P.tolist(), before, strict=True))


def test_without_a_useful_part_nothing_joins():
    network = supernet()
    with torch.no_grad():
        network.alpha_P.zero_()
    assert network.learner.found() == []
    assert network.learner.likeliest() == network.genotype


def test_of_several_parts_one_of_each_decision_joins_and_then_fewer():
    network = supernet(SPACE, IMAGES, num_joined=2)
    paths = [each.path for each in network.parts]
    assert len(paths) == 6  # two parts of each edge, which passes its input on
    with torch.no_grad():
        network.alpha_P.copy_(torch.tensor([0.1, -3.0, 2.0, 2.5, 0.3, 0.2]))
    both, one = network.learner.found()
    changed = [
        {path for path in paths if each[path] != network.genotype[path]} for each in (both, one)
    ]
    assert changed == [{paths[0], paths[2]}, {paths[0]}]


def test_parts_are_drawn_where_there_are_more_or_for_comparison():
    few = supernet(SPACE, IMAGES, max_parts=3)
    assert len(few.parts) == 3
    assert set(few.parts) < set(supernet(SPACE, IMAGES).parts)
    random = supernet(SPACE, IMAGES, is_random=True)
    with torch.no_grad():
        random.alpha_P.zero_()  # by which none would join
    assert len(random.learner.found()) == 1


def study(folder, survives=None, max_children=4, overrides=(), **arguments):
    return run(
        folder,
        serial(),
        functools.partial(petridish, **arguments),
        survives=survives,
        trainer=trainer_of(*overrides),
        max_children=max_children,
    )


def test_a_study_grows_its_children_by_supernets(tmp_path):
    summary = study(tmp_path)
    proposed, outcomes = told(tmp_path, "proposed"), told(tmp_path, "outcome")
    kinds = [each.get("kind", "train") for each in proposed]
    assert kinds == ["train", *["supernet", "train"] * 3]
    assert [each["error"] for each in outcomes] == [None] * 7
    assert summary.counts["completed"] == 4
    for index in (1, 3, 5):
        parent = proposed[index]["sources"][0]["child"]
        assert proposed[index]["sources"] == [{"child": parent, "what": "weights"}]
        assert proposed[index]["genotype"] == proposed[parent]["genotype"]
        assert outcomes[index]["reward"] is None
        assert outcomes[index]["metrics"]["epochs"] == 2
        assert outcomes[index]["metrics"]["inherited_share"] == 1.0
        assert outcomes[index]["found"] == [proposed[index + 1]["genotype"]]
        child, before = proposed[index + 1], proposed[parent]["genotype"]
        assert child["parent"] == parent
        assert [each["child"] for each in child["sources"]] == [index, parent]
        assert outcomes[index + 1]["metrics"]["inherited_share"] == 1.0
        changed = [path for path in before if before[path] != child["genotype"][path]]
        assert len(changed) == 1
        parts = [line["num_parts"] for line in ChildFolder.of(tmp_path, index).curves()]
        assert parts == [parts[0]] * 2


def test_a_grown_child_begins_with_what_the_supernet_has_trained(tmp_path):
    study(tmp_path, max_children=1)
    task = trainer_of().task(tmp_path, 0, ForwardGrowth(**GROWTH, is_random=False))
    genotype = told(tmp_path, "proposed")[0]["genotype"]
    weights = (Source(0, "weights"),)
    whole = Proposal(1, genotype, kind="supernet", sources=weights, seed=3)
    found = train_one(task, whole).found[0]
    child = Proposal(2, found, sources=(Source(1, "weights"), *weights), seed=4)
    still = dataclasses.replace(task, config=with_rate(task.config, 0.0))
    assert train_one(still, child).metrics["inherited_share"] == 1.0
    first = torch.load(ChildFolder.of(tmp_path, 2).last, weights_only=True)["state_dict"]
    stored = torch.load(ChildFolder.of(tmp_path, 1).best, weights_only=True)["state_dict"]
    tensors = [each for each in stored.values() if isinstance(each, torch.Tensor)]
    own = [
        name for name, each in first.items() if each.is_floating_point() and "running" not in name
    ]
    for name in own:
        assert any(torch.equal(first[name], other) for other in tensors), name
    assert len(own) == len({*own}) > 6  # those of the part among them


def with_rate(config, rate):
    return {**config, "optimizer": {**config["optimizer"], "lr": rate}}


@pytest.mark.parametrize("survives", [[3], pytest.param([4, 5], marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path, survives):
    study(tmp_path / "whole", max_children=3)
    for each in survives:
        with pytest.raises(KilledError):
            study(tmp_path / "parts", survives=each, max_children=3)
    study(tmp_path / "parts", max_children=3)
    for kind in ("proposed", "outcome"):
        assert told(tmp_path / "parts", kind) == told(tmp_path / "whole", kind)


def test_an_interrupted_supernet_becomes_what_it_would_have_been(tmp_path, monkeypatch):
    genotype = smallest(trainer_of().space, np.random.default_rng(0))
    proposal = Proposal(0, genotype, kind="supernet", seed=5)
    growth = ForwardGrowth(**GROWTH, is_random=False)

    def task(folder, *overrides):
        return trainer_of(*overrides).task(folder, 0, growth)

    train_one(task(tmp_path / "whole"), proposal)
    every_epoch = "trainer.checkpoint_every_s=0"
    forward, left = GrowingSupernet.forward, iter(range(20))

    def interrupted(network, x):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return forward(network, x)

    monkeypatch.setattr(GrowingSupernet, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_one(task(tmp_path / "parts", every_epoch), proposal)
    monkeypatch.undo()
    assert ChildFolder.of(tmp_path / "parts", 0).last.exists()
    assert train_one(task(tmp_path / "parts", every_epoch), proposal).status == "completed"
    whole, parts = (
        torch.load(ChildFolder.of(tmp_path / each, 0).last, weights_only=True)["state_dict"]
        for each in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_the_training_of_another_supernet_is_not_gone_on_with(tmp_path):
    layers = SPACE["concat"]
    spaces = {"own": SPACE, "other": {"concat": [*layers[:-1], "tanh", layers[-1]]}}
    growth = ForwardGrowth(**GROWTH, is_random=False)
    told = []
    for name, space in spaces.items():
        trainer = trainer_of(space=space)
        genotype = smallest(trainer.space, np.random.default_rng(0))
        proposal = Proposal(0, genotype, kind="supernet", seed=5)
        task = trainer.task(tmp_path / name, 0, growth)
        told.append(dict(supernet_known_by(task, proposal)))
    own, other = told
    assert why_another(own, tuple(own.items())) is None
    assert why_another(other, tuple(own.items())) == "a supernet of another space"
    assert {name for name in own if own[name] != other[name]} == {"space"}
    grown = {**own, "child": "of another genotype"}
    assert "another supernet of this space (child: " in why_another(grown, tuple(own.items()))


def test_a_space_with_nothing_to_grow_by_is_refused_before_training():
    plain = {"concat": [{"or": ["relu", "tanh"]}, "global_pool", {"affine": {"units": 3}}]}
    growth = ForwardGrowth(**GROWTH, is_random=False)
    with pytest.raises(SpaceError, match="the space has no decision that adds a part"):
        trainer_of(space=plain).task("nowhere", 0, growth)
    pooled = {"optional": {"max_pool": {"kernel_size": 2}}}
    resized = {"concat": [pooled, "global_pool", {"affine": {"units": 3}}]}
    with pytest.raises(SpaceError, match="the space has no decision that adds a part"):
        trainer_of(space=resized).task("nowhere", 0, growth)


def test_searched_hyperparameters_are_refused():
    rates = {"hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.01]}}, **SPACE}
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        trainer_of(space=rates).task("nowhere", 0, ForwardGrowth(**GROWTH, is_random=False))


def test_a_child_with_its_parts_beyond_the_memory_is_refused_before_any_is_trained(tmp_path):
    trainer = trainer_of(is_rehearsed=False)
    policy = petridish(space=trainer.space, seed=0).policy()
    for limit_gb, is_refused in ((1e-6, True), (1.0, False)):
        trainer.max_memory_gb = limit_gb
        trainer.task(tmp_path, 0, policy)
        told = pytest.raises(SpaceError, match=r"more than limits\.memory_gb=1e-06 \(null: wh")
        with told if is_refused else contextlib.nullcontext():
            trainer.rehearsal()()
