"""What one study's sections look at: its evaluations in order, and how to write their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nasrunner.core.decision import readable_count
from nasrunner.core.records import Outcome
from nasrunner.recorded import RecordedChild, RecordedStudy


@dataclass(frozen=True)
class Evaluation:
    """A child that spent budget.

    Attributes:
        number: 1, 2, 3, … in the order the outcomes were recorded.
        child: the child.
        outcome: completed or failed.
    """

    number: int
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
        """Whether it ran, instead of repeating an earlier child's outcome."""
        return self.outcome.reused_from is None


def evaluations(study: RecordedStudy) -> list[Evaluation]:
    """The study's evaluations, failed ones and repeated outcomes included."""
    spent = [child for child in study.recorded if child.is_evaluation]
    return [
        Evaluation(number, child, child.outcome)
        for number, child in enumerate(spent, start=1)
        if child.outcome is not None
    ]


def reward_label(config: Mapping[str, Any]) -> str:
    """What an axis of rewards is called: with the metric or the table's column they come from."""
    column = config["trainer"].get("reward")
    reward = config["task"].get("reward") if config.get("task") else None
    if isinstance(column, str):  # of a tabular trainer
        return f"reward ({column})"
    if not isinstance(reward, Mapping) or "metric" not in reward:  # a user's own task
        return "reward"
    sign = "−" if reward.get("mode") == "min" else ""
    power = reward.get("power", 1)
    return f"reward ({sign}{reward['metric']}{'' if power == 1 else f'^{power}'})"


def duration(seconds: float) -> str:
    """``3.2 s``, ``16 s``, ``4 min 05 s`` or ``2 h 30 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minute:02d} min"
    return f"{minutes} min {second:02d} s" if minutes else f"{second} s"


def number(value: float | None) -> str:
    """A reward or another figure in a sentence."""
    return "–" if value is None else f"{value:.5g}".replace("-", "−")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 child``, ``2,000 children``."""
    return f"{readable_count(count)} {noun if count == 1 else plural or noun + 's'}"


def clipped(text: str, limit: int) -> str:
    """The text, with an ellipsis for its middle where it is longer; ends tell options apart."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"
