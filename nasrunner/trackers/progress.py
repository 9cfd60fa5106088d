"""Shows a study on the terminal while it runs, and its best children at the end."""

import atexit
import contextlib
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nasrunner.core.ledger.ranking import Ranking, mean_of
from nasrunner.core.machine.child_folder import OUTCOME, ChildFolder
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.core.screen.commands import resume_command, short
from nasrunner.core.screen.text import printable

_ROOT_LOGGER = "nasrunner"
_GONE = (OSError, ValueError)  # a terminal that is closed, or whose disk is full
_STYLES = {"completed": "green", "failed": "red", "invalid": "yellow"}


class ProgressDisplay:
    """A live display on a terminal; one line per child anywhere else.

    Warnings of nasrunner's own loggers are shown above the live display. A terminal that goes
    away stops the display and nothing else.

    Args:
        ui_command: how a person looks at what was tracked, or a function that tells it at the
            end; None: there is nothing to look at.
        console: where to write; None: standard output.

    Attributes:
        beside: what else runs in the same workers, in words, where something does.
    """

    def __init__(
        self,
        ui_command: str | Callable[[], str | None] | None,
        console: Console | None = None,
    ) -> None:
        self.ui_command = ui_command
        self.beside: Callable[[], str] | None = None
        self.console = console or _SturdyConsole(highlight=False)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live: Live | None = None
        self._handler = _WarningHandler(self)
        self._redirected: list[tuple[logging.StreamHandler[IO[str]], IO[str]]] = []
        self._counts: Counter[str] = Counter()
        self._num_earlier = 0
        self._running: set[int] = set()
        self._ranking = Ranking()
        self._first_failed: int | None = None
        self._first_with: dict[str, int] = {}
        self._warned: set[str] = set()
        self._info: StudyInfo | None = None
        self._opened = time.monotonic()

    def open(self, info: StudyInfo, recorded: Sequence[Outcome], inspect: Inspect) -> None:
        self._info = info
        self._opened = time.monotonic()
        for outcome in recorded:
            self._count(outcome)
        self._num_earlier = self._num_spent
        self.listen()
        noun = "child" if len(recorded) == 1 else "children"
        resumed = f", {len(recorded)} {noun} recorded before" if recorded else ""
        self._print(Text(f"{info.name} in {short(info.folder)}{resumed}", style="bold"))
        if self.is_live:
            # A new renderable each time: the clock ticks between two children, too.
            self._live = Live(
                console=self.console,
                get_renderable=self._status,
                refresh_per_second=4,
                transient=True,
            )
            atexit.register(self._stop)  # gives the cursor back, however the study ends
            self._live.start()
            self._redirect_handlers()

    def listen(self) -> None:
        """Shows warnings from now on: before a study is open, workers may be waited for."""
        logger = logging.getLogger(_ROOT_LOGGER)
        for stale in [h for h in logger.handlers if isinstance(h, _WarningHandler)]:
            logger.removeHandler(stale)  # of a study in this process that broke off
        logger.addHandler(self._handler)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        self._running.add(proposal.index)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._running.discard(outcome.proposal.index)
        is_better = self._count(outcome)
        if not self.is_live:
            self._print(self._line(outcome, is_better))
        elif outcome.status == "failed" and (reason := self._reason(outcome)):
            self.warn(f"child {outcome.proposal.index} failed: {reason}")

    def warn(self, message: str) -> None:
        """Prints a warning, above the live display where there is one; the same one only once."""
        if message in self._warned:
            return
        self._warned.add(message)
        self._print(Text.assemble(("warning: ", "bold yellow"), message))

    def close(self, summary: Summary) -> None:
        self._stop()
        if summary.best:
            self._print(_best_table(summary))
        self._print(Text.assemble(("Ended: ", "bold"), summary.reason))
        if summary.failure is not None:
            self._print(Text.assemble(("Failed: ", "bold red"), summary.failure))
        counts = ", ".join(_counted(name, n) for name, n in summary.counts.items() if n)
        if self._counts["diverged"]:
            counts += f"; {self._counts['diverged']} with a reward diverged"
        self._print(Text.assemble(("Children: ", "bold"), counts or "none"))
        spent = (
            f"{_clock(summary.wall_s)}; training, summed over children: {_clock(summary.cost_s)}"
        )
        self._print(Text.assemble(("Time: ", "bold"), spent))
        if summary.baseline is not None:
            self._print(Text.assemble(("Baseline: ", "bold"), summary.baseline.text()))
        if self._info is not None:
            if self._first_failed is not None:
                told = self._traceback(self._info.folder)
                self._print(Text.assemble(("Traceback: ", "bold"), told))
            self._print(Text.assemble(("Folder: ", "bold"), short(self._info.folder)))
            if summary.reason == "interrupted":
                go_on = resume_command(self._info.folder)
                self._print(Text.assemble(("Go on with: ", "bold"), go_on))
        command = self.ui_command() if callable(self.ui_command) else self.ui_command
        if command:
            self._print(Text.assemble(("Look at it: ", "bold"), command))

    @property
    def _num_spent(self) -> int:
        """Children that count against ``max_children``."""
        return self._counts["completed"] + self._counts["failed"]

    def _count(self, outcome: Outcome) -> bool:
        """Takes an outcome; returns whether it is the best so far."""
        is_repeated = outcome.status == "invalid" and outcome.reused_from is not None
        self._counts["repeated" if is_repeated else outcome.status] += 1
        self._counts["diverged"] += outcome.reward is not None and "diverged" in outcome.metrics
        if outcome.status == "failed" and self._first_failed is None:
            self._first_failed = outcome.proposal.index
        return self._ranking.add(outcome)

    def _line(self, outcome: Outcome, is_better: bool) -> Text:
        """``child 7  0.9812  3.1 s  best 0.9834 (child 4)``."""
        line = Text(f"child {outcome.proposal.index:<4} ")
        if outcome.reward is not None:
            line.append(f"{outcome.reward:<8.5g} ", style="bold" if is_better else "")
        elif outcome.status == "duplicate":
            line.append("duplicate: ")
        else:
            reason = self._reason(outcome) or f"as child {self._first_with[_why(outcome)]}"
            line.append(f"{outcome.status}: {reason} ", style="red")
        if outcome.reused_from is not None:
            line.append(f"same as child {outcome.reused_from} ")
        elif outcome.status != "invalid":  # which takes no time
            line.append(f"{outcome.cost_s:.1f} s ")
        if outcome.reward is not None and outcome.metrics.get("diverged"):
            line.append("diverged ", style="red")
        return line.append(f" {self._best_text()}")

    def _reason(self, outcome: Outcome) -> str:
        """Why a child has no reward; empty where another had none for the same reason before."""
        first = self._first_with.setdefault(_why(outcome), outcome.proposal.index)
        return last_line(outcome.error) if first == outcome.proposal.index else ""

    def _traceback(self, folder: Path) -> str:
        """Where the error of the first failed child stands in full."""
        assert self._first_failed is not None
        kept = ChildFolder.of(folder, self._first_failed).file(OUTCOME)
        where = short(kept if kept.is_file() else folder / "ledger.jsonl")
        return (
            f"of child {self._first_failed} in {where}; all: nasrunner-report from={short(folder)}"
        )

    def _status(self) -> RenderableType:
        """The live display: a bar, and a line of figures."""
        assert self._info is not None
        total, done = self._info.max_children, self._num_spent
        elapsed_s = time.monotonic() - self._opened
        bar = Table.grid(padding=(0, 1))
        if total:
            share = f"{min(done, total)}/{total} children"
            bar.add_row(
                ProgressBar(total, min(done, total), width=40), share, self._left(elapsed_s)
            )
        else:
            bar.add_row(Spinner("dots"), f"{done} children", "")
        parts = [(f"{len(self._running)} running", "cyan")]
        parts += [
            (f"{self._counts[status]} {status}", style)
            for status, style in _STYLES.items()
            if self._counts[status] and status != "completed"
        ]
        parts += [(self._best_text(), "bold")]
        parts += [(self.beside(), "cyan")] if self.beside is not None else []
        parts += [(f"{_clock(elapsed_s)} elapsed", "dim")]
        figures = Text("  ·  ", style="dim").join(Text(text, style) for text, style in parts)
        return Group(bar, figures)

    def _left(self, elapsed_s: float) -> str:
        """The time left, as if the rest took as long as those of this session."""
        assert self._info is not None
        done = self._num_spent - self._num_earlier
        if not self._info.max_children or done < 1:
            return ""
        remaining = max(0, self._info.max_children - self._num_spent)
        return f"about {_clock(elapsed_s / done * remaining)} left"

    def _best_text(self) -> str:
        best = self._ranking.top()
        if best is None:
            return "no reward yet"
        return (
            f"best {best.reward:.5g}{mean_of(best.num_trainings, best.spread)} (child {best.index})"
        )

    def _print(self, what: RenderableType) -> None:
        if isinstance(what, Text):
            what.plain = printable(what.plain)  # as long as it was: styles stay where they are
        with contextlib.suppress(*_GONE):
            self.console.print(what, soft_wrap=isinstance(what, Text))

    def _stop(self) -> None:
        """Ends the live display, gives back cursor and streams. Safe to call twice."""
        logging.getLogger(_ROOT_LOGGER).removeHandler(self._handler)
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected.clear()
        if self._live is not None:
            with contextlib.suppress(*_GONE):
                self._live.stop()
            self._live = None
            atexit.unregister(self._stop)

    def _redirect_handlers(self) -> None:
        """Log lines that others send to the terminal go above the live display, not through it."""
        streams = {id(sys.__stdout__), id(sys.__stderr__), id(self.console.file)}
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and id(handler.stream) in streams:
                self._redirected.append((handler, handler.stream))
                handler.setStream(FileProxy(self.console, handler.stream))


class _SturdyConsole(Console):
    """A console that stays silent once its pipe is closed; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


class _WarningHandler(logging.Handler):
    """Shows nasrunner's own warnings."""

    def __init__(self, display: ProgressDisplay) -> None:
        super().__init__(logging.WARNING)
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        self.display.warn(record.getMessage())


def _best_table(summary: Summary) -> Table:
    table = Table(title="Best children", title_justify="left", title_style="bold", box=None)
    for name in ("", "run", "reward", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    for rank, best in enumerate(summary.best[:5], start=1):
        parameters = best.get("parameters")
        table.add_row(
            f"{rank}",
            f"{best['index']:04d}",  # how its MLflow run and its folder begin
            f"{best['reward']:.5g}{mean_of(best['trainings'], best['reward_std'])}",
            "–" if parameters is None else f"{parameters:,.0f}",
            Text(printable(str(best["architecture"]))),
        )
    return table


def _counted(name: str, count: int) -> str:
    saved = {
        "reused": " (duplicates, not trained again)",
        "repeated": " (invalid, proposed again)",
        "duplicate": " (replaced)",
    }
    return f"{count} {name}{saved.get(name, '')}"


def _why(outcome: Outcome) -> str:
    return f"{outcome.status}: {last_line(outcome.error)}"


def _clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``3:04:05``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
