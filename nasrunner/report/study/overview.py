"""How a study stands, at a glance."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from nasrunner.core.ledger.agreement import Predictions
from nasrunner.core.ledger.history import COPIES
from nasrunner.core.ledger.steps import fidelities_of, shown_fidelity, steps_of
from nasrunner.core.ports import about_predictions
from nasrunner.core.records import Outcome
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Facts, Section
from nasrunner.report.searcher_names import searcher_name
from nasrunner.report.study.configuration import about_data
from nasrunner.report.study.evaluations import (
    about_rewards,
    counted,
    duration,
    evaluations,
    number,
)
from nasrunner.report.study.timeline import Timeline, why_no_timeline
from nasrunner.study.proposals.one_class import about_one_class
from nasrunner.study.proposals.taken_over import taken_over

_FEWEST_RANKED = 5
"""Children of which it is told how alike their estimates and rewards rank them."""


def overview_section(study: RecordedStudy, times: Timeline | None) -> Section:
    """Tells why it ended, and its figures."""
    return Section("Overview", _text(study, times), [Facts(_facts(study, times))])


def _text(study: RecordedStudy, times: Timeline | None) -> str:
    in_flight = sum(child.proposal.kind == "train" for child in study.children if not child.outcome)
    last = datetime.fromtimestamp(study.sessions[-1][1]).strftime("%Y-%m-%d %H:%M:%S")
    if study.reason is not None:
        ended = f"Ended at {last}: {study.reason}."
    else:
        ended = (
            f"Running, or broken off: the last event is of {last}, "
            f"{counted(in_flight, 'child', 'children')} in flight."
        )
    kinds = sum(len(options) > 1 for options in study.began.space.values())
    searcher = searcher_name(study.config["searcher"])
    searched = (
        f"Searched by {searcher} with seed {study.seed}: "
        f"{counted(study.space.size(), 'architecture')}, {counted(kinds, 'kind')} of decisions."
    )
    missing = "" if times is not None else why_no_timeline(study)
    began_with = _began_with(study)
    parts = (
        study.about_rescored,
        f"{ended} {searched} {about_data(study)}",
        began_with,
        about_rewards(study),
        _inherited(study),
        _of_one_class(study),
        _gone(study),
        _changed(study),
        missing,
    )
    return "\n\n".join(filter(None, parts))


def _began_with(study: RecordedStudy) -> str:
    """What was known before the first child, and what of it is not comparable; else empty."""
    known = study.state.begins_with
    if known is None:
        return ""
    told = [f"It began with {known.told}."]
    for each in known.studies:
        if each.differs and known.ignored is None:
            differs = f"{', '.join(each.differs[:3])}{' and more' if each.differs[3:] else ''}"
            told.append(f"The children of {each.name} were trained otherwise: {differs}.")
    drawn = [place for place, each in enumerate(known.given) if each.drawn]
    if drawn:
        named = ", ".join(f"{index:04d}" for index in drawn)
        told.append(f"Answers that were left open were drawn at random, of {named}.")
    return " ".join(told)


def _inherited(study: RecordedStudy) -> str:
    """How many children began with weights of others, and what that may cost; else empty."""
    taken = taken_over(study.state.history.outcomes)
    if not taken.num_inheriting or taken.inherited_share is None:
        return ""
    return (
        f"{counted(taken.num_inheriting, 'child', 'children')} began with weights of others, "
        f"which were {taken.inherited_share:.0%} of their parameters on average. Such rewards may "
        "rank children otherwise than those of trainings from first weights: nasrunner-calibrate "
        "what=inherited, with this space, data and trainer, measures by how much."
    )


def _of_one_class(study: RecordedStudy) -> str:
    """That every child answers one class alone; empty where one does not."""
    told = about_one_class(study.state.history.outcomes)
    return f"{told[:1].upper()}{told[1:]}." if told else ""


def _gone(study: RecordedStudy) -> str:
    """That weights or training states were gone when children began; empty where none was."""
    taken, told = taken_over(study.state.history.outcomes), []
    if num := taken.num_again:
        told.append(
            f"{counted(num, 'training')} went on from a state that was gone, which was trained "
            "again: the results are the same, at the cost of a longer training."
        )
    if num := taken.num_without:
        told.append(
            f"{counted(num, 'child', 'children')} began without weights that were gone or could "
            "not be read."
        )
    return " ".join(told)


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
    facts = [("evaluations", f"{sum(not e.is_copy for e in spent):,}")]
    if best := study.best(1):
        at = next(e for e in spent if e.index == best[0].proposal.index)
        after = "" if study.reach is None else f" {study.reach.short}"
        facts += [
            (f"best{after}, child {at.index:04d}", number(at.reward)),
            ("found at evaluation", f"{at.number:,}"),
        ]
    outcomes = [child.outcome for child in study.trainings if child.outcome is not None]
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
    history = study.state.history
    facts += [
        (name, f"{count:,}")
        for status, name in (
            ("too_large", "too large, not trained"),
            ("paused", "paused, not gone on with"),
            ("stopped", "stopped"),
        )
        if (count := history.counts[status])
    ]
    facts += [
        (name.replace("_", " "), f"{count:,}")
        for name, count in history.counts.items()
        if count and name.startswith(COPIES)
    ]
    facts += _parts(study)
    facts += _times(study)
    training_s = sum(outcome.cost_s for outcome in outcomes)
    if training_s:
        facts.append(("training time", duration(training_s)))
    facts += [("estimates", told)] if (told := _beside(study.outcomes_of("estimate"))) else []
    facts += [("estimates and rewards", told)] if (told := _agreement(study)) else []
    predictions = study.state.history.predictions
    if study.rescored is not None:  # the predictions are of the rewards of the search
        predictions = Predictions()
    if told := about_predictions(
        len(predictions.pairs), predictions.correlation, predictions.levels
    ):
        facts.append(("predictions", told))
    facts += [("supernets", told)] if (told := _beside(study.outcomes_of("supernet"))) else []
    if saved := _saved(study, counts["duplicate"]):
        facts.append(("duplicates saved", saved))
    if times is not None and times.idle_share is not None:
        facts.append(("workers idle", f"{times.idle_share:.0%}"))
    return facts


def _times(study: RecordedStudy) -> list[tuple[str, str]]:
    """How long it took: as the terminal gave it, and without what was before the first child."""
    from_first = duration(sum(last - first for first, last in study.sessions))
    facts = [("wall time from the first child on", from_first)]
    if (wall_s := _wall_s(study)) is None:
        return facts
    whole = duration(wall_s)
    return [("wall time", whole), *(facts if from_first != whole else [])]


def _wall_s(study: RecordedStudy) -> float | None:
    """What the terminal gave as the study's time, which has the start in it; None while it runs.

    A summary of a session before the last is not of the whole study.
    """
    try:
        summary = json.loads((study.folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an older study, or one fetched without it
        return None
    is_of_now = isinstance(summary, dict) and summary.get("reason") == study.reason
    wall_s = summary.get("wall_s") if is_of_now and study.reason is not None else None
    return wall_s if isinstance(wall_s, int | float) else None


def _parts(study: RecordedStudy) -> list[tuple[str, str]]:
    """How many trainings went on or were at fidelities, and how alike these rank children."""
    history = study.state.history
    continued, facts = history.counts["continued"], []
    if continued:
        facts.append(("continued trainings", f"{continued:,}"))
    fidelities = fidelities_of(history.outcomes)
    if continued or fidelities:
        facts.append(("trained to the end", f"{history.num_full:,}"))
    for each in fidelities:
        name = f"at {shown_fidelity(each.fidelity)}" if each.fidelity else "each to the end"
        took = duration(each.cost_s)
        facts.append((name, f"{each.num_children:,}, {took} each" if each.fidelity else took))
    steps = steps_of(study.state.outcomes)
    return [*facts, *((f"ρ of rewards, {e.kind} {e.between}", e.found) for e in steps)]


def _beside(outcomes: Sequence[Outcome]) -> str:
    """How many estimates or supernets there were, and what they took; empty without one."""
    if not outcomes:
        return ""
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    cost_s = sum(outcome.cost_s for outcome in outcomes)
    details = [f"{failed:,} failed"] if failed else []
    details += [duration(cost_s)] if cost_s else []
    return f"{len(outcomes):,}" + (f" ({', '.join(details)})" if details else "")


def _agreement(study: RecordedStudy) -> str:
    """How alike estimates and rewards rank the children that have both; empty for very few.

    Those that a filter has trained are the best by their estimates, among which these agree less
    with the rewards than among all.
    """
    name = (study.config.get("searcher") or {}).get("proxy")  # a filter's
    scores = {
        each.proposal.hash: each.reward if name is None else each.metrics.get(name)
        for each in study.outcomes_of("estimate")
        if not each.proposal.is_prediction
    }
    trained = {
        each.proposal.hash: each.reward
        for each in study.state.history.outcomes
        if study.compares(each) and each.reward is not None and each.reused_from is None
    }
    both = [(scores[key], reward) for key, reward in trained.items() if scores.get(key) is not None]
    if len(both) < _FEWEST_RANKED:
        return ""
    # It takes a while, and most studies have no estimates.
    from scipy.stats import kendalltau  # type: ignore[import-untyped]  # ships no types

    tau = float(kendalltau(*zip(*both, strict=True)).statistic)
    told = (
        "cannot be told, one of the two is the same" if math.isnan(tau) else number(round(tau, 2))
    )
    return f"Kendall's τ of {len(both):,} trained children: {told}"


def _saved(study: RecordedStudy, num_replaced: int) -> str:
    """How many duplicates there were, and the seconds their first training took."""
    spent = [c.outcome for c in study.trainings if c.is_evaluation and c.outcome is not None]
    cost_s = {outcome.proposal.index: outcome.cost_s for outcome in spent}
    reused = [outcome for outcome in spent if outcome.reused_from is not None]
    saved_s = sum(cost_s.get(outcome.reused_from or 0, 0.0) for outcome in reused)
    if not reused and not num_replaced:
        return ""
    return f"{len(reused) + num_replaced:,}" + (f" ({duration(saved_s)})" if saved_s else "")
