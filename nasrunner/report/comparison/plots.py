"""The figures of a comparison: best reward so far, and share of children above thresholds."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nasrunner.report.comparison.averages import Average, Axis, average, shares, thresholds
from nasrunner.report.comparison.baselines import Baselines, compared, name_of
from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.statistics import Estimate
from nasrunner.report.page.parts import Plot
from nasrunner.report.page.style import (
    FULL_IN,
    HALF_IN,
    Look,
    colour_of,
    figure,
    legend,
    looks,
    whole_numbers,
)
from nasrunner.report.study.evaluations import about_rewards, reward_label

_NUM_THRESHOLDS = 200
_UNITS = ((3 * 3600, 3600.0, "h"), (180, 60.0, "min"), (0, 1.0, "s"))

_NAMES: Mapping[Axis, tuple[str, str]] = {
    "evaluations": ("best_by_evaluations", "Best reward so far against evaluations"),
    "elapsed_s": ("best_by_wall_time", "Best reward so far against wall-clock time"),
    "trained_s": ("best_by_training_time", "Best reward so far against training time"),
}
_HOW_MEASURED: Mapping[Axis, str] = {
    "evaluations": "A failed child and a repeated one count as evaluations.",
    "elapsed_s": "Time while the study ran; pauses until it was resumed are left out.",
    "trained_s": "Seconds that children trained, summed over all workers.",
}


def best_plots(groups: Sequence[Group], axes: Sequence[Axis]) -> list[Plot]:
    """Returns the mean best reward so far ± standard error. DeepArchitect (arXiv:1704.08792),
    figure 5.

    Args:
        groups: comparable ones.
        axes: what to draw against: a figure each, side by side. Left out is one on which nothing
            happened: there is no reward, or no time was recorded.
    """
    found = {axis: {g.label: average(g, axis) for g in groups if g.rewarded} for axis in axes}
    shown = {a: each for a, each in found.items() if _length(each.values())}
    return [_best_plot(groups, axis, each, len(shown) == 1) for axis, each in shown.items()]


def _best_plot(
    groups: Sequence[Group], axis: Axis, averages: Mapping[str, Average], is_wide: bool
) -> Plot:
    longest = _length(averages.values())
    divisor, xlabel = _x_axis(groups, axis, longest)
    made, axes = figure(
        xlabel=xlabel,
        ylabel=f"best {reward_label(groups[0].studies[0])}",
        width_in=FULL_IN if is_wide else HALF_IN,
        height_in=4.2 if is_wide else 3.4,
    )
    chosen = looks([group.label for group in groups])
    for label, each in averages.items():
        _draw(axes, each, divisor, chosen[label], _counted(label, groups))
    is_cut = _focus(axes, list(averages.values()), longest)
    axes.set_xlim(0, 1.01 * longest / divisor)
    if axis == "evaluations":
        whole_numbers(axes)
    if len(groups) > 1:
        legend(axes, columns=5 if is_wide else 2)
    name, title = _NAMES[axis]
    return Plot(name, title, _caption(groups, list(averages.values()), axis, is_cut), made)


def _length(averages: Iterable[Average]) -> float:
    return max((float(each.places_X[-1]) for each in averages), default=0.0)


def share_plots(groups: Sequence[Group]) -> list[Plot]:
    """Returns the share of children above each reward. DeepArchitect (arXiv:1704.08792), figure 6.

    Nothing where no child has a reward.
    """
    with_reward = [group for group in groups if group.rewarded]
    if not with_reward:
        return []
    at_T = thresholds(with_reward, _NUM_THRESHOLDS)
    made, axes = figure(
        xlabel=f"threshold of the {reward_label(groups[0].studies[0])}",
        ylabel="share of evaluations (%)",
        width_in=FULL_IN,
        height_in=3.8,
    )
    chosen = looks([group.label for group in groups])
    for group in with_reward:
        mean_T, error_T = shares(group, at_T)
        look = chosen[group.label]
        label = _counted(group.label, groups)
        axes.plot(at_T, 100 * mean_T, color=look.colour, linestyle=look.dashes, label=label)
        axes.fill_between(
            at_T,
            100 * (mean_T - error_T),
            100 * (mean_T + error_T),
            color=look.colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.set_ylim(bottom=0)
    if len(groups) > 1:
        legend(axes, columns=5)
    caption = (
        "How often a searcher proposes what is at least this good; the curve further to the "
        "upper right is the better one. Failed children are below every threshold."
    )
    if several := _over_studies(groups):
        caption += f" {several}"
    if any(about_rewards(study) for group in groups for study in group.studies):
        caption += " So are those that are not compared: paused, stopped, or at a lower fidelity."
    return [Plot("share_above_threshold", "Share of children above each reward", caption, made)]


def difference_plots(
    groups: Sequence[Group], budgets: Sequence[int], baselines: Baselines
) -> list[Plot]:
    """Returns how far each search is ahead of its baseline at each budget, with its interval.

    Nothing where there is nothing to compare.
    """
    others = [group for group in groups if group.label in baselines]
    found = {
        group.label: [compared(group, baselines[group.label], n).estimate for n in budgets]
        for group in others
    }
    reached = [
        n for n, _ in enumerate(budgets) if any(_is_known(each[n]) for each in found.values())
    ]
    if not reached:
        return []
    name = name_of(baselines)
    chosen = looks([group.label for group in groups])
    made, axes = figure(
        xlabel="evaluations",
        ylabel=f"minus {name}: {reward_label(groups[0].studies[0])}",
        height_in=3.4,
    )
    axes.axhline(0, color=chosen[name].colour if name in chosen else colour_of("muted"))
    for place, (label, estimates) in enumerate(found.items()):
        shift = (place - (len(others) - 1) / 2) * min(0.16, 0.7 / len(others))
        _draw_estimates(axes, [estimates[n] for n in reached], shift, chosen[label], label)
    axes.set_xticks(range(len(reached)), [f"{budgets[n]:,}" for n in reached])
    axes.grid(visible=False, axis="x")
    legend(axes, columns=5)
    caption = (
        f"Mean difference of the best reward from {name}, the line at 0, with its 95 % "
        "interval: above the line is better. Each interval is of one comparison alone; the table "
        "has the figures."
    )
    title = f"Best reward at budgets, minus {name}"
    return [Plot("difference_at_budgets", title, caption, made)]


def _draw_estimates(
    axes: Axes, estimates: Sequence[Estimate], shift: float, look: Look, label: str
) -> None:
    for place, each in enumerate(estimates):
        if each.low is not None and each.high is not None:
            axes.vlines(place + shift, each.low, each.high, color=look.colour, linewidth=1.6)
    places = [place + shift for place in range(len(estimates))]
    means = [each.mean for each in estimates]
    axes.plot(places, means, linestyle="none", marker=look.marker, color=look.colour, label=label)


def _is_known(each: Estimate) -> bool:
    return math.isfinite(each.mean)


def _draw(axes: Axes, each: Average, divisor: float, look: Look, label: str) -> None:
    """A line as far as all studies go, a thin dotted one beyond, and a band of ± one error."""
    x_X = each.places_X / divisor
    is_whole_X = each.places_X <= each.whole_until
    whole = (x_X[is_whole_X], each.mean_X[is_whole_X])
    axes.step(*whole, where="post", color=look.colour, linestyle=look.dashes, label=label)
    rest = slice(max(0, int(is_whole_X.sum()) - 1), None)
    axes.step(
        x_X[rest], each.mean_X[rest], where="post", color=look.colour, linestyle=":", linewidth=1.1
    )
    axes.fill_between(
        x_X,
        each.mean_X - each.error_X,
        each.mean_X + each.error_X,
        step="post",
        color=look.colour,
        alpha=0.15,
        linewidth=0,
    )


def _focus(axes: Axes, averages: Sequence[Average], longest: float) -> bool:
    """Ends the y axis where the curves are once the first tenth of the budget is spent."""
    lows, highs, starts = [], [], []
    for each in averages:
        low_X = np.fmin(each.mean_X, each.mean_X - each.error_X)
        high_X = np.fmax(each.mean_X, each.mean_X + each.error_X)
        known = np.flatnonzero(np.isfinite(each.mean_X))
        settled = int(np.searchsorted(each.places_X, 0.1 * longest, side="right")) - 1
        place = max(int(known[0]), settled) if len(known) else 0
        lows.append(low_X[place:].min())
        highs.append(high_X[known].max())
        starts.append(low_X[known].min())
    low, high = float(np.min(lows)), float(np.max(highs))
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    is_cut = float(np.min(starts)) < low - 0.5 * (high - low)
    if is_cut:
        axes.set_ylim(low - margin, high + margin)
    return is_cut


def _x_axis(groups: Sequence[Group], axis: Axis, longest: float) -> tuple[float, str]:
    """What seconds are divided by, and the name of the axis with its unit."""
    if axis == "evaluations":
        return 1.0, "evaluations"
    divisor, unit = next((by, unit) for above, by, unit in _UNITS if longest >= above)
    if axis == "elapsed_s":
        return divisor, f"wall-clock time ({unit})"
    trainers = [study.config["trainer"] for group in groups for study in group.studies]
    if all(trainer.get("accelerator") in ("gpu", "cuda") for trainer in trainers):
        return divisor, f"training time, all children (GPU-{unit})"
    return divisor, f"training time, all children ({unit})"


def _counted(label: str, groups: Sequence[Group]) -> str:
    """A legend's entry, with the number of studies where that differs."""
    counts = {group.label: len(group.studies) for group in groups}
    return label if len(set(counts.values())) == 1 else f"{label} ({counts[label]})"


def _over_studies(groups: Sequence[Group]) -> str:
    """What a line with a band around it is; empty where each is of one study."""
    counts = sorted({len(group.studies) for group in groups})
    if counts[-1] == 1:
        return ""
    studies = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Mean ± standard error over {studies} studies, which differ by seed."


def _caption(groups: Sequence[Group], averages: Sequence[Average], axis: Axis, is_cut: bool) -> str:
    parts = [_HOW_MEASURED[axis]]
    every = [study for group in groups for study in group.studies]
    if axis == "trained_s" and any(
        s.outcomes_of("estimate") or s.outcomes_of("supernet") for s in every
    ):
        parts.append("Those of estimates and supernets count, too.")
    if several := _over_studies(groups):
        parts.insert(0, several)
    if any(each.places_X[-1] > each.whole_until for each in averages):
        parts.append(
            "Dotted: some of the studies have ended or not come so far yet; their last best "
            "counts on, so that the mean is a lower bound."
        )
    if is_cut:
        parts.append("The first evaluations are below the axis.")
    return " ".join(parts)
