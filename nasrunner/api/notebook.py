"""Shows a study in a notebook while it runs: how far it is, and the best children so far."""

import io
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.screen.text import printable
from nasrunner.trackers.progress import ProgressDisplay
from nasrunner.trackers.wording import noun

_NUM_BEST = 5
_WIDTH = 100
_HTML = '<pre style="white-space:pre-wrap;font-family:monospace;line-height:1.3">{code}</pre>'


def display_here() -> Callable[[Callable[[], str | None]], ProgressDisplay]:
    """Returns what shows a study: on a terminal, or in the cell of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return ProgressDisplay if getattr(shell, "kernel", None) is None else NotebookDisplay


class NotebookDisplay(ProgressDisplay):
    """A cell's output that is replaced after each child, and at the end by what was found.

    Args:
        ui_command: as of ``ProgressDisplay``.
    """

    def __init__(self, ui_command: Callable[[], str | None]) -> None:
        super().__init__(ui_command, _recording())
        self._said: list[RenderableType] = []
        self._texts: dict[int, str] = {}
        self._inspect: Inspect | None = None
        self._cell: Any = None
        self._is_running = False

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        self._inspect = inspect
        self._is_running = True
        super().open(info, state, inspect)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        super().started(proposal, blueprint)
        self._show()

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._running.end(outcome.proposal.index)
        if blueprint is not None:
            self._texts[outcome.proposal.index] = blueprint.text
        if outcome.status == "failed" and (reason := self._reason(outcome)):
            self.warn(f"{noun(outcome.proposal)} {outcome.proposal.index} failed: {reason}")
        self._show()

    def close(self, summary: Summary) -> None:
        self._is_running = False
        super().close(summary)

    def _print(self, what: RenderableType) -> None:
        if isinstance(what, Text):
            what.plain = printable(what.plain)
        self._said.append(what)
        self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display

        console = _recording()
        running = [self._status(), self._best_so_far()] if self._is_running else []
        console.print(Group(*self._said, *running))
        content = HTML(console.export_html(code_format=_HTML, inline_styles=True))  # type: ignore[no-untyped-call]
        if self._cell is None:
            self._cell = display(content, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._cell.update(content)

    def _best_so_far(self) -> Table:
        table = Table(box=None)
        for name in ("child", "reward"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("architecture", overflow="fold", ratio=1)
        for ranked in self._history.shown()[0].best(_NUM_BEST):
            architecture = Text(printable(self._architecture(ranked.outcome)))
            table.add_row(f"{ranked.index:04d}", f"{ranked.reward:.5g}", architecture)
        return table

    def _architecture(self, outcome: Outcome) -> str:
        """Its text; of a child of an earlier session it is drawn up again."""
        index = outcome.proposal.index
        if index not in self._texts:
            assert self._inspect is not None, "open first"
            self._texts[index] = self._inspect(outcome.proposal.genotype).text
        return self._texts[index]


def _recording() -> Console:
    return Console(
        record=True, file=io.StringIO(), width=_WIDTH, highlight=False, force_jupyter=False
    )
