"""What a recurrent controller is fed and asked along one walk through a space."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.space import Space


class Vocabulary:
    """Numbers every pair of a decision kind and an option: its row.

    Args:
        options: decision kind -> its options, as ``Space.signature`` gives them.

    Attributes:
        kinds: decision kind -> its position.
        rows_of: decision kind -> the rows of its options.
        num_rows: of all kinds together; the row after the last stands for a walk's start.
    """

    def __init__(self, options: Mapping[str, Sequence[Any]]) -> None:
        self.kinds = {kind: position for position, kind in enumerate(options)}
        self.rows_of: dict[str, slice] = {}
        self.num_rows = 0
        for kind, values in options.items():
            self.rows_of[kind] = slice(self.num_rows, self.num_rows + len(values))
            self.num_rows += len(values)


class Transcript:
    """The controller's steps along one walk, and the answers given.

    A decision takes one step, and its answer is fed to the next. All selections of one taker have
    one step together, the taker's anchor point, and the next step is fed the mean of their
    answers. A candidate that has no anchor point yet gets one then; it is followed by the answer
    of selecting nothing.

    Args:
        vocabulary: the rows of the space's options.

    Attributes:
        fed: for each step a row, and how much of the row after it is mixed in, in [0, 1].
        asked: for each step the (row, kind) answered there; None at an anchor point.
        anchors: the steps that are anchor points.
        selected: (taker, candidate, whether it is taken): positions in ``anchors``.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.fed: list[tuple[int, float]] = []
        self.asked: list[tuple[int, int] | None] = []
        self.anchors: list[int] = []
        self.selected: list[tuple[int, int, int]] = []
        self._vocabulary = vocabulary
        self._next = (vocabulary.num_rows, 0.0)
        self._anchor_of: dict[str, int] = {}
        self._counts: dict[str, tuple[int, int]] = {}  # taker -> taken, asked

    @classmethod
    def of(cls, vocabulary: Vocabulary, space: Space, genotype: Genotype) -> "Transcript":
        """Replays the steps that lead to an architecture of a space."""
        transcript = cls(vocabulary)

        def choose(decision: Decision) -> int:
            index = genotype[decision.path]
            transcript.open(decision)
            transcript.answer(decision, index)
            return index

        space.walk(choose)
        return transcript

    @property
    def next(self) -> tuple[int, float]:
        """What a step after the last one is fed: the last answer."""
        return self._next

    def open(self, decision: Decision) -> int:
        """Adds the steps before a decision can be answered; returns how many those are."""
        if decision.selection is None:
            self._add_step()
            return 1
        parts = (decision.selection.candidate, decision.selection.taker)
        new = [part for part in parts if part not in self._anchor_of]
        for part in new:
            self._anchor_of[part] = len(self.anchors)
            self.anchors.append(len(self.fed))
            self._add_step()
            self._next = (self._vocabulary.rows_of[decision.kind].start, 0.0)
        return len(new)

    def answer(self, decision: Decision, index: int) -> None:
        """Takes the answer to the decision that was opened last."""
        first_row = self._vocabulary.rows_of[decision.kind].start
        if decision.selection is None:
            self.asked[-1] = (first_row + index, self._vocabulary.kinds[decision.kind])
            self._next = (first_row + index, 0.0)
            return
        taker = decision.selection.taker
        self.selected.append((*self.pair(decision), index))
        num_taken, num_asked = self._counts.get(taker, (0, 0))
        self._counts[taker] = num_taken, num_asked = num_taken + index, num_asked + 1
        self._next = (first_row, num_taken / num_asked)

    def pair(self, decision: Decision) -> tuple[int, int]:
        """Returns the positions in ``anchors`` of a selection's taker and its candidate."""
        assert decision.selection is not None
        anchor_of = self._anchor_of
        return anchor_of[decision.selection.taker], anchor_of[decision.selection.candidate]

    def _add_step(self) -> None:
        self.fed.append(self._next)
        self.asked.append(None)
