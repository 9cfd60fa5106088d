"""A study's searcher at work: on one thread, and saved now and then."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from nasrunner.core.ledger.history import History
from nasrunner.core.network.known import Networks
from nasrunner.core.records import Outcome
from nasrunner.core.searcher import Searcher
from nasrunner.study.ledger import Ledger
from nasrunner.study.one_thread import OneThread
from nasrunner.study.rules import Rules
from nasrunner.study.snapshots import Snapshots

Answer = TypeVar("Answer")


class Searching:
    """Calls a searcher, which computes on one thread then, and counts for how long.

    Args:
        searcher: it.
        rules: say what it is told of a child without a reward.
        networks: of the space, which the searcher is shown; None: nobody looks at them.
        snapshots: of its state; None: there are none.

    Attributes:
        searcher: the one that was given, or its state from a snapshot.
    """

    def __init__(
        self,
        searcher: Searcher,
        rules: Rules,
        networks: Networks | None,
        snapshots: Snapshots | None,
    ) -> None:
        self._rules = rules
        self._networks = networks
        self.searcher = self._shown(searcher)
        self._snapshots = snapshots
        self._one_thread = OneThread()

    def _shown(self, searcher: Searcher) -> Searcher:
        if self._networks is not None:
            searcher.see(self._networks)
        return searcher

    @contextmanager
    def at_work(self) -> Iterator[Searcher]:
        """Gives the searcher for a block in which it computes."""
        start_s = time.perf_counter()
        with self._one_thread.held():
            yield self.searcher
        if self._snapshots is not None:
            self._snapshots.worked(time.perf_counter() - start_s)

    def asked(self, question: Callable[[Searcher], Answer]) -> Answer:
        """Asks it something that it computes."""
        with self.at_work() as searcher:
            return question(searcher)

    def observe(self, outcome: Outcome, history: History) -> None:
        """Tells it of an outcome, with the reward that it has by the study's rules."""
        told = self._rules.told_reward(outcome, history)
        if told != outcome.reward:
            outcome = dataclasses.replace(outcome, reward=told)
        self.searcher.observe(outcome)

    def restore(self, ledger: Ledger) -> int:
        """Takes its state from a snapshot; returns how many events that knows, 0 without one."""
        found = None if self._snapshots is None else self._snapshots.read(ledger)
        if found is None or type(found.searcher) is not type(self.searcher):
            return 0
        self.searcher = self._shown(found.searcher)
        return found.num_events

    def save_if_due(self, ledger: Ledger, num_events: int) -> None:
        """Writes a snapshot where replaying what came after the last would take long."""
        if self._snapshots is not None and self._snapshots.is_due:
            self._snapshots.write(self.searcher, ledger, num_events)
