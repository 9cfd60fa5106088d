"""When workers were busy: the children of a study as intervals in lanes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from nasrunner.core.records import MEASURED
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Part, Plot, Section
from nasrunner.report.page.style import colour_of, figure, legend
from nasrunner.report.study.evaluations import counted, duration

MAX_VECTOR = 2000
"""More intervals than this are drawn as a picture, or the page would grow with them."""

_MOST_TICKS = 10  # a lane each
_SLACK_S = 0.05  # between the end of a child in its worker and its record in the ledger
_CLOCK_ERROR_S = 1.0


@dataclass(frozen=True)
class Timeline:
    """Who ran when, in seconds since the study began, with the gaps between sessions cut out.

    Attributes:
        children: those that were trained, and supernets, in the order they started, with those of
            the search that shares the workers.
        are_beside: which of them are of that search.
        starts_s: when each started.
        ends_s: when each ended.
        lanes: the lane of each: 0, 1, 2, …; children in one lane do not overlap.
        breaks_s: where one session ended and the next began.
        length_s: of all sessions together.
        is_whole: whether all that ran in the workers is here; else another search shared them.
    """

    children: Sequence[RecordedChild]
    are_beside: Sequence[bool]
    starts_s: Sequence[float]
    ends_s: Sequence[float]
    lanes: Sequence[int]
    breaks_s: Sequence[float]
    length_s: float
    is_whole: bool

    @property
    def num_lanes(self) -> int:
        return max(self.lanes) + 1

    @property
    def idle_share(self) -> float | None:
        """Share of the lanes' time, from the first event to the last, in which no child ran.

        None where a search that is not here may have run some.
        """
        if not self.is_whole:
            return None
        busy_s = sum(end - start for start, end in zip(self.starts_s, self.ends_s, strict=True))
        return max(0.0, 1.0 - busy_s / (self.num_lanes * self.length_s))


def timeline(study: RecordedStudy, beside: RecordedStudy | None = None) -> Timeline | None:
    """Computes the study's timeline; None where no child has run in real time.

    A child is taken to have run for ``cost_s`` seconds until its outcome was recorded, but not
    before it was proposed. A tabular trainer has no such times: it charges nothing, or the
    seconds that its table says. Estimates are left out: many are made in one go, and recorded
    together.

    Args:
        study: the one.
        beside: the search that shared its workers, if it is known.
    """
    trained = [(child, False) for child in study.recorded if _has_run(child)]
    if beside is not None:
        trained += [(child, True) for child in beside.recorded if _has_run(child)]
    lengths = [last - first for first, last in study.sessions]
    length_s = sum(lengths)
    is_here = any(not is_beside for _, is_beside in trained)
    if not is_here or length_s <= 0 or any(_is_simulated(child) for child, _ in trained):
        return None
    spans = sorted(
        ((*_span_s(study, child), child, is_beside) for child, is_beside in trained),
        key=lambda span: (span[0], span[1]),
    )
    return Timeline(
        children=[child for _, _, child, _ in spans],
        are_beside=[is_beside for *_, is_beside in spans],
        starts_s=[start for start, *_ in spans],
        ends_s=[end for _, end, *_ in spans],
        lanes=lanes_of([(start, end) for start, end, *_ in spans]),
        breaks_s=np.cumsum(lengths)[:-1].tolist(),
        length_s=length_s,
        is_whole=beside is not None or not _shares_workers(study),
    )


def why_no_timeline(study: RecordedStudy) -> str:
    """Says why a study has no timeline, in a sentence."""
    ended = [child.outcome for child in study.trainings if child.outcome is not None]
    if any(each.status in (*MEASURED, "failed") for each in ended):
        return "There is no timeline of workers: no child ran in real time."
    if study.reason is None:
        return "There is no timeline of workers yet: no child has ended."
    return "There is no timeline of workers: no child was trained."


def _shares_workers(study: RecordedStudy) -> bool:
    """Whether a search ran beside it: its baseline, or the study whose baseline it is."""
    above = study.folder.parent / "ledger.jsonl"
    is_baseline = study.folder.name == "baseline" and above.is_file()
    return study.config.get("baseline") is not None or is_baseline


def lanes_of(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the lowest free lane for each (start, end), which are sorted by their start."""
    free_from: list[float] = []
    lanes = []
    for start, end in spans:
        lane = next(
            (place for place, free in enumerate(free_from) if free <= start + _SLACK_S),
            len(free_from),
        )
        free_from[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def timeline_section(study: RecordedStudy, times: Timeline) -> Section:
    """Returns when each child ran, and how much of the time none did."""
    unit, unit_s = clock_unit(times.length_s)
    axes_figure, axes = figure(
        xlabel=f"time since the start ({unit})",
        ylabel="lane",
        height_in=min(6.0, 1.35 + 0.32 * times.num_lanes),
    )
    best = {
        each.proposal.index
        for child in study.best(1)
        for each in study.course(child.proposal.index)
    }
    kinds = [
        "of the other search" if is_beside else _kind(child, best)
        for child, is_beside in zip(times.children, times.are_beside, strict=True)
    ]
    for kind, colour in _COLOURS.items():
        spans = [
            (start, end - start, lane)
            for start, end, lane, of_kind in zip(
                times.starts_s, times.ends_s, times.lanes, kinds, strict=True
            )
            if of_kind == kind
        ]
        for lane in sorted({lane for _, _, lane in spans}):
            axes.broken_barh(
                [(start, width) for start, width, of_lane in spans if of_lane == lane],
                (lane + 0.6, 0.8),
                facecolors=colour_of(colour),
                edgecolors=colour_of("paper"),
                linewidth=0.4 if len(kinds) < 500 else 0.0,
                rasterized=len(kinds) > MAX_VECTOR,
            )
        if spans:
            axes.add_line(Line2D([], [], color=colour_of(colour), linewidth=6, label=kind))
    for place in times.breaks_s:
        axes.axvline(place, color=colour_of("ink"), linewidth=1.0, linestyle=":")
    axes.set_xlim(0, times.length_s)
    axes.set_ylim(times.num_lanes + 0.6, 0.4)
    if times.num_lanes <= _MOST_TICKS:
        axes.set_yticks(range(1, times.num_lanes + 1))
    else:
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MultipleLocator(unit_s * _step(times.length_s / unit_s)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:g}"))
    legend(axes)
    parts: list[Part] = [Plot("timeline", "Workers over time", _caption(study, times), axes_figure)]
    return Section("Timeline", "", parts)


def clock_unit(length_s: float) -> tuple[str, float]:
    """Returns the unit in which an axis shows so many seconds, and how many seconds it has."""
    if length_s < 180:
        return "s", 1.0
    return ("min", 60.0) if length_s < 3 * 3600 else ("h", 3600.0)


def _step(length: float) -> float:
    """A round distance between some ten ticks."""
    decade = 10.0 ** math.floor(math.log10(length / 8))
    return min((decade * m for m in (1, 2, 5, 10)), key=lambda step: abs(length / step - 8))


_COLOURS = {
    "completed": "sky",
    "paused": "green",
    "stopped": "orange",
    "failed": "vermillion",
    "supernet": "purple",
    "best": "blue",
    "of the other search": "context",
}


def _has_run(child: RecordedChild) -> bool:
    outcome = child.outcome
    if outcome is None or child.proposal.kind == "estimate" or outcome.reused_from is not None:
        return False
    return outcome.status in (*MEASURED, "failed") and outcome.cost_s > 0


def _kind(child: RecordedChild, best: set[int]) -> str:
    assert child.outcome is not None
    if child.proposal.index in best:
        return "best"
    return "supernet" if child.proposal.kind == "supernet" else child.outcome.status


def _caption(study: RecordedStudy, times: Timeline) -> str:
    ran = counted(len(times.children), "child", "children")
    bars, them = f"Each bar is a child, from {ran} that ran.", "children"
    if any(not child.proposal.is_root for child in times.children):
        bars, them = f"Each of the {len(times.children):,} bars is a training.", "trainings"
    if num_beside := sum(times.are_beside):
        bars += f" {num_beside:,} of them, in grey, are of the search that shares the workers."
    text = (
        f"{bars} A lane is what one worker could have done: {them} are put into the first lane "
        f"that is free, which takes {counted(times.num_lanes, 'lane')}. {_idle(times)}"
    )
    if study.outcomes_of("estimate"):
        text += " Estimates are left out; a worker that makes some is called idle here."
    if times.breaks_s:
        sessions = counted(len(study.sessions), "session")
        text += f" Dotted lines: the study ran in {sessions}; the time between them is left out."
    return text


def _idle(times: Timeline) -> str:
    if times.idle_share is None:
        return (
            "Another search shared the workers, which is not on this page: how long they were idle "
            "cannot be told."
        )
    return (
        f"They were idle for {times.idle_share:.0%} of {duration(times.length_s)}: 1 − time of all "
        "bars ÷ (lanes × time from the first event to the last)."
    )


def _is_simulated(child: RecordedChild) -> bool:
    assert child.ended_s is not None
    assert child.outcome is not None
    return child.outcome.cost_s > child.ended_s - child.proposed_s + _CLOCK_ERROR_S


def _span_s(study: RecordedStudy, child: RecordedChild) -> tuple[float, float]:
    """(start, end) of a child in the study's time, without what lies outside of sessions."""
    assert child.ended_s is not None
    assert child.outcome is not None
    start = max(child.proposed_s, child.ended_s - child.outcome.cost_s)
    return _study_time_s(study, start), _study_time_s(study, child.ended_s)


def _study_time_s(study: RecordedStudy, moment_s: float) -> float:
    return sum(min(max(moment_s - first, 0.0), last - first) for first, last in study.sessions)
