"""Local search."""

import math
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.order import is_of, rollout, rollouts
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

Move = tuple[str, int]
"""What makes a neighbour: the path of an active decision, and another option of it."""

Change = tuple[Move, int]
"""A move, and the difference that it makes to a genotype's key."""

Evaluated = tuple[Proposal, float]
"""A child and its reward."""

_UNSEEN: Evaluated = Proposal(-1, {}), -math.inf
"""In the place of a neighbour that was never proposed."""

NUM_DRAWS = (4, 5, 5, 5)
"""How many more random starts are drawn because those before were proposed before."""


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

    Where earlier studies found rewards, the better half of their architectures are the first
    starts, best first. They are trained here as any other start is.

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
        self._known: dict[int, Evaluated | None] = {}  # by key
        self._bits: dict[Move, int] = {}
        self._alternatives: dict[Move, list[Change]] = {}  # to an answer
        self._moves: dict[int, list[Change]] = {}  # by the key of the child they start from
        self._shuffled: dict[int, list[Change]] = {}  # by the child's index
        self._ahead: dict[int, tuple[int, ...]] = {}
        """Keys of a child's best neighbours, if better than it, by its key; where all are known."""
        self._starts: list[Genotype] = []  # of earlier studies, those to begin with last

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        if self.incumbent is not None:
            parent, _ = self.incumbent
            for move in self.untried:
                genotype = _draw(space, parent.genotype, move, rng)
                if self._key(genotype) not in self._known:
                    return Proposal(index, genotype, parent=parent.index)
        return Proposal(index, self._known_start(index) or self._draw_start(space, rng))

    def register(self, proposal: Proposal) -> None:
        """Strikes the neighbour off; a start means that no neighbour was left."""
        super().register(proposal)
        self._known.setdefault(self._key(proposal.genotype), None)
        while self._starts and self._key(self._starts[-1]) in self._known:
            self._starts.pop()
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
        key = self._key(proposal.genotype)
        before, child = self._known[key], (proposal, reward)
        self._known[key] = child
        if self._ahead and (before is None or before[1] != reward):
            for _, difference in (*self._changes(proposal, key), (None, 0)):
                self._ahead.pop(key + difference, None)
        if self.incumbent is None:
            self._climb_from(child)
        elif reward > self.incumbent[1]:
            self._better = _best(self._better, child)
        elif proposal.parent is None:
            self._start = _best(self._start, child)
        self._advance()

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        ranked = sorted(outcomes, key=lambda outcome: -outcome.reward)
        better = ranked[: (len(ranked) + 1) // 2]
        self._starts = [outcome.genotype for outcome in reversed(better)]

    def parents(self) -> Collection[int]:
        known = (self.incumbent, self._better, self._start)
        return [child[0].index for child in known if child is not None]

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
        key = self._key(proposal.genotype)
        ahead = self._ahead.get(key) if self._is_latest(key, reward) else None
        if ahead is None:
            self._look_around(child, key)
        elif len(ahead) == 1:
            self._better = self._known[ahead[0]]
        elif ahead:
            changes = self._in_order(proposal, self._changes(proposal, key))
            first = next(each for _, each in changes if key + each in ahead)
            self._better = self._known[key + first]

    def _look_around(self, child: Evaluated, key: int) -> None:
        """Lists a child's neighbours that are not known, and finds the best that is better."""
        proposal, reward = child
        changes = self._changes(proposal, key)
        known = self._known_neighbours(key, changes)
        higher = [each[1] for each in known if each is not None and each[1] > reward]
        has_unseen = any(each is _UNSEEN for each in known)
        if has_unseen or (higher and higher.count(max(higher)) > 1):  # their order matters
            changes = self._in_order(proposal, changes)
            known = self._known_neighbours(key, changes)
        for (move, _), neighbour in zip(changes, known, strict=True):
            if neighbour is _UNSEEN:
                self.untried.append(move)
            elif neighbour is not None and neighbour[1] > reward:
                self._better = _best(self._better, neighbour)
        if not has_unseen and None not in known and self._is_latest(key, reward):
            best = max(higher, default=None)
            self._ahead[key] = tuple(
                key + difference
                for (_, difference), neighbour in zip(changes, known, strict=True)
                if neighbour is not None and neighbour[1] == best
            )

    def _is_latest(self, key: int, reward: float) -> bool:
        """Whether this is the reward of the child's latest training."""
        latest = self._known[key]
        return latest is not None and latest[1] == reward

    def _known_neighbours(self, key: int, changes: list[Change]) -> list[Evaluated | None]:
        return [self._known.get(key + difference, _UNSEEN) for _, difference in changes]

    def _in_order(self, proposal: Proposal, changes: list[Change]) -> list[Change]:
        """The moves from a child in an order of its own that is always the same."""
        found = self._shuffled.get(proposal.index)
        if found is None:
            found = self._shuffled[proposal.index] = list(changes)
            self.rng(proposal.index).spawn(1)[0].shuffle(found)
        return found

    def _changes(self, proposal: Proposal, key: int) -> list[Change]:
        """Every move from a child, in the order in which its decisions are asked."""
        if (made := self._moves.get(key)) is not None:
            return made  # climbs come by the same children again and again
        changes: list[Change] = []

        def replay(decision: Decision) -> int:
            chosen = proposal.genotype[decision.path]
            found = self._alternatives.get((decision.path, chosen))
            if found is None:
                moves = [(decision.path, option) for option in range(len(decision.options))]
                lost = self._bit(moves[chosen])
                found = self._alternatives[moves[chosen]] = [
                    (move, self._bit(move) - lost) for move in moves if move != moves[chosen]
                ]
            changes.extend(found)
            return chosen

        self.space_at(proposal.index).walk(replay)
        self._moves[key] = changes
        return changes

    def _key(self, genotype: Genotype) -> int:
        """A number of its own for each genotype: a bit for each of its answers."""
        try:
            return sum(map(self._bits.__getitem__, genotype.items()))
        except KeyError:  # an answer that was never seen
            return sum(map(self._bit, genotype.items()))

    def _bit(self, answer: Move) -> int:
        found = self._bits.get(answer)
        if found is None:
            found = self._bits[answer] = 1 << len(self._bits)
        return found

    def _known_start(self, index: int) -> Genotype | None:
        """The best architecture of earlier studies that was not proposed and now can be."""
        space = self.space_at(index)
        for start in reversed(self._starts):
            if is_of(space, start) and self._key(start) not in self._known:
                return start
        return None

    def _draw_start(self, space: Space, rng: np.random.Generator) -> Genotype:
        start = rollout(space, rng)
        if self._key(start) not in self._known or len(self._known) >= self._size:
            return start
        for num_draws in NUM_DRAWS:
            for start in rollouts(space, rng, num_draws):
                if self._key(start) not in self._known:
                    return start
        return start


def _draw(space: Space, parent: Genotype, move: Move, rng: np.random.Generator) -> Genotype:
    """Replays the parent with one answer changed; what it lacks is drawn."""
    answers = {**parent, move[0]: move[1]}

    def choose(decision: Decision) -> int:
        known = answers.get(decision.path)
        return int(rng.integers(len(decision.options))) if known is None else known

    return space.walk(choose)


def _best(first: Evaluated | None, second: Evaluated) -> Evaluated:
    return second if first is None or second[1] > first[1] else first
