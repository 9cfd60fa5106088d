"""Supernets of all options that are trained, derived from, and gone on with: studies and kills."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.supernets.relaxed.learner import GradientLearner
from nasrunner.children.supernets.relaxed.mixtures import Mixture
from nasrunner.children.supernets.relaxed.supernet import RelaxedSupernet
from nasrunner.children.supernets.supernet import supernet_of
from nasrunner.core import ConfigError, Proposal, SpaceError, StudyInfo
from nasrunner.core.machine.child_folder import DERIVED, ChildFolder
from nasrunner.searchers.one_shot.darts import Darts
from nasrunner.searchers.one_shot.gdas import Gdas
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.children.blobs import IMAGES, make_trainer
from tests.children.progress.test_inheriting import KilledError, serial
from tests.children.progress.test_studies import told
from tests.toys import RULES, train_one

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


def study(folder, searcher, survives=None, max_children=3):
    folder.mkdir(exist_ok=True)
    trainer = trainer_of()
    with Ledger(folder / "ledger.jsonl") as ledger:
        found = Study(
            space=trainer.space,
            searcher=searcher(space=trainer.space, seed=0, num_sampled=2),
            trainer=trainer,
            executor=serial(),
            trackers=[],
            ledger=ledger,
            rules=dataclasses.replace(RULES, max_children=max_children),
            info=StudyInfo("gradients", folder, {}, max_children, {}),
            networks=SpaceNetworks(trainer.space, (3, 6, 6), "float32", identifies=True),
        )
        if survives is not None:
            append, left = ledger.append, iter(range(survives))

            def dies(*arguments, **more):
                append(*arguments, **more)
                if next(left, None) is None:
                    raise KilledError

            ledger.append = dies
        found.run()


@pytest.mark.parametrize("searcher", [darts, second, gdas])
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
    assert [each["genotype"] for each in proposed[1:]] == found
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


@pytest.mark.parametrize("searcher", [darts, second, gdas])
def test_an_interrupted_supernet_becomes_what_it_would_have_been(tmp_path, monkeypatch, searcher):
    whole = train_one(task_of(tmp_path / "whole", searcher), SUPERNET)
    step, left = GradientLearner.before_step, iter(range(20))

    def interrupted(learner, training, trials):
        if next(left, None) is None:
            raise KeyboardInterrupt
        step(learner, training, trials)

    every_epoch = "trainer.checkpoint_every_s=0"
    monkeypatch.setattr(GradientLearner, "before_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_one(task_of(tmp_path / "parts", searcher, every_epoch), SUPERNET)
    monkeypatch.undo()
    assert ChildFolder.of(tmp_path / "parts", 0).last.exists()
    parts = train_one(task_of(tmp_path / "parts", searcher, every_epoch), SUPERNET)
    assert parts.status == "completed"
    assert list(parts.found) == list(whole.found)
    states = [weights_in(tmp_path / each) for each in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    texts = [ChildFolder.of(tmp_path / each, 0).text(DERIVED) for each in ("whole", "parts")]
    assert texts[0] == texts[1]
