"""Packs small files of many children into one, as clusters limit how many files a user may have.

``children/0000-0999.zip`` holds the files of the first thousand children under the names that they
had: ``0007/curves.jsonl``. A child is read from it where its own folder has no proposal, so that
a child that is trained again by hand is read from its folder. Hence nothing is lost or double where
packing is cut off: a folder's proposal is removed first, once all is in the pack.
"""

import contextlib
import errno
import functools
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from nasrunner.core.machine.files import replace_file, sync

GROUP = 1000
"""How many children are packed together."""

_CHILDREN = "children"
_KEPT_OPEN = 4


def read_packed(path: Path, proposal: str) -> bytes:
    """Reads a file that does not lie in the folder of its child, from the pack.

    Args:
        path: where the file would lie, in the child's folder or below.
        proposal: the name of the file with which a child's folder counts.

    Raises:
        FileNotFoundError: it is not in the pack, or there is none.
        OSError: the pack cannot be read, or is damaged.
    """
    for child in path.parents:
        if child.parent.name != _CHILDREN or not child.name.isdigit():
            continue
        if (child / proposal).is_file():
            break
        pack = pack_of(child)
        with contextlib.suppress(FileNotFoundError, KeyError):
            return _read(pack, path.relative_to(child.parent).as_posix())
        break
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def pack_of(child: Path) -> Path:
    """Says where a child's folder is packed, or will be."""
    first = int(child.name) // GROUP * GROUP
    return child.with_name(f"{first:04d}-{first + GROUP - 1:04d}.zip")


def pack(children: Path, first: int, proposal: str, names: Collection[str]) -> None:
    """Packs a group of children that have ended, or goes on where that was cut off.

    A pack that is there already stays as it is; folders that differ from it do, too.

    Args:
        children: the folder of a study's children.
        first: the number of the group's first child.
        proposal: the name of the file with which a child's folder counts.
        names: of the files, in the children's folders and below, that are packed.

    Raises:
        OSError: a file cannot be read, written or removed.
    """
    folders = [children / f"{index:04d}" for index in range(first, first + GROUP)]
    found = {each: list(_small(each, names)) for each in folders if each.is_dir()}
    place = pack_of(folders[0])
    if not place.exists() and (files := [path for each in found.values() for path in each]):
        replace_file(place, functools.partial(_write, children, files))
        sync(children)
    packed = _names_in(place)
    for child, small in found.items():
        mine = {path.relative_to(children).as_posix(): path for path in small}
        known, is_whole = packed.get(child.name, set()), (child / proposal).is_file()
        is_same = mine.keys() == known if is_whole else mine.keys() <= known
        if is_same and all(_read(place, name) == path.read_bytes() for name, path in mine.items()):
            _remove(child, sorted(small, key=lambda path: path != child / proposal))


def _small(child: Path, names: Collection[str]) -> Iterator[Path]:
    for place, _, files in os.walk(child):
        yield from (Path(place, name) for name in sorted(files) if name in names)


def _write(children: Path, files: Collection[Path], target: BinaryIO) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in files:
            archive.write(path, path.relative_to(children).as_posix())


def _names_in(place: Path) -> Mapping[str, set[str]]:
    """The names of the files in a pack, by the child's; empty where there is no pack."""
    found: dict[str, set[str]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in _opened(place).namelist():
            found.setdefault(name.partition("/")[0], set()).add(name)
    return found


def remove_empty(folder: Path) -> None:
    """Removes a folder and those below that hold no file."""
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty: checkpoints stay, and what others put there
            Path(place).rmdir()


def _remove(child: Path, files: Collection[Path]) -> None:
    for path in files:
        path.unlink()
    remove_empty(child)


def _read(place: Path, name: str) -> bytes:
    try:
        return _opened(place).read(name)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(place, error) from error


def _opened(place: Path) -> zipfile.ZipFile:
    """The pack with its list of files, which takes 0.03 s to read."""
    found = place.stat()
    try:
        return _kept_open(place, found.st_mtime_ns, found.st_size, os.getpid())
    except zipfile.BadZipFile as error:
        raise _damaged(place, error) from error


def _damaged(place: Path, error: Exception) -> OSError:
    return OSError(f"{place} is damaged: {error}")


@functools.lru_cache(maxsize=_KEPT_OPEN)
def _kept_open(place: Path, written_ns: int, size: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(place)
