"""How likely the options of a supernet's decisions were, epoch by epoch."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.recorded import RecordedChild
from nasrunner.report.page.parts import Plot, Table
from nasrunner.report.page.style import (
    FULL_IN,
    HALF_IN,
    Look,
    colour_of,
    house_style,
    looks,
    small_multiples,
    title,
    whole_numbers,
)
from nasrunner.report.study.evaluations import clipped, counted

MOST_DRAWN = 12
"""So many decisions are drawn, those whose probabilities changed most."""

MOST_TOLD_APART = 12
"""So many options have a look of their own, the likeliest ones."""

_COLUMNS = 3

_OTHERS = Look(colour_of("context"), "", "-")


@dataclass(frozen=True)
class Learnt:
    """How likely the options of one decision were.

    Attributes:
        path: of the decision.
        epochs: after which it was told, counted from 1.
        shares: name of an option -> its probability after each of them.
    """

    path: str
    epochs: Sequence[int]
    shares: Mapping[str, Sequence[float]]

    @property
    def change(self) -> float:
        """The total variation distance of the last probabilities from the first, in [0, 1]."""
        return sum(abs(each[-1] - each[0]) for each in self.shares.values()) / 2


def probability_parts(supernets: Sequence[RecordedChild]) -> Iterator[Plot | Table]:
    """Yields a figure of each supernet's decisions and a table of all; nothing without any.

    Raises:
        ConfigError: a file is damaged.
    """
    found = {child.proposal.index: _lines(child) for child in supernets}
    found = {index: lines for index, lines in found.items() if lines}
    for index, lines in found.items():
        named = f"_{index:04d}" if len(found) > 1 else ""
        of_which = f", supernet {index:04d}" if len(found) > 1 else ""
        every = learnt(lines)
        if not every:
            continue
        made, num_alike = _figure(sorted(every, key=lambda each: -each.change)[:MOST_DRAWN])
        yield Plot(
            f"probabilities{named}",
            f"Probabilities of options, by epoch{of_which}",
            _caption(len(every), num_alike),
            made,
        )
        yield _table(f"probability_values{named}", of_which, every, _left_out(lines))


def learnt(lines: Sequence[Mapping[str, Any]]) -> list[Learnt]:
    """Gathers the lines of a file by decision, in the order in which these are first told."""
    told: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
    for line in lines:
        for path, shares in line["decisions"].items():
            told.setdefault(path, []).append((line["epoch"] + 1, shares))
    return [
        Learnt(
            path,
            [epoch for epoch, _ in each],
            {name: [shares[name] for _, shares in each] for name in each[0][1]},
        )
        for path, each in told.items()
    ]


def short_names(paths: Sequence[str]) -> list[str]:
    """Names decisions by those segments of their paths in which they differ."""
    split = [path.split("/") for path in paths]
    if len(set(paths)) < 2:
        return list(paths)
    shortest = min(map(len, split))
    first = _num_alike(zip(*split, strict=False))
    last = _num_alike(zip(*(each[::-1] for each in split), strict=False))
    last = min(last, shortest - first - 1)
    return ["/".join(each[first : len(each) - max(0, last)]) or "/".join(each) for each in split]


def _num_alike(columns: Iterator[tuple[str, ...]]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda each: len(set(each)) == 1, columns))


def _lines(child: RecordedChild) -> list[dict[str, Any]]:
    try:
        return ChildFolder(child.folder).probabilities()
    except ValueError as error:
        raise ConfigError(
            f"{error}. Without the file, the report leaves out how likely options were"
        ) from error


def _left_out(lines: Sequence[Mapping[str, Any]]) -> int:
    return max(int(line.get("left_out", 0)) for line in lines)


def _figure(drawn: Sequence[Learnt]) -> tuple[Figure, int]:
    """Draws decisions, and returns how many options look alike, too."""
    columns = min(_COLUMNS, len(drawn))
    width_in = FULL_IN if columns > 1 else HALF_IN
    made, axes = small_multiples(len(drawn), columns=columns, width_in=width_in, row_height_in=2.2)
    styles, num_alike = _looks(drawn)
    names = short_names([each.path for each in drawn])
    for place, (panel, each, name) in enumerate(zip(axes, drawn, names, strict=True)):
        _draw(panel, each, styles)
        title(panel, clipped(name, 36))
        if place + columns >= len(drawn):
            panel.set_xlabel("epochs")
    _legend(made, styles, num_alike, columns)
    return made, num_alike


def _looks(drawn: Sequence[Learnt]) -> tuple[dict[str, Look], int]:
    """A look for each option's name, one in all panels; and how many others share one."""
    highest: dict[str, float] = {}
    for each in drawn:
        for name, shares in each.shares.items():
            highest[name] = max(highest.get(name, 0.0), shares[-1])
    kept = set(sorted(highest, key=lambda name: -highest[name])[:MOST_TOLD_APART])
    return looks([name for name in highest if name in kept]), len(highest) - len(kept)


def _draw(axes: Axes, each: Learnt, styles: Mapping[str, Look]) -> None:
    for name, shares in sorted(each.shares.items(), key=lambda pair: pair[0] in styles):
        look = styles.get(name, _OTHERS)
        axes.plot(
            each.epochs,
            shares,
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=4,
            markevery=max(1, len(shares) // 6),
            label=name,
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.5, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    whole_numbers(axes)


def _legend(made: Figure, styles: Mapping[str, Look], num_alike: int, columns: int) -> None:
    """Above all panels, in rows that are no wider than these."""
    lines = {str(line.get_label()): line for axes in made.axes for line in axes.lines}
    shown = [(lines[name], clipped(name, 24)) for name in styles]
    if num_alike:
        alike = next(name for name in lines if name not in styles)
        shown.append((lines[alike], counted(num_alike, "other")))
    handles, labels = zip(*shown, strict=True)
    with house_style():
        made.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=min(len(shown), 5 if columns > 1 else 2),
            columnspacing=1.4,
            handletextpad=0.5,
        )


def _caption(num: int, num_alike: int) -> str:
    caption = (
        "Each panel is a decision, named by where it differs from the others; each line is one of "
        "its options, which has one colour in all panels. Of a mixture (darts, gdas) these are "
        "softmax(α) after the epoch. Of a controller (enas) they are how likely it was to draw an "
        "option then, where the decision was asked: the mean over 100 architectures that it drew."
    )
    if num > MOST_DRAWN:
        caption += (
            f" Of {num:,} decisions the {MOST_DRAWN} are shown whose probabilities changed most "
            "from the first epoch to the last, in this order; the table has all."
        )
    else:
        caption += " Those that changed most come first."
    if num_alike:
        caption += f" Grey are options that are likely in none of them, {num_alike:,} by name."
    return caption


def _table(name: str, of_which: str, every: Sequence[Learnt], left_out: int) -> Table:
    """A row for each option and epoch, the last epochs first: the page shows the first rows."""
    rows = [
        [epoch, each.path, option, shares[place]]
        for each in every
        for place, epoch in enumerate(each.epochs)
        for option, shares in each.shares.items()
    ]
    rows.sort(key=lambda row: -int(str(row[0])))
    caption = "The last epoch comes first."
    if left_out:
        caption += f" {counted(left_out, 'more decision')} were not recorded."
    columns = ("after epoch", "decision", "option", "probability")
    return Table(name, f"Every probability{of_which}", caption, columns, rows)
