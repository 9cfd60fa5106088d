"""No tracking: a study keeps its ledger, and nothing else is written."""

from collections.abc import Sequence
from typing import ClassVar

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.tracking import Records, RetrainedNetwork


class NoTracker:
    """Takes every event of a study and does nothing with it.

    Attributes:
        ui_command: how a person looks at what was tracked; here there is nothing to look at.
    """

    files: ClassVar[Sequence[str]] = ()
    records: ClassVar[Records | None] = None
    ui_command: str | None = None

    def prepare(self) -> None:
        pass

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        pass

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        pass

    def close(self, summary: Summary) -> None:
        pass

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        pass
