"""What a study with several objectives has found: its front, and how much that dominates."""

import itertools
from collections.abc import Sequence
from typing import Literal

from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.ledger.goals import Goals, reference_point, unmet_limits
from nasrunner.core.ledger.hypervolume import MOST_OBJECTIVES, dominated
from nasrunner.core.ledger.objectives import Objective
from nasrunner.core.records import Outcome
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Plot, Section, Table
from nasrunner.report.page.scales import log_axis, si_numbers
from nasrunner.report.page.style import HALF_IN, colour_of, figure, legend, whole_numbers
from nasrunner.report.study.children import link_to
from nasrunner.report.study.evaluations import counted, evaluations, number
from nasrunner.report.study.reward_axes import MAX_VECTOR


def goals_of(study: RecordedStudy) -> Goals | None:
    """Reads what a study compares its children by; None: the reward alone."""
    return read_goals(study.scored)


def objectives_section(study: RecordedStudy, goals: Goals) -> Section | None:
    """Shows the front as table and figures, and the hypervolume; None without a measured child."""
    compared = study.state.history.compared()
    outcomes = [each for each in compared if len(each.objectives) == len(goals.objectives)]
    if not outcomes:
        return None
    front = [outcomes[place] for place in goals.front(outcomes)]
    reference = reference_point(goals, outcomes)
    pairs = list(itertools.combinations(goals.objectives, 2))
    parts: list[Plot | Table] = [_pair(one, other, goals, outcomes, front) for one, other in pairs]
    if len(goals.objectives) <= MOST_OBJECTIVES:
        parts.append(_hypervolume(study, goals, reference))
    parts.append(_table(study, goals, front))
    return Section("Objectives", _text(goals, outcomes, front, reference), parts)


def _text(
    goals: Goals,
    outcomes: Sequence[Outcome],
    front: Sequence[Outcome],
    reference: dict[str, float],
) -> str:
    limits = {each.name: each.limit for each in goals.limited}
    named = [
        f"{each.name} ({each.direction}"
        + (f", {_bound(goals, each)} {number(limits[each.name])})" if each.name in limits else ")")
        for each in goals.objectives
    ]
    children = counted(len(front), "child", "children")
    within = "within the limits, and " if _has_limits(goals) else ""
    missed = " Targets may be missed." if goals.targets else ""
    told = [
        f"Children are compared by {', '.join(named)}.",
        f"{children} of {len(outcomes):,} {'is' if len(front) == 1 else 'are'} on the front: "
        f"{within}no other is at least as good in all objectives and better in one; of equal ones "
        f"it is the first.{missed}",
    ]
    if goals.scalarization is not None:
        told.insert(1, f"The reward is {goals.scalarization.text}.")
    volume = dominated(goals, outcomes, reference)
    if volume is not None:
        point = ", ".join(f"{name} = {number(value)}" for name, value in reference.items())
        told.append(f"Its hypervolume is {number(volume)}, from the reference point {point}.")
    told += [f"{each[:1].upper()}{each[1:]}." for each in unmet_limits(goals, outcomes)]
    return " ".join(told)


def _bound(goals: Goals, objective: Objective) -> str:
    return "target" if objective.name in goals.targets else "limit"


def _has_limits(goals: Goals) -> bool:
    """Whether children may be beyond a limit; a target is none."""
    return any(each.limit is not None for each in goals.objectives)


def _pair(
    one: Objective,
    other: Objective,
    goals: Goals,
    outcomes: Sequence[Outcome],
    front: Sequence[Outcome],
) -> Plot:
    """One objective against another: the first upwards."""
    made, axes = figure(xlabel=other.name, ylabel=one.name, width_in=HALF_IN, height_in=3.9)
    groups = (
        ("beyond a limit", "context", [o for o in outcomes if not goals.is_within(o)]),
        (
            "within" if _has_limits(goals) else "dominated",
            "sky",
            [o for o in outcomes if goals.is_within(o)],
        ),
        ("front", "vermillion", front),
    )
    for label, colour, which in groups:
        if which:
            axes.scatter(
                [o.objectives[other.name] for o in which],
                [o.objectives[one.name] for o in which],
                s=16 if len(which) <= 300 else 9 if len(which) <= MAX_VECTOR else 4,
                color=colour_of(colour),
                linewidths=0,
                label=label,
                rasterized=len(which) > MAX_VECTOR,
            )
    if len(goals.objectives) == 2 and front:
        corners = sorted((o.objectives[other.name], o.objectives[one.name]) for o in front)
        # Between two corners nothing is known to be better than the worse one of the first value.
        where: Literal["post", "pre"] = "post" if other.direction == "min" else "pre"
        x, y = zip(*corners, strict=True)
        axes.step(x, y, where=where, color=colour_of("vermillion"), linewidth=1.4)
    for axis, each in ((axes.xaxis, other), (axes.yaxis, one)):
        values = [o.objectives[each.name] for o in outcomes]
        if min(values) > 0 and max(values) > 10 * min(values):
            log_axis(axis, min(values), max(values))
        if max(map(abs, values)) >= 1000:
            axis.set_major_formatter(si_numbers())
    legend(axes)
    caption = f"Each point is a trained child; {len(front):,} are on the front of all objectives."
    name = f"objectives_{goals.objectives.index(one)}_{goals.objectives.index(other)}"
    return Plot(name, f"{one.name} against {other.name}", caption, made)


def _hypervolume(study: RecordedStudy, goals: Goals, reference: dict[str, float]) -> Plot:
    made, axes = figure(xlabel="evaluations", ylabel="hypervolume", width_in=HALF_IN, height_in=3.9)
    numbers, volumes = hypervolumes(study, goals, reference)
    axes.step(numbers, volumes, where="post", color=colour_of("ink"))
    if max(volumes) >= 1000:
        axes.yaxis.set_major_formatter(si_numbers())
    whole_numbers(axes)
    point = ", ".join(f"{name} = {number(value)}" for name, value in reference.items())
    return Plot(
        "hypervolume",
        "Hypervolume of the front",
        f"What the children by then dominate above the reference point {point}.",
        made,
    )


def hypervolumes(
    study: RecordedStudy, goals: Goals, reference: dict[str, float]
) -> tuple[list[int], list[float]]:
    """Computes the hypervolume after each evaluation that changed it, and after the last."""
    numbers, volumes, front = [0], [0.0], list[Outcome]()
    spent = sorted(evaluations(study), key=lambda each: each.number)
    for each in spent:
        outcome = each.outcome
        is_new = each.is_trained and study.compares(outcome) and goals.is_within(outcome)
        if not is_new:
            continue
        found = [*front, outcome]
        kept = goals.front(found)
        if len(found) - 1 in kept:
            front = [found[place] for place in kept]
            volume = dominated(goals, front, reference)
            assert volume is not None, "the caller has counted the objectives"
            numbers.append(each.number)
            volumes.append(volume)
    return [*numbers, len(spent)], [*volumes, volumes[-1]]


def _table(study: RecordedStudy, goals: Goals, front: Sequence[Outcome]) -> Table:
    rows = [
        [
            link_to(study, outcome.proposal.index),
            *(outcome.objectives[each.name] for each in goals.objectives),
            outcome.reward,
        ]
        for outcome in front
    ]
    # The reward before a scalarization may be one of the objectives.
    columns = ("child", *(f"{e.name} ({e.direction})" for e in goals.objectives), "reward")
    return Table("front", "Children on the front", "Best first objective first.", columns, rows)
