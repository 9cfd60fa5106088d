"""How a child that runs somewhere is told to stop: a file in its folder."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path

from nasrunner.core.machine.files import replace_file


@dataclass(frozen=True)
class StopFile:
    """Tells a child, wherever it runs, after which of its epochs it is to stop.

    The driver writes it, and once more when a study is resumed; the child looks for it after each
    epoch. No message has to reach a worker.

    Attributes:
        folder: the child's.
    """

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "stop.json"

    def write(self, epoch: int) -> None:
        """Asks the child to stop after this epoch, or after the one that it is in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, json.dumps({"epoch": epoch}) + "\n")

    def read(self) -> int | None:
        """Returns the epoch after which the child is to stop; None: it goes on."""
        try:
            return int(json.loads(self.path.read_text(encoding="utf-8"))["epoch"])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):  # it is just being replaced
                raise
            return None
