"""Which search every other is compared with, and by how much that is ahead of it."""

from collections.abc import Mapping, Sequence

from nasrunner.core.errors import ConfigError, suggest
from nasrunner.report.comparison.groups import Group, study_and_baseline
from nasrunner.report.comparison.statistics import Difference, difference

Baselines = Mapping[str, Group]
"""Label of a group -> the group it is compared with; those that are not compared are left out."""


def find_baselines(found: Sequence[Group], wanted: str | None) -> dict[str, Group]:
    """Returns the baseline of every group; empty where there is none.

    How far a search is ahead of another says something about the searchers only if both search
    the same space: a searcher is the baseline of those in its own. A label is that of all.

    Args:
        found: all groups.
        wanted: a label or the name of a searcher; None: the search that ran beside a study, or
            random search, if it is there.

    Raises:
        ConfigError: no group is called so, or several of one space have this searcher.
    """
    studies = [study for group in found for study in group.studies]
    if wanted is None and (pair := study_and_baseline(studies)):
        mine, theirs = (next(g for g in found if g.studies[0] is study) for study in pair)
        return {mine.label: theirs}
    name = wanted or "random"
    if labelled := [group for group in found if group.label == name]:
        return {group.label: labelled[0] for group in found if group is not labelled[0]}
    matching = [group for group in found if group.searcher == name]
    of_space = {g.space: [m for m in matching if m.space == g.space] for g in found}
    if wanted is not None:
        _check(name, matching, list(of_space.values()), [group.label for group in found])
    single = {space: those[0] for space, those in of_space.items() if len(those) == 1}
    others = [group for group in found if group.searcher != name]
    return {group.label: single[group.space] for group in others if group.space in single}


def within_spaces(found: Sequence[Group], baselines: Baselines) -> dict[str, Group]:
    """Returns the baselines of those groups that search the same space as theirs."""
    compared_groups = [group for group in found if group.label in baselines]
    return {
        group.label: baselines[group.label]
        for group in compared_groups
        if baselines[group.label].space == group.space
    }


def name_of(baselines: Baselines) -> str:
    """Returns what the page calls the baseline: its label, or its searcher where every space has
    one.
    """
    labels = {baseline.label: baseline.searcher for baseline in baselines.values()}
    return next(iter(labels if len(labels) == 1 else labels.values()))


def compared(group: Group, baseline: Group, num_evaluations: int, count: int = 1) -> Difference:
    """Returns how much a group is ahead of the baseline after so many evaluations.

    Args:
        group: the one.
        baseline: what it is compared with.
        num_evaluations: the budget of each study.
        count: how many of the best different children of each study are averaged.
    """
    one, other = (each.best_by_seed(num_evaluations, count) for each in (group, baseline))
    return difference(one, other)


def _check(
    name: str, matching: Sequence[Group], of_space: Sequence[Sequence[Group]], labels: Sequence[str]
) -> None:
    if not matching:
        raise ConfigError(f"baseline={name} is not among what is compared, {suggest(name, labels)}")
    if several := next((those for those in of_space if len(those) > 1), None):
        shown = " | ".join(group.label for group in several)
        raise ConfigError(f"baseline={name} is several groups: {shown}. Name one of them")
