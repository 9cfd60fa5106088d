"""What a configured tracker offers beside a study, and how several are told of one."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from nasrunner.core.errors import NasRunnerError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary, Tracker
from nasrunner.core.records import Outcome, Proposal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrainedNetwork:
    """A network that was trained anew: to be tested, or as a point of a grid.

    Attributes:
        kind: ``retrained`` of one that was tested, ``grid`` of a point.
        name: what tells it from the study's others of this kind: ``0007-seed1``, on other data than
            the study's ``mnist/0007-seed1``.
        folder: where its files are.
        outcome: what came of it.
        blueprint: its architecture; None of what is no network of the space.
        ended_s: when it was tested, or its outcome recorded, Unix seconds.
        settings: training settings that were chosen for it: dotted key -> value.
        facts: what else tells it from others: its child, repetition and seed, as texts.
    """

    kind: Literal["retrained", "grid"]
    name: str
    folder: Path
    outcome: Outcome
    blueprint: Blueprint | None
    ended_s: float
    settings: Mapping[str, Any]
    facts: Mapping[str, str]

    @property
    def stamp(self) -> str:
        """What tells it from an earlier training under its name."""
        return repr(self.ended_s)


class Reader(Protocol):
    """A place where a tracker keeps studies, for whoever reads them there.

    What ``study`` and ``search`` return is the reader's own, and only given back to ``fetch``.
    """

    def study(self, address: str) -> Any:
        """Finds the study at an address, which begins with the tracker's scheme.

        Raises:
            NasRunnerError: there is none.
        """

    def search(self, experiment: str | None, condition: str | None) -> Sequence[Any]:
        """Finds the studies that meet a condition, oldest first; there is at least one.

        Args:
            experiment: the name of what they were recorded under; None: everything.
            condition: in the tracker's own language; None: every study.

        Raises:
            NasRunnerError: there is none, or the condition cannot be read.
        """

    def fetch(self, study: Any, folder: Path) -> Path:
        """Makes the folder of a study in another, with all that ``recorded.read_study`` reads.

        Raises:
            NotFetchableError: the tracker lacks it: the study runs, or was killed.
            NasRunnerError: it cannot be fetched.
        """

    def log(self, address: str, files: Iterable[Path], folder: str) -> str:
        """Adds files to the study at an address; returns in words where they are.

        Raises:
            NasRunnerError: the tracker does not take them.
        """


class Records(Protocol):
    """What a tracker's class can be asked without a study: where it writes, and what it wrote.

    Settings are what the configuration gives the class, resolved.

    Attributes:
        name: what people call the tracker.
        scheme: what the address of a study begins with, as in ``runs:/``.
        places: settings that say where it writes, first the one that studies are read from.
    """

    name: str
    scheme: str
    places: Sequence[str]

    def anchored(self, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Makes relative places absolute, as they are seen from a folder."""

    def check_jobs(self, store: Any) -> None:
        """Refuses a first place that jobs on several nodes could not write.

        Raises:
            ConfigError: names the setting, and what is legal.
        """

    def address(self, folder: Path) -> str | None:
        """Returns the address of the study in a folder; None: the tracker has not recorded it."""

    def located(self, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Makes the relative places of the study in a folder what they were when it ran."""

    def reader(self, settings: Mapping[str, Any]) -> Reader:
        """Opens the place where these settings record.

        Raises:
            NasRunnerError: it is not there, or does not answer.
        """


class PublicTracker(Tracker, Protocol):
    """A tracker whose records people look at somewhere else: what ``conf/tracker`` names.

    A class that sends with the user's credentials has ``places``, too: the settings that say where
    to. Those of a stranger's study are not taken over.

    Attributes:
        files: what it writes in a study's folder.
        records: what can be asked of its class; None: it is written to only.
    """

    files: ClassVar[Sequence[str]]
    records: ClassVar[Records | None]

    def prepare(self) -> None:
        """Called first: may begin in the background what takes long and leaves no trace."""

    @property
    def ui_command(self) -> str | None:
        """How a person looks at what was recorded; None: there is nothing to look at."""

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        """Takes what was trained anew of a study, which is not open: all of it, every time.

        It is called again with the same networks and more, of which each is recorded once.

        Raises:
            Exception: not all could be recorded; the networks stand in their folders.
        """


class ToldTrackers:
    """Tells trackers what happens to a study; one that fails at it stops neither it nor the others.

    That is said once, when it fails, and once more at the end. It is told nothing in between.
    When a study opens nothing is lost yet: there an error is the study's.

    One may have ``let_go()``, too: where the study breaks off before its end it is called in the
    place of ``close``, to give back what the process holds, such as a run that is sent.

    Args:
        trackers: each with what people call it, in the order in which they are told.
    """

    def __init__(self, trackers: Iterable[tuple[str, Tracker]]) -> None:
        self._trackers = list(trackers)
        self._open: list[tuple[str, Tracker]] = []
        self._failed: dict[int, int] = {}
        """Place of a tracker -> the child that it has failed at."""

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Opens all of them, or none.

        Raises:
            Exception: one cannot record the study.
        """
        try:
            for name, tracker in self._trackers:
                tracker.open(info, state, inspect)
                self._open.append((name, tracker))
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Lets those go that were opened and not closed, where they can be."""
        for name, tracker in self._open:
            try:
                getattr(tracker, "let_go", lambda: None)()
            except Exception as error:  # the reason why the study breaks off is the one to be told
                _log.warning("%s could not be let go: %s", name, _named(error))
        self._open.clear()

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        """As of ``Tracker``."""
        self._tell(lambda tracker: tracker.started(proposal, blueprint), proposal)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """As of ``Tracker``."""
        self._tell(lambda tracker: tracker.recorded(outcome, blueprint), outcome.proposal)

    def close(self, summary: Summary) -> None:
        """Closes all of them, those that have failed, too."""
        self._open.clear()
        for place, index in self._failed.items():
            name, _ = self._trackers[place]
            _log.warning("%s has recorded nothing from child %d on", name, index)
        for place, (name, tracker) in enumerate(self._trackers):
            try:
                tracker.close(summary)
            except Exception as error:  # a user's own may raise anything
                if place not in self._failed:
                    _log.warning("%s could not be closed: %s", name, _named(error))

    def _tell(self, what: Callable[[Tracker], None], proposal: Proposal) -> None:
        for place, (name, tracker) in enumerate(self._trackers):
            if place in self._failed:
                continue
            try:
                what(tracker)
            except Exception as error:  # a user's own may raise anything
                self._failed[place] = proposal.index
                _log.warning(
                    "%s failed at child %d and is told nothing more; the study goes on: %s",
                    name,
                    proposal.index,
                    _named(error),
                )
                _log.info("%s failed", name, exc_info=error)


def _named(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, NasRunnerError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]
