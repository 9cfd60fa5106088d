"""The table of a benchmark: one row of numbers for each architecture."""

import csv
import functools
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core.errors import DataError, suggest


@dataclass(frozen=True)
class BenchmarkTable:
    """A file of one row for each architecture; loaded once in a process.

    Attributes:
        path: a CSV file with a header, or a JSON file of one object for each architecture under
            its key; either may be packed with gzip as ``.gz``.
        key_column: the column of a CSV file that holds the key.
        columns: the columns read; all numbers.
        source: where people get the file.
    """

    path: Path
    key_column: str
    columns: tuple[str, ...]
    source: str

    @functools.cache  # noqa: B019 - a process reads one or two tables and needs them to its end
    def rows(self) -> Mapping[str, Mapping[str, float]]:
        """Returns key -> column -> value.

        Raises:
            DataError: the file is missing or damaged, or lacks a column.
        """
        if not self.path.is_file():
            raise self._error("is missing")
        try:
            content = self.path.read_bytes()
            if self.path.suffix == ".gz":
                content = gzip.decompress(content)
            records = self._records(content.decode())
            rows = {key: self._numbers(key, record) for key, record in records}
        except OSError as error:  # BadGzipFile too
            raise self._error(f"cannot be read: {error}") from error
        except (EOFError, zlib.error, ValueError, TypeError, AttributeError) as error:
            raise self._error(f"is damaged: {error}") from error
        if not rows:
            raise self._error("is damaged: it has no rows")
        return rows

    def _records(self, text: str) -> list[tuple[str, Mapping[str, Any]]]:
        if ".json" in self.path.suffixes:
            return list(json.loads(text).items())
        reader = csv.DictReader(io.StringIO(text))
        names = reader.fieldnames or []
        for name in (self.key_column, *self.columns):
            if name not in names:
                raise ValueError(f"it has no column {name!r}, {suggest(name, names)}")
        return [(row[self.key_column], row) for row in reader]

    def _numbers(self, key: str, record: Mapping[str, Any]) -> dict[str, float]:
        for name in self.columns:
            if record.get(name) is None:
                raise ValueError(f"row {key!r} has no {name!r}, {suggest(name, record)}")
        return {name: float(record[name]) for name in self.columns}

    def _error(self, what: str) -> DataError:
        return DataError(
            f"{self.path} {what}. Expected: a CSV or JSON table with {', '.join(self.columns)} for "
            f"each architecture. Get it from {self.source}, or set trainer.path"
        )
