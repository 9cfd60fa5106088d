"""Records a study as a table: a row for each outcome, in a file of its folder."""

import csv
import io
import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.ledger.known import is_given
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.files import replace_file
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.core.screen.commands import resume_command, short
from nasrunner.core.screen.text import csv_cell
from nasrunner.core.tracking import Records, RetrainedNetwork

_log = logging.getLogger(__name__)

FILE = "children.csv"
"""Its name in the study's folder."""

_OF_OUTCOME = ("index", "status", "reward", "cost_s", "hash", "reused_from", "error")
_OF_BLUEPRINT = ("architecture", "parameters", "flops")
_VALUES, _METRICS, _OBJECTIVES = "values/", "metrics/", "objectives/"


class CsvTracker:
    """Adds a row to ``children.csv`` for each outcome, in the order in which these are recorded.

    Every row has the columns from ``index`` to ``flops``; ``values/<decision>``,
    ``metrics/<name>`` and ``objectives/<name>`` come as children have them, and are empty in the
    rows of others. So do
    ``kind`` (of an estimate or a supernet), ``fidelity``, ``until``, ``sources``, ``parent``, and
    ``given`` of what the user gave to begin with.
    The file is written whole where a column is added or a study is resumed: its rows follow from
    the ledger then, but for what is known of an architecture, which is taken from the file where it
    is there.
    """

    files: ClassVar[Sequence[str]] = (FILE,)
    records: ClassVar[Records | None] = None

    def __init__(self) -> None:
        self._path: Path | None = None
        self._columns: list[str] = []
        self._rows: list[dict[str, str]] = []
        self._is_behind = False

    def prepare(self) -> None:
        pass

    @property
    def ui_command(self) -> str | None:
        """How a person looks at the table; None while there is none."""
        return None if self._path is None else f"less -S {shlex.quote(short(self._path))}"

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Writes what the ledger holds.

        Raises:
            ConfigError: there is a file of this name that no tracker wrote.
        """
        self._path = info.folder / FILE
        known = _read(self._path)
        self._columns = [*_OF_OUTCOME, *_OF_BLUEPRINT]
        self._rows = []
        for outcome in state.history.outcomes:
            index = str(outcome.proposal.index)
            row = known.get(index) or _of_blueprint(self._blueprint(outcome, inspect))
            self._add({**_of_outcome(outcome), **row})
        self._write()

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        assert self._path is not None, "open first"
        row = {**_of_outcome(outcome), **_of_blueprint(blueprint)}
        if self._add(row) or self._is_behind:
            self._write()
            return
        try:
            with self._path.open("ab") as file:
                file.write(self._text([row]))
        except OSError as error:
            self._fall_behind(error)

    def close(self, summary: Summary) -> None:
        """Tries once more what could not be written."""
        assert self._path is not None, "open first"
        if self._is_behind:
            self._write()
        if self._is_behind:
            _log.warning(
                "%s is not complete: the ledger is, and %s writes the table again",
                self._path,
                resume_command(self._path.parent),
            )

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        """Does nothing: ``nasrunner-retrain`` writes a table of its own, ``retrain.csv``."""

    def _blueprint(self, outcome: Outcome, inspect: Inspect) -> Blueprint | None:
        if outcome.proposal.kind == "supernet":  # which is no child of the space
            return None
        try:
            return inspect(outcome.proposal.genotype)
        except SpaceError:  # an invalid child has none
            return None
        except Exception as error:  # a user's module may raise anything: the study goes on
            index = outcome.proposal.index
            _log.warning("%s lacks the architecture of child %d: %s", self._path, index, error)
            return None

    def _add(self, row: dict[str, str]) -> bool:
        """Adds a row; returns whether it has columns that others do not have."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        return bool(new)

    def _write(self) -> None:
        """Writes the file: all of it, or nothing new."""
        assert self._path is not None, "open first"
        try:
            replace_file(self._path, self._text(self._rows, has_header=True))
        except OSError as error:
            self._fall_behind(error)
        else:
            self._is_behind = False

    def _fall_behind(self, error: OSError) -> None:
        if not self._is_behind:
            _log.warning("%s cannot be written, and is tried again: %s", self._path, error.strerror)
        self._is_behind = True

    def _text(self, rows: Iterable[Mapping[str, str]], *, has_header: bool = False) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if has_header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode("utf-8", "backslashreplace")


def _of_outcome(outcome: Outcome) -> dict[str, str]:
    fixed = {
        "index": outcome.proposal.index,
        "status": outcome.told_status,
        "reward": outcome.reward,
        "cost_s": round(outcome.cost_s, 4),
        "hash": outcome.proposal.hash,
        "reused_from": outcome.reused_from,
        "error": None if outcome.error is None else last_line(outcome.error),
    }
    metrics = {f"{_METRICS}{name}": value for name, value in outcome.metrics.items()}
    objectives = {f"{_OBJECTIVES}{name}": value for name, value in outcome.objectives.items()}
    proposal = replace(outcome.proposal, until=None) if outcome.is_too_large else outcome.proposal
    known = fixed | _of_proposal(proposal) | metrics | objectives
    return {name: _cell(value) for name, value in known.items()}


def _of_proposal(proposal: Proposal) -> dict[str, object]:
    """What is no plain training's of the searcher's own, where there is something."""
    told = {
        "kind": None if proposal.kind == "train" else proposal.kind,
        "fidelity": " ".join(f"{key}={value:g}" for key, value in proposal.fidelity.items()),
        "until": proposal.until,
        "sources": " ".join(f"{each.what}:{each.child}" for each in proposal.sources),
        "parent": proposal.parent,
        "given": "true" if is_given(proposal) else None,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _of_blueprint(blueprint: Blueprint | None) -> dict[str, str]:
    """The cells that only building the child tells; they are empty where that is impossible."""
    if blueprint is None:
        return dict.fromkeys(_OF_BLUEPRINT, "")
    known = (blueprint.text, blueprint.parameters, blueprint.flops)
    fixed = {name: _cell(value) for name, value in zip(_OF_BLUEPRINT, known, strict=True)}
    chosen = {f"{_VALUES}{path}": _written(value) for path, value in blueprint.values.items()}
    return fixed | chosen


def _cell(value: object) -> str:
    return "" if value is None else str(csv_cell(value))


def _written(value: object) -> str:
    """What a decision chose, which None may be, too."""
    if value is None:
        return "null"
    return _cell(value if isinstance(value, int | float) else str(value))


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Child index -> the cells that an earlier session found by building it; none if damaged.

    Raises:
        ConfigError: it is no such table.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    whole = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")  # no line that was cut
    header = ",".join((*_OF_OUTCOME, *_OF_BLUEPRINT))
    if content and not whole.startswith(header):
        raise ConfigError(
            f"tracker: {path} is no table of a study, and would be written over; move it away"
        )
    try:
        rows = list(csv.DictReader(io.StringIO(whole)))
    except csv.Error:
        return {}
    return {
        row["index"]: {
            name: cell
            for name, cell in row.items()
            if name in _OF_BLUEPRINT or (name.startswith(_VALUES) and cell != "")
        }
        for row in rows
        if None not in row and None not in row.values()
    }
