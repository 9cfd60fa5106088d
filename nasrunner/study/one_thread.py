"""Holds what a searcher computes to one thread, so that it rounds alike on any number of cores."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from nasrunner.core.machine.threads import torch_threads


class OneThread:
    """Limits the numerical libraries of this process to one thread, for as long as a block runs.

    Libraries split sums over their threads, and sums that are split differently round differently:
    OpenBLAS, for one, factors a covariance of 200 children with other last digits on two threads
    than on one. A searcher would then propose something else on a machine with other cores, and a
    study would not go on there as it does here. Entering and leaving a block takes 30 µs together.

    Libraries that are loaded later are not limited: a searcher imports what it computes with when
    it is made, and this object is made after it.
    """

    def __init__(self) -> None:
        self._pools = ThreadpoolController()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Computes on one thread within the block, and on as many as before after it."""
        # torch comes with a copy of MKL that threadpoolctl does not find.
        with torch_threads(1), self._pools.limit(limits=1):
            yield
