"""One study against the search that ran beside it with the same budget."""

import re
from collections.abc import Sequence

from nasrunner.report.comparison.best_children import top_plots
from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.plots import best_plots
from nasrunner.report.comparison.progress import TOP_COUNTS
from nasrunner.report.comparison.tables import usual_budgets
from nasrunner.report.page.parts import Section, Table
from nasrunner.study.baseline import compare


def beside_section(mine: Group, theirs: Group, budgets: Sequence[int] | None) -> Section:
    """Returns how far a study is ahead of its baseline.

    Args:
        mine: the group of that one study.
        theirs: the group of its baseline.
        budgets: numbers of evaluations to compare at; None: the usual ones.
    """
    one, other = (group.studies[0].state.history for group in (mine, theirs))
    told = re.sub(r"-(?=[0-9])", "−", compare(theirs.label, one, other).text())
    text = (
        f"{told[:1].upper()}{told[1:]}.\n\n"
        "Both share the workers: the timeline has the children of both."
    )
    pair = [mine, theirs]
    plots = [*best_plots(pair, ("evaluations",)), *top_plots(pair, {mine.label: theirs})]
    table = _table(mine, theirs, budgets or usual_budgets(pair))
    return Section(f"Against {theirs.label}", text, [*plots, table])


def _table(mine: Group, theirs: Group, budgets: Sequence[int]) -> Table:
    columns = ("evaluations", "best children", mine.label, theirs.label, "difference")
    rows: list[list[object]] = []
    for budget in budgets:
        for count in (count for count in TOP_COUNTS if count <= budget):
            one, other = (g.progress[0].best_after(budget, count) for g in (mine, theirs))
            difference = None if one is None or other is None else one - other
            rows.append([budget, count, one, other, difference])
    caption = (
        "The mean reward of so many of the best children, each genotype once. There is none where "
        "fewer different children have a reward."
    )
    return Table("top_children", "Best different children at budgets", caption, columns, rows)
