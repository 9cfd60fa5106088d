"""MNIST: handwritten digits in the idx files of LeCun, Cortes and Burges."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasrunner.data.files import DataFile
from nasrunner.data.tensors import Arrays, TensorDataModule

# N = number of examples, C = channels, H, W = height and width

SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
UNSIGNED_BYTE = 0x08
"""The idx type code of the values."""


@dataclass(frozen=True)
class IdxFile(DataFile):
    """An idx file of bytes: two zeros, the type, the number of dimensions, their sizes, the values.

    The checksum is the unpacked content's, so a file that was packed anew is the same file.
    """

    shape: tuple[int, ...]

    def parse(self, content: bytes) -> np.ndarray:
        dimensions = len(self.shape)
        magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
        if content[:4] != magic:
            raise ValueError(f"an idx file of this kind starts with {magic!r}, got {content[:4]!r}")
        start = 4 + 4 * dimensions
        if len(content) < start:
            raise ValueError(f"its header has {start} bytes, got {len(content)}")
        shape = struct.unpack(f">{dimensions}I", content[4:start])
        if shape != self.shape:
            raise ValueError(f"its shape must be {self.shape}, got {shape}")
        if len(content) != start + math.prod(shape):
            raise ValueError(
                f"it must hold {start + math.prod(shape):,} bytes unpacked, got {len(content):,}"
            )
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@dataclass(kw_only=True, eq=False)
class Mnist(TensorDataModule):
    """60,000 images of 28x28 pixels to learn from and 10,000 for the test, ten classes.

    LeCun et al. 1998, Proceedings of the IEEE 86(11). The validation examples are drawn from the
    60,000; the test examples are the data set's own.

    Args:
        root: folder of ``train-images-idx3-ubyte`` and its three companions, plain or ``.gz``.
    """

    root: str

    def files(self) -> list[IdxFile]:
        root = Path(self.root)
        return [
            IdxFile(root / name, md5, f"{SOURCE}{name}.gz", shape)
            for name, md5, shape in (
                ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", (60000, 28, 28)),
                ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", (60000,)),
                ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", (10000, 28, 28)),
                ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", (10000,)),
            )
        ]

    def read_fit(self) -> Arrays:
        images, labels, _, _ = self.files()
        return images.load()[:, None], labels.load()

    def read_test(self) -> Arrays:
        _, _, images, labels = self.files()
        return images.load()[:, None], labels.load()
