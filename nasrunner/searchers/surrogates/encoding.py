"""Genotypes of a conditional space as rows of numbers."""

import math
from collections.abc import Sequence

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
        self._decisions: list[Decision] = []
        self._conditional: set[str] = set()

    def fit(self, genotypes: Sequence[Genotype]) -> None:
        """Chooses the features."""
        for genotype in genotypes:
            if not self._known.keys() >= genotype.keys():
                self._learn(genotype)
        paths = dict.fromkeys(path for genotype in genotypes for path in genotype)
        self._decisions = [self._known[path] for path in paths]
        self._conditional = {path for path in paths if any(path not in g for g in genotypes)}

    def transform(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Features (N, F); decisions that ``fit`` has not seen are left out."""
        paths = [decision.path for decision in self._decisions]
        answers = [[genotype.get(path, -1) for path in paths] for genotype in genotypes]
        answers_NP = np.array(answers).reshape(len(genotypes), len(paths))
        blocks: list[np.ndarray] = [np.zeros((len(genotypes), 0))]
        by_kind: dict[str, list[np.ndarray]] = {}
        for decision, answers_N in zip(self._decisions, answers_NP.T, strict=True):
            chosen_NO = answers_N[:, None] == np.arange(len(decision.options))
            blocks.append(_value(decision, answers_N) if decision.is_ordered else chosen_NO)
            if decision.path in self._conditional:
                blocks.append(answers_N[:, None] < 0)
            if decision.kind != decision.path:
                by_kind.setdefault(decision.kind, []).append(chosen_NO)
        for repeated in by_kind.values():
            counts_NO = np.sum(repeated, axis=0)
            blocks.append(counts_NO / np.maximum(1, counts_NO.sum(axis=1, keepdims=True)))
        return np.concatenate(blocks, axis=1, dtype=float)

    def _learn(self, genotype: Genotype) -> None:
        def replay(decision: Decision) -> int:
            self._known[decision.path] = decision
            return genotype[decision.path]

        self.space.walk(replay)


def _value(decision: Decision, answers_N: np.ndarray) -> np.ndarray:
    last = max(1, len(decision.options) - 1)
    values_N1: np.ndarray = np.where(answers_N < 0, 0.5, answers_N / last)[:, None]
    return math.sqrt(2) * values_N1
