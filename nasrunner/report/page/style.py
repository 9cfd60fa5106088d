"""The house style of the figures: colours, marks, letters, and axes that look alike."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

# The inks are odd on purpose: the page finds each in a figure's SVG and lets it follow the
# reader's colour scheme (themed_colours).
INK, MUTED, GRID, PAPER, CONTEXT = "#1f2328", "#59626c", "#e4e7eb", "#fefefe", "#aab1b9"

# Okabe & Ito's palette, which people with any colour vision can tell apart; its yellow, which
# cannot be seen on white, is left out. Each with the tint that stands out as well on a dark page.
_PALETTE = {
    "blue": ("#0072b2", "#3d9be0"),
    "vermillion": ("#d55e00", "#f0762c"),
    "green": ("#009e73", "#1fba8d"),
    "purple": ("#cc79a7", "#d68bb5"),
    "orange": ("#e69f00", "#f0b02c"),
    "sky": ("#56b4e9", "#7cc8f5"),
}
_INKS = {
    "ink": (INK, "#e8ebef"),
    "muted": (MUTED, "#9da5ae"),
    "grid": (GRID, "#2d333b"),
    "paper": (PAPER, "#14181d"),
    "context": (CONTEXT, "#59626c"),
}
# What ``nasrunner.spaces.pictures`` draws with -> the same on a dark page.
_DRAWN = {
    "#0072b2": "#4fa8ea",
    "#dcebf5": "#16334a",
    "#d55e00": "#f0803c",
    "#fbe6d8": "#43281a",
    "#009e73": "#27c295",
    "#daf1ea": "#123a30",
    "#a8528a": "#d68bb5",
    "#f6e4ef": "#3d2436",
    "#2f8fc4": "#62b8e8",
    "#e6f4fc": "#17364a",
    "#a68a00": "#d0b22e",
    "#fbf7d2": "#3a3413",
    "#666666": "#8f98a3",
    "#f0f0f0": "#2b3138",
    "#555555": "#9da5ae",
    "#888888": "#7a838d",
    "#ffffff": "#1c2127",
    "#fafafa": "#20262d",
    "#444444": "#b9c0c8",
    "#333333": "#c9cfd6",
    "#222222": "#e8ebef",
    "#222": "#e8ebef",
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":")

FULL_IN, HALF_IN = 10.58, 5.18
"""Widths of a figure, inches: a row of the page, and half of one."""

PNG_DPI = 144

# Any: the keys that matplotlib declares differ between its versions.
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": CONTEXT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.0,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,  # an axis from 84.890 to 84.892 says so
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "lines.solid_capstyle": "round",
    "xtick.color": CONTEXT,
    "ytick.color": CONTEXT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "svg.fonttype": "none",  # letters stay letters: they can be searched, and the page sets them
    "svg.hashsalt": "nasrunner",  # ids that are the same in every run
}


@dataclass(frozen=True)
class Look:
    """How one line of several is told apart: by colour, and without it.

    Attributes:
        colour: a hex colour.
        marker: a matplotlib marker.
        dashes: a matplotlib line style.
    """

    colour: str
    marker: str
    dashes: str


def colour_of(name: str) -> str:
    """Returns the hex colour of this name: blue, vermillion, green, purple, orange, sky, or an
    ink.
    """
    return (_PALETTE | _INKS)[name][0]


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Returns a look for each name, in their order; the first 24 differ in colour or line style."""
    colours = [light for light, _ in _PALETTE.values()]
    return {
        name: Look(
            colours[place % len(colours)],
            _MARKERS[place % len(_MARKERS)],
            _DASHES[place // len(colours) % len(_DASHES)],
        )
        for place, name in enumerate(names)
    }


def themed_colours() -> dict[str, tuple[str, str, str]]:
    """Returns light hex colour -> (name, light, dark), for the page's two colour schemes."""
    return {light: (name, light, dark) for name, (light, dark) in (_PALETTE | _INKS).items()}


def drawing_colours() -> dict[str, tuple[str, str, str]]:
    """Returns the same of the colours that pictures of architectures are drawn with."""
    return {light: (f"drawn-{light[1:]}", light, dark) for light, dark in _DRAWN.items()}


@contextmanager
def house_style() -> Iterator[None]:
    """Within the block matplotlib's defaults are the house style's."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # In an SVG letters stay letters, and the browser has fonts for them; a PNG shows a box.
        warnings.filterwarnings("ignore", r"Glyph \d+ ", UserWarning)
        matplotlib.rcdefaults()  # a matplotlibrc of the user's would show in some figures
        matplotlib.rcParams.update(_SETTINGS)
        yield


def figure(
    *, xlabel: str, ylabel: str, width_in: float = FULL_IN, height_in: float = 3.8
) -> tuple[Figure, Axes]:
    """Returns a figure of one pair of axes.

    Args:
        xlabel: with its unit, where it has one.
        ylabel: with its unit, where it has one.
        width_in: ``FULL_IN`` or ``HALF_IN``.
        height_in: of the whole figure.
    """
    with house_style():
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = made.add_subplot()
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    return made, axes


def small_multiples(
    count: int, *, columns: int, width_in: float = FULL_IN, row_height_in: float = 1.9
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of ``count`` small axes in rows of ``columns``, from left to right."""
    rows = -(-count // columns)
    with house_style():
        made = Figure(figsize=(width_in, row_height_in * rows), layout="constrained")
        grid = made.add_gridspec(rows, columns)
        axes = [made.add_subplot(grid[divmod(place, columns)]) for place in range(count)]
    return made, axes


def paired_panels(
    count: int, *, row_height_in: float = 1.95
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Returns a figure of ``count`` pairs of axes, a wide one and a narrow one, two pairs in a
    row.
    """
    columns = min(2, count)
    rows = -(-count // columns)
    with house_style():
        width_in = FULL_IN if columns == 2 else FULL_IN * 0.6
        made = Figure(figsize=(width_in, row_height_in * rows + 0.3), layout="constrained")
        grid = made.add_gridspec(rows, 2 * columns, width_ratios=[1.5, 1.0] * columns)
        pairs = []
        for place in range(count):
            row, column = divmod(place, columns)
            left = made.add_subplot(grid[row, 2 * column])
            pairs.append((left, made.add_subplot(grid[row, 2 * column + 1])))
    return made, pairs


def title(axes: Axes, text: str) -> None:
    """Writes a heading of one of several axes."""
    with house_style():
        axes.set_title(text)


def figure_legend(of: Figure, axes: Axes, *, title: str) -> None:
    """Draws a legend above all axes of a figure, of what is in one of them."""
    handles, labels = axes.get_legend_handles_labels()
    with house_style():
        of.legend(
            [Line2D([], [], linestyle="none"), *handles],
            [title, *labels],
            loc="outside upper left",
            ncols=len(labels) + 1,
            columnspacing=1.4,
            handletextpad=0.5,
        )


def legend(axes: Axes, *, columns: int = 6, title: str | None = None) -> None:
    """Draws a legend above the axes, where it hides no data."""
    with house_style():
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            borderaxespad=0.2,
            columnspacing=1.4,
            handletextpad=0.5,
            title=title,
        )


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only: children and epochs are counted."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
