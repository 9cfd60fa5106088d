"""Tries a study's configuration where its children will run, before anything is recorded."""

from collections.abc import Callable
from dataclasses import dataclass

from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.core.ports import Executor
from nasrunner.core.records import Outcome, Proposal


def rehearse(check: Callable[[], None], executor: Executor) -> None:
    """Runs ``check`` in a worker, as if it were a child; leaves no trace in the study.

    Raises:
        ConfigError: the check found what would make every child fail.
    """
    executor.submit(Rehearsal(check), Proposal(-1, {}))
    for outcome in executor.wait():
        if outcome.error is not None:
            raise ConfigError(outcome.error)


@dataclass(frozen=True)
class Rehearsal:
    """A check that an executor runs as if it were a child."""

    check: Callable[[], None]

    def __call__(self, proposal: Proposal) -> Outcome:
        try:
            self.check()
        except NasRunnerError as error:
            return Outcome(proposal, "failed", error=str(error))
        return Outcome(proposal, "completed")
