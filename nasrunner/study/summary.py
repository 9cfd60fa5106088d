"""How a study stands when it ends: its summary."""

from typing import Any

from nasrunner.core.ledger.goals import Goals, reference_point, unmet_limits
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.hypervolume import dominated
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ledger.steps import fidelities_of, steps_of
from nasrunner.core.ports import BaselineComparison, Inspect, Summary
from nasrunner.core.screen.leaderboard import best_children
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
    taken = taken_over(history.outcomes)
    is_partial = history.has_steps or history.statuses["stopped"] > 0
    return Summary(
        reason=reason,
        counts=dict(history.counts),
        best=best_children(state, inspect),
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


def _front(history: History, goals: Goals) -> dict[str, Any]:
    outcomes = history.compared()
    reference = reference_point(goals, outcomes)
    return {
        "size": len(goals.front(outcomes)),
        "hypervolume": dominated(goals, outcomes, reference),
        "reference": reference,
    }
