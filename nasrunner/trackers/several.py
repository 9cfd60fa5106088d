"""Records a study with several trackers at once."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from nasrunner.core.errors import ConfigError, TrackingError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.tracking import PublicTracker, Records, RetrainedNetwork, ToldTrackers

_MEMBERS = ("files", "prepare", "open", "started", "recorded", "close", "retrained")
"""What a tracker has that is asked for without being asked whether it is there."""


class SeveralTrackers:
    """Tells each of its trackers everything, in the order in which they are configured.

    One that fails while a study runs stops neither it nor the others; see ``ToldTrackers``.
    What ``files`` and ``records`` say is found at the trackers themselves.

    Args:
        trackers: name -> tracker; the names are for the user to refer to.

    Raises:
        ConfigError: there is none, one is no tracker, or two write the same file.
    """

    files: ClassVar[Sequence[str]] = ()
    records: ClassVar[Records | None] = None

    def __init__(self, trackers: Mapping[str, PublicTracker]) -> None:
        if not trackers:
            raise ConfigError("tracker.trackers needs at least one; tracker=none records nowhere")
        written: dict[str, str] = {}
        for name, tracker in trackers.items():
            if lacking := [member for member in _MEMBERS if not hasattr(tracker, member)]:
                raise ConfigError(
                    f"tracker.trackers.{name} must be a tracker with a _target_, got {tracker!r}, "
                    f"which lacks {', '.join(lacking)}"
                )
            for file in tracker.files:
                if other := written.get(file):
                    raise ConfigError(
                        f"tracker.trackers: {other} and {name} both write {file} in the study's "
                        "folder; legal is one of them"
                    )
                written[file] = name
        self._trackers = tuple(trackers.values())
        self._told = ToldTrackers(
            (f"tracker.trackers.{name}", each) for name, each in trackers.items()
        )

    def prepare(self) -> None:
        for tracker in self._trackers:
            tracker.prepare()

    @property
    def ui_command(self) -> str | None:
        """The commands of all that have one, each on a line."""
        commands = [tracker.ui_command for tracker in self._trackers]
        return "\n".join(filter(None, commands)) or None

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        self._told.open(info, state, inspect)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        self._told.started(proposal, blueprint)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._told.recorded(outcome, blueprint)

    def close(self, summary: Summary) -> None:
        self._told.close(summary)

    def let_go(self) -> None:
        """As of ``ToldTrackers``."""
        self._told.let_go()

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        """Gives the networks to all of them, also where one fails at it."""
        reasons = []
        for tracker in self._trackers:
            try:
                tracker.retrained(info, networks)
            except Exception as error:  # whatever a tracker raises: the others take them
                reasons.append(str(error) or type(error).__name__)
        if reasons:
            raise TrackingError("; ".join(reasons))
