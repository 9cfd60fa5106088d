"""The answers of every trained child, decision by decision: what models and figures read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasrunner.core.decision import Decision
from nasrunner.recorded import RecordedStudy
from nasrunner.report.decisions.answers import answered, floor_of, rewards_of_trained
from nasrunner.report.decisions.names import readable

# N = children, D = decisions

NOT_ASKED = -1
"""In the place of an answer: the child does not have the decision."""


@dataclass(frozen=True)
class AnswerTable:
    """What children answered to each decision, every repetition by itself, and their rewards.

    Attributes:
        paths: of the decisions that were answered in more than one way, D.
        names: what people call them, D.
        options: of each what may be answered, D.
        are_ordered: the options are numbers in order, D.
        indices: of the children, N.
        answers_ND: option indices; ``NOT_ASKED`` where a child lacks the decision.
        rewards_N: a reward that is far out counts as ``floor_of``.
    """

    paths: Sequence[str]
    names: Sequence[str]
    options: Sequence[Sequence[Any]]
    are_ordered: Sequence[bool]
    indices: Sequence[int]
    answers_ND: NDArray[np.int64]
    rewards_N: NDArray[np.float64]

    def of(self, chosen: Sequence[int]) -> "AnswerTable":
        """Returns the table with these decisions alone."""
        return AnswerTable(
            [self.paths[d] for d in chosen],
            [self.names[d] for d in chosen],
            [self.options[d] for d in chosen],
            [self.are_ordered[d] for d in chosen],
            self.indices,
            self.answers_ND[:, list(chosen)],
            self.rewards_N,
        )

    def among(self, children: Sequence[int]) -> "AnswerTable":
        """Returns the table of these children alone, by their places in it."""
        return AnswerTable(
            self.paths,
            self.names,
            self.options,
            self.are_ordered,
            [self.indices[n] for n in children],
            self.answers_ND[list(children)],
            self.rewards_N[list(children)],
        )

    def num_with(self, place: int) -> int:
        """Counts the children that have a decision."""
        return int((self.answers_ND[:, place] != NOT_ASKED).sum())


def answer_table(study: RecordedStudy) -> AnswerTable:
    """Collects the answers of the children that were trained and have a reward."""
    rewards, floor = rewards_of_trained(study), floor_of(study)
    decisions: dict[str, Decision] = {}
    children = [c for c in study.begun if c.proposal.index in rewards]
    asked = [{d.path: o for d, o in answered(study, c, decisions)} for c in children]
    places = dict.fromkeys(path for each in asked for path in each)
    varying = [p for p in places if len({each.get(p, NOT_ASKED) for each in asked}) > 1]
    names = readable({path: decisions[path].options for path in varying})
    answers = [[each.get(path, NOT_ASKED) for path in varying] for each in asked]
    return AnswerTable(
        varying,
        [names[path] for path in varying],
        [decisions[path].options for path in varying],
        [decisions[path].is_ordered for path in varying],
        [child.proposal.index for child in children],
        np.array(answers, dtype=np.int64).reshape(len(children), len(varying)),
        np.array([max(rewards[c.proposal.index], floor) for c in children], dtype=np.float64),
    )
