"""How supernets were trained: losses, and what their architecture learnt, by epoch."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from nasrunner.core.machine.child_folder import NO_METRICS
from nasrunner.recorded import RecordedChild
from nasrunner.report.page.parts import Plot
from nasrunner.report.page.style import (
    FULL_IN,
    HALF_IN,
    figure_legend,
    looks,
    small_multiples,
    title,
    whole_numbers,
)
from nasrunner.rescoring.measured import Curve, read_curve

_IN_ONE = {"loss": ("train_loss", "val_loss")}
"""What is drawn on one pair of axes, by its title."""

_NOT_SHOWN = (*NO_METRICS, "learning_rate")

COLUMNS = 3


def training_plot(supernets: Sequence[RecordedChild]) -> Plot | None:
    """Returns each metric of the supernets against the epochs; None before there is one."""
    curves = {f"{each.proposal.index:04d}": read_curve(each) for each in supernets}
    panels = _panels([*curves.values()])
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    width_in = FULL_IN if columns > 1 else HALF_IN
    made, axes = small_multiples(len(panels), columns=columns, width_in=width_in, row_height_in=2.6)
    has_lines = False
    for each, (name, metrics) in zip(axes, panels.items(), strict=True):
        has_lines |= _draw(each, curves, metrics)
        title(each, name)
        each.set_xlabel("epochs")
        whole_numbers(each)
    if has_lines:
        figure_legend(made, axes[0], title="supernet:" if len(curves) > 1 else "")
    caption = (
        "A validation batch goes through one architecture that was drawn for it, or through all of "
        "them with the weights of their options. Of what learns the architecture, drawn_reward is "
        "the mean reward that it learnt from, policy_entropy that of a decision in nats, "
        "architecture_entropy that of options' weights where 1 is that of equal ones, and "
        "skip_share how often a decision that could was answered by passing the input on."
    )
    return Plot("supernets", "Training, by epoch", caption, made)


def _panels(curves: Sequence[Curve]) -> dict[str, tuple[str, ...]]:
    """The metrics of each pair of axes, by its title, in the order they were recorded."""
    names = dict.fromkeys(name for curve in curves for line in curve for name in line)
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        together = next((title for title, each in _IN_ONE.items() if name in each), name)
        if name not in _NOT_SHOWN:
            found[together] = (*found.get(together, ()), name)
    return found


def _draw(axes: Axes, curves: dict[str, Curve], metrics: Sequence[str]) -> bool:
    """Draws metrics of all supernets; returns whether the lines need a legend."""
    lines = [(number, metric) for metric in metrics for number in curves]
    labels = {
        (number, metric): " ".join(
            [*([number] if len(curves) > 1 else []), *([metric] if len(metrics) > 1 else [])]
        )
        for number, metric in lines
    }
    styles = looks([f"{number} {metric}" for number, metric in lines])
    for number, metric in lines:
        look = styles[f"{number} {metric}"]
        points = [(line["epoch"] + 1, line[metric]) for line in curves[number] if metric in line]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=4,
            markevery=max(1, len(points) // 8),
            label=labels[number, metric] or None,
        )
    return any(labels.values())
