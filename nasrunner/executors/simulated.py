"""A cluster that is only pretended: children answer at once, and a virtual clock says when."""

import heapq
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from nasrunner.core import Hear, Outcome, Proposal, Report, Train
from nasrunner.core.annotations import Above, AtLeast, Within
from nasrunner.executors.running import run_children


@dataclass(frozen=True)
class Utilisation:
    """How a simulated cluster was used, until the last child ended.

    Attributes:
        clock_s: virtual seconds since the first child was submitted.
        busy_share: of the workers' time in which they had a child.
        driver_s: real seconds in which the study was at work: searcher, ledger, trackers.
        num_ended: children that ended.
        num_deaths: workers that died under a child.
    """

    clock_s: float
    busy_share: float
    driver_s: float
    num_ended: int
    num_deaths: int


@dataclass
class _Child:
    """What becomes of a child that holds a worker.

    Attributes:
        held_s: how long it holds it.
        outcome: what comes then.
        curve: what it measures after each epoch, by metric.
        length_s: seconds of the whole curve; more than ``held_s`` where the child breaks.
        num_told: epochs that were reported.
        is_stopped: whether it is told to stop.
    """

    held_s: float
    outcome: Outcome
    curve: Mapping[str, Sequence[float]]
    length_s: float
    num_told: int = 0
    is_stopped: bool = False

    @property
    def num_epochs(self) -> int:
        return max(map(len, self.curve.values()), default=0)

    def ends_s(self, epoch: int) -> float:
        """Returns seconds from its start to the end of an epoch."""
        return self.length_s * (epoch / self.num_epochs)

    def report(self) -> Report | None:
        """Returns the next of its reports; None: it ends before."""
        epoch = self.num_told + 1
        if epoch > self.num_epochs or self.ends_s(epoch) > self.held_s:
            return None
        measured = {n: v[epoch - 1] for n, v in self.curve.items() if epoch <= len(v)}
        return Report(self.outcome.proposal.index, epoch, measured)


@dataclass(eq=False)
class _Work:
    """What a worker was sent: children to train one after the other.

    Attributes:
        train: what answered for them.
        hear: who listens to them.
        children: those without an outcome; the first one runs.
        started_s: when that began.
    """

    train: Train
    hear: Hear | None
    children: deque[_Child] = field(default_factory=deque)
    started_s: float = 0.0


class SimulatedExecutor:
    """Runs the real loop, searcher and ledger against workers that are not there.

    ``train`` is called when a child is submitted, so it should be a lookup in a table;
    what it takes is not counted. Each child then holds a worker for its duration on a virtual
    clock. Real time that the study takes between two calls passes on that clock too, so a driver
    that cannot keep up shows as idle workers.

    Where somebody listens, a child tells the values of its outcome's curve at equal distances of
    its time. One that is told to stop does so after the epoch that it is in by then, and has the
    outcome that ``train`` gives for as many epochs.

    A worker that dies is replaced after ``restart_s`` and its child goes on from its last
    checkpoint, until it has used up its retries.

    Args:
        workers: children that run at a time, >= 1.
        median_s: median seconds of a child, > 0; None: the ``cost_s`` of its outcome.
        spread: standard deviation of the logarithm of a child's seconds, >= 0 (log-normal: a few
            children take much longer than most).
        failed_share: children that break in training, in [0, 1); at a random moment of it.
        deaths_per_hour: of one worker, >= 0; they follow a Poisson process.
        checkpoint_every_s: a child loses at most this much of its training, > 0.
        restart_s: until a worker that died is replaced, >= 0.
        retries: how often a child is started again whose worker died, >= 0.
        driver_speed: virtual seconds that pass in a real second of the driver, >= 0; 0 makes a
            run repeatable.
        seed: of durations, failures and deaths.

    Raises:
        ConfigError: a number is out of its range.
    """

    is_remote = False
    is_on_this_machine = False
    is_simulated = True

    def __init__(
        self,
        workers: Annotated[int, AtLeast(1)],
        median_s: Annotated[float, Above(0)] | None,
        spread: Annotated[float, AtLeast(0)],
        failed_share: Annotated[float, Within("[0, 1)")],
        deaths_per_hour: Annotated[float, AtLeast(0)],
        checkpoint_every_s: Annotated[float, Above(0)],
        restart_s: Annotated[float, AtLeast(0)],
        retries: Annotated[int, AtLeast(0)],
        driver_speed: Annotated[float, AtLeast(0)],
        seed: Annotated[int, AtLeast(0)],
    ) -> None:
        self.workers = workers
        self.median_s = median_s
        self.spread = spread
        self.failed_share = failed_share
        self.deaths_per_hour = deaths_per_hour
        self.checkpoint_every_s = checkpoint_every_s
        self.restart_s = restart_s
        self.retries = retries
        self.driver_speed = driver_speed
        self.seed = seed
        self.clock_s = 0.0
        self._moments: list[tuple[float, int, _Work]] = []  # a heap: when something comes of each
        self._running: dict[_Work, None] = {}
        self._queue: deque[_Work] = deque()
        self._num_moments = 0
        self._num_ended = 0
        self._num_deaths = 0
        self._busy_s = 0.0
        self._driver_s = 0.0
        self._left_s: float | None = None

    def free_slots(self) -> int:
        return max(0, self.workers - len(self._running) - len(self._queue))

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        self._driver_worked()
        work = _Work(train, hear)
        for outcome in run_children(train, proposals):
            work.children.append(self._played(outcome.proposal, outcome))
        if len(self._running) < self.workers:
            self._start(work)
        else:
            self._queue.append(work)
        self._left_s = time.perf_counter()

    def wait(self) -> list[Outcome]:
        assert self._running, "wait() before submit(): nothing could ever end"
        self._driver_worked()
        ended: list[Outcome] = []
        while not ended:
            self.clock_s = max(self.clock_s, self._moments[0][0])
            while self._moments and self._moments[0][0] <= self.clock_s:
                work = heapq.heappop(self._moments)[2]
                if (report := work.children[0].report()) is None or work.hear is None:
                    ended.append(self._end(work))
                else:
                    self._tell(work, work.hear, report)
        self._num_ended += sum(outcome.proposal.index >= 0 for outcome in ended)  # no rehearsal
        self._left_s = time.perf_counter()
        return ended

    def close(self) -> None:
        self._moments.clear()
        self._running.clear()
        self._queue.clear()
        if self._num_ended:
            used = self.utilisation()
            sys.stdout.write(
                f"Simulated: {used.num_ended:,} children on {self.workers:,} workers in "
                f"{used.clock_s:,.0f} s, workers busy {100 * used.busy_share:.1f} %, "
                f"{1e3 * used.driver_s / used.num_ended:.2f} ms of the driver a child, "
                f"{used.num_deaths:,} workers died\n"
            )
            self._num_ended = 0

    def utilisation(self) -> Utilisation:
        """Returns how the cluster was used so far."""
        total_s = self.workers * self.clock_s
        unfinished_s = sum(
            work.started_s + work.children[0].held_s - self.clock_s for work in self._running
        )
        busy_s = self._busy_s - unfinished_s
        return Utilisation(
            clock_s=self.clock_s,
            busy_share=busy_s / total_s if total_s else 0.0,
            driver_s=self._driver_s,
            num_ended=self._num_ended,
            num_deaths=self._num_deaths,
        )

    def _driver_worked(self) -> None:
        """The study held the floor since the last call."""
        if self._left_s is not None:
            worked_s = time.perf_counter() - self._left_s
            self._driver_s += worked_s
            self.clock_s += self.driver_speed * worked_s

    def _start(self, work: _Work) -> None:
        """Gives a worker what it was sent."""
        self._running[work] = None
        self._begin(work)

    def _begin(self, work: _Work) -> None:
        """The first of the children that are left starts now."""
        work.started_s = self.clock_s
        self._busy_s += work.children[0].held_s
        self._expect(work)

    def _expect(self, work: _Work) -> None:
        """Notes when a worker's child ends an epoch that somebody wants to hear of, or ends."""
        child = work.children[0]
        hears = work.hear is not None and child.report() is not None
        after_s = child.ends_s(child.num_told + 1) if hears else child.held_s
        self._num_moments += 1
        heapq.heappush(self._moments, (work.started_s + after_s, self._num_moments, work))

    def _tell(self, work: _Work, hear: Hear, report: Report) -> None:
        """Hands a report to who listens, and lets the child stop where that is wanted."""
        child = work.children[0]
        child.num_told = report.epoch
        if hear(report) and not child.is_stopped:
            self._stop(work, report.epoch)
        self._expect(work)

    def _stop(self, work: _Work, epoch: int) -> None:
        """A child is told to stop after an epoch, or the one that it is in."""
        child = work.children[0]
        child.is_stopped = True
        while epoch < child.num_epochs and work.started_s + child.ends_s(epoch) < self.clock_s:
            epoch += 1
        if (stops_s := child.ends_s(epoch)) >= child.held_s:
            return  # it ends by itself before
        proposal = child.outcome.proposal
        (cut,) = run_children(work.train, [replace(proposal, until=epoch)])
        status = "stopped" if cut.status == "paused" else cut.status
        child.outcome = replace(cut, proposal=proposal, status=status, cost_s=stops_s)
        self._busy_s -= child.held_s - stops_s
        child.held_s = stops_s

    def _end(self, work: _Work) -> Outcome:
        """Takes what became of a worker's child, and gives it its next one, or a new worker."""
        outcome = work.children.popleft().outcome
        if work.children:
            self._begin(work)
            return outcome
        del self._running[work]
        if self._queue:
            self._start(self._queue.popleft())
        return outcome

    def _played(self, proposal: Proposal, outcome: Outcome) -> _Child:
        """How long a child holds its worker, and what becomes of it."""
        curve, share = outcome.curve, 1.0
        if proposal.index < 0:
            return _Child(0.0, outcome, curve, 0.0)  # a rehearsal
        rng = np.random.default_rng([self.seed, proposal.index])
        median_s = outcome.cost_s if self.median_s is None else self.median_s
        duration_s = median_s * math.exp(self.spread * rng.standard_normal())
        if outcome.status == "completed" and rng.random() < self.failed_share:
            share = rng.random()
            duration_s *= share
            outcome = Outcome(proposal, "failed", error="simulated: it broke in training")
        held_s, num_deaths, is_done = self._held(duration_s, rng)
        length_s = held_s / share if is_done else math.inf
        self._num_deaths += num_deaths
        if not is_done:
            error = f"simulated: its worker died {num_deaths} times"
            outcome = Outcome(proposal, "failed", error=error)
        return _Child(held_s, replace(outcome, cost_s=held_s), curve, length_s)

    def _held(self, duration_s: float, rng: np.random.Generator) -> tuple[float, int, bool]:
        """(seconds a worker is held, deaths, whether the child got to its end)."""
        held_s, left_s, num_deaths = 0.0, duration_s, 0
        while self.deaths_per_hour:
            lived_s = rng.exponential(3600 / self.deaths_per_hour)
            if lived_s >= left_s:
                break
            num_deaths += 1
            held_s += lived_s
            if num_deaths > self.retries:
                return held_s, num_deaths, False
            held_s += self.restart_s
            left_s -= self.checkpoint_every_s * (lived_s // self.checkpoint_every_s)
        return held_s + left_s, num_deaths, True
