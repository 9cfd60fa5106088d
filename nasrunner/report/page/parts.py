"""What a page is made of: sections of figures, tables, drawings and facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure, shown on the page and written as PNG and SVG.

    Attributes:
        name: stem of its files, unique on the page.
        title: what it shows, in a few words.
        caption: how to read it, and how it was computed.
        figure: in the house style.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Table:
    """Rows of values, shown on the page and written as CSV.

    Attributes:
        name: stem of its file, unique on the page.
        title: what it lists, in a few words.
        caption: how to read it, and how it was computed.
        columns: names, with units.
        rows: a value for each column: a number, text, or None where there is none.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Drawing:
    """An architecture's picture.

    Attributes:
        title: whose picture it is.
        caption: how it did.
        svg: as ``nasrunner.spaces.pictures.drawing.draw`` makes it.
    """

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Facts:
    """A few figures to be seen at a glance.

    Attributes:
        items: (what it is, its value with the unit) pairs.
    """

    items: Sequence[tuple[str, str]]


Part = Plot | Table | Drawing | Facts


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    Attributes:
        title: the heading; stands in the page's contents too.
        text: paragraphs, with an empty line between two of them; may be empty.
        parts: from top to bottom, side by side where two fit.
    """

    title: str
    text: str
    parts: Sequence[Part]
