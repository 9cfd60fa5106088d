"""Listens to what running children measure, and stops those that the searcher gives up."""

from collections.abc import Callable
from pathlib import Path

from nasrunner.core.ledger.events import Event, Reported, Stopping
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.core.records import Proposal, Report, child_folder
from nasrunner.study.searching import Searching


class Listener:
    """Records the reports of children, tells the searcher, and asks it whom to stop.

    Args:
        folder: the study's.
        state: likewise.
        searching: its searcher.
        note: writes an event to the ledger, of which the state follows.
    """

    def __init__(
        self,
        folder: Path,
        state: StudyState,
        searching: Searching,
        note: Callable[[Event], None],
    ) -> None:
        self._folder = folder
        self._state = state
        self._searching = searching
        self._note = note

    def __call__(self, report: Report) -> bool:
        """Takes what a running child has measured; returns whether the child is to stop."""
        state, index = self._state, report.index
        if index not in state.in_flight:
            return False  # it has ended meanwhile
        source = state.in_flight[index].continues
        before = 0 if source is None else state.num_epochs.get(source, 0)
        if report.epoch > max(before, state.heard.get(index, 0)):
            self._note(Reported(report))
            self._searching.asked(lambda searcher: searcher.report(report))
            if index not in state.stopping and self._is_to_stop(index):
                self._stop(index, report.epoch)
        return report.epoch >= state.stopping.get(index, report.epoch + 1)

    def stop_again(self, proposal: Proposal) -> None:
        """Asks a child that runs once more to stop where that was, or would have been, decided."""
        index = proposal.index
        if (epoch := self._state.stopping.get(index)) is not None:
            self._file(index).write(epoch)
        elif index in self._state.heard and self._is_to_stop(index):
            self._stop(index, self._state.heard[index])

    def _is_to_stop(self, index: int) -> bool:
        return self._searching.asked(lambda searcher: searcher.should_stop(index))

    def _stop(self, index: int, epoch: int) -> None:
        self._note(Stopping(index, epoch))
        self._file(index).write(epoch)

    def _file(self, index: int) -> StopFile:
        return StopFile(child_folder(self._folder, index))
