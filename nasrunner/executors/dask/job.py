"""A child on its way to one of Dask's workers and back."""

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrunner.core import Outcome, Proposal
from nasrunner.executors.folders import outcome_left
from nasrunner.executors.running import failed, last_lines


@dataclass(eq=False)
class Job:
    """A child from its submission to its outcome.

    Attributes:
        payload: what trains it, pickled.
        proposal: the child.
        folder: the child's.
        ticket: which submission this is; another study's children may be on the same cluster.
        deaths: how many workers have died of it.
        future: Dask's, while it is on a worker.
    """

    payload: bytes
    proposal: Proposal
    folder: Path
    ticket: str = field(default_factory=lambda: secrets.token_hex(8))
    deaths: int = 0
    future: Any = None

    def __post_init__(self) -> None:
        self._submitted_s = time.time()
        self._started_s = time.perf_counter()

    def cost_s(self) -> float:
        """Seconds since its submission."""
        return time.perf_counter() - self._started_s

    def outcome_left(self) -> Outcome | None:
        """The outcome that it wrote before its worker died; None: it wrote none."""
        try:
            return outcome_left(self.folder, self.proposal, self._submitted_s)
        except Exception as error:  # a damaged file
            reason = f"its outcome in {self.folder} cannot be read: {last_lines(error)}"
            return failed(self.proposal, reason, self.cost_s())
