"""Inherited weights: children begin with those that earlier children have trained."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Literal

from nasrunner.core.annotations import Count, Seed, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.network.known import Bigram
from nasrunner.core.records import MEASURED, Outcome, Proposal, Source
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.morphing import morphing_mutation, offers_morphisms
from nasrunner.searchers.wrappers.wrapper import Wrapper

_NONE: Mapping[Bigram, int] = {}


class Inheriting(Wrapper):
    """Has what another searcher proposes begin with weights of the children before.

    The bank of weights says which child holds those of a bigram (an operation and the one before
    it, see ``Bigram``). It is found from the outcomes recorded so far and holds no tensors: these
    stay in the children's folders. A proposal takes weights from its parent first, if it has one,
    and then from whoever holds the most parameters that are still open, until none are or it has
    ``max_sources``. Children in flight and reused outcomes lend nothing.

    Which children a proposal takes from is part of its identity: the same architecture with
    weights of others is another evaluation, and is trained.

    With ``morphism_share`` so many of the proposals that have a parent are mutated so that they can
    begin with computing what it does: one decision of the parent is changed that makes its network
    wider or deeper or gives it new connections (Chen et al. 2016, arXiv:1511.05641), and the child
    begins with the parent's weights, changed to fit. Where some such changes were tried and none
    was one, the inner searcher's proposal stays.

    Where a study knows nothing of its networks, only parents lend, and there are no morphisms.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        bank: who holds a bigram that several children have: the ``last`` of them to end, or the
            one with the ``best`` reward, of equal ones the first.
        max_sources: children that a proposal takes weights from at most, >= 1.
        morphism_share: of proposals with a parent, in [0, 1]; 0: they are as the inner searcher
            made them.

    Raises:
        ValueError: the inner searcher proposes trainings that are paused, continued or begun with
            weights itself.
    """

    passes_on = ("kind=estimate",)

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        bank: Literal["last", "best"],
        max_sources: Count,
        morphism_share: Annotated[float, Within("[0, 1]")],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        self.bank = bank
        self.max_sources = max_sources
        self.morphism_share = morphism_share
        self.holders: dict[Bigram, int] = {}
        self._num_held: Counter[int] = Counter()  # bigrams, by the child that holds them
        self._trained: dict[int, tuple[Genotype, float]] = {}  # who may lend, and its reward

    @property
    def is_ready(self) -> bool:
        return self.inner.is_ready

    def suggest(self, index: int) -> Proposal | None:
        proposal = self._suggestion()
        if proposal is None or proposal.kind != "train":
            return proposal
        morphed = self._morphed(proposal)
        return morphed or dataclasses.replace(proposal, sources=self._sources(proposal))

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._enter(dataclasses.replace(proposal, sources=()))

    def learn(self, outcome: Outcome) -> None:
        self._deposit(outcome)
        self._pass_on(outcome)

    def revise(self, outcome: Outcome) -> None:
        self._deposit(outcome)
        self._suggested = None
        inner = self._inner_of[outcome.proposal.index]
        inside = dataclasses.replace(outcome.proposal, index=inner, sources=())
        self.inner.revise(dataclasses.replace(outcome, proposal=inside))

    def forget(self, proposal: Proposal) -> None:
        self._drop(self._inner_of[proposal.index])

    def needs(self) -> Collection[int]:
        parents = self._trained.keys() & set(self.parents())
        return {*super().needs(), *self._num_held, *parents}

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (*super().asks_for, Proposal(0, {}, sources=(Source(0, "weights"),)))

    @property
    def ignored(self) -> str | None:
        if not self.morphism_share or self.inner.has_parents:
            return super().ignored
        return (
            f"morphism_share={self.morphism_share} is of proposals that mutate a child, and "
            f"{self.inner.known_as} mutates none; legal are 0, or a searcher.searcher that does, "
            "such as evolution or local_search"
        )

    def advice(self, max_children: int | None) -> str | None:
        if not self.morphism_share or self.networks is None:
            return super().advice(max_children)
        rng = self.rng(0).spawn(3)[2]  # a stream that neither the inner one nor this one draws from
        if offers_morphisms(self.space_at(0), self.networks, rng):
            return super().advice(max_children)
        return (
            f"searcher.morphism_share={self.morphism_share} may be in vain: of random networks of "
            "this space no mutation of one decision was found that is wider or deeper, or has a "
            "new connection, and can begin with computing the same; others are proposed instead."
        )

    def _morphed(self, proposal: Proposal) -> Proposal | None:
        """A network morphism of a proposal's parent; None: none is due, or none is known."""
        if not self.morphism_share or self.networks is None:
            return None
        if proposal.parent not in self._trained:
            return None
        rng = self.rng(proposal.index).spawn(3)[1]  # a stream that the inner one does not draw from
        if rng.random() >= self.morphism_share:
            return None
        parent, _ = self._trained[proposal.parent]
        space = self.space_at(proposal.index)
        genotype = morphing_mutation(space, parent, self.networks, rng)
        if genotype is None:
            return None
        sources = (Source(proposal.parent, "morphism"),)
        return dataclasses.replace(proposal, genotype=genotype, sources=sources)

    def _deposit(self, outcome: Outcome) -> None:
        """Makes a child that was trained the holder of its bigrams, as far as the rule says."""
        proposal = outcome.proposal
        is_own = outcome.status in MEASURED and outcome.reused_from is None
        if not is_own or not outcome.is_trained or proposal.kind != "train":
            return
        reward = outcome.known_reward
        self._trained[proposal.index] = proposal.genotype, reward
        for bigram in self._bigrams(proposal.genotype):
            before = self.holders.get(bigram)
            if before is not None:
                if self.bank == "best" and self._trained[before][1] >= reward:
                    continue
                self._num_held[before] -= 1
                if not self._num_held[before]:
                    del self._num_held[before]
            self.holders[bigram] = proposal.index
            self._num_held[proposal.index] += 1

    def _sources(self, proposal: Proposal) -> tuple[Source, ...]:
        """Whom a proposal takes weights from, in order of precedence."""
        left = dict(self._bigrams(proposal.genotype))
        chosen: list[int] = []

        def choose(child: int) -> None:
            chosen.append(child)
            for bigram in self._bigrams(self._trained[child][0]):
                left.pop(bigram, None)

        if proposal.parent in self._trained:
            genotype, _ = self._trained[proposal.parent]
            if not left or not left.keys().isdisjoint(self._bigrams(genotype)):
                choose(proposal.parent)
        while len(chosen) < self.max_sources:
            offered: Counter[int] = Counter()
            for bigram, parameters in left.items():
                if (holder := self.holders.get(bigram)) is not None:
                    offered[holder] += parameters
            if not offered:
                break
            choose(max(offered, key=lambda child: (offered[child], child)))
        return tuple(Source(child, "weights") for child in chosen)

    def _bigrams(self, genotype: Genotype) -> Mapping[Bigram, int]:
        """The bigrams of a network that have parameters, and how many."""
        if self.networks is None:
            return _NONE
        try:
            found = self.networks.bigrams(genotype)
        except SpaceError:  # it is impossible, and will not be trained
            return _NONE
        return {bigram: parameters for bigram, parameters in found.items() if parameters}
