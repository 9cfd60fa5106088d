"""Who was mutated from whom: the lineage of a search that changes earlier children."""

from collections.abc import Mapping, Sequence

from matplotlib.collections import LineCollection

from nasrunner.core.decision import Decision, shown
from nasrunner.core.ledger.steps import Reach
from nasrunner.core.records import Proposal
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.decisions.names import readable
from nasrunner.report.page.parts import Part, Plot, Section, Table
from nasrunner.report.page.style import colour_of, figure, legend, whole_numbers
from nasrunner.report.study.children import link_to
from nasrunner.report.study.evaluations import counted, reward_label
from nasrunner.report.study.reward_axes import MAX_VECTOR, below_caption, limit_rewards
from nasrunner.report.study.rungs import went_on_from


def ancestry_section(study: RecordedStudy) -> Section | None:
    """Shows parents and their children, and how the best came about; None without any parents."""
    by_index = {child.proposal.index: child for child in study.children}
    made = [child for child in study.begun if went_on_from(child.proposal) is None]
    pairs = [
        (by_index[child.proposal.parent], child)
        for child in made
        if child.proposal.parent is not None and child.proposal.parent in by_index
    ]
    if not pairs:
        return None
    best = study.best(1)
    line = ancestors(by_index, best[0].proposal.index) if best else []
    parts: list[Part] = []
    if best:
        parts = [_tree(study, made, pairs, line), _table(study, line)]
    better = [
        child.outcome.reward > parent.outcome.reward
        for parent, child in pairs
        if (parent.outcome and child.outcome)
        and Reach.of(parent.outcome) == Reach.of(child.outcome)
        and (parent.outcome.reward is not None and child.outcome.reward is not None)
    ]
    text = (
        f"{len(pairs):,} of {counted(len(made), 'child', 'children')} were made from another one."
    )
    if better:
        text += (
            f" Of the {len(better):,} of these whose rewards are known, and their parents' "
            f"after as much training, {sum(better):,} ({sum(better) / len(better):.0%}) are better "
            "than the parent."
        )
    return Section("Lineage", text, parts)


def ancestors(children: Mapping[int, RecordedChild], index: int) -> list[RecordedChild]:
    """Returns a child and those that it was made from, one after another, the first one first.

    One that was trained further, or promoted, stands behind what it was trained to before.
    """
    found = [children[index]]
    while (source := _source(found[-1].proposal)) in children and source is not None:
        found.append(children[source])
    return found[::-1]


def _source(proposal: Proposal) -> int | None:
    before = went_on_from(proposal)
    return proposal.parent if before is None else before


def _tree(
    study: RecordedStudy,
    begun: Sequence[RecordedChild],
    pairs: Sequence[tuple[RecordedChild, RecordedChild]],
    line: Sequence[RecordedChild],
) -> Plot:
    made, axes = figure(xlabel="children proposed", ylabel=reward_label(study), height_in=4.2)
    positions = {child.proposal.index: n for n, child in enumerate(begun, start=1)}
    for child in study.children:  # each is listed behind what it went on with
        if (before := went_on_from(child.proposal)) in positions and before is not None:
            positions[child.proposal.index] = positions[before]
    places = {
        child.proposal.index: (positions[child.proposal.index], child.outcome.reward)
        for child in study.trainings
        if child.proposal.index in positions
        and child.outcome is not None
        and child.outcome.reward is not None
    }
    known = [
        (places[parent.proposal.index], places[child.proposal.index])
        for parent, child in pairs
        if parent.proposal.index in places and child.proposal.index in places
    ]
    is_many = len(places) > 300
    axes.add_collection(
        LineCollection(
            known,
            colors=colour_of("context"),
            linewidths=0.7,
            alpha=0.35 if is_many else 0.6,
            rasterized=len(known) > MAX_VECTOR,
            label="parent to child",
        )
    )
    axes.scatter(
        [x for x, _ in places.values()],
        [y for _, y in places.values()],
        s=7 if is_many else 14,
        color=colour_of("blue"),
        linewidths=0,
        alpha=0.6,
        rasterized=len(places) > MAX_VECTOR,
        label="child",
    )
    of_line = [places[c.proposal.index] for c in line if c.proposal.index in places]
    axes.plot(
        [x for x, _ in of_line],
        [y for _, y in of_line],
        color=colour_of("vermillion"),
        marker="o",
        markersize=4,
        label="ancestors of the best",
    )
    num_below = limit_rewards(
        axes, [x for x, _ in places.values()], [y for _, y in places.values()]
    )
    axes.set_xlim(0, len(begun) + 1)
    whole_numbers(axes)
    legend(axes)
    caption = "Each point is a child with a reward; a line leads from the one it was made from."
    if len({x for x, _ in places.values()}) < len(places):
        caption += (
            " A child that was trained further has a point for each training, one above another."
        )
    if num_below:
        caption += f" {below_caption(num_below)}"
    return Plot("lineage", "Parents and children", caption, made)


def _table(study: RecordedStudy, line: Sequence[RecordedChild]) -> Table:
    decisions: dict[str, Decision] = {}

    for child in line:
        genotype = child.proposal.genotype

        def answer(decision: Decision, genotype: Mapping[str, int] = genotype) -> int:
            decisions[decision.path] = decision
            return genotype[decision.path]

        study.space.walk(answer)
    names = readable({path: each.options for path, each in decisions.items()})
    rows: list[list[object]] = []
    generation = 0
    for place, child in enumerate(line):
        before = line[place - 1].proposal.genotype if place else None
        reward = None if child.outcome is None else child.outcome.reward
        is_further = before is not None and went_on_from(child.proposal) is not None
        generation += not is_further
        if before is None:
            changes = "the first of its line"
        elif is_further and before == child.proposal.genotype:
            changes = "nothing: it was trained further"
        else:
            changes = _changes(before, child.proposal.genotype, decisions, names)
        rows.append([generation, link_to(study, child.proposal.index), reward, changes])
    caption = (
        "The best child and those it was made from, the first one first, each with its own reward "
        "and what was changed."
    )
    columns = ("generation", "child", "reward", "what changed")
    return Table("ancestors", "How the best came about", caption, columns, rows)


def _changes(
    before: Mapping[str, int],
    after: Mapping[str, int],
    decisions: Mapping[str, Decision],
    names: Mapping[str, str],
) -> str:
    """The answers in which two children differ, in words."""

    def told(path: str, genotype: Mapping[str, int]) -> str:
        return shown(decisions[path].options[genotype[path]]) if path in genotype else "not asked"

    differing = [
        path for path in decisions if before.get(path) != after.get(path)
    ]  # in the order in which they are asked
    changes = [f"{names[path]}: {told(path, before)} → {told(path, after)}" for path in differing]
    return "; ".join(changes) or "nothing: the same answers"
