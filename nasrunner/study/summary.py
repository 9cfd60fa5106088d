"""How a study stands when it ends: its summary."""

from nasrunner.core.ledger.history import History
from nasrunner.core.ports import BaselineComparison, Inspect, Summary


def summary_of(
    history: History,
    inspect: Inspect,
    *,
    reason: str,
    wall_s: float,
    failure: str | None,
    baseline: BaselineComparison | None,
) -> Summary:
    """Makes a study's summary.

    Args:
        history: the study's.
        inspect: gives the blueprints of its best children.
        reason: as of ``Summary``, and so are the others.
    """
    ranking, until = history.shown()
    rung = {} if until is None else {"epochs": until}
    best = [
        {
            "index": ranked.index,
            "reward": ranked.reward,
            "trainings": ranked.num_trainings,
            "reward_std": ranked.spread,
            "parameters": ranked.outcome.metrics.get("parameters"),
            "architecture": inspect(ranked.outcome.proposal.genotype).text,
            "hash": ranked.outcome.proposal.hash,
            **rung,
        }
        for ranked in ranking.best(5)
    ]
    return Summary(
        reason=reason,
        counts=dict(history.counts),
        best=best,
        cost_s=round(history.cost_s, 3),
        wall_s=round(wall_s, 3),
        baseline=baseline,
        failure=failure,
        num_full=history.num_full if history.has_steps else None,
        num_predicted=len(history.predictions.pairs),
        rank_correlation=history.predictions.correlation,
    )
