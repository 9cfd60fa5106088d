"""Genotypes of a conditional space as rows of numbers."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.space import Space

# N = genotypes, P = paths, F = features, O = options of one decision


class Encoding:
    """Turns genotypes into rows of features, so that alike architectures have rows alike.

    An ordered decision is one feature, its option's index scaled to [0, √2]; any other is one
    feature for each option, 1 for the one chosen. Where a decision is inactive, a feature of its
    own is 1 and the others are neutral: the middle for an ordered one, 0 for any other. Decisions
    inside a ``repeat`` count together as well, wherever they stand: each option's share of the
    answers to their kind. Half the squared distance of two rows is thus 1 for an unordered
    decision that differs, and at most 1 for any other.

    The decisions are those that occur in the genotypes ``fit`` is given.

    Args:
        space: what the genotypes are of.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._known: dict[str, Decision] = {}
        self._columns = _Columns([], set())

    def fit(self, genotypes: Sequence[Genotype]) -> None:
        """Chooses the features."""
        for genotype in genotypes:
            if not self._known.keys() >= genotype.keys():
                self._learn(genotype)
        paths = dict.fromkeys(path for genotype in genotypes for path in genotype)
        conditional = {path for path in paths if any(path not in g for g in genotypes)}
        self._columns = _Columns([self._known[path] for path in paths], conditional)

    def transform(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Returns features (N, F); decisions that ``fit`` has not seen are left out."""
        columns = self._columns
        answers = [[genotype.get(path, -1) for path in columns.paths] for genotype in genotypes]
        return columns.of(np.array(answers, dtype=int).reshape(len(genotypes), len(columns.paths)))

    def _learn(self, genotype: Genotype) -> None:
        def replay(decision: Decision) -> int:
            self._known[decision.path] = decision
            return genotype[decision.path]

        self.space.walk(replay)


class _Columns:
    """The features of some decisions.

    Args:
        decisions: them.
        conditional: the paths of those that are inactive in some genotypes.
    """

    def __init__(self, decisions: Sequence[Decision], conditional: Collection[str]) -> None:
        self.paths = [decision.path for decision in decisions]
        self.place_O: list[int] = []
        """Of the decision of each option, all decisions' options one after the other."""
        self.option_O: list[int] = []
        self.order: list[int] = []
        """Of the features, among all values, all choices and all inactivities."""
        self.last_P = np.array([max(1, len(each.options) - 1) for each in decisions])
        by_kind: dict[str, list[range]] = {}
        num_decisions, num_options = len(decisions), sum(len(each.options) for each in decisions)
        for place, decision in enumerate(decisions):
            options = range(len(self.option_O), len(self.option_O) + len(decision.options))
            self.place_O += [place] * len(options)
            self.option_O += range(len(options))
            if decision.is_ordered:
                self.order.append(place)
            else:
                self.order += (num_decisions + option for option in options)
            if decision.path in conditional:
                self.order.append(num_decisions + num_options + place)
            if decision.kind != decision.path:
                by_kind.setdefault(decision.kind, []).append(options)
        self.repeated = [np.array(options) for options in by_kind.values()]

    def of(self, answers_NP: np.ndarray) -> np.ndarray:
        """Returns features (N, F) of answers, -1 where a decision is inactive."""
        is_inactive_NP = answers_NP < 0
        values_NP = math.sqrt(2) * np.where(is_inactive_NP, 0.5, answers_NP / self.last_P)
        is_chosen_NO = answers_NP[:, self.place_O] == np.array(self.option_O, dtype=int)
        every = np.concatenate([values_NP, is_chosen_NO, is_inactive_NP], axis=1, dtype=float)
        blocks = [every[:, self.order]]
        for places in self.repeated:
            counts_NO = is_chosen_NO[:, places].sum(axis=1)
            blocks.append(counts_NO / np.maximum(1, counts_NO.sum(axis=1, keepdims=True)))
        return np.concatenate(blocks, axis=1)
