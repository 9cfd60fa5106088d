"""Ends copies of a process that a user's code makes with ``os.fork`` and does not end itself."""

import os


def end_copy(pid: int) -> None:
    """Ends the calling process here and now if it is not the process ``pid`` but a copy of it.

    A copy would go on with whatever the process does: train the same child, write its files, or
    propose the next one.
    """
    if os.getpid() != pid:
        os._exit(1)
