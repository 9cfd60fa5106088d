"""Progressive search: architectures grow block by block, as a surrogate expects of them."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from nasrunner.core.annotations import Count, Seed, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.ledger.agreement import LEVEL, ROUND
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.outliers import without_outliers
from nasrunner.searchers.progressive.candidates import Beam, Expansion, Expansions, Grown
from nasrunner.searchers.progressive.growth import architectures, find_growth
from nasrunner.searchers.surrogates.smbo import standardised
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate

FEWEST = 4
"""Rewards to wait for: of three a surrogate learns no order."""


@dataclass(frozen=True)
class GrowthStage:
    """What of a search begins together: a level, or one more round of the last one.

    Attributes:
        number: 1, 2, …; those beyond the number of levels are rounds of the last.
        num_rewards: how many were known when it began; the surrogate is fitted to these.
        parents: the children that are expanded, best first.
    """

    number: int
    num_rewards: int
    parents: tuple[Grown, ...]


class ProgressiveSearch(Searcher):
    """Trains the smallest architectures, and then the best expansions of what it has trained.

    Progressive neural architecture search, Liu et al. 2018, arXiv:1712.00559, algorithm 1, in any
    space with a depth: a number of which larger values ask further decisions, as ``times`` of
    ``repeat``, or a ``string``. The first level is all architectures of the smallest depth, or
    ``first_level`` of them at random. A further level is expansions of the children of the one
    before: the same answers, one step deeper, with every answer to the decisions that are new. A
    surrogate, fitted to all rewards so far, ranks them, and the best ``num_trained`` are trained.
    What makes a network that was proposed before, or an impossible one, is passed over.

    After the last level the budget goes on with it: its expansions are ranked again, now that the
    surrogate knows rewards of it, and the next ``num_trained`` trained, round after round, until
    none is left.

    ``predicted`` of a proposal is the reward that was predicted before any child of its level had
    one, so that a study's summary and report tell how well the surrogate ranks one level ahead. Its
    ``level`` and, in the last, the ``round`` are notes; its ``parent`` is the child it expands.

    Workers do not wait for the last of a level: the next one begins as soon as ``ended_share`` of
    it has rewards. What ends later is fitted to, but no more expanded. A child without a reward
    leaves its place in the level to the next expansion, and where no child of a level can be
    expanded, more of the level are trained.

    Args:
        depth: path of the decision that is the depth; None: the only one that can be.
        first_level: architectures of the smallest depth that are trained, at most.
        num_trained: K in the paper: of each further level, and of each round.
        num_kept: children of a level that are expanded, the best; None: all, as in the paper.
        max_expansions: how many are ranked at most; of more, so many are drawn at random.
        ended_share: share of a level that has rewards when the next one begins, in (0, 1].
        surrogate: makes a ``Surrogate`` from ``space=``; before it has ``FEWEST`` rewards,
            expansions come in random order.

    Raises:
        ValueError: the space has no depth, or several and ``depth`` says none of them, or it has a
            schedule; fewer expansions are ranked than trained; or ``surrogate`` cannot be called,
            or makes no surrogate.

    Differs from the paper: the first level may be sampled, and so are expansions where there are
    more than ``max_expansions``, of which all are ranked there; a level is expanded once
    ``ended_share`` of it has rewards, and not all of it; and the last one goes on.
    """

    repeats = False

    def __init__(
        self,
        *,
        depth: str | None,
        first_level: Count,
        num_trained: Count,
        num_kept: Count | None,
        max_expansions: Count,
        ended_share: Annotated[float, Within("(0, 1]")],
        surrogate: Callable[..., Surrogate],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        if self._schedules:
            raise ValueError(
                "space must have no schedule, since the search itself says when architectures "
                "grow; legal in its place is {range: [low, high, step]}"
            )
        if max_expansions < max(first_level, num_trained):
            raise ValueError(
                f"max_expansions must be at least first_level={first_level} and "
                f"num_trained={num_trained}, got {max_expansions}"
            )
        self.growth = find_growth(space, depth)
        self.num_levels = len(self.growth.depths)
        self.first_level = first_level
        self.num_trained = num_trained
        self.num_kept = num_kept
        self.ended_share = ended_share
        self.surrogate = make_surrogate(surrogate, space, "surrogate")
        self.surrogate.implied = self.growth.implied()
        self.expansions = Expansions(space, self.growth, max_expansions)
        self.genotypes: list[Genotype] = []
        self.rewards: list[float] = []
        self.children: dict[int, list[Grown]] = {}  # by level from 0 on, those with rewards
        self.present = GrowthStage(1, 0, ())
        self._known: set[Key | str] = set()  # genotypes and networks that were proposed
        self._places: set[int] = set()  # the stage's, but for those that ended without a reward
        self._beams: dict[int, tuple[GrowthStage, Beam]] = {}  # of this stage, and of later ones

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_beams": {}}  # they are ranked again

    @property
    def is_ready(self) -> bool:
        return not self.pending or self._choice() is not None

    def suggest(self, index: int) -> Proposal | None:
        choice = self._choice() or self._beyond()
        if choice is None:
            return None
        stage, expansion = choice
        level = min(stage.number, self.num_levels)
        return Proposal(
            index,
            expansion.genotype,
            parent=expansion.parent,
            predicted=expansion.predicted,
            notes={LEVEL: level, ROUND: stage.number - level + 1},
        )

    def register(self, proposal: Proposal) -> None:
        """Begins the stage that a proposal is the first of."""
        super().register(proposal)
        number = int(proposal.notes.get(LEVEL, 0) + proposal.notes.get(ROUND, 1)) - 1
        if number > self.present.number:
            self.present = self._begun(number)
            self._places.clear()
            self._beams = {each: beam for each, beam in self._beams.items() if each >= number}
        if number == self.present.number:
            self._places.add(proposal.index)
        self._known.add(key_of(proposal.genotype))
        if (network := self.identity_of(proposal.genotype)) is not None:
            self._known.add(network)

    def learn(self, outcome: Outcome) -> None:
        if outcome.reused_from is not None:
            return
        index, genotype = outcome.proposal.index, outcome.proposal.genotype
        self.genotypes.append(genotype)
        self.rewards.append(outcome.known_reward)
        grown = Grown(index, genotype, outcome.known_reward)
        self.children.setdefault(self.growth.level_of(genotype), []).append(grown)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        """Fits the surrogate to earlier rewards, too, so that it also ranks the first level."""
        self.genotypes += [each.genotype for each in outcomes]
        self.rewards += [each.reward for each in outcomes]
        self.present = dataclasses.replace(self.present, num_rewards=len(self.rewards))

    def forget(self, proposal: Proposal) -> None:
        self._places.discard(proposal.index)

    def see(self, networks: Networks) -> None:
        super().see(networks)
        self.surrogate.networks = networks

    def parents(self) -> Collection[int]:
        following = self._begun(self.present.number + 1)
        return {each.index for each in (*self.present.parents, *following.parents)}

    @property
    def why_done(self) -> str:
        name, depths = self.growth.name, self.growth.depths
        deepest = max(self.children, default=0)
        if deepest + 1 == self.num_levels:
            return f"all expansions of its children to {name}={depths[-1]} were proposed"
        return f"no child of {name}={depths[deepest]} has a reward and an expansion that is new"

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None:
            return None
        needed = 0
        for level, depth in enumerate(self.growth.depths):
            most = self.num_trained if level else self.first_level
            of_level = architectures(self.space, self.growth.legal(level, None))
            needed += sum(1 for _ in itertools.islice(of_level, most))
            if needed >= max_children and level + 1 < self.num_levels:
                return (
                    f"A budget of {max_children} children ends at {self.growth.name}={depth} of "
                    f"{', '.join(self.growth.depths)}: searcher.first_level={self.first_level} "
                    f"children of the smallest depth come first, and then "
                    f"searcher.num_trained={self.num_trained} of each further one."
                )
        return None

    def _choice(self) -> tuple[GrowthStage, Expansion] | None:
        """What is to be trained next, and the stage that it is of; None: nothing now."""
        if not self._is_full and (found := self._first_of(self.present)) is not None:
            return self.present, found
        if not self._may_go_on:
            return None
        # A level may have no expansion that is new: all were given by the user.
        for number in range(self.present.number + 1, max(self.num_levels, self.present.number) + 2):
            following = self._begun(number)
            if following.parents and (found := self._first_of(following)) is not None:
                return following, found
        return None

    def _beyond(self) -> tuple[GrowthStage, Expansion] | None:
        """One more of this stage than it has places, for who asks without waiting."""
        found = self._first_of(self.present)
        return None if found is None else (self.present, found)

    @property
    def _is_full(self) -> bool:
        most = self.first_level if self.present.number == 1 else self.num_trained
        return len(self._places) >= most

    @property
    def _may_go_on(self) -> bool:
        num_running = sum(index in self.pending for index in self._places)
        return len(self._places) - num_running >= self.ended_share * len(self._places)

    def _begun(self, number: int) -> GrowthStage:
        """A stage, if it began now."""
        level = min(number, self.num_levels) - 1
        parents = sorted(self.children.get(level - 1, ()), key=lambda child: -child.reward)
        return GrowthStage(number, len(self.rewards), tuple(parents[: self.num_kept]))

    def _first_of(self, stage: GrowthStage) -> Expansion | None:
        """The first expansion of a stage whose network was not proposed; None: there is none."""
        ranked = self._beams.get(stage.number)
        if ranked is None or ranked[0] != stage:
            ranked = self._beams[stage.number] = stage, Beam(self._ranked(stage))
        return ranked[1].first(self._is_new)

    def _is_new(self, genotype: Genotype) -> bool:
        """Whether it makes a possible network that was not proposed."""
        if key_of(genotype) in self._known:
            return False
        if self.networks is None or not self.networks.identifies:
            return True
        try:
            return self.networks.identity(genotype) not in self._known
        except SpaceError:
            return False

    def _ranked(self, stage: GrowthStage) -> list[Expansion]:
        """The expansions of a stage, best first, whatever of them was proposed; or none is new."""
        drawing, fitting = self.rng(stage.number).spawn(2)  # streams that no proposal draws from
        level = min(stage.number, self.num_levels) - 1
        expansions = self._possible(self.expansions.of(level, stage.parents, drawing))
        if not any(self._is_new(each.genotype) for each in expansions):
            return []
        if stage.num_rewards < FEWEST:
            return [expansions[place] for place in drawing.permutation(len(expansions))]
        rewards_N = without_outliers(self.rewards[: stage.num_rewards])
        genotypes = self.genotypes[: stage.num_rewards]
        self.surrogate.fit(genotypes, standardised(rewards_N), fitting)
        mean_C, _ = self.surrogate.predict([each.genotype for each in expansions])
        predicted_C = float(rewards_N.mean()) + float(rewards_N.std()) * mean_C
        order = np.argsort(-predicted_C, kind="stable")
        return [
            dataclasses.replace(expansions[place], predicted=float(predicted_C[place]))
            for place in order
        ]

    def _possible(self, expansions: list[Expansion]) -> list[Expansion]:
        """Drops those of impossible networks, if the surrogate looks at networks."""
        if self.networks is None or not self.surrogate.looks_at_networks or not expansions:
            return expansions
        genotypes = [each.genotype for each in expansions]
        is_possible_C = self.networks.describe(genotypes).is_possible_N
        return [each for each, is_one in zip(expansions, is_possible_C, strict=True) if is_one]
