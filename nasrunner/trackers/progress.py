"""Shows a study on the terminal while it runs, and its best children at the end."""

import atexit
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.known import is_given
from nasrunner.core.ledger.ranking import mean_of
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.core.screen.commands import resume_command, short
from nasrunner.core.screen.text import printable
from nasrunner.trackers.notes import next_commands
from nasrunner.trackers.running import RunningChildren
from nasrunner.trackers.wording import (
    BESIDE,
    STYLES,
    best_table,
    clock,
    counted,
    in_epochs,
    many,
    noun,
    recorded_before,
    traceback,
    why,
)

_ROOT_LOGGER = "nasrunner"
_GONE = (OSError, ValueError)  # a terminal that is closed, or whose disk is full


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
        self._state = StudyState()
        self._num_earlier = 0
        self._running = RunningChildren()
        self._first_with: dict[str, str] = {}
        self._warned: set[str] = set()
        self._info: StudyInfo | None = None
        self._opened = time.monotonic()

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        self._info = info
        self._state = state
        self._running.open(info.folder, info.config)
        self._opened = time.monotonic()
        self._num_earlier = self._history.num_spent
        self.listen()
        before = recorded_before(self._history)
        self._print(Text(f"{info.name} in {short(info.folder)}{before}", style="bold"))
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

    def prepare(self, name: str) -> None:
        """Says at once what the first seconds of a study are spent on."""
        self._print(Text(f"preparing {name}: workers, space, data, a rehearsal", style="dim"))

    def listen(self) -> None:
        """Shows warnings from now on: before a study is open, workers may be waited for."""
        logger = logging.getLogger(_ROOT_LOGGER)
        for stale in [h for h in logger.handlers if isinstance(h, _WarningHandler)]:
            logger.removeHandler(stale)  # of a study in this process that broke off
        logger.addHandler(self._handler)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        self._running.start(proposal)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._running.end(outcome.proposal.index)
        if not self.is_live:
            self._print(self._line(outcome))
        elif outcome.status == "failed" and (reason := self._reason(outcome)):
            self.warn(f"{noun(outcome.proposal)} {outcome.proposal.index} failed: {reason}")

    def warn(self, message: str) -> None:
        """Prints a warning, above the live display where there is one; the same one only once."""
        if message in self._warned:
            return
        self._warned.add(message)
        self._print(Text.assemble(("warning: ", "bold yellow"), message))

    def close(self, summary: Summary) -> None:
        self._stop()
        if summary.best:
            self._print(best_table(summary, self._begun_as))
            if (reach := summary.reach) is not None:
                told = f"None was trained {reach.missed}: these were {reach.about}."
                whole = " Parameters are of the whole networks." if reach.fidelity else ""
                self._print(Text(f"{told}{whole}"))
        for told in filter(None, [*summary.unmet, summary.one_class]):
            self.warn(told)
        if summary.front is not None:
            self._print(Text.assemble(("Front: ", "bold"), summary.about_front))
        if summary.began_with is not None:
            self._print(Text.assemble(("Began with: ", "bold"), summary.began_with))
        self._print(Text.assemble(("Ended: ", "bold"), summary.reason))
        if summary.failure is not None:
            self._print(Text.assemble(("Failed: ", "bold red"), summary.failure))
        self._print(Text.assemble(("Children: ", "bold"), self._counted(summary)))
        spent = (
            f"{clock(summary.wall_s)} with the start of this session; training, summed over "
            f"children: {clock(summary.cost_s)}"
        )
        self._print(Text.assemble(("Time: ", "bold"), spent))
        if summary.baseline is not None:
            self._print(Text.assemble(("Baseline: ", "bold"), summary.baseline.text()))
        if self._info is not None:
            failed = (o.proposal for o in self._history.outcomes if o.status == "failed")
            if (first := next(failed, None)) is not None:
                told = traceback(self._info.folder, first)
                self._print(Text.assemble(("Traceback: ", "bold"), told))
            self._print(Text.assemble(("Folder: ", "bold"), short(self._info.folder)))
            if summary.reason == "interrupted":
                go_on = resume_command(self._info.folder)
                self._print(Text.assemble(("Go on with: ", "bold"), go_on))
            elif not (
                self._info.folder.parent / "multirun.yaml"
            ).exists():  # which tells at its end
                self._tell_what_is_next(self._info, has_best=bool(summary.best))
        command = self.ui_command() if callable(self.ui_command) else self.ui_command
        if command:
            self._print(Text.assemble(("Look at it: ", "bold"), command))

    def let_go(self) -> None:
        """Gives the terminal back, of a study that breaks off."""
        self._stop()

    def _tell_what_is_next(self, info: StudyInfo, *, has_best: bool) -> None:
        label = "Next: "
        for command in next_commands(info, has_best=has_best):
            self._print(Text.assemble((label, "bold"), command))
            label = " " * len(label)

    @property
    def _history(self) -> History:
        return self._state.history

    def _counted(self, summary: Summary) -> str:
        """How many children there are by what became of them; then what is beside them."""
        counts = [(name, number) for name, number in summary.counts.items() if number]
        text = ", ".join(counted(*each) for each in counts if each[0] not in BESIDE) or "none"
        text += f"; {summary.about_ends}" if summary.about_ends else ""
        outcomes = self._history.outcomes
        if diverged := sum(o.reward is not None and "diverged" in o.metrics for o in outcomes):
            text += f"; {diverged} with a reward diverged"
        beside = {name: counted(name, number) for name, number in counts if name in BESIDE}
        estimates = [o.status for o in outcomes if o.proposal.kind == "estimate"]
        if failed := estimates.count("failed"):
            beside["estimates"] += f" ({failed:,} failed)"
        text += f"; beside them {', '.join(beside.values())}" if beside else ""
        text += f"; {summary.about_predictions}" if summary.about_predictions else ""
        return text

    def _begun_as(self, index: int) -> int:
        """The child whose run in a tracker that of a child is, if another."""
        is_known = index in self._state.proposals
        return self._state.lineages.place_of(index).first if is_known else index

    def _is_best(self, outcome: Outcome) -> bool:
        """Whether it makes its architecture the best so far, or keeps it."""
        best = self._history.shown()[0].top()
        if best is None or outcome.reused_from is not None or not self._history.compares(outcome):
            return False
        return best.outcome.proposal.architecture == outcome.proposal.architecture

    def _line(self, outcome: Outcome) -> Text:
        """``child 7  0.9812  3.1 s  best 0.9834 (child 4)``."""
        line = Text(f"{noun(outcome.proposal)} {outcome.proposal.index:<4} ")
        if outcome.reward is not None:
            style = "bold" if self._is_best(outcome) else ""
            line.append(f"{outcome.reward:<8.5g} ", style=style)
        elif outcome.proposal.kind == "supernet" and outcome.status == "completed":
            found = many(len(outcome.found), "architecture", "architectures")
            finds = (
                outcome.found or outcome.proposal.sources
            )  # a parent, which it looks for more of
            line.append(f"found {found} " if finds else "trained ")
        elif outcome.status == "duplicate":
            line.append("duplicate: ")
        else:
            reason = self._reason(outcome) or f"as {self._first_with[why(outcome)]}"
            what = "beyond" if outcome.objectives else f"{outcome.status}:"
            line.append(f"{what} {reason} ", style="red")
        if outcome.reused_from is not None:
            line.append(f"same as {noun(outcome.proposal)} {outcome.reused_from} ")
        elif outcome.status != "invalid":  # which takes no time
            line.append(f"{outcome.cost_s:.1f} s ")
        if outcome.reward is not None and outcome.metrics.get("diverged"):
            line.append("diverged ", style="red")
        if told := self._what_of_it(outcome):
            line.append(f"{told} ")
        return line.append(f" {self._best_text()}")

    def _what_of_it(self, outcome: Outcome) -> str:
        """What a training was that is none from first weights to its end; empty for those."""
        proposal, parts = outcome.proposal, []
        if is_given(proposal):
            parts.append("given")
        if outcome.is_too_large:
            return ", ".join([*parts, "too large, not trained"])
        if (source := proposal.continues) is not None:
            parts.append(f"goes on with child {source}")
        parts += [f"{key}={value:g}" for key, value in proposal.fidelity.items()]
        if outcome.status == "paused":
            parts.append(f"paused after {in_epochs(proposal.until)}")
        if outcome.status == "stopped":
            lengths = [len(values) for values in outcome.curve.values()]
            asked = self._state.stopping.get(proposal.index)
            parts.append(f"stopped after {in_epochs(max(lengths, default=asked))}")
        return ", ".join(parts)

    def _reason(self, outcome: Outcome) -> str:
        """Why a child has no reward; empty where another had none for the same reason before."""
        mine = f"{noun(outcome.proposal)} {outcome.proposal.index}"
        first = self._first_with.setdefault(why(outcome), mine)
        if first != mine:
            return ""
        # That of a supernet ends the study, and says what is legal.
        is_whole = outcome.proposal.kind == "supernet"
        return last_line(outcome.error, None) if is_whole else last_line(outcome.error)

    def _status(self) -> RenderableType:
        """The live display: a bar, a line of figures, and how far children have come."""
        assert self._info is not None
        total, done = self._info.max_children, self._history.num_spent
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
        history = self._history  # which changes meanwhile, in another thread
        for name, (one, several, style) in STYLES.items():
            count = (history.statuses if name == "failed" else history.counts)[name]
            parts += [(many(count, one, several), style)] if count else []
        parts += [(self._best_text(), "bold")]
        parts += [(self.beside(), "cyan")] if self.beside is not None else []
        parts += [(f"{clock(elapsed_s)} elapsed", "dim")]
        figures = Text("  ·  ", style="dim").join(Text(text, style) for text, style in parts)
        return Group(bar, figures, *self._running.lines())

    def _left(self, elapsed_s: float) -> str:
        """The time left, as if the rest took as long as those of this session."""
        assert self._info is not None
        done = self._history.num_spent - self._num_earlier
        if not self._info.max_children or done < 1:
            return ""
        remaining = max(0, self._info.max_children - self._history.num_spent)
        return f"about {clock(elapsed_s / done * remaining)} left"

    def _best_text(self) -> str:
        ranking, reach = self._history.shown()
        best = ranking.top()
        if best is None:
            return "no reward yet"
        rung = "" if reach is None else f" {reach.short}"
        mean = mean_of(best.num_trainings, best.spread)
        run = self._begun_as(best.index)
        named = f"child {best.index}" + ("" if run == best.index else f", run {run:04d}")
        return f"best {best.reward:.5g}{mean}{rung} ({named})"

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
