"""Mutations whose children can begin with computing what their parents do."""

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.network.known import Networks
from nasrunner.core.order import rollout
from nasrunner.core.space import Space

_MOST_TRIED = 60
"""Mutations of a parent that are looked at, each some milliseconds."""

_NUM_DRAWN = 4
"""How often the new decisions of one change are answered."""

_NUM_PARENTS = 8
"""Random architectures by which a space is judged."""


def morphing_mutation(
    space: Space, parent: Genotype, networks: Networks, rng: np.random.Generator
) -> Genotype | None:
    """Draws a mutation of one decision that makes a network morphism, see ``Networks.morphism``.

    What a change makes active is answered as the last decision of its kind before, as a layer is
    the identity behind one like it, or at random.

    Args:
        space: as it stands now.
        parent: what is mutated.
        networks: tells morphisms from other mutations.
        rng: draws.

    Returns:
        None: among those tried there is none.
    """
    changes: list[tuple[str, int]] = []

    def replay(decision: Decision) -> int:
        own = parent.get(decision.path, 0)
        others = (index for index in range(len(decision.options)) if index != own)
        changes.extend((decision.path, index) for index in others)
        return own

    space.walk(replay)
    tried: set[tuple[tuple[str, int], ...]] = set()
    for place in rng.permutation(len(changes)):
        path, index = changes[place]
        for number in range(_NUM_DRAWN):
            genotype = _changed(space, parent, path, index, rng, copies=number == 0)
            if (key := tuple(genotype.items())) in tried:
                continue
            if len(tried) >= _MOST_TRIED:
                return None
            tried.add(key)
            try:
                if networks.morphism(parent, genotype):
                    return genotype
            except SpaceError:
                continue
    return None


def offers_morphisms(space: Space, networks: Networks, rng: np.random.Generator) -> bool:
    """Tells whether any of some random architectures of a space has a mutation of this kind."""
    parents = (rollout(space, rng) for _ in range(_NUM_PARENTS))
    return any(morphing_mutation(space, each, networks, rng) is not None for each in parents)


def _changed(
    space: Space,
    parent: Genotype,
    path: str,
    index: int,
    rng: np.random.Generator,
    *,
    copies: bool,
) -> Genotype:
    """The parent with one other answer; what it lacks is copied from before, or drawn."""
    last: dict[str, int] = {}

    def choose(decision: Decision) -> int:
        if decision.path == path:
            answer = index
        elif decision.path in parent:
            answer = parent[decision.path]
        elif copies and decision.kind in last:
            answer = last[decision.kind]
        else:
            answer = int(rng.integers(len(decision.options)))
        last[decision.kind] = answer
        return answer

    return space.walk(choose)
