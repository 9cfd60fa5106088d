"""The sections of a page that compare: which search is ahead, by how much, and at what cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nasrunner.recorded import RecordedStudy
from nasrunner.report.comparison.baselines import Baselines, name_of, within_spaces
from nasrunner.report.comparison.best_children import top_parts
from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.plots import best_plots, difference_plots, share_plots
from nasrunner.report.comparison.spaces import difference_of_spaces
from nasrunner.report.comparison.statistics import (
    MIN_SEEDS,
    Difference,
    Verdict,
    has_verdict,
    verdicts,
)
from nasrunner.report.comparison.tables import (
    budget_table,
    compared_with,
    cost_table,
    num_duplicates,
    saved_s,
    searcher_table,
    shared_budget,
    study_budget_table,
    study_table,
    usual_budgets,
)
from nasrunner.report.comparison.tested import scores_sections
from nasrunner.report.comparison.validation import about_validation
from nasrunner.report.page.parts import Facts, Part, Plot, Section
from nasrunner.report.study.evaluations import counted, duration, number


def compare_sections(
    groups: Sequence[Group],
    baselines: Baselines,
    budgets: Sequence[int] | None,
    page: Path | None = None,
) -> list[Section]:
    """Returns the sections that compare several studies.

    Args:
        groups: at least one, of comparable studies, at least one of which has an evaluation.
        baselines: what each group is compared with, if anything.
        budgets: numbers of evaluations to compare at; None: the usual ones.
        page: its folder, if the studies' files can be reached from it.
    """
    chosen = tuple(budgets) if budgets else usual_budgets(groups)
    plots = [*best_plots(groups, ("evaluations",)), *_over_time(groups), *share_plots(groups)]
    at_budgets: list[Part] = []
    if any(group.rewarded for group in groups):
        at_budgets = [
            *difference_plots(groups, chosen, baselines),
            budget_table(groups, chosen, baselines),
            *top_parts(groups, chosen, within_spaces(groups, baselines)),
        ]
    tables_of_all = [searcher_table(groups), cost_table(groups), study_table(groups, page)]
    told = dict.fromkeys(s.about_rescored for group in groups for s in group.studies)
    about = (*told, _verdict(groups, baselines), difference_of_spaces(_spaces_of(groups)))
    text = "\n\n".join(filter(None, about))
    return [
        Section("Comparison", text, [_facts(groups), *plots]),
        Section("At equal budgets", _how_compared(groups, baselines), at_budgets),
        *scores_sections(groups, within_spaces(groups, baselines)),
        Section("Searchers and studies", "", tables_of_all),
    ]


def progress_section(group: Group, budgets: Sequence[int] | None) -> Section | None:
    """Returns what a page on one study shows of its progress; None: it has no reward to show."""
    if not group.rewarded:
        return None
    parts: list[Part] = [*_over_time([group]), *share_plots([group])]
    parts.append(study_budget_table(group.progress[0], budgets or usual_budgets([group])))
    return Section("Progress", "", parts)


def _over_time(groups: Sequence[Group]) -> list[Plot]:
    return best_plots(groups, ("elapsed_s", "trained_s"))


def _facts(groups: Sequence[Group]) -> Facts:
    studies = [study for group in groups for study in group.studies]
    ends = [each for group in groups for each in group.progress]
    num_spaces = len(_spaces_of(groups))
    items = [
        ("searches", f"{len(groups):,}"),
        *([("spaces", f"{num_spaces:,}")] if num_spaces > 1 else []),
        ("studies", f"{len(studies):,}"),
        ("evaluations", f"{sum(each.num_evaluations for each in ends):,}"),
    ]
    if best := _best(groups):
        items.append(("best reward", f"{number(best[0])}"))
    trained_s = sum(each.trained_s for each in ends)
    if trained_s:
        items.append(("training, all children", duration(trained_s)))
    if duplicates := sum(map(num_duplicates, studies)):
        spared_s = sum(map(saved_s, studies))
        time = f" ({duration(spared_s)})" if spared_s else ""
        items.append(("duplicates not trained", f"{duplicates:,}{time}"))
    return Facts(items)


def _best(groups: Sequence[Group]) -> tuple[float, str] | None:
    """The best reward of all, and who found it."""
    found = [(float(each.best_E[-1]), group.label) for group in groups for each in group.rewarded]
    return max(found, default=None)


def _verdict(groups: Sequence[Group], baselines: Baselines) -> str:
    """What the comparison comes to, in words."""
    best = _best(groups)
    if best is None:
        return "No child has a reward: there is nothing to compare yet."
    budget = shared_budget(groups)
    sentences = [
        f"The best reward of all, {number(best[0])}, is of {best[1]}.",
        f"All studies that have a reward have {counted(budget, 'evaluation')} or more.",
    ]
    gaps: dict[str, float] = {}
    if budget:
        found = {group.label: compared_with(group, budget, baselines) for group in groups}
        differences = {label: each for label, each in found.items() if each is not None}
        sentences += _against_baselines(groups, baselines, budget, differences)
        gaps = {label: each.estimate.mean for label, each in differences.items()}
    studies = [study for group in groups for study in group.studies]
    paragraphs = (" ".join(sentences), about_validation(studies, best[0], gaps))
    return "\n\n".join((*filter(None, paragraphs), _reservations(groups)))


def _against_baselines(
    groups: Sequence[Group], baselines: Baselines, budget: int, found: Mapping[str, Difference]
) -> list[str]:
    """A sentence on each search that has a baseline, and how many verdicts these are."""
    given = dict(zip(found, verdicts(list(found.values())), strict=True))
    sentences = [
        _against(group, baselines[group.label], budget, found[group.label], given[group.label])
        for group in groups
        if group.label in found
    ]
    number = sum(map(has_verdict, found.values()))
    if number > 1:
        sentences.append(
            f"These are {number} comparisons: their verdicts and p are corrected for that (Holm "
            "1979), and each interval is of one comparison alone."
        )
    return sentences


def _against(
    group: Group, baseline: Group, budget: int, found: Difference, verdict: Verdict
) -> str:
    gap, low, high = found.estimate.mean, found.estimate.low, found.estimate.high
    seeds = (
        f"{counted(found.counts[0], 'seed')}, paired"
        if found.is_paired
        else f"{found.counts[0]} and {found.counts[1]} seeds, unpaired"
    )
    interval = "" if low is None or high is None else f" [{low:+.3g}, {high:+.3g}]"
    text = {
        "ahead": f"is ahead of {baseline.label}",
        "behind": f"is behind {baseline.label}",
        "undecided": f"shows no difference from {baseline.label}",
        "too few seeds": f"against {baseline.label}, too few seeds for a verdict",
    }[verdict.text]
    figures = f"{gap:+.3g}{interval}".replace("-", "−")
    p = "" if verdict.p is None else f", p {_p(verdict.p)}"
    return f"After {budget:,} evaluations {group.label} {text}: {figures} ({seeds}{p})."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _reservations(groups: Sequence[Group]) -> str:
    """What a reader must know before he believes the figures."""
    notes = []
    for group in groups:
        silent = len(group.studies) - len(group.rewarded)
        if silent:
            notes.append(
                f"{silent} of the {counted(len(group.studies), 'study', 'studies')} of "
                f"{group.label} {'has' if silent == 1 else 'have'} no reward and no part in its "
                "means."
            )
        for reach in dict.fromkeys(study.reach for study in group.studies if study.reach):
            count = "are not compared" if group.is_full else "are compared"
            notes.append(
                f"{group.label} has a study in which no child was trained {reach.missed}: its "
                f"rewards are those {reach.short}, which {count}."
            )
        if seeds := group.repeated_seeds:
            notes.append(
                f"{group.label} has more than one study with seed "
                f"{', '.join(map(str, seeds))}: those are no independent repetitions."
            )
    return " ".join(notes)


def _spaces_of(groups: Sequence[Group]) -> dict[str, RecordedStudy]:
    """The name of each space, and a study that searched it."""
    found: dict[str, RecordedStudy] = {}
    for group in groups:
        found.setdefault(group.space, group.studies[0])
    return found


def _how_compared(groups: Sequence[Group], baselines: Baselines) -> str:
    if not baselines:
        return _without_baseline(groups)
    if len(_spaces_of(groups)) == 1:
        return ""
    if within_spaces(groups, baselines) != baselines:
        return (
            f"Searches of other spaces are compared with {name_of(baselines)} by their best reward "
            "only. Their best different children are left out: how many good ones there are says "
            "more about a space than about who searches it."
        )
    searcher = next(iter(baselines.values())).searcher
    sentence = (
        f"Each search is compared with {searcher} in its own space. Differences between searches "
        "of different spaces are left out: they are of the space and the searcher together. Name a "
        f"search to see them: baseline='{groups[0].label}'."
    )
    return " ".join([sentence, *_spaces_without(groups, baselines)])


def _spaces_without(groups: Sequence[Group], baselines: Baselines) -> list[str]:
    having = {baseline.space for baseline in baselines.values()}
    missing = [space for space in _spaces_of(groups) if space not in having]
    return [f"There is no such baseline in {', '.join(missing)}."] if missing else []


def _without_baseline(groups: Sequence[Group]) -> str:
    if len(groups) < 2:
        return "There is one search only: a comparison needs a baseline, such as random search."
    return (
        "No search is the baseline: none is random search, or several are. Name one with "
        f"baseline=…: {' | '.join(group.label for group in groups)}. "
        f"A verdict needs {MIN_SEEDS} seeds of each."
    )
