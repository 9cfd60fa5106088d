"""A filter: what a searcher proposes is estimated first, and the best estimates are trained."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.core.annotations import Count, Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate
from nasrunner.searchers.wrappers.scored import FEWEST, ScoredNetworks, predicted
from nasrunner.searchers.wrappers.wrapper import Wrapper


@dataclass(frozen=True)
class Candidate:
    """A proposal of the inner searcher.

    Attributes:
        inner: its number there.
        genotype: its answers.
        parent: the child that it was mutated from; None: it was of none.
    """

    inner: int
    genotype: Genotype
    parent: int | None


class Filter(Wrapper):
    """Estimates what another searcher proposes, and trains the best of each round.

    A round is ``num_estimates`` proposals of the inner searcher, fewer where it has no more or
    waits for outcomes. When all are estimated, the best ``num_trained`` different ones that were
    not trained before are proposed for training, best first: different networks where the study
    tells these, or genotypes where all of a round's were trained. The inner searcher learns their
    outcomes alone, and of the others that they have none. The next round begins while they are
    trained, as far as there are workers for it. Abdelfattah et al. 2021, arXiv:2101.08134, section
    3.3, warm a search up so; here each round of it is filtered.

    What is best is said by one score; or, once children were trained, by a surrogate to which all
    scores of an estimate are features beside those of the network, see ``ScoredNetworks``.

    The inner searcher counts its proposals without gaps, whatever has become of those before.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        num_estimates: n: proposals of a round.
        num_trained: q: how many of them are trained, at most n.
        proxy: the metric of an estimate that is compared, higher is better; None: its reward.
        surrogate: makes a ``Surrogate`` from ``space=``; what it predicts is drawn from instead of
            comparing that metric, once it has ``FEWEST`` rewards of this study. None: nothing.

    Raises:
        ValueError: q is larger than n, the surrogate does not see scores, or the inner searcher
            proposes more than plain trainings.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        num_estimates: Count,
        num_trained: Count,
        proxy: str | None,
        surrogate: Callable[..., Surrogate] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        if num_trained > num_estimates:
            raise ValueError(
                f"num_trained must be at most num_estimates ({num_estimates}), got {num_trained}"
            )
        self.num_estimates = num_estimates
        self.num_trained = num_trained
        self.proxy = proxy
        self.surrogate = (
            None if surrogate is None else make_surrogate(surrogate, space, "surrogate")
        )
        if self.surrogate is not None and not self.surrogate.looks_at_networks:
            name = type(self.surrogate).__name__
            raise ValueError(
                "surrogate must be one to which scores are features of a network, and "
                f"{name} looks at genotypes alone, as configured; legal are null and "
                "GaussianProcess with network, kinds or both among surrogate.views"
            )
        self._round: list[Candidate] = []
        self._num_waiting = 0  # of the round, for their estimates
        self._scores: dict[Key, float] = {}  # of everything that was estimated
        self._estimates: dict[Key, Mapping[str, float]] = {}  # all the scores, for a surrogate
        self._rewards: dict[Key, tuple[Genotype, float]] = {}  # of what was estimated and trained
        self._chosen: list[Candidate] = []  # to be trained, best first
        self._trained: set[Key | str] = set()  # genotypes, and the identities of their networks

    @property
    def is_ready(self) -> bool:
        if self._chosen:
            return True
        if len(self._round) >= self.num_estimates or not self.inner.is_ready:
            return False
        return self._num_waiting == 0 or self._suggestion() is not None

    def suggest(self, index: int) -> Proposal | None:
        if self._chosen:
            candidate = self._chosen[0]
            return Proposal(index, candidate.genotype, parent=candidate.parent)
        proposal = self._suggestion()
        return None if proposal is None else dataclasses.replace(proposal, kind="estimate")

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if proposal.kind == "estimate":
            self._round.append(self._candidate(proposal))
            self._num_waiting += 1
            return
        key = key_of(proposal.genotype)
        chosen = next((c for c in self._chosen if key_of(c.genotype) == key), None)
        if chosen is None:  # another has made it
            chosen = self._candidate(proposal)
        else:
            self._chosen.remove(chosen)
        self._inner_of[proposal.index] = chosen.inner
        self._outer_of[chosen.inner] = proposal.index
        self._trained |= {key, self._network_of(proposal.genotype)}

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        key = key_of(proposal.genotype)
        if proposal.kind == "estimate":
            metrics = outcome.metrics
            score = outcome.reward if self.proxy is None else metrics.get(self.proxy)
            if score is not None:
                self._scores[key] = score
                self._estimates[key] = metrics
            self._num_waiting -= 1
        else:
            if key in self._scores:
                self._rewards[key] = proposal.genotype, outcome.known_reward
            self._pass_on(outcome)
        self._end_round()

    def forget(self, proposal: Proposal) -> None:
        if proposal.kind == "estimate":
            self._num_waiting -= 1
        else:
            self._drop(self._inner_of[proposal.index])
        self._end_round()

    def see(self, networks: Networks) -> None:
        super().see(networks)
        if self.surrogate is not None:
            self.surrogate.networks = ScoredNetworks(networks, self._estimates)

    @property
    def estimated(self) -> Collection[str]:
        return () if self.proxy is None else (self.proxy,)

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (Proposal(0, {}, kind="estimate"),)

    @property
    def why_done(self) -> str:
        return (
            f"{type(self.inner).__name__} has nothing left to propose ({self.inner.why_done}), and "
            "of each round the best were trained"
        )

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.num_trained:
            return None
        return (
            f"A budget of {max_children} children is one round of the filter: they are the best of "
            f"searcher.num_estimates={self.num_estimates} first proposals of "
            f"{type(self.inner).__name__}, which learns nothing before it has proposed them."
        )

    def _candidate(self, proposal: Proposal) -> Candidate:
        """Makes a proposal the next one of the inner searcher."""
        return Candidate(
            self._enter(proposal, kind="train", predicted=None), proposal.genotype, proposal.parent
        )

    def _end_round(self) -> None:
        """Chooses what is trained once all of a round is estimated, and nothing comes to it."""
        if self._num_waiting or not self._round:
            return
        is_full = len(self._round) >= self.num_estimates
        if not is_full and self.inner.is_ready and self._suggestion() is not None:
            return
        new = self._new(self._network_of) or self._new(key_of)
        self._chosen.extend(self._ranked(new)[: self.num_trained])
        ended, self._round = self._round, []
        for candidate in ended:
            if candidate not in self._chosen:
                self._drop(candidate.inner)

    def _new(self, known_by: Callable[[Genotype], Key | str]) -> list[Candidate]:
        """What of a round has a score and was not trained, the first of those known by the same."""
        new: dict[Key | str, Candidate] = {}
        for candidate in self._round:
            key = known_by(candidate.genotype)
            if key_of(candidate.genotype) in self._scores and key not in self._trained:
                new.setdefault(key, candidate)
        return list(new.values())

    def _ranked(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those with scores, best first; of equal ones what was proposed first."""
        scores_C = np.array([self._scores[key_of(each.genotype)] for each in candidates])
        if self.surrogate is not None and candidates and len(self._rewards) >= FEWEST:
            genotypes = [candidate.genotype for candidate in candidates]
            rng = self.rng(self.num_proposed).spawn(1)[0]  # a stream that no proposal draws from
            scores_C = predicted(self.surrogate, self._rewards, genotypes, rng)
        return [candidates[place] for place in np.argsort(-scores_C, kind="stable")]
