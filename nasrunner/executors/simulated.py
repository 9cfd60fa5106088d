"""A cluster that is only pretended: children answer at once, and a virtual clock says when."""

import heapq
import math
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from nasrunner.core import Outcome, Proposal, Train
from nasrunner.core.annotations import Above, AtLeast, Within
from nasrunner.executors.running import run_child


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


class SimulatedExecutor:
    """Runs the real loop, searcher and ledger against workers that are not there.

    ``train`` is called when a child is submitted, so it should be a lookup in a table;
    what it takes is not counted. Each child then holds a worker for its duration on a virtual
    clock. Real time that the study takes between two calls passes on that clock too, so a driver
    that cannot keep up shows as idle workers.

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
        self._running: list[tuple[float, int, Outcome]] = []  # a heap by the moment of ending
        self._queue: deque[tuple[float, Outcome]] = deque()
        self._num_submitted = 0
        self._num_ended = 0
        self._num_deaths = 0
        self._busy_s = 0.0
        self._driver_s = 0.0
        self._left_s: float | None = None

    def free_slots(self) -> int:
        return max(0, self.workers - len(self._running) - len(self._queue))

    def submit(self, train: Train, proposal: Proposal, folder: Path) -> None:
        self._driver_worked()
        outcome = run_child(train, proposal)
        held_s, outcome = self._played(proposal, outcome)
        if len(self._running) < self.workers:
            self._start(held_s, outcome)
        else:
            self._queue.append((held_s, outcome))
        self._left_s = time.perf_counter()

    def wait(self) -> list[Outcome]:
        assert self._running, "wait() before submit(): nothing could ever end"
        self._driver_worked()
        self.clock_s = max(self.clock_s, self._running[0][0])
        ended: list[Outcome] = []
        while self._running and self._running[0][0] <= self.clock_s:
            ended.append(heapq.heappop(self._running)[2])
            if self._queue:
                self._start(*self._queue.popleft())
        self._num_ended += sum(outcome.proposal.index >= 0 for outcome in ended)  # no rehearsal
        self._left_s = time.perf_counter()
        return ended

    def close(self) -> None:
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
        """How the cluster was used so far."""
        total_s = self.workers * self.clock_s
        unfinished_s = sum(end_s - self.clock_s for end_s, _, _ in self._running)
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

    def _start(self, held_s: float, outcome: Outcome) -> None:
        self._busy_s += held_s
        self._num_submitted += 1
        heapq.heappush(self._running, (self.clock_s + held_s, self._num_submitted, outcome))

    def _played(self, proposal: Proposal, outcome: Outcome) -> tuple[float, Outcome]:
        """How long a child holds its worker, and what becomes of it."""
        if proposal.index < 0:
            return 0.0, outcome  # a rehearsal
        rng = np.random.default_rng([self.seed, proposal.index])
        median_s = outcome.cost_s if self.median_s is None else self.median_s
        duration_s = median_s * math.exp(self.spread * rng.standard_normal())
        if outcome.status == "completed" and rng.random() < self.failed_share:
            duration_s *= rng.random()
            outcome = Outcome(proposal, "failed", error="simulated: it broke in training")
        held_s, num_deaths, is_done = self._held(duration_s, rng)
        self._num_deaths += num_deaths
        if not is_done:
            error = f"simulated: its worker died {num_deaths} times"
            outcome = Outcome(proposal, "failed", error=error)
        return held_s, replace(outcome, cost_s=held_s)

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
