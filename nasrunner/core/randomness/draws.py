"""Random options, drawn many at a time."""

from collections.abc import Iterator

import numpy as np


def seeded(*numbers: int) -> np.random.Generator:
    """Makes the generator that ``np.random.default_rng(numbers)`` is, in two thirds of its time.

    Args:
        numbers: whole numbers, >= 0.
    """
    seed: np.ndarray | tuple[int, ...] = numbers
    if max(numbers) < 2**32:  # an array of these is hashed as it is, a list number by number
        seed = np.array(numbers, np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))


class Draws:
    """Draws whole numbers as ``rng.integers`` does, and the same ones, at a fifth of the time.

    From the lower and then the upper half of PCG64's numbers of 64 bits, which is what numpy makes
    whole numbers of: the upper half of the product with how many there are, drawn again where that
    would favour some of them. Lemire 2019, arXiv:1805.10941, algorithm 5.

    Args:
        rng: what is drawn from. Where it stands is known only before, and after ``settle``.
        num_expected: numbers of a block: how many will probably be drawn.

    Raises:
        ValueError: ``rng`` has another bit generator, whose numbers are halved otherwise.
    """

    __slots__ = ("_before", "_block", "_num_drawn", "_numbers", "_rng")

    def __init__(self, rng: np.random.Generator, num_expected: int) -> None:
        if not isinstance(rng.bit_generator, np.random.PCG64):
            raise ValueError(f"rng must draw from numpy's PCG64, got {rng.bit_generator!r}")
        self._rng = rng
        self._before = rng.bit_generator.state
        self._block = (num_expected + 1) // 2
        self._num_drawn = 0
        self._numbers = self._endless()

    def below(self, bound: int) -> int:
        """Draws one of 0, 1, …, ``bound`` - 1, ``bound`` >= 1; the only one without drawing."""
        if bound == 1:
            return 0
        product = next(self._numbers) * bound
        if product & 0xFFFFFFFF < bound:
            while product & 0xFFFFFFFF < (2**32 - bound) % bound:
                product = next(self._numbers) * bound
        return product >> 32

    def settle(self) -> None:
        """Brings the generator to where as many calls of ``rng.integers`` would have brought it."""
        self._rng.bit_generator.state = self._before
        self._rng.integers(2**32, size=self._num_drawn, dtype=np.uint32)

    def _endless(self) -> Iterator[int]:
        if self._before["has_uint32"]:  # the upper half of a number whose lower one was drawn
            self._num_drawn += 1
            yield self._before["uinteger"]
        while True:
            for number in self._rng.bit_generator.random_raw(self._block).tolist():
                self._num_drawn += 1
                yield number & 0xFFFFFFFF
                self._num_drawn += 1
                yield number >> 32
