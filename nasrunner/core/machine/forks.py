"""Keeps a user's code from copying or ending the process that it runs in."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NoReturn


def end_copy(pid: int) -> None:
    """Exits the calling process at once if it is a forked copy of the process ``pid``.

    A copy would go on with whatever the process does: train the same child, write its files, or
    propose the next one.
    """
    if os.getpid() != pid:
        os._exit(1)


@contextlib.contextmanager
def outlives_exits() -> Iterator[None]:
    """Turns ``os._exit`` into SystemExit within the block if the main thread calls it.

    Copies of the process, such as loaders' workers, end as they were told to.
    """
    leave, pid = os._exit, os.getpid()

    def raise_or_leave(status: int) -> NoReturn:
        if os.getpid() != pid or threading.current_thread() is not threading.main_thread():
            leave(status)
        raise SystemExit(f"os._exit({status}) was called, which would have ended the study")

    os._exit = raise_or_leave
    try:
        yield
    finally:
        os._exit = leave
