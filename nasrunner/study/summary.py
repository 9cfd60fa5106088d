"""How a study stands when it ends: its summary."""

from typing import Any

from nasrunner.core.ledger.goals import Goals, reference_point, unmet_limits
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.hypervolume import dominated
from nasrunner.core.ledger.known import is_given
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ledger.steps import Reach, fidelities_of, steps_of
from nasrunner.core.ports import BaselineComparison, Inspect, Summary
from nasrunner.study.proposals.one_class import about_one_class
from nasrunner.study.proposals.taken_over import taken_over


def summary_of(
    state: StudyState,
    inspect: Inspect,
    *,
    reason: str,
    wall_s: float,
    failure: str | None,
    baseline: BaselineComparison | None,
    effort: float,
    again: float,
    goals: Goals | None = None,
) -> Summary:
    """Makes a study's summary.

    Args:
        state: the study's.
        inspect: gives the blueprints of its best children.
        reason: as of ``Summary``, and so are the others.
        effort: how much training was asked for, in whole children.
        again: what was trained once more beside it, likewise.
        goals: what its children are compared by; None: the reward alone.
    """
    history, known = state.history, state.begins_with
    ranking, reach = history.shown()
    lineages, taken = state.lineages, taken_over(history.outcomes)
    best = [
        {
            "index": ranked.index,
            "reward": ranked.reward,
            "trainings": ranked.num_trainings,
            "reward_std": ranked.spread,
            "parameters": ranked.outcome.metrics.get("parameters"),
            "architecture": inspect(ranked.outcome.proposal.genotype).text,
            "hash": ranked.outcome.proposal.hash,
            "answers": dict(inspect(ranked.outcome.proposal.genotype).values),
            **({"given": True} if is_given(ranked.outcome.proposal) else {}),
            **_line(ranked.index, lineages.place_of(ranked.index).first),
            **_as_far_as(reach),
        }
        for ranked in ranking.best(5)
    ]
    is_partial = history.has_steps or history.statuses["stopped"] > 0
    return Summary(
        reason=reason,
        counts=dict(history.counts),
        best=best,
        cost_s=round(history.cost_s, 3),
        wall_s=round(wall_s, 3),
        baseline=baseline,
        failure=failure,
        began_with=known.told if known else None,
        num_full=history.num_full if history.has_steps else None,
        effort=round(effort, 3) if is_partial else None,
        fidelities=fidelities_of(history.outcomes),
        steps=steps_of(state.outcomes),
        num_again=taken.num_again,
        again=round(again, 3),
        num_inheriting=taken.num_inheriting,
        inherited_share=taken.inherited_share,
        num_without=taken.num_without,
        num_predicted=len(history.predictions.pairs),
        rank_correlation=history.predictions.correlation,
        predicted_levels=history.predictions.levels,
        front=None if goals is None else _front(history, goals),
        unmet=[] if goals is None else unmet_limits(goals, history.compared()),
        one_class=about_one_class(history.outcomes),
    )


def _line(index: int, first: int) -> dict[str, int]:
    """The child that a best one's training began as, which names its run, if another."""
    return {} if first == index else {"begun_as": first}


def _as_far_as(reach: Reach | None) -> dict[str, Any]:
    """How far the best children came, if not to their ends."""
    if reach is None:
        return {}
    epochs = {} if reach.until is None else {"epochs": reach.until}
    return epochs | ({"fidelity": dict(reach.fidelity)} if reach.fidelity else {})


def _front(history: History, goals: Goals) -> dict[str, Any]:
    outcomes = history.compared()
    reference = reference_point(goals, outcomes)
    return {
        "size": len(goals.front(outcomes)),
        "hypervolume": dominated(goals, outcomes, reference),
        "reference": reference,
    }
