"""How much each decision matters for the reward: a functional analysis of variance."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from nasrunner.report.decisions.answers import Answers
from nasrunner.report.decisions.paths import NOT_ASKED, AnswerTable

MIN_CHILDREN = 20
"""Fewer say next to nothing of several decisions at once."""

MOST_CHILDREN, MOST_DECISIONS = 400, 20
"""More would take minutes; of more children so many are taken, evenly chosen."""

_NUM_TREES, _DEPTH = 32, 6
_NUM_FOLDS = 5


@dataclass(frozen=True)
class Importance:
    """Which share of the reward's variance each decision alone explains. D = decisions.

    Attributes:
        table: the decisions and children that were looked at.
        shares_D: of the variance that a forest predicts over all answers, each being as likely.
        predicted: R² of such forests on children that neither they nor the choice of their
            decisions had seen: how far the shares are to be believed.
        num_children: of the study; those looked at may be fewer.
        num_decisions: of the study; likewise.
    """

    table: AnswerTable
    shares_D: NDArray[np.float64]
    predicted: float
    num_children: int
    num_decisions: int


def importance(table: AnswerTable) -> Importance | None:
    """Computes the importance of decisions; None where there are too few children, or none differ.

    Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing hyperparameter
    importance", by Optuna's evaluator. A child without a decision has an answer of its own to it.

    Args:
        table: the most telling decisions first: no more than ``MOST_DECISIONS`` are looked at.
    """
    num_children, num_decisions = table.answers_ND.shape
    if num_children < MIN_CHILDREN or not num_decisions or np.ptp(table.rewards_N) == 0:
        return None
    chosen = _evenly(table)
    few = chosen.of(range(min(num_decisions, MOST_DECISIONS)))
    if np.ptp(few.rewards_N) == 0:
        return None
    names = [f"{place:03d}" for place in range(len(few.paths))]
    codes_ND, counts_D = _codes(few)
    distributions: dict[str, BaseDistribution] = {
        # Trees split between two codes, so that each has the same room: of whole numbers, or of
        # categories as columns of 0 and 1, Optuna's evaluator counts some answers for more.
        name: FloatDistribution(-0.5, count - 0.5)
        for name, count in zip(names, counts_D, strict=True)
    }
    shares = _shares(
        [
            create_trial(
                params=dict(zip(names, codes_D.tolist(), strict=True)),
                distributions=distributions,
                value=float(reward),
            )
            for codes_D, reward in zip(codes_ND, few.rewards_N, strict=True)
        ]
    )
    shares_D = np.array([shares.get(name, 0.0) for name in names])
    return Importance(few, shares_D, _predicted(chosen), num_children, num_decisions)


def _shares(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Optuna's importance of each parameter; its level of logging is the process's own."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study = optuna.create_study(direction="maximize")
            study.add_trials(trials)
            evaluator = FanovaImportanceEvaluator(n_trees=_NUM_TREES, max_depth=_DEPTH, seed=0)
            return evaluator.evaluate(study)
    finally:
        optuna.logging.set_verbosity(level)


def _codes(table: AnswerTable) -> tuple[NDArray[np.float64], list[int]]:
    """The answers that were given to each decision as 0, 1, 2, …, and how many there are."""
    columns = [np.unique(answers_N, return_inverse=True) for answers_N in table.answers_ND.T]
    codes_ND = np.stack([codes_N for _, codes_N in columns], axis=1)
    return codes_ND.astype(np.float64), [len(given) for given, _ in columns]


def _evenly(table: AnswerTable) -> AnswerTable:
    num = len(table.indices)
    if num <= MOST_CHILDREN:
        return table
    return table.among([place * num // MOST_CHILDREN for place in range(MOST_CHILDREN)])


def _predicted(table: AnswerTable) -> float:
    """R² of a forest like the evaluator's, each child being predicted by one without it.

    Its decisions are chosen without it, too: the most telling of very many are so by chance, and
    would predict it the better for having seen it.
    """
    from sklearn.ensemble import RandomForestRegressor  # here: half a second that --help saves

    inputs_ND, _ = _codes(table)
    fold_N = np.random.default_rng(0).permutation(len(table.indices)) % _NUM_FOLDS
    predicted_N = np.empty(len(table.indices))
    for fold in range(_NUM_FOLDS):
        seen, unseen = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
        taken = list(range(len(table.paths)))
        if len(taken) > MOST_DECISIONS:
            taken = _most_telling(table.among(seen.tolist()))[:MOST_DECISIONS]
        forest = RandomForestRegressor(n_estimators=_NUM_TREES, max_depth=_DEPTH, random_state=0)
        forest.fit(inputs_ND[seen][:, taken], table.rewards_N[seen])
        predicted_N[unseen] = forest.predict(inputs_ND[unseen][:, taken])
    residual = float(((table.rewards_N - predicted_N) ** 2).sum())
    total = float(((table.rewards_N - table.rewards_N.mean()) ** 2).sum())
    return 1.0 - residual / total


def most_telling_first(table: AnswerTable) -> AnswerTable:
    """Sorts decisions by the share of the variance that each explains by itself."""
    return table.of(_most_telling(table))


def _most_telling(table: AnswerTable) -> list[int]:
    """The places of the decisions, that of the most telling one first."""

    def weight(place: int) -> float:
        rewards: list[list[float]] = [[] for _ in table.options[place]]
        for answer, reward in zip(table.answers_ND[:, place], table.rewards_N, strict=True):
            if answer != NOT_ASKED:
                rewards[answer].append(reward)
        each = Answers(table.paths[place], tuple(table.options[place]), False, rewards=rewards)
        return (each.explained or 0.0) * table.num_with(place) / len(table.indices)

    return sorted(range(len(table.paths)), key=lambda place: -weight(place))
