"""The rungs of a search that trains some children further than others."""

from collections.abc import Sequence
from statistics import median

from matplotlib.collections import LineCollection

from nasrunner.core.ledger.steps import PROMOTES, Reach
from nasrunner.core.records import Outcome, Proposal
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Plot, Section, Table
from nasrunner.report.page.style import HALF_IN, colour_of, figure, legend
from nasrunner.report.study.evaluations import duration, reward_label

_TO_THE_END = "to the end"


def rungs_section(study: RecordedStudy) -> Section | None:
    """Shows how far children were trained, and with which rewards; None where all were whole."""
    outcomes = [
        outcome
        for child in study.trainings
        if (outcome := child.outcome) is not None
        and outcome.reward is not None
        and outcome.reused_from is None
        and outcome.is_trained
        and (outcome.is_full or Reach.of(outcome) is not None)
    ]
    reaches = sorted({r for o in outcomes if (r := Reach.of(o))}, key=lambda reach: reach.order)
    if not reaches:
        return None
    rungs: list[Reach | None] = [*reaches, None]
    by_rung = {rung: [o for o in outcomes if Reach.of(o) == rung] for rung in rungs}
    if not by_rung[None]:
        del by_rung[None]
    return Section("Rungs", "", [_ladder(study, by_rung), _table(by_rung)])


def _ladder(study: RecordedStudy, by_rung: dict[Reach | None, list[Outcome]]) -> Plot:
    """Rewards at every rung; a line leads from the training that a child went on with."""
    made, axes = figure(
        xlabel="rung", ylabel=reward_label(study), width_in=HALF_IN * 1.4, height_in=3.9
    )
    places = {
        outcome.proposal.index: (place, outcome.known_reward)
        for place, outcomes in enumerate(by_rung.values())
        for outcome in outcomes
    }
    befores = {index: went_on_from(study.state.proposals[index]) for index in places}
    lines = [
        (places[before], place)
        for index, place in places.items()
        if (before := befores[index]) in places
    ]
    axes.add_collection(
        LineCollection(lines, colors=colour_of("context"), linewidths=0.9, label="went on")
    )
    went_on = set(befores.values())
    for label, colour, those in (
        ("ended here", "sky", [p for index, p in places.items() if index not in went_on]),
        ("went on", "blue", [p for index, p in places.items() if index in went_on]),
    ):
        if those:
            axes.scatter(
                [x for x, _ in those],
                [y for _, y in those],
                s=20 if len(places) <= 300 else 9,
                color=colour_of(colour),
                linewidths=0,
                label=label if label == "ended here" else "trained further",
                zorder=3,
            )
    axes.set_xticks(range(len(by_rung)), [_name(rung) for rung in by_rung])
    axes.set_xlim(-0.3, len(by_rung) - 0.7)
    axes.grid(visible=False, axis="x")
    legend(axes, columns=3)
    caption = (
        "Each point is a training as far as its rung; a line leads to the same child at the next "
        "one it was trained to."
    )
    return Plot("rungs", "Rewards at every rung", caption, made)


def _table(by_rung: dict[Reach | None, list[Outcome]]) -> Table:
    rows = [_row(rung, outcomes) for rung, outcomes in by_rung.items()]
    caption = (
        "Children that were trained as far as each rung. Their time is that of this part alone "
        "where it went on with an earlier one."
    )
    columns = ("rung", "children", "best reward", "median reward", "time, all of them")
    return Table("rungs_table", "Rungs", caption, columns, rows)


def _row(rung: Reach | None, outcomes: Sequence[Outcome]) -> list[object]:
    rewards = [each.known_reward for each in outcomes]
    spent_s = sum(each.cost_s for each in outcomes)
    return [_name(rung), len(outcomes), max(rewards), median(rewards), duration(spent_s)]


def _name(rung: Reach | None) -> str:
    return _TO_THE_END if rung is None else rung.short


def went_on_from(proposal: Proposal) -> int | None:
    """Returns the training that a child goes on with, or was promoted from, if any."""
    if proposal.continues is not None:
        return proposal.continues
    promoted = proposal.notes.get(PROMOTES)
    return None if promoted is None else int(promoted)
