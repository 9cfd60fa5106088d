"""How a study stands, at a glance."""

from collections import Counter
from datetime import datetime

from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Facts, Section
from nasrunner.report.study.evaluations import counted, duration, evaluations, number
from nasrunner.report.study.timeline import Timeline


def overview_section(study: RecordedStudy, times: Timeline | None) -> Section:
    """Why it ended, and its figures."""
    return Section("Overview", _text(study, times), [Facts(_facts(study, times))])


def _text(study: RecordedStudy, times: Timeline | None) -> str:
    in_flight = sum(child.outcome is None for child in study.children)
    last = datetime.fromtimestamp(study.sessions[-1][1]).strftime("%Y-%m-%d %H:%M:%S")
    if study.reason is not None:
        ended = f"Ended at {last}: {study.reason}."
    else:
        ended = (
            f"Running, or broken off: the last event is of {last}, "
            f"{counted(in_flight, 'child', 'children')} in flight."
        )
    kinds = sum(len(options) > 1 for options in study.began.space.values())
    searcher = str(study.config["searcher"]["_target_"]).rpartition(".")[2]
    searched = (
        f"{searcher} with seed {study.seed} searches {counted(study.space.size(), 'architecture')}"
        f", {counted(kinds, 'kind')} of decisions."
    )
    missing = (
        "" if times is not None else "There is no timeline of workers: no child ran in real time."
    )
    return "\n\n".join(filter(None, (f"{ended} {searched}", _changed(study), missing)))


def _changed(study: RecordedStudy) -> str:
    """That children before and after a change cannot be compared; empty without one."""
    ended = [child.outcome for child in study.children if child.outcome is not None]
    marked = [outcome.proposal.index for outcome in ended if outcome.is_changed]
    if not marked:
        return ""
    return (
        f"The user's source or data changed between sessions ({'; '.join(study.changed)}): "
        f"{counted(len(marked), 'child', 'children')} from {min(marked):04d} on were trained with "
        "it, and are not comparable with those before."
    )


def _facts(study: RecordedStudy, times: Timeline | None) -> list[tuple[str, str]]:
    spent = evaluations(study)
    facts = [("evaluations", f"{len(spent):,}")]
    if best := study.best(1):
        at = next(e for e in spent if e.index == best[0].proposal.index)
        facts += [
            (f"best, child {at.index:04d}", number(at.reward)),
            ("found at evaluation", f"{at.number:,}"),
        ]
    outcomes = [child.outcome for child in study.recorded if child.outcome is not None]
    counts = Counter(
        outcome.status
        for outcome in outcomes
        if outcome.status != "invalid" or outcome.reused_from is None
    )
    facts += [
        (status, f"{count:,}")
        for status, count in sorted(counts.items())
        if status in ("failed", "invalid")
    ]
    facts.append(("wall time", duration(sum(last - first for first, last in study.sessions))))
    training_s = sum(e.outcome.cost_s for e in spent)
    if training_s:
        facts.append(("training time", duration(training_s)))
    if saved := _saved(study, counts["duplicate"]):
        facts.append(("duplicates saved", saved))
    if times is not None:
        facts.append(("workers idle", f"{times.idle_share:.0%}"))
    return facts


def _saved(study: RecordedStudy, num_replaced: int) -> str:
    """How many duplicates there were, and the seconds their first training took."""
    cost_s = {e.index: e.outcome.cost_s for e in evaluations(study)}
    reused = [e for e in evaluations(study) if not e.is_trained]
    saved_s = sum(cost_s.get(e.outcome.reused_from or 0, 0.0) for e in reused)
    if not reused and not num_replaced:
        return ""
    return f"{len(reused) + num_replaced:,}" + (f" ({duration(saved_s)})" if saved_s else "")
