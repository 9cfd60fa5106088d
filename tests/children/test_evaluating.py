import json
import statistics

import pytest
import torch

from nasrunner.children.evaluating import Evaluation, mean_curves, mean_outcome
from nasrunner.children.progress.attempts import Attempt
from nasrunner.core import ConfigError, DataError, Outcome, Proposal, child_folder
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.randomness.seeds import derived_seed
from tests.children.blobs import BLOBS, OWN, broken, make_trainer, train


def outcome_of(folder):
    return json.loads((folder / "outcome.json").read_text())


def lines_of(folder):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def trainings(folder):
    return sorted((child_folder(folder, 0) / "trainings").iterdir())


def test_a_reward_is_the_mean_of_repeated_trainings(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=2", evaluation={"repeats": 3})
    each = [outcome_of(folder) for folder in trainings(tmp_path)]
    rewards = [record["reward"] for record in each]
    assert len(rewards) == 3
    assert len({record["metrics"]["val_loss"] for record in each}) == 3
    assert outcome.reward == pytest.approx(statistics.fmean(rewards))
    assert outcome.metrics["trainings"] == 3
    assert outcome.metrics["reward_std"] == pytest.approx(statistics.stdev(rewards))
    losses = [record["metrics"]["val_loss"] for record in each]
    assert outcome.metrics["val_loss"] == pytest.approx(statistics.fmean(losses))
    assert outcome.cost_s == pytest.approx(sum(record["cost_s"] for record in each), abs=0.5)
    curves = [line["val_loss"] for line in lines_of(child_folder(tmp_path, 0))]
    by_training = [[line["val_loss"] for line in lines_of(f)] for f in trainings(tmp_path)]
    assert curves == pytest.approx(
        [statistics.fmean(each) for each in zip(*by_training, strict=True)]
    )


def test_each_fold_is_validated_on_once(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=2", evaluation={"folds": 3, "repeats": 2})
    each = [outcome_of(folder) for folder in trainings(tmp_path)]
    assert outcome.metrics["trainings"] == len(each) == 6
    assert outcome.reward == pytest.approx(statistics.fmean(record["reward"] for record in each))
    for fold, record in enumerate(each[:3]):
        data = {**BLOBS, "fold": fold, "folds": 3}
        alone = train(tmp_path / f"fold{fold}", "trainer.max_epochs=2", data=data)
        assert (record["reward"], record["metrics"]) == (alone.reward, alone.metrics)
    assert len({record["metrics"]["val_loss"] for record in each}) == 6


def test_the_first_training_is_that_of_a_child_of_one_training(tmp_path):
    once = train(tmp_path / "once", "trainer.max_epochs=2")
    train(tmp_path / "twice", "trainer.max_epochs=2", evaluation={"repeats": 2})
    first = outcome_of(trainings(tmp_path / "twice")[0])
    assert (first["reward"], first["metrics"]) == (once.reward, once.metrics)
    kept = [
        torch.load(child_folder(tmp_path / name, 0) / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("once", "twice")
    ]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_a_child_that_was_interrupted_does_not_train_again_what_had_ended(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", "trainer.max_epochs=2", evaluation={"repeats": 3})
    kept = Attempt.cost_s
    ended = []

    def interrupt(self):
        ended.append(self)
        if len(ended) == 2:  # when the second training has ended, but not been written
            raise KeyboardInterrupt
        return kept(self)

    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "cost_s", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", "trainer.max_epochs=2", evaluation={"repeats": 3})
    first = trainings(tmp_path / "parts")[0] / "outcome.json"
    before = first.stat().st_mtime_ns
    again = train(tmp_path / "parts", "trainer.max_epochs=2", evaluation={"repeats": 3})
    assert first.stat().st_mtime_ns == before
    assert (again.reward, again.metrics) == (whole.reward, whole.metrics)
    train(tmp_path / "parts", "trainer.max_epochs=2", evaluation={"repeats": 3})
    assert first.stat().st_mtime_ns != before  # a child that has ended is trained anew


def test_a_training_that_fails_fails_the_child_and_says_which(tmp_path):
    outcome = train(tmp_path, space=broken("raise"), evaluation={"repeats": 2}, is_rehearsed=False)
    assert outcome.status == "failed"
    assert outcome.error.endswith(
        "TrainingError: training 0 of 2 failed: RuntimeError: the user's module broke"
    )
    assert ChildFolder.of(tmp_path, 0).outcome(outcome.proposal).error == outcome.error
    assert (child_folder(tmp_path, 0) / "config.yaml").exists()


@pytest.mark.parametrize(
    ("given", "data", "overrides", "message"),
    [
        ({"repeats": 0}, None, (), r"evaluation.repeats must be int >= 1, got 0"),
        ({"folds": 1}, None, (), r"evaluation.folds must be int >= 2 or null, got 1"),
        ({"fold": 2}, None, (), r"there is no key 'evaluation.fold', .*Legal: folds, repeats"),
        ({"folds": 3}, OWN, (), r"evaluation.folds=3 needs .*OwnBlobs takes no fold and folds"),
        ({"repeats": 2}, None, ("trainer.devices=2",), r"num_nodes must be 1"),
    ],
)
def test_what_cannot_be_evaluated_so_is_refused_before_training(given, data, overrides, message):
    chosen = {} if data is None else {"data": data}
    with pytest.raises(ConfigError, match=message):
        make_trainer(*overrides, evaluation=given, **chosen)


def test_each_repetition_has_a_seed_of_its_own_and_each_fold_another_part():
    config = {"data": {"batch_size": 4}, "task": {}}
    found = list(Evaluation(repeats=2, folds=3).trainings(config, 7))
    assert [seed for _, seed in found] == [7] * 3 + [derived_seed(7, 1, kind=3)] * 3
    assert [each["data"]["fold"] for each, _ in found] == [0, 1, 2] * 2
    assert all(
        each["data"] == {"batch_size": 4, "fold": f, "folds": 3}
        for f, (each, _) in zip([0, 1, 2] * 2, found, strict=True)
    )
    assert config == {"data": {"batch_size": 4}, "task": {}}


def test_a_curve_is_the_mean_of_those_that_have_come_so_far():
    long = [
        {"epoch": 0, "step": 5, "time": 1.0, "val_loss": 1.0},
        {"epoch": 1, "step": 10, "time": 2.0, "val_loss": 0.5},
    ]
    short = [{"epoch": 0, "step": 5, "time": 3.0, "val_loss": 2.0}]
    assert mean_curves([long, short]) == [
        {"epoch": 0, "step": 5, "time": 3.0, "val_loss": 1.5},
        {"epoch": 1, "step": 10, "time": 2.0, "val_loss": 0.5},
    ]


def test_points_of_a_mean_curve_are_those_of_epochs_whatever_their_steps():
    small = [
        {"epoch": 0, "step": 1, "time": 1.0, "val_loss": 1.0},
        {"epoch": 0, "step": 2, "time": 2.0, "train_loss": 5.0},
        {"epoch": 1, "step": 4, "time": 3.0, "train_loss": 3.0},
    ]
    large = [
        {"epoch": 0, "step": 1, "time": 4.0, "val_loss": 2.0},
        {"epoch": 0, "step": 3, "time": 5.0, "train_loss": 7.0},
        {"epoch": 1, "step": 6, "time": 6.0, "train_loss": 5.0},
    ]
    assert mean_curves([small, large]) == [
        {"epoch": 0, "step": 1, "time": 4.0, "val_loss": 1.5},
        {"epoch": 0, "step": 3, "time": 5.0, "train_loss": 6.0},
        {"epoch": 1, "step": 6, "time": 6.0, "train_loss": 4.0},
    ]


@pytest.mark.parametrize(("epochs", "expected"), [((2, 2), 2), ((1, 2), None), ((None, 2), None)])
def test_the_mean_of_different_epochs_is_no_epoch(epochs, expected):
    outcomes = [
        Outcome(Proposal(0, {}), "completed", 0.5, {} if each is None else {"reward_epoch": each})
        for each in epochs
    ]
    assert mean_outcome(outcomes)[1].get("reward_epoch") == expected


def test_the_share_of_trainings_that_diverged_is_said_of_a_child():
    outcomes = [
        Outcome(Proposal(0, {}), "completed", 0.5, metrics)
        for metrics in ({"diverged": 1.0}, {}, {}, {"diverged": 1.0})
    ]
    assert mean_outcome(outcomes)[1]["diverged"] == 0.5
    assert "diverged" not in mean_outcome(outcomes[1:3])[1]


def test_a_child_that_fails_has_cost_what_its_trainings_of_earlier_attempts_have(
    tmp_path, monkeypatch
):
    """Training 0 has ended in an attempt before, and cost 1,000 s; training 1 fails at once."""
    outcome = train(tmp_path, evaluation={"repeats": 2})
    first, second = (child_folder(tmp_path, 0) / "trainings" / number for number in "01")
    ended = json.loads((first / "outcome.json").read_text())
    (first / "outcome.json").write_text(json.dumps({**ended, "cost_s": 1000.0}))
    failed = {**ended, "status": "failed", "reward": None, "error": "it broke", "cost_s": 10.0}
    (second / "outcome.json").write_text(json.dumps(failed))
    (child_folder(tmp_path, 0) / "outcome.json").unlink()
    again = train(tmp_path, evaluation={"repeats": 2}, is_rehearsed=False)
    assert outcome.status == "completed"
    assert again.error.endswith("training 1 of 2 failed: it broke")
    assert 1010 <= again.cost_s < 1060


def test_data_of_every_fold_are_looked_at_before_training():
    data = {"_target_": "tests.children.odd_data.ShortFolds"}
    chosen = {key: OWN[key] for key in OWN if key != "_target_"}
    with pytest.raises(DataError, match=r"ShortFolds: .*nothing in fold 2.*\(in fold 2 of eval"):
        make_trainer(evaluation={"folds": 4}, data={**chosen, **data})
