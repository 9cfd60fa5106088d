"""What a command writes into a folder of the user's: its own files are replaced, all or none."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from nasrunner.core.errors import ConfigError


class OutputFolder:
    """A folder in which a command replaces the files it wrote there before, and no others.

    Their checksums are kept in a hidden file beside them; one that was changed since is the user's.

    Args:
        folder: made when something is written.
        command: the command's name, without ``nasrunner-``.
        key: the argument that names the folder, for messages.
        overwrite: whether files of others are replaced, too.
    """

    def __init__(self, folder: Path, command: str, key: str, *, overwrite: bool) -> None:
        self.folder = folder
        self._key = key
        self._overwrite = overwrite
        self._kept = folder / f".nasrunner-{command}.json"

    def check(self, names: Collection[str]) -> None:
        """Refuses to write over what this command has not written.

        Raises:
            ConfigError: names the files.
        """
        if self._overwrite:
            return
        known = self._known()
        others = [
            name
            for name in names
            if os.path.lexists(self.folder / name)
            and _checksum(self.folder / name) not in known.get(name, ())
        ]
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            raise ConfigError(
                f"{self.folder} holds {', '.join(others[:3])}{more}, made or changed by another: "
                f"nothing was written; give another {self._key}=, or overwrite=true"
            )

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Replaces all files of an earlier call by these, or none where one cannot be written.

        Raises:
            ConfigError: as of ``check``.
            OSError: the folder cannot be written.
        """
        self.check(contents)
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._known()
        now = {name: [hashlib.sha256(content).hexdigest()] for name, content in contents.items()}
        unfinished = {name: self.folder / f".{name}.unfinished" for name in contents}
        try:
            for name, content in contents.items():
                unfinished[name].write_bytes(content)
            self._keep({name: [*before.get(name, ()), *now.get(name, ())] for name in before | now})
            for name, path in unfinished.items():
                os.replace(path, self.folder / name)
        finally:
            for path in unfinished.values():
                path.unlink(missing_ok=True)
        for name in before.keys() - now.keys():
            if _checksum(self.folder / name) in before[name]:
                (self.folder / name).unlink()
        self._keep(now)

    def _known(self) -> dict[str, list[str]]:
        """The checksums of what was written here before, by name."""
        try:
            return dict(json.loads(self._kept.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _keep(self, checksums: Mapping[str, list[str]]) -> None:
        path = self._kept.with_name(f"{self._kept.name}.unfinished")
        path.write_text(json.dumps(checksums) + "\n", encoding="utf-8")
        os.replace(path, self._kept)


def _checksum(path: Path) -> str | None:
    """The checksum of a file; None: it is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
