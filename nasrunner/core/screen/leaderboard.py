"""The best children of a study, in what its summary and its trackers say of them."""

from typing import Any

from nasrunner.core.ledger.known import is_given
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ledger.steps import Reach
from nasrunner.core.ports import Inspect

COUNT = 5
"""So many are listed."""


def best_children(state: StudyState, inspect: Inspect) -> list[dict[str, Any]]:
    """Returns the best children of a study, best first, as ``Summary.best`` describes them.

    Args:
        state: the study's.
        inspect: gives their blueprints.
    """
    ranking, reach = state.history.shown()
    lineages = state.lineages
    found = []
    for ranked in ranking.best(COUNT):
        blueprint = inspect(ranked.outcome.proposal.genotype)
        found.append(
            {
                "index": ranked.index,
                "reward": ranked.reward,
                "trainings": ranked.num_trainings,
                "reward_std": ranked.spread,
                "parameters": ranked.outcome.metrics.get("parameters"),
                "architecture": blueprint.text,
                "hash": ranked.outcome.proposal.hash,
                "answers": dict(blueprint.values),
                **({"given": True} if is_given(ranked.outcome.proposal) else {}),
                **_line(ranked.index, lineages.place_of(ranked.index).first),
                **_as_far_as(reach),
            }
        )
    return found


def leaders(state: StudyState) -> list[tuple[int, float]]:
    """Returns the children and rewards of ``best_children``, without building any."""
    ranking, _ = state.history.shown()
    return [(ranked.index, ranked.reward) for ranked in ranking.best(COUNT)]


def _line(index: int, first: int) -> dict[str, int]:
    """The child that a best one's training began as, which names its run, if another."""
    return {} if first == index else {"begun_as": first}


def _as_far_as(reach: Reach | None) -> dict[str, Any]:
    """How far the best children came, if not to their ends."""
    if reach is None:
        return {}
    epochs = {} if reach.until is None else {"epochs": reach.until}
    return epochs | ({"fidelity": dict(reach.fidelity)} if reach.fidelity else {})
