"""The architectures that were derived from supernets, epoch by epoch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import DERIVED, ChildFolder
from nasrunner.core.space import living
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Drawing, Table
from nasrunner.spaces.pictures.drawing import draw

MOST_DRAWN = 12
"""So many derived architectures are drawn: evenly chosen, the last among them."""


@dataclass(frozen=True)
class Derived:
    """An architecture that was the derived one for some epochs in a row.

    Attributes:
        supernet: its index.
        first: the epoch after which it was derived first, counted from 1.
        last: the last such epoch in a row.
        genotype: it.
        text: it in one line.
    """

    supernet: int
    first: int
    last: int
    genotype: Genotype
    text: str


def derived_parts(
    study: RecordedStudy, supernets: Sequence[RecordedChild]
) -> Iterator[Table | Drawing]:
    """Yields a table of what was derived after each epoch, and pictures; nothing without any."""
    found = [each for child in supernets for each in _derived(child)]
    if not found:
        return
    names_supernet = len({each.supernet for each in found}) > 1
    rows = [
        [
            *([f"{each.supernet:04d}"] if names_supernet else []),
            _epochs(each),
            each.text,
        ]
        for each in found
    ]
    columns = (*(("supernet",) if names_supernet else ()), "after epochs", "architecture")
    caption = "The architecture that was taken for the best one; a row for each that was another."
    yield Table("derived", "Derived architectures", caption, columns, rows)
    for each in _evenly(found):
        title = f"After epoch {_epochs(each)}"
        title += f" of supernet {each.supernet:04d}" if names_supernet else ""
        shown = living(study.space.freeze(each.genotype))
        below = "The last one." if each is found[-1] else ""
        yield Drawing(title, below, draw(shown))


def _derived(child: RecordedChild) -> list[Derived]:
    """What was derived from a supernet, in order; equal ones in a row are one.

    Raises:
        ConfigError: the file is damaged.
    """
    folder = ChildFolder(child.folder)
    try:
        lines = [json.loads(line) for line in folder.text(DERIVED).splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ConfigError(
            f"{folder.file(DERIVED)} is damaged ({error}). Without the file, the report leaves out "
            "what was derived"
        ) from error
    found: list[Derived] = []
    for line in lines:
        epoch = line["epoch"] + 1
        if found and found[-1].genotype == line["genotype"]:
            before = found.pop()
            found.append(
                Derived(before.supernet, before.first, epoch, before.genotype, before.text)
            )
        else:
            index = child.proposal.index
            found.append(Derived(index, epoch, epoch, line["genotype"], line["text"]))
    return found


def _epochs(each: Derived) -> str:
    return str(each.first) if each.first == each.last else f"{each.first} to {each.last}"


def _evenly(found: Sequence[Derived]) -> list[Derived]:
    """At most so many as are drawn, evenly chosen; the last one is among them."""
    if len(found) <= MOST_DRAWN:
        return list(found)
    last = len(found) - 1
    return [found[round(place * last / (MOST_DRAWN - 1))] for place in range(MOST_DRAWN)]
