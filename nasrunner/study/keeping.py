"""What stays of children that have ended, and where: whose checkpoints, and in how many files."""

import functools
import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal

from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.records import Outcome
from nasrunner.study.packing import Packing

Weights = Literal["all", "none"] | int
"""Whose checkpoints stay: every child's, nobody's, or those of so many of the best."""

_log = logging.getLogger(__name__)


class Keeping:
    """Removes the checkpoints of ended children that are not to be kept, and packs other files.

    Only children with a recorded outcome are looked at, so those in flight keep theirs.

    Args:
        folder: the study's.
        weights: whose checkpoints stay. Of an architecture that was trained several times the
            best have those of its first training with a reward, which reports and exports name.
        packing: packs what else they have left; None: it stays where it is.
        keeps_last: whether a child's own ``last.ckpt`` is kept once it was trained, as its trainer
            does; None: the trainer writes none, or what it likes.
    """

    def __init__(
        self,
        folder: Path,
        weights: Weights,
        packing: Packing | None = None,
        *,
        keeps_last: bool | None = None,
    ) -> None:
        self.folder = folder
        self.weights = weights
        self.packing = packing
        self.keeps_last = keeps_last
        self._best: list[tuple[float, int, str]] = []
        """(-reward, index, architecture) of those whose rank keeps their checkpoints, best first"""
        self._needed: set[int] = set()
        """Ended children whose checkpoints are kept because somebody needs them."""
        self._paused: set[int] = set()
        """Those that were paused and have the checkpoint to go on with."""
        self._has_warned = False

    def resumed(
        self, outcomes: Iterable[Outcome], ranking: Ranking, needs: Collection[int] = ()
    ) -> None:
        """Applies the rule to what earlier sessions have left.

        Args:
            outcomes: all that are recorded.
            ranking: the architectures in these.
            needs: children whose checkpoints must be kept whatever their rank.
        """
        outcomes = list(outcomes)
        self._paused = {each.proposal.index for each in outcomes if each.status == "paused"}
        self._remove_progress(needs)
        if self.weights != "all":
            self._rank(ranking)
            self._remove({each.proposal.index for each in outcomes if _is_trained(each)}, needs)
        if self.packing is not None:
            self.packing.resumed(each.proposal.index for each in outcomes)

    def ended(self, outcome: Outcome) -> None:
        """Takes a child's outcome before it is recorded: its process may have been killed since.

        Does what was left to that process, see ``ChildFolder.settle``.
        """
        if self.keeps_last is not None and outcome.status != "paused":
            folder = ChildFolder.of(self.folder, outcome.proposal.index)
            self._try(functools.partial(folder.settle, keeps_last=self.keeps_last))

    def recorded(self, outcome: Outcome, ranking: Ranking, needs: Collection[int] = ()) -> None:
        """Takes a child that has just ended; its checkpoints go, or those of one that it surpasses.

        Args:
            outcome: stands in the ledger.
            ranking: the architectures so far, with this one.
            needs: children whose checkpoints must be kept whatever their rank.
        """
        if outcome.status == "paused":
            self._paused.add(outcome.proposal.index)
        self._remove_progress(needs)
        if self.weights != "all" and _is_trained(outcome):
            before = {index for _, index, _ in self._best}
            if self._may_change(outcome):
                self._rank(ranking)
            self._remove({outcome.proposal.index, *before, *self._needed}, needs)
        if self.packing is not None:
            self.packing.recorded(outcome.proposal.index)

    def _rank(self, ranking: Ranking) -> None:
        if isinstance(self.weights, int):
            best = ranking.best(self.weights)
            self._best = [
                (-each.reward, each.index, each.outcome.proposal.architecture) for each in best
            ]

    def _may_change(self, outcome: Outcome) -> bool:
        """Whether the best may be others now: ranking all for each of 100,000 would take hours."""
        if outcome.reward is None or not isinstance(self.weights, int):
            return False
        if len(self._best) < self.weights:
            return True
        is_among_them = any(outcome.proposal.architecture == name for _, _, name in self._best)
        return is_among_them or (-outcome.reward, outcome.proposal.index) < self._best[-1][:2]

    def _remove(self, ended: set[int], needs: Collection[int]) -> None:
        going = ended - {index for _, index, _ in self._best}
        self._needed = going & set(needs)
        for index in sorted(going - self._needed):
            self._try(ChildFolder.of(self.folder, index).remove_checkpoints)

    def _remove_progress(self, needs: Collection[int]) -> None:
        """Removes what nobody will go on with: the checkpoints of paused children."""
        for index in sorted(self._paused.difference(needs)):
            self._try(ChildFolder.of(self.folder, index).remove_progress)
            self._paused.remove(index)

    def _try(self, remove: Callable[[], None]) -> None:
        try:
            remove()
        except OSError as error:
            if not self._has_warned:
                _log.warning("checkpoints of children could not be removed: %s", error)
            self._has_warned = True


def _is_trained(outcome: Outcome) -> bool:
    return outcome.reused_from is None and outcome.status not in ("invalid", "duplicate")
