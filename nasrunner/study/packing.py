"""Keeps a study of very many children within the number of files that a cluster allows a user."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nasrunner.core.machine import child_packs
from nasrunner.core.machine.child_folder import pack_children
from nasrunner.core.records import child_folder

_log = logging.getLogger(__name__)


class Packing:
    """Packs the small files of a thousand children together once all of these have ended.

    Args:
        folder: the study's.
        above: as soon as more children than this have ended.
    """

    def __init__(self, folder: Path, above: int) -> None:
        self.folder = folder
        self.above = above
        self._num_ended: Counter[int] = Counter()
        """Of each group, by the number of its first child."""
        self._has_warned = False

    def resumed(self, ended: Iterable[int]) -> None:
        """Packs what earlier sessions have left, or have begun to pack.

        Args:
            ended: the children whose outcome is recorded.
        """
        self._num_ended.update(map(_group_of, ended))
        if self._is_large:
            self._pack_all()

    def recorded(self, index: int) -> None:
        """Takes a child that has just ended, whatever became of it."""
        was_large = self._is_large
        self._num_ended[_group_of(index)] += 1
        if self._is_large and not was_large:
            self._pack_all()
        elif self._is_large and self._num_ended[_group_of(index)] == child_packs.GROUP:
            self._pack(_group_of(index))

    @property
    def _is_large(self) -> bool:
        return self._num_ended.total() > self.above

    def _pack_all(self) -> None:
        children = child_folder(self.folder, 0).parent
        names = os.listdir(children) if children.is_dir() else []
        for group in sorted({_group_of(int(name)) for name in names if name.isdigit()}):
            if self._num_ended[group] == child_packs.GROUP:
                self._pack(group)

    def _pack(self, group: int) -> None:
        try:
            pack_children(self.folder, group)
        except OSError as error:
            if not self._has_warned:
                _log.warning("the small files of children could not be packed: %s", error)
            self._has_warned = True


def _group_of(index: int) -> int:
    return index // child_packs.GROUP * child_packs.GROUP
