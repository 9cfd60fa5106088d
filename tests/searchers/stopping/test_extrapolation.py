"""What curve families say of how a curve goes on, and whom that stops."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from nasrunner.core import Outcome, Report
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.stopping.curve_families import FAMILIES, MIN_EPOCHS, probability_above
from nasrunner.searchers.stopping.extrapolation import Extrapolation
from tests.contracts.trainers import METRIC
from tests.toys import chain

EPOCHS = np.arange(1, 28)


def curves(count: int, seed: int) -> np.ndarray:
    """(count, 27) noisy curves that saturate, of two shapes."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(count):
        end, drop, rate = rng.uniform(0.5, 0.95), rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.8)
        shape = np.exp(-rate * EPOCHS) if place % 2 else EPOCHS**-rate
        found.append(end - drop * shape + rng.normal(0, 0.005, len(EPOCHS)))
    return np.array(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_own_curve_goes_on_as_it_does(name: str) -> None:
    family = FAMILIES[name]
    parameters = np.array(family.start)
    whole = family.value(EPOCHS.astype(float), parameters)
    asked = [probability_above(EPOCHS[:14], whole[:14], 27, s * whole[-1]) for s in (0.98, 1.02)]
    assert asked[0] > 0.3  # the others, which saturate, have a say
    assert asked[1] < 0.05


@pytest.mark.parametrize("name", ["pow3", "weibull", "mmf"])
def test_a_family_is_the_function_that_scipy_fits(name: str) -> None:
    """Written out once more from table 1 of the paper."""
    written: dict[str, Callable[..., Any]] = {
        "pow3": lambda x, c, a, alpha: c - a * x**-alpha,
        "weibull": lambda x, a, b, k, d: a - (a - b) * np.exp(-((k * x) ** d)),
        "mmf": lambda x, a, b, k, d: a - (a - b) / (1 + (k * x) ** d),
    }
    x = EPOCHS.astype(float)
    y = FAMILIES[name].value(x, np.array(FAMILIES[name].start))
    found, _ = curve_fit(written[name], x, y, p0=FAMILIES[name].start)
    np.testing.assert_allclose(written[name](x, *found), y, atol=1e-6)


@pytest.mark.slow
def test_probabilities_hold_as_often_as_they_say() -> None:
    """The last value of each of 40 curves, asked after 9 epochs."""
    asked = [probability_above(EPOCHS[:9], curve[:9], 27, curve[26]) for curve in curves(40, 0)]
    assert 0.35 < np.mean(asked) < 0.6  # 0.5 where it is not biased
    assert np.mean(np.array(asked) < 0.05) < 0.2
    assert np.mean(np.array(asked) > 0.95) < 0.2


def test_more_is_less_probable_and_a_constant_curve_stays() -> None:
    curve = curves(2, 1)[1][:8]
    asked = [probability_above(EPOCHS[:8], curve, 27, limit) for limit in np.linspace(0, 1.2, 9)]
    assert sorted(asked, reverse=True) == asked
    assert asked[0] > 0.95 > 0.05 > asked[-1]
    assert probability_above([1, 2, 3], [0.5, 0.5, 0.5], 9, 0.4) == 1.0
    assert probability_above([1, 2, 3], [0.5, 0.5, 0.5], 9, 0.6) == 0.0
    with pytest.raises(ValueError, match=f"a curve needs {MIN_EPOCHS} epochs, got 2"):
        probability_above([1, 2], [0.1, 0.2], 9, 0.6)


def made(**changes: Any) -> Extrapolation:
    arguments: dict[str, Any] = {
        "searcher": RandomSearch,
        "metric": METRIC,
        "mode": "max",
        "reward": {"metric": METRIC, "mode": "max"},
        "min_epochs": 5,
        "max_epochs": 27,
        "every_epochs": 1,
        "probability": 0.05,
        **changes,
    }
    return functools.partial(Extrapolation, **arguments)(space=chain(), seed=0)


def trained(searcher: Extrapolation, values: np.ndarray) -> int:
    """Trains one child; returns after how many epochs it ended."""
    proposal = searcher.propose()
    assert proposal is not None
    for epoch, value in enumerate(values, 1):
        searcher.report(Report(proposal.index, epoch, {METRIC: float(value)}))
        if searcher.should_stop(proposal.index):
            searcher.observe(Outcome(proposal, "stopped", float(value)))
            return epoch
    searcher.observe(Outcome(proposal, "completed", float(max(values))))
    return len(values)


@pytest.mark.parametrize("sign", [1, pytest.param(-1, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_hopeless_children_are_stopped_and_few_others(sign: int) -> None:
    searcher = made(mode="max" if sign == 1 else "min")
    played = curves(16, 2)
    ended = [trained(searcher, sign * curve) for curve in played]
    best = -np.inf
    wrong = stopped = 0
    for curve, end in zip(played, ended, strict=True):
        if end < len(EPOCHS):
            stopped += 1
            wrong += max(curve) > best + 0.01  # by more than the noise
        else:
            best = max(best, max(curve))
    assert stopped >= 6
    assert wrong <= 1
    assert min(ended) >= 5


def test_nobody_is_stopped_before_the_first_has_come_to_its_end() -> None:
    searcher = made()
    low = 0.1 + 0.001 * np.arange(27)
    assert trained(searcher, low) == 27
    assert trained(searcher, 0.9 - 0.5 / EPOCHS) == 27
    assert trained(searcher, low) == 5
    assert trained(made(every_epochs=3), low) == 27


def test_children_are_looked_at_as_often_as_is_said() -> None:
    searcher = made(every_epochs=10, min_epochs=6)
    trained(searcher, 0.9 - 0.5 / EPOCHS)
    promising = np.concatenate([0.9 - 0.5 / EPOCHS[:7], np.full(20, 0.3)])
    assert trained(searcher, promising) in (16, 26, 27)


def test_children_that_are_measured_now_and_then_are_looked_at_when_it_is_due() -> None:
    """Every second look would fall on an epoch without a measurement: the next one counts."""
    searcher = made(every_epochs=2)
    trained(searcher, 0.9 - 0.5 / EPOCHS)
    proposal = searcher.propose()
    assert proposal is not None
    for epoch in range(2, 28, 2):
        searcher.report(Report(proposal.index, epoch, {METRIC: 0.3}))
        if searcher.should_stop(proposal.index):
            break
    assert epoch == 10  # the fifth measurement


def test_a_training_of_few_epochs_is_refused() -> None:
    with pytest.raises(ValueError, match="max_epochs must be more than min_epochs=5, or no child"):
        made(max_epochs=5)
    with pytest.raises(ValueError, match=r"got None; it is trainer.max_epochs by default"):
        made(max_epochs=None)


@pytest.mark.slow
def test_a_child_that_has_diverged_is_stopped() -> None:
    searcher = made(probability=1e-9)
    curve = curves(1, 0)[0]
    assert trained(searcher, curve) == 27
    assert trained(searcher, np.full(27, np.nan)) == 5
    once = curve.copy()
    once[1] = np.nan  # and then numbers again
    assert trained(searcher, once) == 27
