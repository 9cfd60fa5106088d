"""Images for children that are timed: CIFAR-10, or random ones where its files are not there."""

from dataclasses import dataclass

import numpy as np

from nasrunner.core.shapes import each_input
from nasrunner.data.cifar10 import Cifar10, CifarFile
from nasrunner.data.tensors import Arrays


@dataclass(kw_only=True, eq=False)
class Images(Cifar10):
    """The first images of CIFAR-10, augmented as its are.

    Args:
        examples: how many, those for validation among them.
    """

    examples: int

    def files(self) -> list[CifarFile]:
        return super().files() if self.is_real else []

    @property
    def is_real(self) -> bool:
        """Whether CIFAR-10 is there."""
        return all(file.path.exists() for file in super().files())

    def read_fit(self) -> Arrays:
        if self.is_real:
            x, y = super().read_fit()
            return each_input(x, lambda each: each[: self.examples]), y[: self.examples]
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (self.examples, *self.in_shape), np.uint8)
        return x, np.arange(self.examples) % self.num_outputs
