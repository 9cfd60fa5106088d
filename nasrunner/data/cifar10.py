"""CIFAR-10 in its Python version: six pickled batches of 10,000 images."""

import functools
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from nasrunner.core.annotations import AtLeast, Count
from nasrunner.data.files import DataFile
from nasrunner.data.loader import Augment
from nasrunner.data.tensors import Arrays, TensorDataModule

# B = batch, N = number of examples, C = channels, H, W = height and width

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
NUM_IMAGES = 10_000
"""Images in each batch file."""


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: as text, through ``_codecs.encode``."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes must be encoded as latin1, got {encoding!r}")
    return text.encode("latin-1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,  # its name since numpy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle of plain values and numpy arrays; whatever else it names is refused."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it must hold plain values and arrays only, not {module_name}.{global_name}"
            )
        return _ALLOWED[module_name, global_name]


@dataclass(frozen=True)
class CifarFile(DataFile):
    """One pickled batch: ``data`` (10000, 3072) of bytes and 10,000 ``labels`` from 0 to 9."""

    must_match: ClassVar[bool] = False  # restored copies differ in file names or single images

    def parse(self, content: bytes) -> Arrays:
        try:
            batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        except Exception as error:  # a damaged pickle raises nearly anything
            raise ValueError(f"it is no pickled batch: {error or type(error).__name__}") from error
        if not isinstance(batch, dict) or not {b"data", b"labels"} <= set(batch):
            raise ValueError("it must be a dictionary with b'data' and b'labels'")
        x, y = batch[b"data"], np.asarray(batch[b"labels"])
        shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
        if shape != (NUM_IMAGES, 3072) or dtype != np.uint8:
            raise ValueError(f"its data must be ({NUM_IMAGES}, 3072) of uint8, got {shape} {dtype}")
        if y.shape != (NUM_IMAGES,) or y.dtype.kind != "i" or y.min() < 0 or y.max() > 9:
            raise ValueError(f"its labels must be {NUM_IMAGES} whole numbers from 0 to 9")
        return x.reshape(NUM_IMAGES, 3, 32, 32), y


@dataclass(kw_only=True, eq=False)
class Cifar10(TensorDataModule):
    """50,000 colour images of 32x32 pixels to learn from and 10,000 for the test, ten classes.

    Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". The validation
    examples are drawn from the 50,000; the test examples are the data set's own. A file whose
    checksum is not the original's but whose form is right is used with a warning.

    Args:
        root: folder of ``cifar-10-batches-py``, which holds ``data_batch_1`` to ``5`` and
            ``test_batch``.
        pad: rows and columns of zeros, the mean after normalization, put on each side of a
            training image before it is cropped at random to its size and, every second time,
            mirrored (He et al. 2016, arXiv:1512.03385, section 4.2: 4). None: it is not.
        cutout: side in pixels of a square of each training image that is set to zero, the mean
            after normalization. Its centre is drawn among all pixels, so that it may reach over the
            edge (DeVries & Taylor 2017, arXiv:1708.04552: 16 for CIFAR-10). None: none is.
    """

    root: str
    pad: Annotated[int, AtLeast(0)] | None
    cutout: Count | None = None

    def files(self) -> list[CifarFile]:
        folder = Path(self.root) / "cifar-10-batches-py"
        return [CifarFile(folder / name, md5, SOURCE) for name, md5 in MD5.items()]

    def read_fit(self) -> Arrays:
        batches = [file.load() for file in self.files()[:5]]
        images, labels = zip(*batches, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def read_test(self) -> Arrays:
        images, labels = self.files()[5].load()
        return images, labels

    def augmentation(self) -> Augment | None:
        changes: list[Augment] = []
        if self.pad is not None:
            changes.append(functools.partial(pad_crop_flip, pad=self.pad))
        if self.cutout is not None:
            changes.append(functools.partial(cut_out, side=self.cutout))
        if len(changes) < 2:
            return changes[0] if changes else None
        return functools.partial(_one_after_another, changes)


def _one_after_another(changes: Sequence[Augment], x_BCHW: torch.Tensor) -> torch.Tensor:
    for change in changes:
        x_BCHW = change(x_BCHW)
    return x_BCHW


def cut_out(x_BCHW: torch.Tensor, side: int) -> torch.Tensor:
    """Sets a square of each image to zero, at a place of its own that may reach over the edge.

    Random numbers come from torch's global generator of the device ``x_BCHW`` is on.

    Args:
        x_BCHW: images.
        side: of the square, in pixels.
    """
    B, _, H, W = x_BCHW.shape
    device = x_BCHW.device

    def is_cut(size: int) -> torch.Tensor:
        """Returns which rows, or columns, are cut of each image: (B, size)."""
        first_B1 = torch.randint(0, size, (B, 1), device=device) - side // 2
        places_N = torch.arange(size, device=device)
        cut: torch.Tensor = (places_N >= first_B1) & (places_N < first_B1 + side)
        return cut

    is_cut_BHW = is_cut(H)[:, :, None] & is_cut(W)[:, None, :]
    return x_BCHW.masked_fill(is_cut_BHW[:, None], 0.0)


def pad_crop_flip(x_BCHW: torch.Tensor, pad: int) -> torch.Tensor:
    """Crops each zero-padded image at a place of its own and mirrors every second, in one gather.

    Random numbers come from torch's global generator of the device ``x_BCHW`` is on.
    """
    B, C, H, W = x_BCHW.shape
    device = x_BCHW.device
    padded_BCHW = torch.nn.functional.pad(x_BCHW, (pad, pad, pad, pad))
    top_B1, left_B1 = torch.randint(0, 2 * pad + 1, (2, B, 1), device=device)
    is_mirrored_B1 = torch.rand(B, 1, device=device) < 0.5
    columns_W = torch.arange(W, device=device)
    rows_BH = top_B1 + torch.arange(H, device=device)
    columns_BW = left_B1 + torch.where(is_mirrored_B1, W - 1 - columns_W, columns_W)
    taken = (rows_BH[:, :, None] * (W + 2 * pad) + columns_BW[:, None, :]).view(B, 1, H * W)
    return padded_BCHW.flatten(2).gather(2, taken.expand(B, C, H * W)).view(B, C, H, W)
