"""Runs one child wherever an executor has brought it, and turns whatever breaks into an outcome."""

import functools
import multiprocessing
import os
import signal
import socket
import time
import traceback

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import MachineError, Outcome, Proposal, Train
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.forks import end_copy
from nasrunner.core.machine.threads import torch_threads

OUTCOMES = "nasrunner-outcomes"
"""The Dask topic on which workers publish what became of their children."""

_TERMINATED = "SIGTERMException"  # by its name, as importing Lightning takes seconds

_ERROR_LINES = 12
"""How much of a traceback an outcome keeps: the raising frames and the message."""


def run_child(train: Train, proposal: Proposal) -> Outcome:
    """Trains a proposal; whatever it raises, or a wrong return value, is a failed outcome.

    ``KeyboardInterrupt`` passes through: it is the user's, not the child's. So does Lightning's
    ``SIGTERMException``: the process was told to stop. A copy of the process that the child has
    made with ``os.fork`` ends here.

    Raises:
        MachineError: a full disk or the like; the child has no outcome.
    """
    start_s, pid = time.perf_counter(), os.getpid()
    try:
        outcome = train(proposal)
    except BaseException as error:
        end_copy(pid)
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == _TERMINATED:
            raise
        if fault := machine_fault(error):
            raise MachineError(_of_child(proposal, fault)) from error
        return failed(proposal, last_lines(error), time.perf_counter() - start_s)
    end_copy(pid)
    if not isinstance(outcome, Outcome) or outcome.proposal.index != proposal.index:
        reason = f"training child {proposal.index} must return its Outcome, got {outcome!r:.200}"
        return failed(proposal, reason, time.perf_counter() - start_s)
    return outcome


def _of_child(proposal: Proposal, fault: MachineError) -> str:
    whose = f"child {proposal.index}" if proposal.index >= 0 else "the rehearsal"
    return f"{whose} was interrupted by a fault of the machine, {socket.gethostname()}: {fault}"


def failed(proposal: Proposal, error: str, cost_s: float = 0.0) -> Outcome:
    """The outcome of a child that was started and broke."""
    return Outcome(proposal, "failed", cost_s=cost_s, error=error)


def last_lines(error: BaseException) -> str:
    """The end of an exception's traceback, where it says what went wrong."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_ERROR_LINES:])


def work(payload: bytes, proposal: Proposal, ticket: str, threads: int) -> None:
    """What a Dask worker runs: one child, whose outcome is published under ``ticket``.

    Where the child was told to stop, the worker ends without an outcome: another takes the child.
    A fault of the machine is published in its place.

    Publishing instead of returning spares the client a second round trip to the worker, and an
    outcome once sent is not lost with the process that held it.

    Args:
        payload: the pickled ``Train``; unpickled once a process.
        proposal: the child.
        ticket: which submission this is, returned with the outcome.
        threads: CPU threads torch may use.
    """
    from distributed import get_worker

    # A worker inherits the way it was started itself: loaders of a child's data would import all
    # that it has imported again, in processes that outlive it. Python's own default is a script's.
    multiprocessing.set_start_method(None, force=True)
    try:
        train = _unpickle(payload)
        with torch_threads(threads):
            outcome: Outcome | MachineError = run_child(train, proposal)
        pickled = cloudpickle.dumps(outcome)
    except MachineError as fault:
        pickled = cloudpickle.dumps(MachineError(str(fault)))
    except (Exception, KeyboardInterrupt) as error:
        pickled = cloudpickle.dumps(failed(proposal, last_lines(error)))
    except SystemExit:
        os._exit(128 + signal.SIGTERM)
    get_worker().log_event(OUTCOMES, {"ticket": ticket, "outcome": pickled})


@functools.lru_cache(maxsize=1)
def _unpickle(payload: bytes) -> Train:
    train: Train = cloudpickle.loads(payload)
    return train
