"""The base of searches of a supernet: it is trained, networks of it estimated, the best trained."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from nasrunner.core.annotations import Count, Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, key_of
from nasrunner.core.ports import Policy
from nasrunner.core.records import KnownOutcome, Outcome, Proposal, Source
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.wrapper import Wrapper


class SupernetSearch(Wrapper):
    """Trains one supernet, estimates what another searcher proposes, and trains the best anew.

    The estimates are made with the weights of the supernet, without training. The best are trained
    from first weights like any other child, and these rewards are the study's.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``; it learns the estimates.
        num_estimates: how many of its proposals are estimated.
        num_trained: how many of them are trained from first weights, the best ones, each network
            once; at most ``num_estimates``.
        supernet: the settings that the supernet is trained with instead of a child's: dotted keys
            of its configuration -> numbers, such as ``trainer.max_epochs``; None: there are none.

    Raises:
        ValueError: ``num_trained`` is larger than ``num_estimates``, or the inner searcher proposes
            more than plain trainings or watches children while they train.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        num_estimates: Count,
        num_trained: Count,
        supernet: Mapping[str, float] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        if num_trained > num_estimates:
            raise ValueError(
                f"num_trained must be at most num_estimates ({num_estimates}), got {num_trained}"
            )
        if self.inner.listens:
            raise ValueError(
                f"{type(self.inner).__name__} watches children while they train, and "
                "estimates with shared weights are not trained; legal are searchers of trainings "
                "to their ends"
            )
        self.num_estimates = num_estimates
        self.num_trained = num_trained
        self.supernet = dict(supernet or {})
        self._supernet: int | None = None  # its index, once it is proposed
        self._is_trained = False
        self._num_begun = self._num_waiting = 0  # of the estimates
        self._scores: dict[Key, tuple[float, Genotype]] = {}
        self._chosen: list[Genotype] | None = None  # to be trained, best first
        self._taken: set[Key | str] = set()  # what was trained, and its network

    @property
    def is_ready(self) -> bool:
        if self._supernet is None:
            return True
        if not self._is_trained:
            return False
        if self._chosen is not None:
            return True
        if self._num_begun < self.num_estimates and self.inner.is_ready:
            return self._suggestion() is not None or not self._num_waiting
        return False

    def suggest(self, index: int) -> Proposal | None:
        if self._supernet is None:
            return Proposal(index, {}, kind="supernet", fidelity=self.supernet)
        if self._chosen is not None:
            return Proposal(index, self._chosen[0]) if self._chosen else None
        proposal = self._suggestion()
        if proposal is None:
            return None
        sources = (Source(self._supernet, "weights"),)
        return dataclasses.replace(proposal, kind="estimate", sources=sources)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if proposal.kind == "supernet":
            self._supernet = proposal.index
        elif proposal.kind == "estimate":
            self._enter(dataclasses.replace(proposal, kind="train", sources=()))
            self._num_begun += 1
            self._num_waiting += 1
        else:
            self._taken |= {key_of(proposal.genotype), self._network_of(proposal.genotype)}
            if self._chosen and key_of(self._chosen[0]) == key_of(proposal.genotype):
                del self._chosen[0]

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        if proposal.kind == "estimate":
            scored = outcome.known_reward, proposal.genotype
            self._scores[key_of(proposal.genotype)] = scored
            self._pass_on(outcome)
        self._end(proposal)

    def forget(self, proposal: Proposal) -> None:
        if proposal.kind == "estimate":
            self._drop(self._inner_of[proposal.index])
        self._end(proposal)

    @abstractmethod
    def policy(self) -> Policy:
        """Returns what draws the networks that the supernet is trained with."""

    def needs(self) -> Collection[int]:
        if self._supernet is None or self._chosen is not None:
            return []
        return [self._supernet]

    def parents(self) -> Collection[int]:
        return ()

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass

    @property
    def learns_known(self) -> bool:
        return True

    @property
    def ignores_known(self) -> str:
        return (
            "it learns estimates with shared weights, and other studies have rewards of trainings"
        )

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (
            Proposal(0, {}, kind="supernet", fidelity=self.supernet),
            Proposal(0, {}, kind="estimate", sources=(Source(0, "weights"),)),
        )

    @property
    def why_done(self) -> str:
        return f"the best of {self._num_begun} networks of the supernet are trained"

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children >= self.num_trained:
            return None
        return (
            f"max_children={max_children} ends the search before the best "
            f"searcher.num_trained={self.num_trained} networks of the supernet are trained."
        )

    def _end(self, proposal: Proposal) -> None:
        """Goes on to the next part of the search where this one has ended."""
        if proposal.kind == "supernet":
            self._is_trained = True
        elif proposal.kind == "estimate":
            self._num_waiting -= 1
        if not self._is_trained or self._num_waiting or self._chosen is not None:
            return
        has_more = self._num_begun < self.num_estimates
        if not has_more or (self.inner.is_ready and self._suggestion() is None):
            self._chosen = self._best()

    def _best(self) -> list[Genotype]:
        """The networks of the highest estimates that were not trained, best first."""
        ranked = sorted(self._scores.values(), key=lambda each: -each[0])
        found: dict[Key | str, Genotype] = {}
        for _, genotype in ranked:
            network = self._network_of(genotype)
            if network not in self._taken and key_of(genotype) not in self._taken:
                found.setdefault(network, genotype)
        return list(found.values())[: self.num_trained]
