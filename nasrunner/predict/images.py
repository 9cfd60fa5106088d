"""New images, as large and with as many colours as those of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.own.decoding import ENDINGS, GREY, Mode, Size, decoded, looked_at, shown
from nasrunner.data.own.images import ImageFolder
from nasrunner.data.own.reading import Label, Reading
from nasrunner.predict.arrays import NewArrays
from nasrunner.predict.pieces import NewExamples, Piece

_NUM_IMAGES = 512
"""Images of a piece."""


@dataclass(frozen=True)
class NewImages(NewExamples):
    """An image, or all that a folder and those in it hold, by their paths.

    Where each lies in a folder that is called by a class of training, it is measured.

    Attributes:
        folder: the data set of training: what it was told to resize or convert is, here too.
        size: rows and columns of the images that were trained on.
        is_grey: whether they had no colours.
        classes: of training; None: the network predicts numbers.
    """

    folder: ImageFolder
    size: Size
    is_grey: bool
    classes: tuple[Label, ...] | None

    @classmethod
    def of_reading(cls, folder: ImageFolder, reading: Reading) -> "NewImages":
        """Returns what reads images as those of training were."""
        rows, columns = reading.settings["size"]
        is_grey = reading.settings["colours"] == "grey"
        return cls(folder, (rows, columns), is_grey, reading.classes)

    def of_path(self, path: Path) -> Iterator[Piece]:
        paths = (
            sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        )
        images = [each for each in paths if each.suffix.lower() in ENDINGS]
        if not images:
            raise DataError(
                f"{path}: there is no image; legal are files that end in "
                f"{', '.join(sorted(ENDINGS))}, or a folder of some"
            )
        root = path if path.is_dir() else path.parent
        labels = self._labels(root, images)
        for start in range(0, len(images), _NUM_IMAGES):
            part = images[start : start + _NUM_IMAGES]
            files = tuple(each.relative_to(root).as_posix() for each in part)
            y = None if labels is None else labels[start : start + _NUM_IMAGES]
            self._check(str(path), part)
            mode: Mode = "L" if self.is_grey else "RGB"
            yield Piece(decoded(str(path), part, self.size, mode), y, str(path), files)

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        yield from NewArrays((1 if self.is_grey else 3, *self.size), None).of_values(x, y)

    def _labels(self, root: Path, images: Sequence[Path]) -> np.ndarray | None:
        """The class of each image by its folder; None where one lies in none of a class."""
        known = set(map(str, self.classes or ()))
        found = [
            next((part for part in each.relative_to(root).parts[:-1] if part in known), None)
            for each in images
        ]
        return None if None in found else np.array(found)

    def _check(self, where: str, paths: Sequence[Path]) -> None:
        """Refuses images that training would not have had as they are."""
        for path in paths:
            modes, sizes = looked_at(where, [path])
            (mode,), (size,) = modes, sizes
            if self.is_grey and self.folder.colours is None and mode not in GREY:
                raise DataError(
                    f"{path} has colours, {mode}, and the images of training are grey; legal are "
                    "grey ones, or a network of a study with data.colours=grey, which converts them"
                )
            if self.folder.size is None and size != self.size:
                raise DataError(
                    f"{path} is {shown(size)}, and the images of training are {shown(self.size)}; "
                    "legal are images of that size, or a network of a study with "
                    f"data.size=[{self.size[0]},{self.size[1]}], which resizes them"
                )
