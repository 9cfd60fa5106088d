"""The reward of every child, and the best so far."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from nasrunner.core.ledger.ranking import Ranked, Ranking, mean_of
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Plot, Section
from nasrunner.report.page.style import colour_of, figure, legend, whole_numbers
from nasrunner.report.study.evaluations import (
    NumberedEvaluation,
    about_rewards,
    evaluations,
    number,
    reward_label,
)
from nasrunner.report.study.reward_axes import MAX_VECTOR, below_caption, limit_rewards, mark_at_end


def rewards_section(study: RecordedStudy) -> Section:
    """Returns every evaluation of a study that has a reward, and the best so far."""
    spent = evaluations(study)
    num_spent = sum(not e.is_copy for e in spent)
    made, axes = figure(xlabel="evaluations", ylabel=reward_label(study), height_in=4.2)
    rewarded = [e for e in spent if e.has_reward]
    _points(axes, [e for e in rewarded if e.is_trained], "trained", filled=True)
    _points(axes, [e for e in rewarded if e.is_repeated], "repeated", filled=False)
    too_large = [e for e in rewarded if not e.is_trained and not e.is_repeated]
    _points(axes, too_large, "too large, not trained", filled=False, colour="vermillion")
    grown = _best_so_far(study)
    ends = [*(number for number, _ in grown), num_spent]
    best = [*(reward for _, reward in grown), grown[-1][1]]
    axes.step(ends, best, where="post", color=colour_of("ink"), label="best so far")
    num_below = limit_rewards(axes, [e.number for e in rewarded], [e.reward for e in rewarded])
    _failed(axes, [e.number for e in spent if e.outcome.status == "failed"])
    _name_best(axes, rewarded, study.state.history.shown()[0].best(1)[0])
    axes.set_xlim(1 - 0.015 * num_spent, num_spent * 1.015 + 1)
    whole_numbers(axes)
    legend(axes)
    caption = "Every child whose training ended, in the order in which the outcomes were recorded."
    if any(len(study.course(e.child.proposal.index)) > 1 for e in rewarded):
        caption = (
            "Every child that has a reward, at the evaluation with which its training began; the "
            "line is of what was known by then."
        )
    if any(e.outcome.status == "failed" for e in spent):
        caption += " A cross at the lower edge is a child that failed."
    if any(e.is_repeated for e in rewarded):
        caption += " A repeated child has the genotype of an earlier one, whose reward it is given."
    if told := about_rewards(study):
        caption += f" {told}"
    if num_below:
        caption += f" {below_caption(num_below)}"
    return Section("Rewards", "", [Plot("rewards", "Reward of every child", caption, made)])


def _best_so_far(study: RecordedStudy) -> list[tuple[int, float]]:
    """(number of evaluations, best reward by then), wherever a reward was recorded."""
    ranking, number, found = Ranking(), 0, []
    for child in study.trainings:
        number += child.is_evaluation
        outcome = child.outcome
        if outcome is not None and outcome.reward is not None and study.compares(outcome):
            ranking.add(outcome)
            found.append((number, top.reward if (top := ranking.top()) else math.nan))
    return found


def _points(
    axes: Axes,
    which: Sequence[NumberedEvaluation],
    label: str,
    *,
    filled: bool,
    colour: str | None = None,
) -> None:
    if not which:
        return
    colour = colour_of(colour or ("blue" if filled else "orange"))
    axes.scatter(
        [e.number for e in which],
        [e.reward for e in which],
        s=22 if len(which) <= 300 else 11 if len(which) <= MAX_VECTOR else 5,
        facecolors=colour if filled else "none",
        edgecolors="none" if filled else colour,
        linewidths=0.0 if filled else 1.0,
        alpha=0.85 if len(which) <= 300 else 0.4,
        label=label,
        rasterized=len(which) > MAX_VECTOR,
    )


def _failed(axes: Axes, numbers: Sequence[int]) -> None:
    if numbers:
        look = {"marker": "x", "markersize": 5, "color": colour_of("vermillion")}
        mark_at_end(axes, numbers, label="failed", **look)


def _name_best(axes: Axes, rewarded: Sequence[NumberedEvaluation], best: Ranked) -> None:
    """Marks the best architecture where it was first trained, at the mean of its trainings."""
    place = next(e.number for e in rewarded if e.index == best.index)
    is_late = place > max(5, 0.8 * max(e.number for e in rewarded))
    axes.annotate(
        f"child {best.index:04d}: {number(best.reward)}{mean_of(len(best.rewards))}",
        (place, best.reward),
        xytext=(-4 if is_late else 4, 6),
        textcoords="offset points",
        ha="right" if is_late else "left",
        va="bottom",
        color=colour_of("ink"),
        fontsize=8.5,
    )
    axes.scatter([place], [best.reward], s=55, color=colour_of("vermillion"), marker="*", zorder=4)
    axes.margins(y=0.1)
