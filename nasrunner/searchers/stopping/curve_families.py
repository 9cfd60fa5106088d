"""Families of learning curves, and what they say of how a curve goes on.

Domhan, Springenberg & Hutter 2015, "Speeding up automatic hyperparameter optimization of deep
neural networks by extrapolation of learning curves", IJCAI, table 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares  # type: ignore[import-untyped]  # ships no types

# E = epochs that were measured, P = parameters of a family

_MOST_STEPS = 100
"""Evaluations of a family's fit, at most."""

_LEAST_STD = 0.005
"""Standard deviation of the noise at least, as a share of the curve's range."""


@dataclass(frozen=True)
class Family:
    """One shape of learning curves.

    Attributes:
        value: of (epochs (E,), parameters (P,)) the curve (E,).
        start: parameters to begin a fit with, for a curve from 0 to 1.
        low: the least that they may be.
        high: the most.
    """

    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    start: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


_INF = math.inf

FAMILIES: dict[str, Family] = {
    "vapor_pressure": Family(
        lambda x, p: np.exp(np.minimum(p[0] + p[1] / x + p[2] * np.log(x), 50.0)),
        (-0.5, -0.6, 0.1),
        (-20.0, -20.0, -5.0),
        (5.0, 20.0, 5.0),
    ),
    "pow3": Family(
        lambda x, p: p[0] - p[1] * x ** -p[2], (1.0, 1.0, 1.0), (-5.0, -5.0, 0.01), (5.0, 5.0, 5.0)
    ),
    "log_log_linear": Family(
        lambda x, p: np.log(np.maximum(p[0] * np.log(x) + p[1], 1e-6)),
        (1.0, 1.1),
        (0.0, 1e-3),
        (50.0, 50.0),
    ),
    "hill3": Family(
        lambda x, p: p[0] * x ** p[1] / (p[2] ** p[1] + x ** p[1]),
        (1.1, 1.0, 1.0),
        (0.0, 0.05, 1e-3),
        (5.0, 10.0, 1e3),
    ),
    "log_power": Family(
        lambda x, p: p[0] / (1 + (x / np.exp(p[1])) ** p[2]),
        (1.1, 0.5, -1.0),
        (0.0, -10.0, -10.0),
        (5.0, 10.0, -0.05),
    ),
    "pow4": Family(
        lambda x, p: p[0] - (p[1] * x + p[2]) ** -p[3],
        (1.1, 1.0, 0.1, 1.0),
        (-5.0, 1e-3, 1e-3, 0.01),
        (5.0, 50.0, 50.0, 10.0),
    ),
    "mmf": Family(
        lambda x, p: p[0] - (p[0] - p[1]) / (1 + (p[2] * x) ** p[3]),
        (1.1, -0.1, 0.5, 1.0),
        (-5.0, -5.0, 1e-4, 0.05),
        (5.0, 5.0, 50.0, 10.0),
    ),
    "exp4": Family(
        lambda x, p: p[0] - np.exp(np.minimum(-p[1] * x ** p[3] + p[2], 50.0)),
        (1.1, 0.5, 0.1, 0.8),
        (-5.0, 1e-4, -10.0, 0.05),
        (5.0, 20.0, 10.0, 5.0),
    ),
    "janoschek": Family(
        lambda x, p: p[0] - (p[0] - p[1]) * np.exp(-p[2] * x ** p[3]),
        (1.1, -0.1, 0.5, 1.0),
        (-5.0, -5.0, 1e-4, 0.05),
        (5.0, 5.0, 20.0, 5.0),
    ),
    "weibull": Family(
        lambda x, p: p[0] - (p[0] - p[1]) * np.exp(-((p[2] * x) ** p[3])),
        (1.1, -0.1, 0.5, 1.0),
        (-5.0, -5.0, 1e-4, 0.05),
        (5.0, 5.0, 20.0, 5.0),
    ),
    "ilog2": Family(lambda x, p: p[0] - p[1] / np.log(x + 1), (1.1, 0.7), (-5.0, -5.0), (5.0, 5.0)),
}
"""The eleven families of the paper, for curves whose values are around 0 to 1."""

MIN_EPOCHS = 1 + min(len(family.start) for family in FAMILIES.values())
"""Fewer measured epochs determine no family's parameters."""


@dataclass(frozen=True)
class Fit:
    """A family that was fitted to a curve.

    Attributes:
        mean: its value at the epoch asked.
        std: of that value, its noise included.
        score: log of its weight, up to a constant.
    """

    mean: float
    std: float
    score: float


def probability_above(
    epochs_E: Sequence[int], values_E: Sequence[float], epoch: int, threshold: float
) -> float:
    """Returns the probability that a curve is above a threshold at a later epoch.

    Each family is fitted by least squares; its parameters have a normal posterior around the fit
    (Laplace), and families are mixed by their Bayesian information criterion.

    Differs from the paper: that samples the parameters of all families and their weights together,
    by Markov chain Monte Carlo.

    Args:
        epochs_E: those that were measured, ascending, from 1; at least ``MIN_EPOCHS``.
        values_E: what was, higher is better.
        epoch: a later one.
        threshold: in the unit of the values.

    Raises:
        ValueError: there are too few epochs.
    """
    if len(values_E) < MIN_EPOCHS:
        raise ValueError(f"a curve needs {MIN_EPOCHS} epochs, got {len(values_E)}")
    y_E = np.asarray(values_E, dtype=float)
    low, scale = float(y_E.min()), float(np.ptp(y_E))
    if scale == 0.0:
        return float(low > threshold)
    x_E, scaled_E = np.asarray(epochs_E, dtype=float), (y_E - low) / scale
    fits = [
        found
        for family in FAMILIES.values()
        if len(family.start) < len(y_E)
        and (found := _fitted(family, x_E, scaled_E, float(epoch))) is not None
    ]
    if not fits:
        return 1.0  # nothing is known against it
    weights = np.exp(np.array([each.score for each in fits]) - max(each.score for each in fits))
    limit = (threshold - low) / scale
    above = [0.5 * math.erfc((limit - each.mean) / (each.std * math.sqrt(2))) for each in fits]
    return float(np.average(above, weights=weights))


def _fitted(family: Family, x_E: np.ndarray, y_E: np.ndarray, epoch: float) -> Fit | None:
    """Fits a family; None: it does not take this curve's shape."""

    def residuals(p: np.ndarray) -> np.ndarray:
        found: np.ndarray = family.value(x_E, p) - y_E
        return found

    with np.errstate(all="ignore"):
        try:
            found = least_squares(
                residuals, family.start, bounds=(family.low, family.high), max_nfev=_MOST_STEPS
            )
        except ValueError:  # a residual that is not finite
            return None
        num_points, num_parameters = len(y_E), len(family.start)
        variance = 2 * found.cost / max(1, num_points - num_parameters) + _LEAST_STD**2
        at = np.array([epoch])
        mean = float(family.value(at, found.x)[0])
        slope_P = np.array([_slope(family, at, found.x, place) for place in range(num_parameters)])
        information = found.jac.T @ found.jac + 1e-6 * np.eye(num_parameters)
        spread = float(slope_P @ np.linalg.solve(information, slope_P))
    if not (math.isfinite(mean) and math.isfinite(spread)):
        return None
    criterion = num_points * math.log(2 * found.cost / num_points + _LEAST_STD**2)
    criterion += num_parameters * math.log(num_points)
    return Fit(mean, math.sqrt(variance * (1 + max(0.0, spread))), -0.5 * criterion)


def _slope(family: Family, at: np.ndarray, p: np.ndarray, place: int) -> float:
    """The derivative of a family's value by one of its parameters."""
    step = 1e-5 * max(1.0, abs(p[place]))
    up, down = p.copy(), p.copy()
    up[place] += step
    down[place] -= step
    return float((family.value(at, up)[0] - family.value(at, down)[0]) / (2 * step))
