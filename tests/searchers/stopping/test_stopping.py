"""Children that are stopped while they train: by which rule, and when."""

import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from nasrunner.core import ConfigError, Outcome, Report, Searcher
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.stopping.asha_stopping import AshaStopping
from nasrunner.searchers.stopping.median_stopping import MedianStopping
from nasrunner.searchers.wrappers.asha import Asha
from tests.contracts.trainers import EPOCHS, METRIC, EpochsTrainer
from tests.study.test_loop import Run, events, with_rules
from tests.toys import ToyTrainer, chain

COMPARED = {"metric": METRIC, "mode": "max", "reward": {"metric": METRIC, "mode": "max"}}


def median(**changes: Any) -> Callable[..., MedianStopping]:
    arguments = {"searcher": RandomSearch, "min_epochs": 1, "min_children": 2, **COMPARED}
    return functools.partial(MedianStopping, **{**arguments, **changes})


def asha(**changes: Any) -> Callable[..., AshaStopping]:
    lengths = {"eta": 2, "rungs": None, "min_epochs": 1, "max_epochs": EPOCHS}
    arguments = {"searcher": RandomSearch, **lengths, **COMPARED}
    return functools.partial(AshaStopping, **{**arguments, **changes})


def curve_of(searcher: Searcher, values: list[float], mode: str = "max") -> tuple[int, list[float]]:
    """Trains one child; returns its index, and the values that it had when it ended."""
    proposal = searcher.propose()
    assert proposal is not None
    told: list[float] = []
    for epoch, value in enumerate(values, 1):
        told.append(value)
        searcher.report(Report(proposal.index, epoch, {METRIC: value}))
        if searcher.should_stop(proposal.index):
            break
    status = "completed" if len(told) == len(values) else "stopped"
    reward = told[-1] if mode == "max" else -told[-1]
    searcher.observe(Outcome(proposal, status, reward))
    return proposal.index, told


def curves(count: int, epochs: int, seed: int) -> list[list[float]]:
    """Saturating curves that cross one another."""
    rng = np.random.default_rng(seed)
    levels, rates = rng.uniform(0.3, 0.9, count), rng.uniform(0.2, 2.0, count)
    epochs_E = np.arange(1, epochs + 1)
    noise = rng.normal(0, 0.01, (count, epochs))
    return (levels[:, None] * (1 - np.exp(-rates[:, None] * epochs_E)) + noise).tolist()


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_median_rule_is_the_papers(mode: str) -> None:
    """Section 3.2.2, written out: the best so far, and the running means of completed children."""
    searcher = median(mode=mode, min_children=3)(space=chain(), seed=0)
    sign = 1 if mode == "max" else -1
    whole: list[list[float]] = []
    num_stopped = 0
    for values in curves(60, 8, 1):
        _, told = curve_of(searcher, [sign * value for value in values], mode)
        expected = len(values)
        for epoch in range(1, len(values)):
            means = [statistics.fmean(other[:epoch]) for other in whole]
            if len(means) >= 3 and max(values[:epoch]) < statistics.median(means):
                expected = epoch
                break
        assert len(told) == expected
        num_stopped += expected < len(values)
        if expected == len(values):
            whole.append(values)
    assert 5 < num_stopped < 50


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_ashas_stopping_is_optunas_pruner(mode: str, eta: int) -> None:
    """Optuna lets a trial train one step beyond the rung that it fails at."""
    searcher = asha(mode=mode, eta=eta, max_epochs=27)(space=chain(), seed=0)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=eta, min_early_stopping_rate=0
    )
    study = optuna.create_study(
        direction="maximize" if mode == "max" else "minimize", pruner=pruner
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sign = 1 if mode == "max" else -1
    num_stopped = 0
    for values in curves(80, 27, eta):
        signed = [sign * value for value in values]
        trial, expected = study.ask(), len(values)
        for step, value in enumerate(signed, 1):
            trial.report(value, step)
            if trial.should_prune() and step < len(values):
                expected = step
                break
        pruned = expected < len(values)
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if pruned else signed[-1], state)
        _, told = curve_of(searcher, signed, mode)
        rungs = [rung for rung in searcher._values if rung <= len(values)]
        if pruned and expected not in rungs:
            assert len(told) == len(values)
            continue
        assert len(told) == expected
        num_stopped += pruned
    assert num_stopped > 20


def test_nobody_is_stopped_too_early() -> None:
    searcher = median(min_epochs=4, min_children=1)(space=chain(), seed=0)
    curve_of(searcher, [0.9] * 6)
    assert curve_of(searcher, [0.1] * 6)[1] == [0.1] * 4
    searcher = median(min_children=3)(space=chain(), seed=0)
    for _ in range(3):
        assert curve_of(searcher, [0.9] * 3)[1] == [0.9] * 3
    assert curve_of(searcher, [0.1] * 3)[1] == [0.1]


def test_an_epoch_that_measures_nothing_stops_nobody() -> None:
    searcher = median(min_children=1)(space=chain(), seed=0)
    curve_of(searcher, [0.9] * 3)
    proposal = searcher.propose()
    searcher.report(Report(proposal.index, 1, {"train_loss": 3.0}))
    assert not searcher.should_stop(proposal.index)


def run(folder: Path, searcher: Any, **changes: Any) -> Run:
    folder.mkdir(exist_ok=True)
    space = chain()
    rules = with_rules(**{"max_children": 10, **changes})
    return Run(folder, space, rules, searcher, trainer=EpochsTrainer(space))


def test_a_stopped_child_is_learnt_by_the_inner_searcher() -> None:
    learnt: list[tuple[int, str]] = []

    class Learning(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            learnt.append((outcome.proposal.index, outcome.status))

    searcher = median(searcher=Learning, min_children=1)(space=chain(), seed=0)
    curve_of(searcher, [0.9] * 3)
    curve_of(searcher, [0.1] * 3)
    assert learnt == [(0, "completed"), (1, "stopped")]


def test_a_promoted_child_is_stopped_by_the_whole_of_its_curve() -> None:
    """Two wrappers: who pauses children inside, and who stops them outside."""
    pausing = functools.partial(
        Asha,
        searcher=RandomSearch,
        eta=2,
        rungs=[2],
        min_epochs=1,
        max_epochs=6,
        num_brackets=1,
        fidelity=None,
    )
    searcher = median(searcher=pausing, min_children=1, min_epochs=3)(space=chain(), seed=0)
    assert [each.until for each in searcher.asks_for] == [2]

    def trained(until: int | None, first: int, values: list[float]) -> str:
        proposal = searcher.propose()
        assert proposal.until == until
        for epoch, value in enumerate(values, first):
            searcher.report(Report(proposal.index, epoch, {METRIC: value}))
            if searcher.should_stop(proposal.index):
                searcher.observe(Outcome(proposal, "stopped", value))
                return "stopped"
        status = "completed" if until is None else "paused"
        searcher.observe(Outcome(proposal, status, values[-1]))
        return status

    assert trained(2, 1, [0.5, 0.6]) == "paused"
    assert trained(2, 1, [0.5, 0.5]) == "paused"
    assert trained(None, 3, [0.7, 0.8, 0.9]) == "completed"  # means 0.5, 0.55, 0.6, 0.65, 0.7
    assert searcher.curves[2] == {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9}
    assert trained(2, 1, [0.5, 0.65]) == "paused"
    assert trained(None, 3, [0.1] * 4) == "stopped"  # 0.65 is as good as the mean of four epochs
    assert set(searcher.curves[4]) == {1, 2, 3, 4, 5}


def test_a_trainer_that_reports_nothing_is_refused(tmp_path: Path) -> None:
    told = "MedianStopping stops .* trainer=ToyTrainer report nothing; legal with it are searchers"
    with pytest.raises(ConfigError, match=told):
        Run(tmp_path, searcher=median(), trainer=ToyTrainer(chain()))


def test_what_cannot_be_compared_is_refused() -> None:
    nothing = {"metric": None, "mode": None}
    for make in (median, asha):
        with pytest.raises(ValueError, match="metric must say what children are compared by; task"):
            make(metric=None, reward=nothing)(space=chain(), seed=0)
        with pytest.raises(ValueError, match=r"mode must be max or min where metric=val_loss is n"):
            make(metric="val_loss", mode=None)(space=chain(), seed=0)
        with pytest.raises(ValueError, match=r"metric=flops has one value a child, and children a"):
            make(metric="flops", mode="min")(space=chain(), seed=0)
        of_reward = make(metric=None, mode=None)(space=chain(), seed=0)
        assert (of_reward.metric, of_reward.sign) == (METRIC, 1.0)
        assert make(metric="val_loss", mode="min")(space=chain(), seed=0).sign == -1.0
    with pytest.raises(ValueError, match="rungs must be numbers that increase"):
        asha(rungs=[3, 2])(space=chain(), seed=0)


def test_a_study_that_stops_children_trains_less(tmp_path: Path) -> None:
    summary = run(tmp_path, median(), max_children=16).run()
    ended = events(tmp_path, "outcome")
    stopped = [event for event in ended if event["status"] == "stopped"]
    assert stopped
    assert summary.effort < 16
    assert "whole trainings" in summary.about_ends
    best = {each["index"] for each in summary.best}
    assert best.isdisjoint(event["index"] for event in stopped)


@pytest.mark.parametrize("make", [median, asha])
def test_a_metric_that_no_child_measures_is_refused_when_the_first_has_ended(
    tmp_path: Path, make: Any
) -> None:
    study = run(tmp_path, make(metric="val_acuracy"))
    with pytest.raises(
        ConfigError, match="by metric=val_acuracy, which they do not measure; did you mean 'val_acc"
    ):
        study.run()
    assert len(events(tmp_path, "outcome")) == 1


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("make", [functools.partial(median, min_children=1), asha])
def test_what_is_not_a_number_is_worse_than_any(make: Any, mode: str) -> None:
    searcher = make(mode=mode)(space=chain(), seed=0)
    curve_of(searcher, [0.5] * EPOCHS, mode)
    assert len(curve_of(searcher, [float("nan")] * EPOCHS, mode)[1]) == 1
    assert len(curve_of(searcher, [0.5] * EPOCHS, mode)[1]) == EPOCHS
