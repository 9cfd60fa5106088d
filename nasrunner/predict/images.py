"""New images, as large and with as many colours as those of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.own.decoding import (
    ENDINGS,
    GREY,
    Mode,
    Size,
    StoredImage,
    decoded,
    fitted,
    looked_at,
    shown,
)
from nasrunner.data.own.huggingface import DatasetFolder
from nasrunner.data.own.images import ImageFolder, images_in
from nasrunner.data.own.reading import Label, Reading
from nasrunner.predict.arrays import NewArrays
from nasrunner.predict.pieces import NewExamples, Piece, array_of

# N = number of images, C = channels, H, W = height and width

NUM_IMAGES = 512
"""Images of a piece."""

_BRIGHT = 16
"""Floats that are all below may be of another range than bytes, 0 to 1 for one."""

_CHANNELS = (1, 3, 4)
"""Grey, colours, colours with transparency."""


@dataclass(frozen=True)
class NewImages(NewExamples):
    """An image, or all that a folder and those in it hold, by their paths.

    Those that lie in a folder that is called by a class of training are measured.

    Attributes:
        folder: the data set of training; its resizing and conversion settings apply here too.
        size: rows and columns of the images that were trained on.
        is_grey: whether they had no colours.
        classes: of training; None: the network predicts numbers.
    """

    folder: ImageFolder | DatasetFolder
    size: Size
    is_grey: bool
    classes: tuple[Label, ...] | None

    @classmethod
    def of_reading(cls, folder: ImageFolder | DatasetFolder, reading: Reading) -> "NewImages":
        """Returns what reads images as those of training were."""
        rows, columns = reading.settings["size"]
        is_grey = reading.settings["colours"] == "grey"
        return cls(folder, (rows, columns), is_grey, reading.classes)

    def of_path(self, path: Path) -> Iterator[Piece]:
        images = [path] if path.suffix.lower() in ENDINGS else []
        if path.is_dir():
            images, _ = images_in(path)
        if not images:
            raise DataError(
                f"{path}: there is no image; legal are files that end in "
                f"{', '.join(sorted(ENDINGS))}, or a folder of some"
            )
        root = path if path.is_dir() else path.parent
        labels = self._labels(root, images)
        for start in range(0, len(images), NUM_IMAGES):
            part = images[start : start + NUM_IMAGES]
            files = tuple(each.relative_to(root).as_posix() for each in part)
            y = None if labels is None else labels[start : start + NUM_IMAGES]
            yield Piece(self.decoded(part, str(path)), y, str(path), files)

    def decoded(self, images: Sequence[Path | StoredImage], where: str) -> np.ndarray:
        """Returns images (N, C, H, W) as those of training were.

        Args:
            images: their files, or what stands in these.
            where: what is read, for error messages.

        Raises:
            DataError: one is broken, or training would not have accepted it.
        """
        for each in images:
            (mode,), (size,) = looked_at(where, [each])
            self._check(
                f"{where}: {each.name}" if isinstance(each, StoredImage) else str(each), mode, size
            )
        return decoded(where, images, self.size, self._mode)

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        """Yields images in memory, prepared as those in files are.

        Args:
            x: (N, H, W, C) or (N, C, H, W), where C is 1, 3, or 4 with transparency, or grey ones
                (N, H, W) for a network of such: bytes, or other numbers from 0 to 255, which are
                rounded.
            y: (N,) classes; None: they are not known.
        """
        x_NHWC = self._channels_last(_as_bytes(array_of(x, "x")))
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[x_NHWC.shape[-1]]
        rows, columns = x_NHWC.shape[1:3]
        self._check("x", mode, (rows, columns))
        x_NCHW = fitted(x_NHWC, self.size, self._mode)
        yield from NewArrays(x_NCHW.shape[1:], None).of_values(x_NCHW, y)

    @property
    def _mode(self) -> Mode:
        return "L" if self.is_grey else "RGB"

    def _channels_last(self, x: np.ndarray) -> np.ndarray:
        if (
            x.ndim == 3
            and self.is_grey
            and (x.shape[1:] == self.size or x.shape[-1] > max(_CHANNELS))
        ):
            return x[..., None]
        is_first, is_last = (x.ndim == 4 and x.shape[axis] in _CHANNELS for axis in (1, -1))
        if is_first and is_last:  # very narrow images: those of training decide
            is_first, is_last = x.shape[2:] == self.size, x.shape[1:3] == self.size
        if is_first == is_last or 0 in x.shape[1:]:
            grey = ", or grey ones (N, H, W)" if self.is_grey else ""
            raise DataError(
                f"x is {x.shape}; legal are images (N, H, W, C) or (N, C, H, W), where C is 1, 3 "
                f"or 4{grey}"
            )
        return np.moveaxis(x, 1, -1) if is_first else x

    def _labels(self, root: Path, images: Sequence[Path]) -> np.ndarray | None:
        """The class of each image by its folder, or else the name of that, which is no class.

        None: none lies in a folder of a class.
        """
        known = set(map(str, self.classes or ()))
        folders = [each.relative_to(root).parts[:-1] for each in images]
        if not any(known.intersection(parts) for parts in folders):
            return None
        found = np.empty(len(images), dtype=object)
        for number, parts in enumerate(folders):
            usual = parts[-1] if parts else None
            found[number] = next((part for part in parts if part in known), usual)
        return found

    def _check(self, where: str, mode: str, size: Size) -> None:
        """Rejects images of a size or colour mode that training would not have accepted."""
        if self.is_grey and self.folder.colours is None and mode not in GREY:
            raise DataError(
                f"{where} has colours, {mode}, and the images of training are grey; legal are "
                "grey ones, or a network of a study with data.colours=grey, which converts them"
            )
        if self.folder.size is None and size != self.size:
            raise DataError(
                f"{where} is {shown(size)}, and the images of training are {shown(self.size)}; "
                "legal are images of that size, or a network of a study with "
                f"data.size=[{self.size[0]},{self.size[1]}], which resizes them"
            )


def _as_bytes(x: np.ndarray) -> np.ndarray:
    """Images as bytes.

    Raises:
        DataError: they are no numbers from 0 to 255, or may be of another range.
    """
    legal = "legal are bytes (uint8), or other numbers from 0 to 255"
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "iuf":
        raise DataError(f"x holds {x.dtype}; {legal}")
    if not x.size:
        return x.astype(np.uint8)
    least, most = x.min(), x.max()
    if not (least >= 0 and most <= 255):  # also where it is not a number
        raise DataError(f"x has numbers from {least:g} to {most:g}; {legal}")
    if x.dtype.kind == "f" and most < _BRIGHT:
        raise DataError(
            f"x has floats from {least:g} to {most:g}, which are none of the range of bytes, or "
            f"very dark; {legal}, before any scaling"
        )
    return x.round().astype(np.uint8)
