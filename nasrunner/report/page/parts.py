"""What a page is made of: sections of figures, tables, drawings, listings and facts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure, shown on the page and written as PNG and SVG.

    Attributes:
        name: stem of its files, unique on the page.
        title: what it shows, in a few words.
        caption: how to read it, and how it was computed.
        figure: in the house style.
        hovers: a text of the figure -> what is shown over it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    hovers: Mapping[str, str] = field(default_factory=dict)


def hovers_of(shown: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns a figure's texts with what is shown over each, without those that stand for several.

    Args:
        shown: (text, what is shown over it) pairs; texts that were clipped may be alike.
    """
    pairs = list(shown)
    counts = Counter(text for text, _ in pairs)
    return {text: told for text, told in pairs if counts[text] == 1}


@dataclass(frozen=True)
class TableCell:
    """A table's value that leads somewhere, or has more to say.

    Attributes:
        value: as in a cell without these, and in the CSV.
        link: where it leads; the rows that have ``anchor`` are ``#child-0007``.
        hover: what is shown over it.
        anchor: the name of the row, unique on the page.
    """

    value: object
    link: str | None = None
    hover: str | None = None
    anchor: str | None = None


@dataclass(frozen=True)
class FoldedText:
    """A text of many lines, folded until a reader opens it.

    Attributes:
        title: what it is.
        text: shown letter by letter.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of values, shown on the page and written as CSV.

    Attributes:
        name: stem of its file, unique on the page.
        title: what it lists, in a few words.
        caption: how to read it, and how it was computed.
        columns: names, with units.
        rows: a value for each column: a number, text, a ``TableCell`` of these, or None where there
            is none.
        most_rows: that the page shows; its CSV has all.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    most_rows: int = 200

    @property
    def values(self) -> list[list[object]]:
        """The rows without what their cells have beside their values."""
        return [[c.value if isinstance(c, TableCell) else c for c in row] for row in self.rows]


@dataclass(frozen=True)
class Drawing:
    """An architecture's picture.

    Attributes:
        title: whose picture it is.
        caption: how it did.
        svg: as ``nasrunner.spaces.pictures.drawing.draw`` makes it.
        anchor: its name, unique on the page; None: nothing leads to it.
    """

    title: str
    caption: str
    svg: str
    anchor: str | None = None


@dataclass(frozen=True)
class Facts:
    """A few figures to be seen at a glance.

    Attributes:
        items: (what it is, its value with the unit) pairs.
    """

    items: Sequence[tuple[str, str]]


Part = Plot | Table | Drawing | Facts | FoldedText


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
