"""Learning curves of the best children against those of the rest."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Plot, Section
from nasrunner.report.page.scales import log_axis
from nasrunner.report.page.style import (
    FULL_IN,
    HALF_IN,
    colour_of,
    figure_legend,
    looks,
    small_multiples,
    title,
    whole_numbers,
)
from nasrunner.report.study.evaluations import counted, evaluations
from nasrunner.rescoring.measured import Curve, whole_curve

NUM_BEST, MAX_REST = 5, 300

_LOSSES = ("val_loss", "train_loss")


def curves_section(study: RecordedStudy) -> Section | None:
    """Returns curves of the reward's metric and of the losses; None where no child has curves."""
    best = {f"{c.proposal.index:04d}": whole_curve(study, c) for c in study.best(NUM_BEST)}
    others = _others(study, {int(name) for name in best})
    rest = [curve for child in _spread(others, MAX_REST) if (curve := whole_curve(study, child))]
    names = _metrics(study, [*best.values(), *rest])
    if not names:
        return None
    made, axes = small_multiples(
        len(names),
        columns=len(names),
        width_in=FULL_IN if len(names) > 1 else HALF_IN,
        row_height_in=3.6,
    )
    is_cut = False
    for each, name in zip(axes, names, strict=True):
        rest_points = [_points(curve, name) for curve in rest]
        best_points = {child: _points(curve, name) for child, curve in best.items()}
        _draw_rest(each, rest_points)
        _draw_best(each, best_points)
        _finish(each, name)
        if name in _LOSSES:
            of_best = [y for points in best_points.values() for _, y in points]
            is_cut |= _limit(each, of_best, rest_points)
    if axes[0].get_legend_handles_labels()[0]:
        figure_legend(made, axes[0], title="best children:")
    caption = f"In colour the {counted(len(best), 'best child', 'best children')}; "
    caption += f"grey: {counted(len(rest), 'other', 'others')}"
    caption += f", evenly chosen from {len(others):,}." if len(others) > MAX_REST else "."
    caption += " Losses far above the others are cut off." if is_cut else ""
    return Section(
        "Learning curves", "", [Plot("curves", "Curves of the best, and the rest", caption, made)]
    )


def _others(study: RecordedStudy, best: set[int]) -> list[RecordedChild]:
    return [e.child for e in evaluations(study) if e.is_trained and e.index not in best]


def _spread(children: Sequence[RecordedChild], count: int) -> list[RecordedChild]:
    """At most ``count`` of them, evenly chosen."""
    if len(children) <= count:
        return list(children)
    return [children[place * len(children) // count] for place in range(count)]


def _metrics(study: RecordedStudy, curves: Sequence[Curve]) -> list[str]:
    """The reward's metric, if it is known, and the losses: those that were logged."""
    wanted = [study.reward["metric"]] if "metric" in study.reward else []
    logged = {name for curve in curves for line in curve for name in line}
    return [name for name in dict.fromkeys([*wanted, *_LOSSES]) if name in logged]


def _points(curve: Curve, name: str) -> list[tuple[float, float]]:
    """(epochs trained, value) pairs; a validation within an epoch has the part that was done."""
    ends = {line["epoch"]: line.get("step", 0) for line in curve if "train_loss" in line}

    def trained(line: Mapping[str, float]) -> float:
        epoch = line["epoch"]
        if "train_loss" in line or "step" not in line:
            return epoch + 1
        start = ends.get(epoch - 1, 0)
        return epoch + (line["step"] - start) / (ends[epoch] - start) if epoch in ends else epoch

    return [(trained(line), line[name]) for line in curve if line.get(name) is not None]


def _draw_rest(axes: Axes, curves: Sequence[Sequence[tuple[float, float]]]) -> None:
    shown = LineCollection(
        [points for points in curves if points],
        colors=colour_of("context"),
        linewidths=0.8,
        alpha=0.6 if len(curves) <= 60 else 0.35,
        rasterized=sum(map(len, curves)) > 5000,
    )
    axes.add_collection(shown)


def _draw_best(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    styles = looks(list(curves))
    for rank, (child, points) in enumerate(curves.items()):
        if points:
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=styles[child].colour,
                marker=styles[child].marker,
                markersize=4,
                markevery=max(1, len(points) // 8),
                label=child,
                zorder=4 - 0.1 * rank,
            )


def _finish(axes: Axes, name: str) -> None:
    title(axes, name)
    axes.set_xlabel("epochs")
    axes.autoscale_view()
    whole_numbers(axes)


def _limit(
    axes: Axes, best: Sequence[float], rest: Sequence[Sequence[tuple[float, float]]]
) -> bool:
    """Makes an axis of losses logarithmic where they span much; returns whether it cuts some."""
    others = [y for points in rest for _, y in points if math.isfinite(y)]
    every = [*filter(math.isfinite, best), *others]
    if not every:
        return False
    low = min(every)
    high = max([*filter(math.isfinite, best), *np.quantile(others or [low], [0.9])])
    is_cut = bool(max(every) > 10 * high)
    if not is_cut:
        high = max(every)
    if 0 < low < high / 20:
        log_axis(axes.yaxis, low, high)
        axes.set_ylim(low / 1.15, high * 1.15)
    else:
        room = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - room, high + room)
    return is_cut
