"""Local search."""

from typing import Literal

import numpy as np

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

Move = tuple[str, int]
"""What makes a neighbour: the path of an active decision, and another option of it."""

Evaluated = tuple[Proposal, float]
"""A child and its reward."""

MAX_DRAWS = 20
"""How often a random start is drawn anew because it was proposed before."""


class LocalSearch(Searcher):
    """Climbs from random architectures, one decision at a time. White et al., arXiv:2005.02960.

    A climb starts at a random architecture and proposes the neighbours of its incumbent in random
    order: one active decision changed to another option; decisions that the change makes active
    are drawn uniformly. A better child becomes the incumbent. When all neighbours were proposed
    and none is better, another climb starts. Its ``parent`` is the index of the incumbent;
    a start has none.

    With children in flight it goes on from the incumbent it has: a better neighbour of an earlier
    one is taken all the same. Workers that would wait for the first or for the last neighbours of
    a climb get random starts, and the best of these is where the next climb starts.

    Args:
        improvement: ``first``: a better child becomes the incumbent at once; ``best``: the best
            neighbour does, after all have their rewards.

    Differs from the paper: its simplest version, ``best``, ends at the first local optimum; here
    another climb follows. A neighbour that was proposed before is not proposed again: if it is
    known to be better, it is taken, else passed over.
    """

    def __init__(self, *, improvement: Literal["first", "best"], space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        self.improvement = improvement
        self.incumbent: Evaluated | None = None
        self.untried: list[Move] = []
        self._better: Evaluated | None = None
        self._start: Evaluated | None = None
        self._size = space.size()
        self._known: dict[frozenset[Move], Evaluated | None] = {}

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        if self.incumbent is not None:
            parent, _ = self.incumbent
            for move in self.untried:
                genotype = _draw(space, parent.genotype, move, rng)
                if _key(genotype) not in self._known:
                    return Proposal(index, genotype, parent=parent.index)
        return Proposal(index, self._draw_start(space, rng))

    def register(self, proposal: Proposal) -> None:
        """Strikes the neighbour off; a start means that no neighbour was left."""
        super().register(proposal)
        self._known.setdefault(_key(proposal.genotype), None)
        if self.incumbent is None:
            return
        parent, _ = self.incumbent
        if proposal.parent is None:
            self.untried.clear()
        elif proposal.parent == parent.index:
            made = proposal.genotype.items()
            self.untried = [move for move in self.untried if move not in made]
        self._advance()

    def learn(self, outcome: Outcome) -> None:
        proposal, reward = outcome.proposal, outcome.known_reward
        child = self._known[_key(proposal.genotype)] = (proposal, reward)
        if self.incumbent is None:
            self._climb_from(child)
        elif reward > self.incumbent[1]:
            self._better = _best(self._better, child)
        elif proposal.parent is None:
            self._start = _best(self._start, child)
        self._advance()

    def forget(self, proposal: Proposal) -> None:
        self._advance()

    def _advance(self) -> None:
        """Moves on for as long as it is known where to."""
        while (child := self._next_incumbent()) is not None:
            self._climb_from(child)

    def _next_incumbent(self) -> Evaluated | None:
        if self._better is not None and self.improvement == "first":
            return self._better
        if self.untried or any(each.parent is not None for each in self.pending.values()):
            return None
        return self._better or self._start

    def _climb_from(self, child: Evaluated) -> None:
        """Makes a child the incumbent and lists its neighbours, those known left out."""
        proposal, reward = child
        self.incumbent, self.untried, self._better, self._start = child, [], None, None
        for path, option in self._moves(proposal):
            key = _key({**proposal.genotype, path: option})
            if key not in self._known:
                self.untried.append((path, option))
            elif (known := self._known[key]) is not None and known[1] > reward:
                self._better = _best(self._better, known)

    def _moves(self, proposal: Proposal) -> list[Move]:
        """Every move from a child, in an order of its own that is always the same."""
        moves: list[Move] = []

        def replay(decision: Decision) -> int:
            chosen = proposal.genotype[decision.path]
            others = (option for option in range(len(decision.options)) if option != chosen)
            moves.extend((decision.path, option) for option in others)
            return chosen

        self.space_at(proposal.index).walk(replay)
        self.rng(proposal.index).spawn(1)[0].shuffle(moves)
        return moves

    def _draw_start(self, space: Space, rng: np.random.Generator) -> Genotype:
        is_exhausted = len(self._known) >= self._size
        for _ in range(1 if is_exhausted else MAX_DRAWS):
            genotype = _draw(space, {}, None, rng)
            if _key(genotype) not in self._known:
                break
        return genotype


def _draw(space: Space, parent: Genotype, move: Move | None, rng: np.random.Generator) -> Genotype:
    """Replays the parent with one answer changed; what it lacks is drawn."""
    answers = parent if move is None else {**parent, move[0]: move[1]}

    def choose(decision: Decision) -> int:
        known = answers.get(decision.path)
        return int(rng.integers(len(decision.options))) if known is None else known

    return space.walk(choose)


def _key(genotype: Genotype) -> frozenset[Move]:
    return frozenset(genotype.items())


def _best(first: Evaluated | None, second: Evaluated) -> Evaluated:
    return second if first is None or second[1] > first[1] else first
