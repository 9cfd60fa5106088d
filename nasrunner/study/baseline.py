"""A second search beside a study, as long and in the same workers, to compare it with."""

from nasrunner.core.ledger.history import History
from nasrunner.core.ports import BaselineComparison, Executor, Summary
from nasrunner.study.loop import Study

_ROUNDING = 1e-6
"""Thirds of a child add up to less than a whole one."""


class SideBySide:
    """Runs a study and its baseline, which never gets ahead by more than the child it is owed.

    Both train for as many epochs (see ``Effort``): as many children where these are trained
    through, fewer beside a study that pauses or stops most of its own.

    Args:
        study: what the user asked for.
        baseline: the same space, children and rules with another searcher and ledger.
        executor: the workers of both.
    """

    def __init__(self, study: Study, baseline: Study, executor: Executor) -> None:
        self.study = study
        self.baseline = baseline
        self.executor = executor

    def stop(self, reason: str) -> None:
        """Proposes nothing more; ``run`` returns when the running children have ended."""
        self.study.stop(reason)
        self.baseline.stop(reason)

    def run(self) -> Summary:
        """Runs both to the end of the study's budget; returns the study's summary.

        Raises:
            LedgerError: as of ``Study.run``, of either.
            ConfigError: the rehearsal found what would make every child fail.
        """
        self.study.replay()
        self.baseline.replay()
        self.study.rehearse()
        self.study.open()
        self.baseline.open()
        while True:
            while self._propose():
                pass
            self.study.submit_gathered()
            self.baseline.submit_gathered()
            if not (self.study.is_waiting or self.baseline.is_waiting):
                break
            for outcome in self.executor.wait():
                owner = self.study if self.study.owns(outcome) else self.baseline
                owner.take(outcome)
        self.baseline.stop("it has trained as long as the study")
        self.baseline.close()
        return self.study.close(self._comparison())

    def _propose(self) -> bool:
        """One child of the search that is behind; of the study where they are even."""
        is_behind = self.baseline.effort < self.study.effort - _ROUNDING
        if is_behind and self.baseline.propose():
            return True
        return self.study.propose()

    def _comparison(self) -> BaselineComparison:
        name = self.baseline.searcher.known_as
        efforts = self.study.effort, self.baseline.effort
        return compare(name, self.study.history, self.baseline.history, efforts)


def compare(
    name: str, mine: History, theirs: History, efforts: tuple[float, float] | None = None
) -> BaselineComparison:
    """Returns a study's outcomes against those of its baseline.

    Rewards after different numbers of epochs are not compared.

    Zoph & Le 2017 (arXiv:1611.01578), figure 6, compare with random search like this, by the best
    1, 5 and 15 different children.

    Args:
        name: the baseline's searcher.
        mine: of the study.
        theirs: of the baseline.
        efforts: of both, as of ``BaselineComparison``.
    """
    (first, rung), (second, other_rung) = mine.shown(), theirs.shown()

    def difference_of_best(count: int) -> float | None:
        if rung != other_rung:
            return None
        means = first.mean_of_best(count), second.mean_of_best(count)
        return None if means[0] is None or means[1] is None else means[0] - means[1]

    return BaselineComparison(
        name=name,
        num_children=(mine.num_spent, theirs.num_spent),
        efforts=efforts,
        best=difference_of_best(1),
        top_5=difference_of_best(5),
    )
