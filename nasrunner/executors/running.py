"""Runs children wherever an executor has brought them; turns whatever breaks into an outcome."""

import functools
import multiprocessing
import os
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import Hear, LostFileError, MachineError, Outcome, Proposal, Report, Train
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.forks import end_copy
from nasrunner.core.machine.threads import torch_threads

OUTCOMES = "nasrunner-outcomes"
"""The Dask topic on which workers publish what became of their children."""

_TERMINATED = "SIGTERMException"  # by its name, as importing Lightning takes seconds

_ERROR_LINES = 12
"""How much of a traceback an outcome keeps: the raising frames and the message."""


def run_children(
    train: Train, proposals: Sequence[Proposal], hear: Hear | None = None
) -> Iterator[Outcome]:
    """Trains proposals; what they raise, or do not yield, is a failed outcome of each that is left.

    ``KeyboardInterrupt`` passes through: it is the user's, not the child's. So does Lightning's
    ``SIGTERMException``: the process was told to stop. A copy of the process that the child has
    made with ``os.fork`` ends here.

    Args:
        train: what trains them.
        proposals: the children.
        hear: see ``Train``; what it raises passes through, too, whatever the child makes of it.

    Raises:
        MachineError: a full disk or the like, or a file that is gone; the children that are left
            have no outcomes.
    """
    start_s, pid = time.perf_counter(), os.getpid()
    left = {proposal.index: proposal for proposal in proposals}
    ear = None if hear is None else _Ear(hear)
    outcomes: Iterator[Outcome] | None = None
    while left:
        try:
            outcomes = iter(train(proposals, ear)) if outcomes is None else outcomes
            outcome = next(outcomes, None)
            if ear is not None and ear.error is not None:
                raise ear.error
        except BaseException as error:
            end_copy(pid)
            if ear is not None and ear.error is not None:
                raise ear.error  # noqa: B904 - it has a cause of its own
            if isinstance(error, KeyboardInterrupt) or type(error).__name__ == _TERMINATED:
                raise
            if fault := machine_fault(error):
                kind = LostFileError if isinstance(fault, LostFileError) else MachineError
                raise kind(_of_children(left, fault)) from error
            reason = last_lines(error)
            break
        end_copy(pid)
        if not isinstance(outcome, Outcome) or outcome.proposal.index not in left:
            reason = f"training {_named(left)} must yield the Outcome of each, got {outcome!r:.200}"
            break
        del left[outcome.proposal.index]
        yield outcome
        start_s = time.perf_counter()
    for proposal in left.values():
        yield failed(proposal, reason, (time.perf_counter() - start_s) / len(left))


class _Ear:
    """Hears what children report, and remembers the error of the one who listens.

    Args:
        hear: who listens.

    Attributes:
        error: what was raised there.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self.error: BaseException | None = None

    def __call__(self, report: Report) -> bool:
        try:
            return self._hear(report)
        except BaseException as error:
            self.error = error
            raise KeyboardInterrupt from error  # which fails no child, as Ctrl-C does not


def _named(left: Mapping[int, Proposal]) -> str:
    indices = ", ".join(map(str, left))
    kinds = {each.kind for each in left.values()}
    kind = "child" if len(kinds) > 1 or kinds == {"train"} else kinds.pop()
    if len(left) == 1:
        return f"{kind} {indices}"
    return f"{'children' if kind == 'child' else f'{kind}s'} {indices}"


def _of_children(left: Mapping[int, Proposal], fault: MachineError) -> str:
    whose = _named(left) if min(left) >= 0 else "the rehearsal"
    if isinstance(fault, LostFileError):
        return f"{whose} cannot be made: {fault}"
    was = "was" if len(left) == 1 else "were"
    return f"{whose} {was} interrupted by a fault of the machine, {socket.gethostname()}: {fault}"


def failed(proposal: Proposal, error: str, cost_s: float = 0.0) -> Outcome:
    """Returns the outcome of a child that was started and broke."""
    return Outcome(proposal, "failed", cost_s=cost_s, error=error)


def last_lines(error: BaseException) -> str:
    """Returns the end of an exception's traceback, where it says what went wrong."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_ERROR_LINES:])


def work(payload: bytes, proposals: Sequence[Proposal], ticket: str, threads: int) -> None:
    """Runs children in a Dask worker, whose outcomes are published under ``ticket``.

    Where the child was told to stop, the worker ends without an outcome: another takes the child.
    A fault of the machine is published in its place.

    Publishing instead of returning spares the client a second round trip to the worker, and an
    outcome once sent is not lost with the process that held it.

    Args:
        payload: the pickled ``Train``; unpickled once a process.
        proposals: the children.
        ticket: which submission this is, returned with each outcome.
        threads: CPU threads torch may use.
    """
    from distributed import get_worker

    # A worker inherits the way it was started itself: loaders of a child's data would import all
    # that it has imported again, in processes that outlive it. Python's own default is a script's.
    multiprocessing.set_start_method(None, force=True)
    left: dict[int | None, Proposal] = {each.index: each for each in proposals}

    def publish(ended: Outcome | MachineError) -> None:
        index = ended.proposal.index if isinstance(ended, Outcome) else None
        pickled = pickled_outcome(ended) if isinstance(ended, Outcome) else cloudpickle.dumps(ended)
        get_worker().log_event(OUTCOMES, {"ticket": ticket, "index": index, "outcome": pickled})
        left.pop(index, None)

    try:
        train = _unpickle(payload)
        with torch_threads(threads):
            for outcome in run_children(train, proposals):
                publish(outcome)
    except MachineError as fault:
        publish(MachineError(str(fault)))
    except (Exception, KeyboardInterrupt) as error:
        for proposal in list(left.values()):
            publish(failed(proposal, last_lines(error)))
    except SystemExit:
        os._exit(128 + signal.SIGTERM)


def pickled_outcome(outcome: Outcome) -> bytes:
    """Returns an outcome on its way to the driver; a failed one in the place of what cannot be
    pickled.
    """
    try:
        pickled: bytes = cloudpickle.dumps(outcome)
    except Exception as error:
        pickled = cloudpickle.dumps(failed(outcome.proposal, last_lines(error), outcome.cost_s))
    return pickled


@functools.lru_cache(maxsize=1)
def _unpickle(payload: bytes) -> Train:
    train: Train = cloudpickle.loads(payload)
    return train
