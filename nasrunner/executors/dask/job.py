"""Children on their way to one of Dask's workers and back."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasrunner.core import Outcome, Proposal
from nasrunner.executors.folders import outcome_left
from nasrunner.executors.running import failed, last_lines


class Job:
    """Children that one worker trains, from their submission to the outcome of the last.

    Args:
        payload: what trains them, pickled.
        proposals: the children.
        folders: of each the child's own.

    Attributes:
        left: the children without an outcome, by index.
        ticket: which submission this is; another study's children may be on the same cluster.
        deaths: how many workers have died of it since the last outcome.
        num_launches: how often it was sent to a worker.
        future: Dask's, while it is on a worker.
    """

    def __init__(
        self, payload: bytes, proposals: Sequence[Proposal], folders: Sequence[Path]
    ) -> None:
        self.payload = payload
        self.left = {proposal.index: proposal for proposal in proposals}
        self.ticket = secrets.token_hex(8)
        self.deaths = 0
        self.num_launches = 0
        self.future: Any = None
        self._folders = {p.index: folder for p, folder in zip(proposals, folders, strict=True)}
        self._submitted_s = time.time()
        self._started_s = time.perf_counter()

    def note_progress(self) -> None:
        """Notes that one of its children has ended; those left have cost neither time nor a worker
        yet.
        """
        self.deaths = 0
        self._started_s = time.perf_counter()

    def cost_s(self) -> float:
        """Returns seconds since its submission or the last outcome, for each child that is left."""
        return (time.perf_counter() - self._started_s) / max(1, len(self.left))

    def outcomes_left(self) -> list[Outcome]:
        """Returns the outcomes that its children wrote before their worker died."""
        return [found for each in list(self.left.values()) if (found := self._left_by(each))]

    def _left_by(self, proposal: Proposal) -> Outcome | None:
        folder = self._folders[proposal.index]
        try:
            return outcome_left(folder, proposal, self._submitted_s)
        except Exception as error:  # a damaged file
            reason = f"its outcome in {folder} cannot be read: {last_lines(error)}"
            return failed(proposal, reason, self.cost_s())
