"""Own data as images in folders, each folder a class."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nasrunner.core.annotations import Count
from nasrunner.core.errors import DataError
from nasrunner.data.own.decoding import (
    ENDINGS,
    Colours,
    Size,
    StoredImage,
    decoded,
    looked_at,
    mode_of,
    shown,
)
from nasrunner.data.own.digests import digest_of_listing
from nasrunner.data.own.own_data import OwnData, RawExamples

# N = number of images, C = channels, H, W = height and width

_TRAIN, _TEST = ("train", "training"), ("test", "testing")
_VALIDATION = ("val", "valid", "validation")
_USUAL_SIZE = 64
"""What is proposed where images must be resized."""


@dataclass(kw_only=True, eq=False)
class ImageFolder(OwnData):
    """Images in folders that are named as their classes are.

    ``root/<class>/…``, or ``root/train/<class>/…`` with ``root/test/<class>/…`` beside it;
    images in ``root/val`` are among those that validation is drawn from. They are turned as
    cameras say they must be, and decoded and resized once a process.

    Args:
        root: the folder.
        size: rows and columns, or one number for both, that images are resized to; what does not
            fit is cut off at two sides. None: as they are, where all are alike.
        colours: ``grey`` or ``rgb``, to which all are converted; None: ``grey`` where none has
            colours.
    """

    root: str
    size: Count | Sequence[Count] | None = None
    colours: Colours | None = None

    place_key: ClassVar[str] = "root"
    guessed_from: ClassVar[tuple[str, ...]] = (*OwnData.guessed_from, "root", "size", "colours")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_dtype("images are pixels")

    def files_digest(self) -> str:
        root = Path(self.root)
        parts, _ = self._parts_of_root(root)
        return digest_of_listing(root, (path for part in parts for path, _ in part))

    def read(self) -> RawExamples:
        root = Path(self.root)
        parts, others = self._parts_of_root(root)
        files = [path for part in parts for path in part]
        stamps = tuple((path, path.stat().st_mtime_ns) for path, _ in files)
        x_NCHW, facts = _decoded(self.where, stamps, size_of(self.size), self.colours)
        left_out = (f"{others:,} files that are no images are left out",) if others else ()
        return RawExamples(
            x=x_NCHW,
            y=np.array([label for _, label in files]),
            where=self.where,
            kind="images",
            num_test=len(parts[1]) if len(parts) > 1 else None,
            settings=settings_of(x_NCHW),
            facts=(*facts, *left_out),
        )

    def _parts_of_root(self, root: Path) -> tuple[list[list[tuple[Path, str]]], int]:
        """The images that are not for the test, and those that are where they lie apart."""
        if not root.is_dir():
            raise DataError(f"data.root={root} is a file; legal is a folder of folders of images")
        inside = {each.name.lower(): each for each in root.iterdir() if each.is_dir()}
        train = next((inside[name] for name in _TRAIN if name in inside), None)
        if train is None:
            files, others = self._labelled(root)
            return [files], others
        files, others = self._labelled(train)
        for name in (each for each in _VALIDATION if each in inside):
            more, strange = self._labelled(inside[name])
            files, others = files + more, others + strange
        test = next((inside[name] for name in _TEST if name in inside), None)
        if test is None:
            return [files], others
        held_out, strange = self._labelled(test)
        return [files, held_out], others + strange

    def _labelled(self, folder: Path) -> tuple[list[tuple[Path, str]], int]:
        """The images in a folder of classes with their classes, and the number of other files."""
        classes = sorted(each for each in folder.iterdir() if each.is_dir())
        classes = [each for each in classes if not is_left_out(each.name)]
        if not classes:
            raise DataError(
                f"data.root={self.root}: {folder} has no folders; legal is one for each class, "
                "with its images"
            )
        found, others = [], 0
        for each in classes:
            images, num_others = images_in(each)
            if not images:
                raise DataError(
                    f"data.root={self.root}: the folder {each} has no images; legal are some of "
                    f"each class, which end in {', '.join(sorted(ENDINGS))}"
                )
            found += [(path, each.name) for path in images]
            others += num_others
        return found, others


def images_in(folder: Path) -> tuple[list[Path], int]:
    """Finds the images in a folder and those in it, and the number of other files.

    What is hidden, or was put there by the archiver of macOS, is left out.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if not any(map(is_left_out, path.relative_to(folder).parts))]
    images = sorted(path for path in files if path.suffix.lower() in ENDINGS)
    return images, len(files) - len(images)


def is_left_out(name: str) -> bool:
    """Tells whether a file or folder of a name is hidden, or of the archiver of macOS."""
    return name.startswith(".") or name == "__MACOSX"


def size_of(given: int | Sequence[int] | None) -> Size | None:
    """Returns the rows and columns that ``data.size`` says; None: it says none.

    Raises:
        DataError: it has not two numbers.
    """
    if given is None or isinstance(given, int):
        return None if given is None else (given, given)
    if len(given) != 2:
        raise DataError(f"data.size must be [rows, columns], got {list(given)}")
    return given[0], given[1]


def settings_of(x_NCHW: np.ndarray) -> dict[str, Any]:
    """Returns the settings by which more images are read as these were."""
    colours = "grey" if x_NCHW.shape[1] == 1 else "rgb"
    return {"size": list(x_NCHW.shape[2:]), "colours": colours}


@functools.lru_cache(maxsize=1)
def _decoded(
    where: str,
    stamps: tuple[tuple[Path, int], ...],
    size: Size | None,
    colours: Colours | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    return decoded_alike(where, [path for path, _ in stamps], size, colours)


def decoded_alike(
    where: str,
    images: Sequence[Path | StoredImage],
    size: Size | None,
    colours: Colours | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns images (N, C, H, W) of bytes, and what is worth knowing of them.

    Args:
        where: what is read, for error messages.
        images: at least one.
        size: that all are resized to; None: they must have one.
        colours: that all are converted to; None: ``grey`` where none has colours.

    Raises:
        DataError: a file is broken, sizes differ and none is wanted, or there are more than 8 bits
            of a channel.
    """
    modes, sizes = looked_at(where, images)
    if size is None and len(sizes) > 1:
        (least, _), (most, _) = min(sizes.items()), max(sizes.items())
        proposed = min(_USUAL_SIZE, *(side for each in sizes for side in each))
        raise DataError(
            f"{where} has images of {len(sizes):,} sizes, {shown(least)} to {shown(most)}; legal "
            f"are those of one size, or data.size={proposed}, to which all are resized"
        )
    wanted = size or next(iter(sizes))
    mode = mode_of(colours, modes)
    facts = [f"images of {shown(wanted)}, {'grey' if mode == 'L' else 'RGB'}"]
    if len(sizes) > 1 or wanted not in sizes:
        facts.append(f"resized from {len(sizes):,} size{'s' if len(sizes) > 1 else ''}")
    if other := {name: count for name, count in modes.items() if name != mode}:
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(other.items()))
        facts.append(f"converted: {told}")
    return decoded(where, images, wanted, mode), tuple(facts)
