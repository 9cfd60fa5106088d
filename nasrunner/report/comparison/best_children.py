"""How far a search is ahead in its best different children, as Zoph & Le 2017 compare searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from nasrunner.report.comparison.baselines import Baselines, compared, name_of
from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.progress import TOP_COUNTS
from nasrunner.report.comparison.statistics import Array
from nasrunner.report.comparison.tables import (
    compared_with,
    difference_columns,
    differences,
    how_sure,
)
from nasrunner.report.page.parts import Plot, Table
from nasrunner.report.page.style import (
    Look,
    colour_of,
    figure_legend,
    looks,
    small_multiples,
    title,
    whole_numbers,
)
from nasrunner.report.study.evaluations import clipped, reward_label

_NUM_PLACES = 40  # of a line
_MAX_COLUMNS, _MAX_TITLE = 3, 44


@dataclass(frozen=True)
class Lead:
    """How far a search is ahead of its baseline in the course of both. X = places.

    Attributes:
        places_X: numbers of evaluations, ascending, at which all studies have enough children.
        mean_X: difference of the means, higher is better.
        low_X: lower end of the 95 % interval; NaN where there is none.
        high_X: upper end, likewise.
    """

    places_X: Array
    mean_X: Array
    low_X: Array
    high_X: Array


def lead(group: Group, baseline: Group, count: int) -> Lead | None:
    """Returns the lead in the mean reward of the best ``count`` different children.

    From where the last study has so many that have a reward to where the first study ends;
    studies that never have are left out. None: one side has no such study.
    """
    sides = [[s for s in each.progress if s.has_top(count)] for each in (group, baseline)]
    if not all(sides):
        return None
    studies = [study for side in sides for study in side]
    longest = max(study.num_evaluations for study in studies)
    start = max(study.known_from(count) for study in studies)
    end = min(longest, *(study.known_until(count) for study in studies))
    if end < start:
        return None
    places_X = np.unique(np.linspace(start, end, _NUM_PLACES).round())
    found = [compared(group, baseline, int(place), count).estimate for place in places_X]
    ends_XL = [[np.nan if end is None else end for end in (e.low, e.high)] for e in found]
    low_X, high_X = np.array(ends_XL).T
    return Lead(places_X, np.array([each.mean for each in found]), low_X, high_X)


def top_parts(
    groups: Sequence[Group], budgets: Sequence[int], baselines: Baselines
) -> list[Plot | Table]:
    """Returns the lead of each search in its best different children: a figure, and a table at
    budgets.

    Nothing where there is nothing to compare.
    """
    plots = top_plots(groups, baselines)
    return [*plots, _table(groups, budgets, baselines)] if plots else []


def top_plots(groups: Sequence[Group], baselines: Baselines) -> list[Plot]:
    """Returns the lead of each search in its best 1, 5 and 15 different children. Figure 6 of the
    paper.

    Nothing where there is nothing to compare.
    """
    leads = {group.label: _leads(group, baselines) for group in groups}
    shown = {label: each for label, each in leads.items() if each}
    if not shown:
        return []
    columns = min(len(shown), _MAX_COLUMNS)
    height_in = 3.8 if columns == 1 else 3.2
    made, axes = small_multiples(len(shown), columns=columns, row_height_in=height_in)
    chosen = looks([str(count) for count in TOP_COUNTS])
    for each, (label, of_label) in zip(axes, shown.items(), strict=True):
        each.axhline(0, color=colour_of("muted"), linewidth=1.0)
        for count in TOP_COUNTS:
            _draw(each, of_label.get(count), chosen[str(count)], str(count))
        title(each, clipped(label, _MAX_TITLE))
        each.set_xlabel("evaluations")
        whole_numbers(each)
    for each in axes[::columns]:
        each.set_ylabel(f"minus {name_of(baselines)}: {reward_label(groups[0].studies[0])}")
    is_cut = _focus(axes, [lead for of_label in shown.values() for lead in of_label.values()])
    figure_legend(made, axes[0], title="best different children averaged:")
    name = f"Best different children, minus {name_of(baselines)}"
    return [Plot("difference_of_top_children", name, _caption(shown, baselines, is_cut), made)]


def _table(groups: Sequence[Group], budgets: Sequence[int], baselines: Baselines) -> Table:
    columns = ("evaluations", "searcher", "best children", "mean reward", "of the baseline")
    places = [
        (budget, group, count)
        for budget in budgets
        for group in groups
        if group.label in baselines
        for count in TOP_COUNTS
        if count <= budget
    ]
    found = [compared_with(group, budget, baselines, count) for budget, group, count in places]
    rows = [
        [budget, group.label, count]
        + [_mean(each, budget, count) for each in (group, baselines[group.label])]
        + cells
        for (budget, group, count), cells in zip(places, differences(found, baselines), strict=True)
    ]
    caption = (
        "The mean reward of so many of the best children, each genotype once, mean over seeds; a "
        f"study in which fewer have a reward is left out. {how_sure(baselines)}"
    )
    title = "Best different children at budgets"
    return Table("top_children", title, caption, (*columns, *difference_columns(baselines)), rows)


def _mean(group: Group, budget: int, count: int) -> float | None:
    values = group.best_by_seed(budget, count)
    return float(np.mean(list(values.values()))) if values else None


def _leads(group: Group, baselines: Baselines) -> dict[int, Lead]:
    if group.label not in baselines:
        return {}
    found = {count: lead(group, baselines[group.label], count) for count in TOP_COUNTS}
    return {count: each for count, each in found.items() if each is not None}


def _draw(axes: Axes, each: Lead | None, look: Look, label: str) -> None:
    """A line and the band of its interval; a line without points still stands in the legend."""
    points = ((), ()) if each is None else (each.places_X, each.mean_X)
    axes.plot(*points, color=look.colour, label=label)
    if each is not None:
        band = (each.places_X, each.low_X, each.high_X)
        axes.fill_between(*band, color=look.colour, alpha=0.15, linewidth=0)


def _focus(axes: Sequence[Axes], leads: Sequence[Lead]) -> bool:
    """One y axis for all panels, for the lines once a tenth of the budget is spent.

    And for the intervals once half of it is. Returns whether something is outside.
    """
    longest = max(each.places_X[-1] for each in leads)
    values = [np.stack([e.mean_X, e.low_X, e.high_X]) for e in leads]
    means = [e.mean_X[e.places_X >= 0.1 * longest] for e in leads]
    bands = [v[:, e.places_X >= 0.5 * longest] for v, e in zip(values, leads, strict=True)]
    shown = np.concatenate([[0.0], *means, *(band.ravel() for band in bands)])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    margin = 0.08 * (high - low) or 0.05
    for each in axes:
        each.set_xlim(0, 1.01 * longest)
        each.set_ylim(low - margin, high + margin)
    return any(np.nanmin(v) < low - margin or np.nanmax(v) > high + margin for v in values)


def _caption(shown: Mapping[str, Mapping[int, Lead]], baselines: Baselines, is_cut: bool) -> str:
    leads = [lead for of_label in shown.values() for lead in of_label.values()]
    has_band = any(np.isfinite(each.low_X).any() for each in leads)
    parts = [
        "How much better the mean of the best 1, 5 and 15 different children is than that of "
        f"{name_of(baselines)}, the line at 0, after so many evaluations. Zoph & Le 2017 "
        "(arXiv:1611.01578), figure 6."
    ]
    if has_band:
        parts.append("Mean over seeds, and its 95 % interval, as in the table.")
    else:
        parts.append("One seed of each: there is no interval over seeds.")
    parts.append(
        "A line begins where every study has so many children with a reward, and ends where the "
        "first study does; a study that never has so many is left out."
    )
    if is_cut:
        parts.append("Some of the first evaluations, and of their intervals, are outside.")
    return " ".join(parts)
