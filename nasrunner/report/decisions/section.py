"""Which decisions matter, and which answers go together with which rewards."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap

from nasrunner.core.decision import shown
from nasrunner.recorded import RecordedStudy
from nasrunner.report.decisions.importance import (
    MIN_CHILDREN,
    MOST_CHILDREN,
    Importance,
    importance,
    most_telling_first,
)
from nasrunner.report.decisions.paths import NOT_ASKED, AnswerTable, answer_table
from nasrunner.report.page.parts import Part, Plot, Section, Table, TableCell, hovers_of
from nasrunner.report.page.style import FULL_IN, HALF_IN, colour_of, figure
from nasrunner.report.study.evaluations import clipped, counted, number, reward_label

MOST_AXES, _MOST_BARS, _NUM_BEST = 7, 12, 5
_MOST_LINES = 300
_COLOURS = LinearSegmentedColormap.from_list("rewards", [colour_of("context"), colour_of("blue")])
_FEWEST_LINES = 5


def decisions_section(study: RecordedStudy) -> Section | None:
    """Shows importance and answers of decisions; None where too few children were trained."""
    table = answer_table(study)
    if len(table.indices) < _FEWEST_LINES or not table.paths or np.ptp(table.rewards_N) == 0:
        return None
    table = most_telling_first(table)
    parts: list[Part] = []
    found = importance(table)
    text = ""
    if found is None:
        text = _why_none(table)
    else:
        order = np.argsort(-found.shares_D, kind="stable").tolist()
        table = table.of(order)
        parts += [_bars(found, order), _shares(found, order)]
    parts.append(_parallel(study, table, is_important=found is not None))
    return Section("Decisions", text, parts)


def _why_none(table: AnswerTable) -> str:
    """Says why there is no importance of decisions."""
    if (num := len(table.indices)) < MIN_CHILDREN:
        why = f"of {num:,} trained children: it takes {MIN_CHILDREN}"
    else:
        why = f"since the {MOST_CHILDREN} that were evenly chosen of {num:,} have equal rewards"
    return f"How much each decision matters is not told {why}."


def _bars(found: Importance, order: list[int]) -> Plot:
    best = order[:_MOST_BARS]
    made, axes = figure(
        xlabel="share of the variance",
        ylabel="",
        width_in=HALF_IN,
        height_in=1.0 + 0.27 * len(best),
    )
    names = [clipped(found.table.names[place], 34) for place in best]
    axes.barh(range(len(best)), found.shares_D[best], height=0.7, color=colour_of("blue"))
    axes.set_yticks(range(len(best)), names)
    axes.set_ylim(len(best) - 0.4, -0.6)
    axes.set_xlim(0, max(0.01, 1.1 * float(found.shares_D.max())))
    axes.grid(visible=False, axis="y")
    hovers = hovers_of(zip(names, (found.table.paths[place] for place in best), strict=True))
    return Plot("importance", "Importance of each decision", _about(found), made, hovers)


def _about(found: Importance) -> str:
    rest = 1.0 - float(found.shares_D.sum())
    looked, all_of = len(found.table.indices), found.num_children
    told = [
        "The share of the reward's variance that each decision alone makes, if every answer to "
        "every decision were equally likely (functional analysis of variance, Hutter, Hoos and "
        "Leyton-Brown 2014, with Optuna's evaluator and a forest); a child that lacks a decision "
        "has an answer of its own to it.",
        f"The other {max(0.0, rest):.0%} is of decisions together.",
        f"Of {counted(looked, 'trained child', 'trained children')}"
        + (f", evenly chosen from {all_of:,}." if looked < all_of else "."),
    ]
    if (left := found.num_decisions - len(found.table.paths)) > 0:
        told.append(f"Left out: the {counted(left, 'decision')} that explain least alone.")
    if found.predicted <= 0:
        told.append(
            "Beware: such a forest predicts children that it has not seen no better than their "
            f"mean does (R² {number(round(found.predicted, 2))}), so these shares may be chance."
        )
    else:
        told.append(
            f"Such a forest predicts children that it has not seen with R² "
            f"{found.predicted:.2f}: the nearer to 1, the more the shares are to be believed."
        )
    return " ".join(told)


def _shares(found: Importance, order: list[int]) -> Table:
    table = found.table
    rows = [
        [
            TableCell(table.names[place], hover=table.paths[place]),
            float(found.shares_D[place]),
            table.num_with(place),
        ]
        for place in order
    ]
    columns = ("decision", "share of the variance", "children with it")
    return Table("importances", "Shares", "The path in the space shows over a name.", columns, rows)


def _parallel(study: RecordedStudy, table: AnswerTable, *, is_important: bool) -> Plot:
    """A line for each child, through its answers to the decisions that matter most."""
    few = table.of(range(min(MOST_AXES, len(table.paths))))
    num_axes = len(few.paths)
    made, axes = figure(xlabel="", ylabel="", width_in=FULL_IN, height_in=4.6)
    order = np.argsort(few.rewards_N, kind="stable")
    low, high = np.quantile(few.rewards_N, [0.05, 1.0])
    span = float(high - low) or 1.0
    scaled_N = np.clip((few.rewards_N - low) / span, 0.0, 1.0)
    heights = np.stack([*(_heights(few, d) for d in range(num_axes)), scaled_N], axis=1)
    num_best = min(_NUM_BEST, len(order))
    others, best = order[:-num_best], order[-num_best:]
    if len(others) > _MOST_LINES:
        others = others[[n * len(others) // _MOST_LINES for n in range(_MOST_LINES)]]
    for those, look in (
        (others, {"colors": _COLOURS(scaled_N[others]), "linewidths": 0.9, "alpha": 0.5}),
        (best, {"colors": colour_of("vermillion"), "linewidths": 1.8}),
    ):
        lines = [np.round(list(enumerate(heights[n])), 4) for n in those]
        axes.add_collection(LineCollection(lines, **look))
    for place in range(num_axes + 1):
        axes.axvline(place, color=colour_of("context"), linewidth=0.8, zorder=0)
    for place in range(num_axes):
        _name_options(axes, few, place)
    for share in (0.0, 0.5, 1.0):
        text = number(float(low) + share * span)
        axes.annotate(text, (num_axes, share), (6, 0), textcoords="offset points", va="center",
                      fontsize=7.5, color=colour_of("muted"))  # fmt: skip
    names = [_in_lines(name) for name in few.names]
    axes.set_xticks(range(num_axes + 1), [*names, "reward"], fontsize=8)
    axes.set_yticks([])
    axes.set_xlim(-0.05, num_axes + 0.35)
    axes.set_ylim(-0.04, 1.04)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    is_below = bool((few.rewards_N < low).any())
    caption = (
        f"A line for each trained child, through its answers to {counted(num_axes, 'decision')}, "
        f"{_order(is_important)}, to its {reward_label(study)}; lines of one answer are spread "
        f"by their rewards. In vermillion the best {num_best}; the others the bluer the "
        "higher their rewards."
    )
    if len(others) + num_best < len(order):
        caption += f" Of the others {len(others):,} are drawn, evenly chosen by their rewards."
    if is_below:
        caption += f" The lowest twentieth of the rewards ends at {number(float(low))}."
    named = zip(map(_in_lines, few.names), few.paths, strict=True)
    hovers = hovers_of((name, path) for name, path in named if "\n" not in name)
    return Plot("parallel", "Answers and rewards", caption, made, hovers)


def _order(is_important: bool) -> str:
    return "the most important first" if is_important else "those that explain most alone first"


def _levels(table: AnswerTable, place: int) -> dict[int, float]:
    """The heights of a decision's answers, from 0 to 1: those that were given."""
    given = sorted(set(table.answers_ND[:, place].tolist()))
    step = 1.0 / max(1, len(given) - 1)
    return {answer: n * step for n, answer in enumerate(given)}


def _heights(table: AnswerTable, place: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where each child's line crosses an axis: near its answer, the better the higher."""
    levels = _levels(table, place)
    room = 0.5 / max(1, len(levels) - 1)
    answers_N = table.answers_ND[:, place]
    found = np.empty(len(answers_N))
    for answer, level in levels.items():
        those = np.flatnonzero(answers_N == answer)
        ranks = np.argsort(np.argsort(table.rewards_N[those], kind="stable"), kind="stable")
        shift = (ranks + 0.5) / len(those) - 0.5
        found[those] = level + room * shift * (1.0 if 0 < level < 1 else 0.5)
    return np.clip(found, 0.0, 1.0)


def _name_options(axes: Axes, table: AnswerTable, place: int) -> None:
    levels = _levels(table, place)
    step = max(1, -(-len(levels) // 9))
    for n, (answer, level) in enumerate(levels.items()):
        if n % step and n != len(levels) - 1:
            continue
        text = "not asked" if answer == NOT_ASKED else shown(table.options[place][answer])
        axes.annotate(
            clipped(text, 16),
            (place, level),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=colour_of("ink"),
            bbox={"facecolor": colour_of("paper"), "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )


def _in_lines(name: str) -> str:
    """A name in lines of some 16 letters, for below an axis."""
    lines = [""]
    for word in name.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= 16:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(clipped(line, 18) for line in lines[:3])
