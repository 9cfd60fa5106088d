"""The example of own parts: a searcher, a module, data, a task, a tracker and what is smaller."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torchmetrics.functional.regression as regression
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main
from nasrunner.core import Outcome
from nasrunner.recorded import RecordedStudy, read_study
from tests.trackers.fakes import FakeStudy

ROOT = Path(__file__).parents[2] / "examples" / "own_parts"
SMALL = ("max_children=3", "trainer.max_epochs=1", "executor=serial")


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedStudy:
    """A study of all parts at once but the task."""
    given = [
        *("space=gated", "data=stripes", "searcher=hill_climb", "searcher.restart=0"),
        *("tracker=json_lines", "trainer.callbacks=[{_target_: my_parts.GradNorm, every: 2}]"),
        "+task.metrics.error={_target_: my_parts.BalancedError, num_classes: 2}",
        *("task.reward.metric=val_error", "task.reward.mode=min"),
        *("task.reward._target_=my_parts.Early", "+task.reward.weight=0.125"),
        "task.loss={_target_: my_parts.Focal, gamma: 2}",
    ]
    return study(tmp_path, monkeypatch, *given)


def study(folder: Path, monkeypatch: pytest.MonkeyPatch, *given: str) -> RecordedStudy:
    GlobalHydra.instance().clear()
    where = ["--config-dir", "my_conf", f"hydra.run.dir={folder}"]
    monkeypatch.setattr(sys, "argv", ["nasrunner", *where, *given, *SMALL])
    main()
    return read_study(folder)


def test_a_study_of_own_parts_uses_each_of_them(searched: RecordedStudy) -> None:
    outcomes = searched.state.history.outcomes
    assert [each.status for each in outcomes] == ["completed"] * 3
    rewards = [each.known_reward for each in outcomes]
    errors = [each.metrics["val_error"] for each in outcomes]
    assert rewards == pytest.approx([-error - 0.125 for error in errors])
    assert all("grad_norm" in each.metrics for each in outcomes)
    best = outcomes[rewards.index(max(rewards[:2]))].proposal.genotype
    changed = {path for path in best if outcomes[2].proposal.genotype.get(path) != best[path]}
    assert len(changed) <= 1, "the third is a neighbour of the best of the first two, or the same"
    lines = (searched.folder / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reward"] for line in lines] == rewards


def test_the_tracker_says_which_file_it_writes_in_which_nothing_but_json_stands(
    tmp_path: Path,
) -> None:
    from my_tracker import JsonLines

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    recorded = FakeStudy(tmp_path)
    tracker = JsonLines()
    tracker.open(recorded.info, recorded.state, recorded.inspect)
    metrics = {"val_loss": float("nan"), "val_accuracy": 0.5}
    tracker.recorded(Outcome(recorded.proposal(0), "completed", 0.5, metrics), None)
    (name,) = tracker.files
    (line,) = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    found = json.loads(line, parse_constant=refuse)
    assert found == {"child": 0, "reward": 0.5, "val_loss": None, "val_accuracy": 0.5}


def test_data_over_arrays_are_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(
        tmp_path, monkeypatch, "data=spirals", "space=mlp", "searcher=random", "tracker=none"
    )
    assert all(each.known_reward > 0 for each in found.state.history.outcomes)


def test_the_quantile_task_has_the_pinball_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from my_task import Quantile

    from nasrunner.children.tasks.reward import Reward

    reward = Reward("val_loss", "min", "best", 5, 1.0)
    task = Quantile(num_outputs=2, quantile=0.9, metrics={}, reward=reward)
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 5, 2, generator=generator)
    above, below = (target - predicted).clamp(min=0), (predicted - target).clamp(min=0)
    expected = (0.9 * above + 0.1 * below).mean()
    torch.testing.assert_close(task.loss(predicted, target), expected)
    half = Quantile(num_outputs=2, quantile=0.5, metrics={}, reward=reward)
    mean = regression.mean_absolute_error(predicted, target)
    torch.testing.assert_close(2 * half.loss(predicted, target), mean)
    (tmp_path / "x.csv").write_text(
        "a,b\n" + "".join(f"{i * 37 % 11},{i % 7}\n" for i in range(80))
    )
    found = study(
        *(tmp_path / "study", monkeypatch, "task=quantile", "tracker=none", "searcher=random"),
        *("data=csv", f"data.path={tmp_path}/x.csv", "data.target=b"),
    )
    assert all(math.isfinite(each.known_reward) for each in found.state.history.outcomes)
