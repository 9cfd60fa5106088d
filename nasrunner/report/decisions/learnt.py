"""What the searcher learnt: which options it proposed over time, and how they did."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nasrunner.core.decision import shown
from nasrunner.recorded import RecordedStudy
from nasrunner.report.decisions.answers import Answers, answers, floor_of, mean_and_error, parts_of
from nasrunner.report.decisions.option_colours import Band, bands_of
from nasrunner.report.page.parts import Part, Plot, Section, Table, TableCell, hovers_of
from nasrunner.report.page.scales import plain_numbers
from nasrunner.report.page.style import colour_of, paired_panels, title
from nasrunner.report.study.evaluations import clipped, counted, evaluations, number

MAX_SHOWN = 10
"""Decisions with a panel of their own; the table has all."""


def learnt_section(study: RecordedStudy) -> Section | None:
    """Returns options over time and their rewards; None where no decision was made."""
    found = answers(study)
    if not found:
        return None
    shown = found[:MAX_SHOWN]
    num_children = len(study.begun)
    has_rewards = any(rewards for each in shown for rewards in each.rewards)
    made, pairs = paired_panels(len(shown))
    for (left, right), each in zip(pairs, shown, strict=True):
        bands = bands_of(each)
        _draw_shares(left, each, bands, num_children)
        _draw_rewards(right, each, bands)
        title(left, _title(each))
    _share_scale([right for _, right in pairs], shown)
    _label(pairs, has_rewards)
    parts: list[Part] = [
        Plot(
            "decisions",
            "Options over time, and their rewards",
            _caption(study, found),
            made,
            hovers=hovers_of((_title(each), each.kind) for each in shown),
        ),
        _table(found, num_children),
    ]
    return Section("What the searcher learnt", "", parts)


def _title(each: Answers) -> str:
    """A decision's name, what it explains, and of how many children that is known."""
    explained = each.explained
    if explained is None:
        return clipped(each.name, 44)
    of = "" if each.num_rewarded == each.num_of else f" of {each.num_rewarded:,} children"
    return f"{clipped(each.name, 36)}  ·  {explained:.0%}{of}"


def _draw_shares(axes: Axes, each: Answers, bands: Sequence[Band], num_children: int) -> None:
    """Stacked bars, one for each part of the study."""
    shares = each.shares(num_children)
    edges = np.arange(len(shares) + 1) * num_children / len(shares)
    bottom = np.zeros(len(shares))
    for band in bands:
        height = np.nan_to_num(shares[:, list(band.options)].sum(axis=1))
        axes.bar(
            edges[:-1],
            height,
            np.diff(edges),
            bottom,
            align="edge",
            color=band.colour,
            edgecolor=colour_of("paper"),
            linewidth=0.6,
        )
        bottom += height
    axes.set_xlim(0, num_children)
    axes.set_ylim(0, 1)
    axes.grid(visible=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_yticks([0, 0.5, 1])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_rewards(axes: Axes, each: Answers, bands: Sequence[Band]) -> None:
    """Mean reward and its standard error; the names of the options, with their colours."""
    for place, band in enumerate(bands):
        mean, error = mean_and_error([r for option in band.options for r in each.rewards[option]])
        if mean is not None:
            axes.errorbar(
                mean,
                place,
                xerr=error,
                marker="o",
                markersize=5,
                color=band.colour,
                markerfacecolor=band.colour if error is not None else "none",
                elinewidth=1.6,
            )
        axes.plot(
            0,
            place,
            marker="s",
            markersize=7,
            color=band.colour,
            transform=axes.get_yaxis_transform(),
            clip_on=False,
            zorder=5,
        )
    axes.set_yticks(range(len(bands)), [band.label for band in bands])
    axes.tick_params(axis="y", pad=8)
    axes.set_ylim(-0.6, len(bands) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _share_scale(panels: Sequence[Axes], shown: Sequence[Answers]) -> None:
    """One range of rewards for all panels, so that decisions can be compared."""
    ends: list[float] = []
    for each in shown:
        for band in bands_of(each):
            rewards = [r for option in band.options for r in each.rewards[option]]
            mean, error = mean_and_error(rewards)
            if mean is not None:
                ends += [mean - (error or 0.0), mean + (error or 0.0)]
    for axes in panels:
        if ends:
            room = 0.08 * (max(ends) - min(ends)) or abs(ends[0]) * 0.05 or 1.0
            axes.set_xlim(min(ends) - room, max(ends) + room)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            plain_numbers(axes.xaxis, ends)
        else:
            axes.set_xticks([])


def _label(pairs: Sequence[tuple[Axes, Axes]], has_rewards: bool) -> None:
    """Names the axes of the lowest row, and of the first column."""
    for place, (left, right) in enumerate(pairs):
        if place % 2 == 0:
            left.set_ylabel("share")
        if place >= len(pairs) - min(2, len(pairs)):
            left.set_xlabel("children proposed")
            right.set_xlabel("mean reward" if has_rewards else "no reward yet")


def _caption(study: RecordedStudy, found: Sequence[Answers]) -> str:
    num_parts = parts_of(len(study.begun))
    parts = f"{num_parts} equal parts of the study" if num_parts > 1 else "the whole study"
    left_out = len(found) - MAX_SHOWN
    text = (
        f"Left: how often each option was proposed, of the children with this decision, in "
        f"{parts}. Right: mean reward of the trained children with the option ± "
        f"standard error (hollow: one child), all on one scale. The percentage is the share of the "
        f"reward's variance between the options of this decision alone (ε², corrected for chance), "
        f"of the trained children that have it: all, or as many as it says. The most telling "
        f"decisions come first, one that half of the children have at half of its percentage. A "
        f"searcher does not draw evenly, so options of different decisions go together: these are "
        f"associations."
    )
    floor = floor_of(study)
    rewards = [e.reward for e in evaluations(study) if e.has_reward]
    if num_far := sum(reward < floor for reward in rewards):
        far = "One reward is" if num_far == 1 else f"{num_far:,} rewards are"
        text += f" {far} far out, and counted as {number(floor)} here and in the table."
    if left_out > 0:
        text += f" {counted(left_out, 'more decision')} in the table only."
    return text


def _table(found: Sequence[Answers], num_children: int) -> Table:
    rows: list[list[object]] = []
    for each in found:
        shares = each.shares(num_children)
        asked = np.bincount([option for _, option in each.asked], minlength=len(each.options))
        for option, value in enumerate(each.options):
            mean, error = mean_and_error(each.rewards[option])
            rows.append(
                [
                    TableCell(each.name, hover=each.kind),
                    shown(value),
                    each.explained,
                    each.num_rewarded,
                    int(asked[option]),
                    float(shares[0, option]),
                    float(shares[-1, option]),
                    len(each.rewards[option]),
                    mean,
                    error,
                ]
            )
    columns = (
        "decision",
        "option",
        "ε² of the reward",
        "children with it",
        "times proposed",
        "share, first part",
        "share, last part",
        "children with the option",
        "mean reward",
        "standard error",
    )
    caption = (
        "ε²: share of the reward's variance between the options of a decision, corrected for "
        "chance, of the trained children that have this decision. Shares are of the first and the "
        "last part of the study. The path of a decision in the space shows over its name."
    )
    return Table("options", "Every option", caption, columns, rows)
