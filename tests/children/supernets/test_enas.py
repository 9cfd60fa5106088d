"""Supernets in turns with a controller that learns: loop, executors, children, and kills."""

import itertools
import json
import math

import pytest
import torch

from nasrunner.children.supernets.policy_learner import PolicyLearner
from nasrunner.children.supernets.trials import Trials
from nasrunner.core import Genotype, Proposal
from nasrunner.core.machine.child_folder import DERIVED, PROBABILITIES, ChildFolder
from nasrunner.executors.local import LocalExecutor
from nasrunner.searchers.one_shot.enas import Enas
from nasrunner.searchers.one_shot.learnt_paths import LearntPaths
from tests.children.blobs import BLOBS, make_trainer
from tests.children.progress.test_inheriting import KilledError, run, serial
from tests.children.progress.test_studies import told
from tests.children.supernets.test_supernet import SUPERNET, weights_in
from tests.sampling import one_in
from tests.toys import train_one

DEAF = {"named": {"label": "deaf", "module": "zero"}}
WAYS = {"or": ["empty", DEAF, {"affine": {"units": 8}}]}
SPACE = {"concat": [WAYS, "relu", {"affine": {"units": 3}}]}
"""One of three ways is to hear nothing."""


def enas(**changes):
    arguments = {
        "controller_steps": 4,
        "controller_batch": 3,
        "learns": True,
        "num_estimates": 6,
        "num_trained": 2,
        "supernet": {"trainer.max_epochs": 4},
        "hidden_units": 6,
        "num_layers": 1,
        "init_range": 0.1,
        "temperature": 5.0,
        "tanh_constant": 2.5,
        "learning_rate": 0.05,
        "baseline_decay": 0.9,
        "entropy_bonus": 0.0001,
        "skip_weight": 0.0,
        "skip_share": 0.4,
    }
    return Enas(**{**arguments, **changes})


def study(folder, executor=None, **changes):
    return run(folder, executor or serial(), enas, "all", **changes)


def task_of(folder, *overrides, space=SPACE, epochs=5, **changes):
    settings = (f"trainer.max_epochs={epochs}", "trainer.checkpoint=all", *overrides)
    trainer = make_trainer(*settings, space=space, data=BLOBS)
    searcher = enas(space=trainer.space, seed=0, **changes)
    return trainer.task(folder, 0, searcher.policy())


def test_what_the_controller_draws_in_the_end_is_estimated_and_the_best_is_trained(tmp_path):
    study(tmp_path)
    proposed, outcomes = told(tmp_path, "proposed"), told(tmp_path, "outcome")
    kinds = [each.get("kind", "train") for each in proposed]
    assert kinds == ["supernet", *["estimate"] * 6, "train", "train"]
    assert {each["status"] for each in outcomes} == {"completed"}
    found = outcomes[0]["found"]
    assert [each["genotype"] for each in proposed[1:7]] == found
    assert len({json.dumps(each) for each in found}) == 6
    rewards = [each["reward"] for each in outcomes[1:7]]
    best = sorted(range(6), key=lambda place: -rewards[place])[:2]
    assert [each["genotype"] for each in proposed[7:]] == [found[place] for place in best]


@pytest.mark.slow
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path):
    study(tmp_path / "whole")
    for survives in (2, 5, 6):
        with pytest.raises(KilledError):
            study(tmp_path / "parts", survives=survives)
    study(tmp_path / "parts")
    for kind in ("proposed", "outcome"):
        assert told(tmp_path / "parts", kind) == told(tmp_path / "whole", kind)


@pytest.mark.slow
def test_workers_train_what_the_study_itself_would(tmp_path):
    study(tmp_path / "here")
    study(tmp_path / "there", LocalExecutor(2, 1, None, 0, [], None, 1, ["pytorch_lightning"]))
    for kind in ("proposed", "outcome"):
        there, here = (
            sorted(told(tmp_path / each, kind), key=lambda event: event["index"])
            for each in ("there", "here")
        )
        assert there == here


@one_in(2, 1, "moment", ["in a step of the weights", "in a step of the controller"])
@one_in(2, 0, "is_fast", [True, False])
def test_an_interrupted_supernet_becomes_what_it_would_have_been(
    tmp_path, monkeypatch, moment, is_fast
):
    loop = f"trainer.fast_loop={str(is_fast).lower()}"
    whole = train_one(task_of(tmp_path / "whole", loop), SUPERNET)
    assert whole.error is None
    if moment == "in a step of the weights":
        kind, name, survives = LearntPaths, "draw", 3 * (12 + 6 + 2) + 3
    else:
        kind, name, survives = PolicyLearner, "_reward", 3 * 12 + 7
    call, left = getattr(kind, name), iter(range(survives))

    def interrupted(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return call(*arguments)

    every_epoch = "trainer.checkpoint_every_s=0"
    monkeypatch.setattr(kind, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_one(task_of(tmp_path / "parts", loop, every_epoch), SUPERNET)
    monkeypatch.undo()
    folders = [ChildFolder.of(tmp_path / each, 0) for each in ("whole", "parts")]
    assert len(folders[1].text(DERIVED).splitlines()) == 3
    parts = train_one(task_of(tmp_path / "parts", loop, every_epoch), SUPERNET)
    assert parts.found == whole.found
    weights = [weights_in(tmp_path / each) for each in ("whole", "parts")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    for name in (DERIVED, PROBABILITIES):
        assert folders[0].text(name) == folders[1].text(name)
    clocks = ("time",)
    curves = [
        [{k: v for k, v in line.items() if k not in clocks} for line in each.curves()]
        for each in folders
    ]
    assert curves[0] == curves[1]


def learnt(folder, **changes):
    """The curves of a supernet, and what was derived after each of its epochs."""
    settings = {"controller_steps": 20, "controller_batch": 6, "num_estimates": 3, **changes}
    outcome = train_one(task_of(folder, epochs=12, **settings), SUPERNET)
    assert outcome.error is None
    found = ChildFolder.of(folder, 0)
    lines = [json.loads(line) for line in found.text(DERIVED).splitlines()]
    return outcome, found.curves(), lines


def is_deaf(genotype: Genotype) -> bool:
    return genotype["0/or"] == 1


@pytest.mark.slow
def test_the_controller_learns_to_avoid_what_is_bad(tmp_path):
    outcome, curves, derived = learnt(tmp_path)
    entropies = [line["policy_entropy"] for line in curves]
    assert entropies[0] > 1.0  # of ln 3 nats
    assert entropies[-1] < 0.9
    assert [line["epoch"] for line in derived] == list(range(12))
    assert not is_deaf(derived[-1]["genotype"])
    told = [line["decisions"]["0/or"] for line in ChildFolder.of(tmp_path, 0).probabilities()]
    assert [list(each) for each in told] == [["empty", "deaf", "affine"]] * 12
    assert [sum(each.values()) for each in told] == pytest.approx([1.0] * 12, abs=1e-5)
    assert told[-1]["deaf"] < told[0]["deaf"] < 1 / 3
    derived_options = [list(told[0])[line["genotype"]["0/or"]] for line in derived]
    assert derived_options == [max(each, key=each.get) for each in told]
    assert derived[-1]["text"].startswith(("empty", "affine"))
    assert curves[-1]["drawn_reward"] > curves[0]["drawn_reward"]
    assert all(0 <= line["skip_share"] <= 1 for line in curves)
    assert outcome.metrics["policy_entropy"] in entropies


def test_the_control_draws_as_it_did_at_first(tmp_path):
    outcome, curves, derived = learnt(tmp_path, learns=False)
    assert all("policy_entropy" not in line for line in curves)
    assert len({json.dumps(line["genotype"]) for line in derived}) == 1
    assert {json.dumps(each) for each in outcome.found} == {
        json.dumps({"0/or": option}) for option in range(3)
    }


def test_a_controller_knows_the_reward_of_each_batch(tmp_path, monkeypatch):
    taught, learn = [], LearntPaths.learn

    def look(self, genotypes, rewards):
        taught.append((genotypes, rewards))
        learn(self, genotypes, rewards)

    monkeypatch.setattr(LearntPaths, "learn", look)
    settings = ("task.reward.metric=val_loss", "task.reward.mode=min")
    train_one(task_of(tmp_path, *settings, "task.reward.power=-1", epochs=2), SUPERNET)
    rewards = [reward for _, each in taught for reward in each]
    assert [len(genotypes) for genotypes, _ in taught] == [3] * 8
    assert len(set(rewards)) == 24  # a batch of its own
    assert min(rewards) > 0


@pytest.mark.parametrize("diverged", ["failed", "keep", "chance"])
def test_a_batch_without_a_reward_is_what_diverged_says(tmp_path, monkeypatch, diverged):
    taught, learn, measured = [], LearntPaths.learn, Trials._value
    batches = itertools.count()

    def look(self, genotypes, rewards):
        taught.append(list(rewards))
        learn(self, genotypes, rewards)

    def every_third(*given):
        value = measured(*given)
        return value * math.nan if next(batches) % 3 == 0 else value

    monkeypatch.setattr(LearntPaths, "learn", look)
    monkeypatch.setattr(Trials, "_value", every_third)
    outcome = train_one(task_of(tmp_path, f"task.reward.diverged={diverged}", epochs=2), SUPERNET)
    if diverged == "failed":
        assert "val_accuracy of a validation batch is nan, from which the" in outcome.error
        assert "legal: task.reward.diverged=keep, which leaves such batches out" in outcome.error
        return
    assert outcome.error is None
    assert [len(each) for each in taught] == [2 if diverged == "keep" else 3] * 8
    curves = ChildFolder.of(tmp_path, 0).curves()
    if diverged == "keep":
        assert [line["unrewarded_share"] for line in curves] == pytest.approx([1 / 3] * 2)
    else:
        assert {each[0] for each in taught} == {1 / 3}
        assert not any("unrewarded_share" in line for line in curves)


def test_a_space_without_skip_connections_has_no_weight_for_them():
    trainer = make_trainer(space=SPACE, is_rehearsed=False)
    with pytest.raises(ValueError, match=r"skip_weight=0\.8 weighs the skip connections that are"):
        enas(skip_weight=0.8, space=trainer.space, seed=0)


def test_few_networks_are_found_once_each(tmp_path):
    outcome = train_one(task_of(tmp_path, num_estimates=50), Proposal(0, {}, kind="supernet"))
    assert 1 <= len(outcome.found) <= 3
    assert len({json.dumps(each) for each in outcome.found}) == len(outcome.found)
