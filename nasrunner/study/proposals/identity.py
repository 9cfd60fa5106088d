"""Which evaluation a proposal asks for, and the seed of its training: written before dispatch."""

import dataclasses

from nasrunner.core.errors import SpaceError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.network.known import Networks
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.randomness.seeds import child_seed
from nasrunner.core.records import Proposal


def identified(
    proposal: Proposal,
    state: StudyState,
    trainer: ChildTrainer,
    networks: Networks | None,
    study_seed: int,
) -> Proposal:
    """Gives a proposal its identity and its training's seed.

    A study keeps the rules that it began with. A training that is gone on with keeps its seed.

    Args:
        proposal: the next one.
        state: the study's.
        trainer: knows what of a proposal changes nothing.
        networks: tells which genotypes make the same network; None: nobody does.
        study_seed: the study's.
    """
    last = next(reversed(state.proposals.values()), None)
    identity = seed = None
    if last is None or last.identity is not None:
        asks_for_more = proposal.until is not None or proposal.fidelity
        plainest = trainer.plainest(proposal) if asks_for_more else proposal
        identity = plainest.evaluation_of(_architecture(proposal, state, networks))
    if last is None or last.seed is not None:
        seed = _seed(proposal, identity or proposal.hash, state, study_seed)
    return dataclasses.replace(proposal, identity=identity, seed=seed)


def _architecture(proposal: Proposal, state: StudyState, networks: Networks | None) -> str:
    """What the architecture is known by: its network's identity, or the hash of its genotype."""
    if networks is None or state.began is None or not state.began.knows_networks:
        return proposal.hash
    try:
        return networks.identity(proposal.genotype)
    except SpaceError:  # a supernet has none, and an impossible network is not trained
        return proposal.hash


def _seed(proposal: Proposal, identity: str, state: StudyState, study_seed: int) -> int | None:
    if (source := proposal.continues) is not None:
        return state.proposals[source].seed
    return child_seed(study_seed, proposal.genotype, state.times_proposed[identity])
