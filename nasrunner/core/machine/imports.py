"""Imports of large libraries without Python's garbage collector, a third of the time they take."""

import atexit
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_num_open = 0


@contextmanager
def quick_imports() -> Iterator[None]:
    """Turns the garbage collector off within the block, and freezes what the block leaves.

    The collector would go through all modules again and again while they are imported, and once
    more when the process ends. Processes forked after the block share that memory for good. Blocks
    may nest, and overlap in threads; garbage in cycles that they make is never freed.
    """
    global _num_open
    with _lock:
        _num_open += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _num_open -= 1
            if not _num_open:
                gc.freeze()
                gc.enable()


atexit.register(gc.freeze)
