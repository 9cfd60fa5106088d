"""Which children no other beats in both reward and size."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from nasrunner.core.ledger.objectives import REWARD, Objective, pareto_front
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Plot, Section, Table
from nasrunner.report.page.scales import log_axis, si_numbers
from nasrunner.report.page.style import HALF_IN, colour_of, figure
from nasrunner.report.study.children import link_to
from nasrunner.report.study.evaluations import NumberedEvaluation, evaluations, reward_label
from nasrunner.report.study.reward_axes import MAX_VECTOR, below_caption, limit_rewards

SIZES = {
    "parameters": "trainable parameters",
    "flops": "FLOPs of one example's forward pass",
}
"""Metrics that a study adds to every outcome, and what the axes call them."""

_LABEL_PX = (34.0, 13.0)  # room that a child's number takes


def pareto_section(study: RecordedStudy) -> Section | None:
    """Returns the reward against parameters and FLOPs; None where no child has both."""
    plots: list[Plot] = []
    fronts: dict[str, list[NumberedEvaluation]] = {}
    for metric, label in SIZES.items():
        known = [e for e in _distinct(study) if metric in e.outcome.metrics]
        if known:
            fronts[metric] = front(known, metric)
            plots.append(_plot(study, metric, label, known, fronts[metric]))
    if not plots:
        return None
    text = (
        "A child is on the front where no other child has at least its reward at no more "
        "than its size, and more of one or less of the other."
    )
    return Section("Pareto front", text, [*plots, _table(study, fronts)])


def front(known: Sequence[NumberedEvaluation], metric: str) -> list[NumberedEvaluation]:
    """Returns the children that no other dominates, smallest first; of equals the earliest."""
    by_number = sorted(known, key=lambda each: each.number)
    goals = (Objective(metric, "min"), Objective(REWARD, "max"))
    return [by_number[i] for i in pareto_front([e.outcome for e in by_number], goals)]


def _distinct(study: RecordedStudy) -> list[NumberedEvaluation]:
    """Each architecture with a reward once, where it was first trained, with its mean."""
    means = {child.proposal.index: child.outcome for child in study.best(len(study.children))}
    return [
        replace(each, outcome=mean)
        for each in evaluations(study)
        if (mean := means.get(each.index)) is not None
    ]


def _plot(
    study: RecordedStudy,
    metric: str,
    label: str,
    known: Sequence[NumberedEvaluation],
    on_front: Sequence[NumberedEvaluation],
) -> Plot:
    made, axes = figure(xlabel=label, ylabel=reward_label(study), width_in=HALF_IN, height_in=3.9)
    sizes = [e.outcome.metrics[metric] for e in known]
    rewards = [e.reward for e in known]
    axes.scatter(
        sizes,
        rewards,
        s=16 if len(known) <= 300 else 9 if len(known) <= MAX_VECTOR else 4,
        color=colour_of("sky"),
        linewidths=0,
        alpha=0.9 if len(known) <= 300 else 0.5,
        rasterized=len(known) > MAX_VECTOR,
    )
    _scale(axes, sizes)
    axes.margins(x=0.05, y=0.1)
    num_below = limit_rewards(axes, sizes, rewards)
    right = axes.get_xlim()[1]
    corners = [(e.outcome.metrics[metric], e.reward) for e in on_front]
    axes.step(
        [*(x for x, _ in corners), right],
        [*(y for _, y in corners), corners[-1][1]],
        where="post",
        color=colour_of("vermillion"),
        linewidth=1.4,
    )
    axes.plot(*zip(*corners, strict=True), "o", color=colour_of("vermillion"), markersize=4.5)
    axes.set_xlim(right=right)
    made.draw_without_rendering()  # labels keep a distance in pixels
    _name(axes, on_front, corners)
    num = len(on_front)
    caption = f"Each point is a trained child; the line is the front, with {num:,} of them."
    if num_below:
        caption += f" {below_caption(num_below)}"
    return Plot(f"pareto_{metric}", f"Reward against {_SHORT[metric]}", caption, made)


_SHORT = {"parameters": "parameters", "flops": "FLOPs"}


def _scale(axes: Axes, sizes: Sequence[float]) -> None:
    """A logarithmic x axis where sizes differ by more than a decade."""
    if min(sizes) > 0 and max(sizes) > 10 * min(sizes):
        log_axis(axes.xaxis, min(sizes), max(sizes))
    axes.xaxis.set_major_formatter(si_numbers())


def _name(
    axes: Axes, on_front: Sequence[NumberedEvaluation], corners: Sequence[tuple[float, float]]
) -> None:
    """Writes the children's numbers, best first, where there is room for them."""
    taken: list[tuple[float, float]] = []
    for each, corner in sorted(zip(on_front, corners, strict=True), key=lambda c: -c[1][1]):
        x, y = axes.transData.transform(corner)
        is_left = x - axes.bbox.x0 > _LABEL_PX[0]
        middle = x + (-0.5 if is_left else 0.5) * _LABEL_PX[0]
        is_free = all(
            abs(middle - other[0]) > _LABEL_PX[0] or abs(y - other[1]) > _LABEL_PX[1]
            for other in taken
        )
        if is_free and axes.bbox.contains(x, y):
            taken.append((middle, y))
            axes.annotate(
                f"{each.index:04d}",
                corner,
                xytext=(-4 if is_left else 2, 4),
                textcoords="offset points",
                ha="right" if is_left else "left",
                color=colour_of("ink"),
                fontsize=7.5,
            )


def _table(study: RecordedStudy, fronts: dict[str, list[NumberedEvaluation]]) -> Table:
    children = {e.index: e for each in fronts.values() for e in each}
    rows = [
        [
            link_to(study, e.index),
            e.outcome.reward,
            *(_whole(e.outcome.metrics.get(metric)) for metric in SIZES),
            ", ".join(_SHORT[metric] for metric, of in fronts.items() if e in of),
        ]
        for e in sorted(children.values(), key=lambda e: (-e.reward, e.number))
    ]
    columns = ("child", "reward", "parameters", "FLOPs", "on the front of")
    return Table("pareto", "Children on a front", "Best first.", columns, rows)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
