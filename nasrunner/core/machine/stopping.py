"""SIGTERM and SIGHUP as an exception that is nobody's failure."""

import contextlib
import signal
import sys
import threading
import types
from collections.abc import Iterator

_AGAIN_S = 1.0
"""When the exception is raised once more where it got nowhere."""


class ToldToStop(KeyboardInterrupt):
    """The process was told to stop at once; whoever lets Ctrl-C through lets this through, too.

    Args:
        signum: the signal that said so.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raises ``ToldToStop`` where SIGTERM or SIGHUP finds the main thread within the block.

    It is raised again where something has swallowed it, as Python does in callbacks, but never
    while it makes its way out. A signal that the process was started to ignore (``nohup``) stays
    ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: int | None = None

    def stop(signum: int, frame: types.FrameType | None) -> None:
        nonlocal told
        if told is None:
            told = signum
            signal.signal(signal.SIGALRM, stop)  # nobody else's any more
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        if not _is_on_its_way(sys.exception()):
            raise ToldToStop(told)

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        if told is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_on_its_way(handled: BaseException | None) -> bool:
    while handled is not None and not isinstance(handled, ToldToStop):
        handled = handled.__context__
    return handled is not None


def how_it_ended(code: int) -> str:
    """Returns the exit code of a process in words; negative: the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
