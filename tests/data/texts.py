"""A made-up text: the digits of the numbers from 0 on, ten tokens and a log of what was read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasrunner.data.tokens import TokenDataModule


@dataclass(kw_only=True, eq=False)
class Numbers(TokenDataModule):
    """301 targets to learn from, 61 for validation, 41 for the test."""

    log: str | None = None
    unit: str = "character"

    def read_fit(self) -> tuple[np.ndarray, np.ndarray]:
        self._write("fit ")
        return digits(0, 302), digits(302, 364)

    def read_test(self) -> np.ndarray:
        self._write("test ")
        return digits(364, 406)

    def _write(self, text: str) -> None:
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write(text)


def digits(start: int, stop: int) -> np.ndarray:
    """A part of 0123456789101112…"""
    text = "".join(map(str, range(stop)))
    return np.array([int(digit) for digit in text[start:stop]])
