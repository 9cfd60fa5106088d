"""What one study's sections look at: its evaluations in order, and how to write their values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nasrunner.core.decision import readable_count
from nasrunner.core.records import MEASURED, Outcome
from nasrunner.recorded import RecordedChild, RecordedStudy


@dataclass(frozen=True)
class NumberedEvaluation:
    """A child that spent budget; or a copy of one, which was trained on beside it.

    Attributes:
        number: 1, 2, 3, … in the order the outcomes of those that were begun were recorded; of a
            copy that of the child that it comes from.
        begun: the child with which the training began.
        child: the one whose outcome it is.
        outcome: of the training to its end, or of the longest rung where none was. Without such
            a one, what became of it at last, which has no reward then.
    """

    number: int
    begun: RecordedChild
    child: RecordedChild
    outcome: Outcome

    @property
    def index(self) -> int:
        """The child's number, which also names its folder."""
        return self.child.proposal.index

    @property
    def has_reward(self) -> bool:
        """Whether it ended with a reward."""
        return self.outcome.reward is not None

    @property
    def reward(self) -> float:
        """Its reward; ask only where it has one."""
        assert self.outcome.reward is not None
        return self.outcome.reward

    @property
    def is_trained(self) -> bool:
        """Whether it ran: it repeats no earlier child's outcome, and was not too large."""
        return not self.is_repeated and self.outcome.is_trained

    @property
    def is_repeated(self) -> bool:
        """Whether it was given an earlier child's outcome."""
        return self.outcome.reused_from is not None

    @property
    def is_copy(self) -> bool:
        """Whether it spent no budget: it went on from another child's training."""
        return not self.begun.proposal.is_root


def evaluations(study: RecordedStudy) -> list[NumberedEvaluation]:
    """Returns the study's evaluations, failed ones and repeated outcomes included."""
    lineages = study.state.lineages
    lines: dict[int, list[RecordedChild]] = {}
    for child in study.trainings:
        lines.setdefault(lineages.place_of(child.proposal.index).first, []).append(child)
    numbers: dict[int, int] = {}
    found = []
    for children in lines.values():
        begun, outcome = children[0], children[0].outcome
        assert outcome is not None
        if begun.is_evaluation:
            numbers[begun.proposal.index] = len(numbers) + 1
        elif begun.proposal.is_root or outcome.status not in (*MEASURED, "failed"):
            continue
        root = lineages.place_of(begun.proposal.index).root
        found.append(_evaluation(study, numbers[root], children))
    return found


def _evaluation(
    study: RecordedStudy, number: int, children: Sequence[RecordedChild]
) -> NumberedEvaluation:
    """What a line of trainings came to."""
    for child in children:
        if child.outcome is not None and study.compares(child.outcome):
            return NumberedEvaluation(number, children[0], child, child.outcome)
    last = children[-1]
    assert last.outcome is not None
    return NumberedEvaluation(number, children[0], last, replace(last.outcome, reward=None))


def about_rewards(study: RecordedStudy) -> str:
    """Returns which children's rewards are compared, in sentences; empty where all are plain
    ones.
    """
    unranked = [e.outcome for e in evaluations(study) if not e.has_reward]
    cut = [each for each in unranked if each.status != "failed" and not each.is_full]
    if not cut:
        return study.about_reach
    told = study.about_reach or "Rewards are of children that were trained to their ends."
    names = {
        "paused": "paused",
        "stopped": "stopped",
        "completed": "trained at a lower fidelity",
        "too_large": "too large, not trained",
    }
    words = [each.told_status for each in cut]
    listed = ", ".join(f"{words.count(n):,} {told}" for n, told in names.items() if n in words)
    return f"{told} Left out: {listed}."


def reward_label(study: RecordedStudy) -> str:
    """Returns what an axis of rewards is called: with the metric or the table's column they come
    from.
    """
    text = study.reward_text
    return f"reward ({clipped(text, 60)})" if text else "reward"


def duration(seconds: float) -> str:
    """Returns ``3.2 s``, ``16 s``, ``4 min 05 s`` or ``2 h 30 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minute:02d} min"
    return f"{minutes} min {second:02d} s" if minutes else f"{second} s"


def number(value: float | None) -> str:
    """Returns a reward or another figure in a sentence."""
    return "–" if value is None else f"{value:.5g}".replace("-", "−")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Returns ``1 child``, ``2,000 children``."""
    return f"{readable_count(count)} {noun if count == 1 else plural or noun + 's'}"


def clipped(text: str, limit: int) -> str:
    """Returns the text, with an ellipsis for its middle where it is longer; ends tell options
    apart.
    """
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"
