"""Draws an architecture that was never proposed, for a searcher that keeps to those that were."""

import numpy as np

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.order import untaken
from nasrunner.core.records import Extent, Proposal
from nasrunner.core.searcher import Searcher


def unseen(extent: Extent, state: StudyState, searcher: Searcher) -> Proposal | None:
    """Draws one and registers it.

    Args:
        extent: how much of a training is asked for.
        state: the study's, in which some architecture was not begun to be trained so much.
        searcher: its searcher.

    Returns:
        The proposal; None: there is none at this stage of the space.
    """
    index, begun = searcher.num_proposed, state.begun[extent]
    space = searcher.space_at(index)
    if len(begun) >= space.size():
        return None  # a schedule's stage may be used up before the space is
    rng = np.random.default_rng([searcher.seed, index, 1])  # it draws from no such
    until, fidelity = extent
    proposal = Proposal(index, untaken(space, begun, rng), until=until, fidelity=dict(fidelity))
    searcher.register(proposal)
    return proposal
