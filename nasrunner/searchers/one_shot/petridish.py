"""Forward search: trained children grow by the parts that would help them most.

Hu et al. 2019, arXiv:1905.13360 (Petridish).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from nasrunner.core.annotations import Above, AtLeast, Count, Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import MEASURED, KnownOutcome, Outcome, Proposal, Source
from nasrunner.core.relaxation import ForwardGrowth
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space, additions, smallest
from nasrunner.searchers.one_shot.unscheduled import check_unscheduled

_MOST_STARTS = 20
"""So many smallest architectures are drawn until one is new and can be built."""


class GrowingChild(NamedTuple):
    """A child that may grow.

    Attributes:
        child: whose weights it has.
        genotype: its architecture.
        reward: what it had.
        cost: its parameters or FLOPs; 0 where they are not known.
    """

    child: int
    genotype: Genotype
    reward: float
    cost: float


class Petridish(Searcher):
    """Trains parts beside a trained child, and lets the best of them join a child of its own.

    An architecture with as little in it as possible is trained first, see ``smallest``: what is
    neither a number nor can be left out is drawn. Then a child becomes a parent: it
    is trained further in a supernet, with all the parts that it could grow by beside it (weak
    learners, see ``additions``), which learn from its gradients and do not change what it computes.
    Each part has a coefficient α with an L1 penalty. The parts of the highest |α| join the parent,
    and this child is trained as any other, but begins with the weights that the supernet has for
    it, and for what that lacks with the parent's. Parents are the children on the lower convex
    hull of error against cost first, of these the one of the highest reward, each once; then the
    others by their rewards.

    Parts of one decision that differ in numbers alone share their weights in the supernet, as
    ``trainer.shared_widths`` says. A part that needs another new one to be of use is none, so that
    edges which can be zeros or an operation, but not ``empty``, stay out of reach until both of
    their ends are used.

    Args:
        num_joined: parts that join a parent at most, one of each decision; where such a child was
            trained before, one less joins.
        max_parts: parts that are trained beside a parent; where it could grow by more, so many
            are drawn.
        learning_rate: of the gradient descent of α, which begins with 1.
        penalty: λ of the L1 penalty on α.
        cost: of the hull.
        is_random: whether the parts that join are drawn instead, for comparison: all else is alike.
        supernet: the settings that a supernet is trained with instead of a child's: dotted keys of
            its configuration -> numbers, such as ``trainer.max_epochs``; None: there are none.

    Differs from the paper: what can be added is a decision of the space, where the paper connects
    any two layers; a part replaces what it is beside, and does not go through a projection; beside
    it, what it changes is scaled to a mean square of 1; it counts 1 once it has joined; α learns by
    gradient descent and shrinkage of its own; a parent is chosen once and not by chance.

    Raises:
        ValueError: the space has schedules.
    """

    repeats = False

    def __init__(
        self,
        *,
        num_joined: Count,
        max_parts: Count,
        learning_rate: Annotated[float, Above(0)],
        penalty: Annotated[float, AtLeast(0)],
        cost: Literal["parameters", "flops"],
        is_random: bool,
        supernet: Mapping[str, float] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        check_unscheduled(space, "Petridish")
        self.growth = ForwardGrowth(learning_rate, penalty, num_joined, max_parts, is_random)
        self.cost = cost
        self.supernet = dict(supernet or {})
        self._trained: dict[int, GrowingChild] = {}
        self._grown: set[int] = set()  # children that were parents, or have nothing to grow by
        self._running: dict[int, int] = {}  # supernets -> their parents
        self._found: dict[int, list[Genotype]] = {}  # of supernets whose child is not proposed
        self._parent_of: dict[int, int] = {}  # of these
        self._taken: set[Key | str] = set()  # what was proposed, and its network

    def policy(self) -> ForwardGrowth:
        return self.growth

    @property
    def is_ready(self) -> bool:
        return not self.pending or bool(self._found) or self._next_parent() is not None

    def suggest(self, index: int) -> Proposal | None:
        if self._found:
            supernet, (genotype, *_) = next(iter(self._found.items()))
            parent = self._parent_of[supernet]
            sources = (Source(supernet, "weights"), Source(parent, "weights"))
            return Proposal(index, dict(genotype), sources=sources, parent=parent)
        if (chosen := self._next_parent()) is not None:
            trained = self._trained[chosen]
            source = Source(trained.child, "weights")
            return Proposal(
                index,
                dict(trained.genotype),
                kind="supernet",
                fidelity=self.supernet,
                sources=(source,),
            )
        if self._trained or self.pending:
            return None
        start = self._start(index)
        return None if start is None else Proposal(index, start)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if proposal.kind == "supernet":
            parent = proposal.sources[0].child
            self._grown.add(parent)
            self._running[proposal.index] = parent
            return
        self._taken |= self._known_by(proposal.genotype)
        for each in proposal.sources:
            self._found.pop(each.child, None)
        for supernet in list(self._found):
            self._keep(supernet, self._found.pop(supernet))

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        if proposal.kind == "supernet":
            self._parent_of[proposal.index] = self._running.pop(proposal.index)
            self._keep(proposal.index, outcome.found)
            return
        child = proposal.index if outcome.reused_from is None else outcome.reused_from
        if proposal.kind != "train" or outcome.status not in MEASURED or child in self._trained:
            return
        if not outcome.is_trained:
            return  # it has no weights to grow with
        cost = outcome.metrics.get(self.cost, 0.0)
        self._trained[child] = GrowingChild(child, proposal.genotype, outcome.known_reward, cost)
        if not self._grows(proposal.genotype):
            self._grown.add(child)

    def forget(self, proposal: Proposal) -> None:
        self._running.pop(proposal.index, None)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass

    @property
    def ignores_known(self) -> str:
        return "it grows children with their weights, and those of other studies are not at hand"

    def needs(self) -> Collection[int]:
        found = {*self._found, *(self._parent_of[each] for each in self._found)}
        return {*(self._trained.keys() - self._grown), *found}

    @property
    def asks_for(self) -> Sequence[Proposal]:
        source = (Source(0, "weights"),)
        return (
            Proposal(0, {}, kind="supernet", fidelity=self.supernet, sources=source),
            Proposal(0, {}, sources=source),
        )

    @property
    def why_done(self) -> str:
        if not self._trained:
            return "no smallest architecture could be trained"
        return f"none of {len(self._trained)} trained children has a part left to grow by"

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > 1:
            return None
        return "A budget of 1 child ends the search before any has grown."

    def _start(self, index: int) -> Genotype | None:
        """A smallest architecture that was not proposed before; None: none was found."""
        rng = self.rng(index)
        for _ in range(_MOST_STARTS):
            genotype = smallest(self.space, rng)
            if self._taken.isdisjoint(self._known_by(genotype)) and self._is_possible(genotype):
                return genotype
        return None

    def _is_possible(self, genotype: Genotype) -> bool:
        """Whether its network can be built, as far as the study knows of networks."""
        if self.networks is None or not self.networks.identifies:
            return True
        return self.identity_of(genotype) is not None

    def _grows(self, genotype: Genotype) -> bool:
        """Whether a network has a decision that adds a part to it, be its shape right or not."""
        try:
            return bool(additions(self.space, genotype, self.rng(0)))
        except SpaceError:
            return False

    def _next_parent(self) -> int | None:
        """The child that is to grow next."""
        left = [each for each in self._trained.values() if each.child not in self._grown]
        if not left:
            return None
        hull = {each.child for each in lower_hull(list(self._trained.values()))}
        best = max(left, key=lambda each: (each.child in hull, each.reward, -each.child))
        return best.child

    def _keep(self, supernet: int, found: Sequence[Genotype]) -> None:
        """Keeps those that were not proposed before, where there are any."""
        left = [each for each in found if self._taken.isdisjoint(self._known_by(each))]
        if left:
            self._found[supernet] = left

    def _known_by(self, genotype: Genotype) -> set[Key | str]:
        """What an architecture is known by: its answers, and its network if that is known."""
        network = self.identity_of(genotype)
        return {key_of(genotype), *([] if network is None else [network])}


def lower_hull(children: Sequence[GrowingChild]) -> list[GrowingChild]:
    """Returns the children on the lower convex hull of error against cost, cheapest first.

    The hull ends with the child of the least error: dearer ones that are no better are above it.
    """
    hull: list[GrowingChild] = []
    for each in sorted(children, key=lambda child: (child.cost, -child.reward)):
        if hull and each.reward <= hull[-1].reward:
            continue
        while len(hull) > 1 and _slope(hull[-2], each) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(each)
    return hull


def _slope(one: GrowingChild, other: GrowingChild) -> float:
    """By how much the reward rises with the cost, which differs."""
    return (other.reward - one.reward) / (other.cost - one.cost)
