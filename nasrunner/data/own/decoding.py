"""Images in files as arrays of bytes."""

import io
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from nasrunner.core.errors import DataError

# N = number of images, C = channels, H, W = height and width

Colours = Literal["grey", "rgb"]

Mode = Literal["L", "RGB"]
"""Pillow's modes that images are converted to."""

Size = tuple[int, int]
"""Rows and columns."""

GREY = frozenset({"1", "L", "LA"})
"""Pillow's modes without colours."""

ENDINGS = frozenset(
    {
        *(".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif"),
        *(".tiff", ".webp"),
    }
)
"""Of the names of images."""

_KNOWN = {*GREY, "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"}
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Those of pixels alone, by Pillow's names: it hands others, such as EPS, to other programs."""


@dataclass(frozen=True)
class StoredImage:
    """An image that stands in a file of many, as the bytes of a file of its own.

    Attributes:
        name: of the image, for error messages.
        content: as of a file of one of the forms.
    """

    name: str
    content: bytes


def mode_of(colours: Colours | None, modes: Collection[str]) -> Mode:
    """Returns what images are converted to.

    Args:
        colours: None: grey where none has colours.
        modes: Pillow's, of the images.
    """
    if colours is None:
        return "L" if set(modes) <= GREY else "RGB"
    return "L" if colours == "grey" else "RGB"


def decoded(where: str, images: Sequence[Path | StoredImage], size: Size, mode: Mode) -> np.ndarray:
    """Returns images (N, C, H, W) of bytes, turned as cameras say, resized and cut to a size.

    Args:
        where: what is read, for error messages.
        images: paths of the files, or what stands in them.
        size: H and W.
        mode: what they are converted to.

    Raises:
        DataError: a file is broken.
    """
    rows, columns = size
    shape = (rows, columns) if mode == "L" else (rows, columns, 3)
    x = np.empty((len(images), *shape), np.uint8)
    for number, each in enumerate(images):
        try:
            with _opened(each) as image:
                x[number] = _fitted(ImageOps.exif_transpose(image), size, mode)
        except Exception as error:  # a damaged file raises nearly anything
            raise _broken(where, each, error) from error
    return x[:, None] if mode == "L" else np.ascontiguousarray(np.moveaxis(x, -1, 1))


def fitted(x: np.ndarray, size: Size, mode: Mode) -> np.ndarray:
    """Returns images (N, C, H, W) of bytes, converted, resized and cut as ``decoded`` does.

    Args:
        x: (N, H, W, C) bytes of any size; C is 1, 3, or 4 with transparency.
        size: H and W.
        mode: what they are converted to.
    """
    pixels = x[..., 0] if x.shape[-1] == 1 else x
    found = np.array([_fitted(Image.fromarray(each), size, mode) for each in pixels])
    if not len(x):
        return np.empty((0, 1 if mode == "L" else 3, *size), np.uint8)
    return found[:, None] if mode == "L" else np.ascontiguousarray(np.moveaxis(found, -1, 1))


def _fitted(image: Image.Image, size: Size, mode: Mode) -> np.ndarray:
    rows, columns = size
    converted = image.convert(mode)
    if converted.size != (columns, rows):
        converted = ImageOps.fit(converted, (columns, rows), Image.Resampling.BILINEAR)
    return np.asarray(converted)


def looked_at(
    where: str, images: Sequence[Path | StoredImage]
) -> tuple[Counter[str], Counter[Size]]:
    """Returns the modes and sizes of images, without decoding them.

    Raises:
        DataError: a file is broken, or has more than 8 bits of a channel.
    """
    modes: Counter[str] = Counter()
    sizes: Counter[Size] = Counter()
    for each in images:
        try:
            with _opened(each) as image:
                mode = image.mode
                width, height = image.size
                is_turned = image.getexif().get(0x0112, 1) >= 5
        except Exception as error:  # a damaged file raises nearly anything
            raise _broken(where, each, error) from error
        if mode not in _KNOWN:
            raise DataError(
                f"{where}: {_name_of(each)} is an image of mode {mode}; legal are those with 8 "
                "bits for each channel, and data=arrays takes any numbers"
            )
        modes[mode] += 1
        sizes[(width, height) if is_turned else (height, width)] += 1
    return modes, sizes


def shown(size: Size) -> str:
    """Returns ``32×24``: rows and columns."""
    return f"{size[0]}×{size[1]}"


def _opened(image: Path | StoredImage) -> Image.Image:
    source = io.BytesIO(image.content) if isinstance(image, StoredImage) else image
    return Image.open(source, formats=_FORMATS)


def _name_of(image: Path | StoredImage) -> str:
    return image.name if isinstance(image, StoredImage) else str(image)


def _broken(where: str, image: Path | StoredImage, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(image, StoredImage):
        reason = reason.partition(" <_io")[0]  # where it was in memory
        return DataError(f"{where}: {image.name} is broken: {reason}; legal are whole images")
    reason = reason.replace(str(image), image.name)
    return DataError(f"{where}: {image} is broken: {reason}; put a whole file there, or none")
