"""The tables of a comparison: best reward at budgets, what each searcher did, and each study."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from nasrunner.recorded import RecordedStudy
from nasrunner.report.comparison.baselines import Baselines, compared, name_of
from nasrunner.report.comparison.groups import Group, folder_name, place_of
from nasrunner.report.comparison.progress import Progress
from nasrunner.report.comparison.statistics import (
    MIN_SEEDS,
    Difference,
    Verdict,
    estimate,
    has_verdict,
    verdicts,
)
from nasrunner.report.page.parts import Table, TableCell

_INTERVAL = (
    "The 95 % interval is Student's, over seeds; there is none where all seeds have one value, "
    "which does not show how much others would vary."
)


def usual_budgets(groups: Sequence[Group]) -> tuple[int, ...]:
    """Returns 10, 25, 50, 100, 250, 500, 1000, … as far as any study goes, and where all of them
    are.
    """
    longest = max(each.num_evaluations for group in groups for each in group.progress)
    usual = [round(digit * 10**power) for power in range(1, 7) for digit in (1, 2.5, 5)]
    shared = [budget] if (budget := shared_budget(groups)) else []
    return tuple(sorted({n for n in usual if n <= longest}.union(shared)))


def shared_budget(groups: Sequence[Group]) -> int:
    """Returns the largest number of evaluations that all studies with a reward have; 0: there is
    none.

    A study that had nothing more to find has any number.
    """
    rewarded = [each for group in groups for each in group.rewarded]
    if open_ends := [each.num_evaluations for each in rewarded if not each.is_final]:
        return min(open_ends)
    return max((each.num_evaluations for each in rewarded), default=0)


def budget_table(groups: Sequence[Group], budgets: Sequence[int], baselines: Baselines) -> Table:
    """Returns the best reward after so many evaluations, and the difference from the baseline."""
    columns: tuple[str, ...] = ("evaluations", "searcher", "seeds", "mean best reward")
    columns += ("95 % from", "95 % to", *difference_columns(baselines))
    places = [(budget, group) for budget in budgets for group in groups]
    found = [compared_with(group, budget, baselines) for budget, group in places]
    caption = f"The best reward of the first evaluations, mean over seeds. {how_sure(baselines)}"
    rows = [
        [budget, *_at_budget(group, budget), *cells]
        for (budget, group), cells in zip(places, differences(found, baselines), strict=True)
    ]
    return Table("budgets", "Best reward at budgets", caption, columns, rows)


def difference_columns(baselines: Baselines) -> tuple[str, ...]:
    """Returns the columns of ``differences``; none where there is no baseline."""
    if not baselines:
        return ()
    ends = ("95 % from ", "95 % to ")
    return f"minus {name_of(baselines)}", *ends, "seeds ahead", "correlation"


def verdict_columns(baselines: Baselines) -> tuple[str, ...]:
    """Returns the columns of ``judged``; none where there is no baseline."""
    return ("p, corrected", "verdict") if baselines else ()


def compared_with(
    group: Group, budget: int, baselines: Baselines, count: int = 1
) -> Difference | None:
    """Returns the difference from the baseline; None: the group has none, or no seeds have come so
    far.
    """
    if group.label not in baselines:
        return None
    found = compared(group, baselines[group.label], budget, count)
    return found if min(found.counts) else None


def how_sure(baselines: Baselines) -> str:
    """Returns what the caption of a table says of its intervals and differences."""
    if not baselines:
        return _INTERVAL
    return (
        f"{_INTERVAL} The difference from {name_of(baselines)} is the mean of those at the same "
        "seeds (paired) where half of them or more are in both, else that of the means (unpaired, "
        "Welch's interval). Paired intervals are right whatever the correlation at equal seeds "
        "is, and narrower than unpaired ones where it is above 0.31 (5 seeds) or 0.14 (10 seeds); "
        "of few seeds it is itself a rough figure. Each interval is of one comparison alone: of "
        "many, some leave out 0 by chance, which verdicts are corrected for."
    )


def how_judged(baselines: Baselines, found: Sequence[Difference | None]) -> str:
    """Returns what the caption of a table says of its verdicts; empty without a baseline."""
    if not baselines:
        return ""
    number = sum(each is not None and has_verdict(each) for each in found)
    corrected = (
        f" They are corrected for the {number} comparisons of this table (Holm 1979): if no search "
        "differed from its baseline, one of them at all would be given in 5 % of such tables."
    )
    return f"A verdict needs {MIN_SEEDS} seeds.{corrected if number > 1 else ''}"


def differences(found: Sequence[Difference | None], baselines: Baselines) -> list[list[object]]:
    """Returns for each row of a table the cells of its difference."""
    none = [None] * len(difference_columns(baselines))
    return [[*none] if each is None else _cells(each) for each in found]


def judged(found: Sequence[Difference | None], baselines: Baselines) -> list[list[object]]:
    """Returns for each row of a table the cells of its verdict; all of them are given together."""
    given = iter(verdicts([each for each in found if each is not None]))
    none = [None] * len(verdict_columns(baselines))
    return [[*none] if each is None else _verdict_cells(next(given)) for each in found]


def _cells(found: Difference) -> list[object]:
    if found.is_paired:
        ahead = f"{found.num_ahead} of {found.counts[0]}"
    else:
        ahead = f"unpaired, {found.counts[0]} and {found.counts[1]}"
    ends = (found.estimate.low, found.estimate.high)
    return [found.estimate.mean, *ends, ahead, found.correlation]


def _verdict_cells(verdict: Verdict) -> list[object]:
    return [verdict.p, verdict.text]


def study_budget_table(study: Progress, budgets: Sequence[int]) -> Table:
    """Returns the best reward of one study after so many evaluations."""
    rows = [[budget, study.best_after(budget)] for budget in budgets]
    caption = "The best reward of the first evaluations, those that failed included."
    columns = ("evaluations", "best reward")
    return Table("budgets", "Best reward at budgets", caption, columns, rows)


def searcher_table(groups: Sequence[Group]) -> Table:
    """Returns what each searcher spent, and found."""
    columns = (
        "searcher",
        "studies",
        "evaluations",
        "failed",
        "invalid",
        "best reward",
        "mean of the studies' best",
        "standard deviation",
    )
    caption = "Children are summed over studies; invalid ones were never trained."
    return Table("searchers", "Found", caption, columns, [_found(group) for group in groups])


def cost_table(groups: Sequence[Group]) -> Table:
    """Returns what each searcher cost, was spared, and took to decide."""
    columns = (
        "searcher",
        "wall-clock time (s)",
        "training, all children (s)",
        "duplicates not trained",
        "training saved (s)",
        "time per proposal (ms)",
    )
    caption = (
        "Summed over studies. Duplicates are proposals of an architecture that was evaluated "
        "before: its outcome is used again, or another one is proposed instead; saved is the time "
        "its training took. Time per proposal: the median from an event of the ledger to the next "
        "proposal, which the searcher and the records take."
    )
    if any(
        s.outcomes_of("estimate") or s.outcomes_of("supernet") for g in groups for s in g.studies
    ):
        caption += " The time of training has that of estimates and supernets in it."
    return Table("costs", "Spent", caption, columns, [_spent(group) for group in groups])


def study_table(groups: Sequence[Group], page: Path | None = None) -> Table:
    """Returns every study that was compared.

    Args:
        groups: of studies.
        page: the page's folder, from which places lead to the studies; None: they do not.
    """
    columns = ("searcher", "seed", "evaluations", "best reward", "best child", "ended", "place")
    rows = [
        [
            group.label,
            _seed(study),
            each.num_evaluations,
            *_best(study, group),
            _ended(study),
            TableCell(place_of(study), link=None if page is None else _link(study, page)),
        ]
        for group in groups
        for study, each in zip(group.studies, group.progress, strict=True)
    ]
    caption = "What was compared."
    if page is not None:
        caption += " A place leads to the study's own page where it has one (each=true writes it), "
        caption += "else to its folder."
    return Table("studies", "Studies", caption, columns, rows)


def _link(study: RecordedStudy, page: Path) -> str:
    """The address of the study's page, or of its folder, from the folder of this page."""
    own = study.folder / folder_name(is_rescored=study.rescored is not None) / "report.html"
    shown = own if own.is_file() else study.folder
    address = quote(os.path.relpath(shown.resolve(), page.resolve()))
    return address if shown == own else f"{address}/"


def _seed(study: RecordedStudy) -> int | str:
    """The study's seed, and its searcher's where that has another."""
    seed, own = study.repetition
    return seed if own == seed else f"{seed}, searcher {own}"


def num_duplicates(study: RecordedStudy) -> int:
    """Returns proposals that were not trained because their architecture had been evaluated."""
    return len(_reused(study))


def saved_s(study: RecordedStudy) -> float:
    """Returns seconds that the training of its duplicates would have taken, as it took the first
    time.
    """
    by_index = {child.proposal.index: child.outcome for child in study.recorded}
    earlier = [by_index.get(index) for index in _reused(study)]
    return sum(outcome.cost_s for outcome in earlier if outcome is not None)


def proposal_times_s(study: RecordedStudy) -> Iterator[float]:
    """Yields seconds from each proposal's preceding event: to observe, propose and record."""
    ended = [c.ended_s for c in study.children if c.ended_s is not None]
    proposed = [child.proposed_s for child in study.children]
    starts = [first for first, _ in study.sessions]
    events = np.sort(np.array([*ended, *proposed, *starts]))
    for time_s in proposed:
        place = int(np.searchsorted(events, time_s, side="right")) - 1  # its own, or as late
        if place:
            yield time_s - float(events[place - 1])


def _at_budget(group: Group, budget: int) -> list[object]:
    values = group.best_by_seed(budget)
    found = estimate(list(values.values()))
    return [group.label, len(values), found.mean if values else None, found.low, found.high]


def _found(group: Group) -> list[object]:
    best = [float(each.best_E[-1]) for each in group.rewarded]
    statuses = [c.outcome.status for s in group.studies for c in s.trainings if c.outcome]
    return [
        group.label,
        len(group.studies),
        sum(each.num_evaluations for each in group.progress),
        statuses.count("failed"),
        statuses.count("invalid"),
        max(best, default=None),
        float(np.mean(best)) if best else None,
        float(np.std(best, ddof=1)) if len(best) > 1 else None,
    ]


def _spent(group: Group) -> list[object]:
    times = [time_s for study in group.studies for time_s in proposal_times_s(study)]
    return [
        group.label,
        round(sum(each.elapsed_s for each in group.progress), 1),
        round(sum(each.trained_s for each in group.progress), 1),
        sum(map(num_duplicates, group.studies)),
        round(sum(map(saved_s, group.studies)), 1),
        round(1000 * float(np.median(times)), 1) if times else None,
    ]


def _reused(study: RecordedStudy) -> list[int]:
    """For each duplicate, the index of the child whose training it was spared."""
    outcomes = (child.outcome for child in study.trainings)
    return [o.reused_from for o in outcomes if o is not None and o.reused_from is not None]


def _best(study: RecordedStudy, group: Group) -> tuple[float | None, str | None]:
    best = study.best(1)
    is_compared = not group.is_full or study.reach is None
    if not best or best[0].outcome is None or not is_compared:
        return None, None
    return best[0].outcome.reward, f"{best[0].proposal.index:04d}"


def _ended(study: RecordedStudy) -> str:
    return study.reason or "running, or broken off"
