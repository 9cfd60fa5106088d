"""A filter: what a searcher proposes is estimated first, and the best estimates are trained."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nasrunner.core.annotations import Count, Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import KnownOutcome, Outcome, Proposal, Report
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate
from nasrunner.searchers.wrappers.plain import check_plain, inner_searcher
from nasrunner.searchers.wrappers.scored import FEWEST, ScoredNetworks, predicted


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


class Filter(Searcher):
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
        ranks_by: ``score`` compares that; ``surrogate`` draws from what the surrogate predicts,
            once it has ``FEWEST`` rewards of this study.
        surrogate: makes a ``Surrogate`` from ``space=``.

    Raises:
        ValueError: q is larger than n, the surrogate that is to rank does not see scores, or the
            inner searcher proposes estimates itself.
    """

    proposes_estimates = True

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        num_estimates: Count,
        num_trained: Count,
        proxy: str | None,
        ranks_by: Literal["score", "surrogate"],
        surrogate: Callable[..., Surrogate],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        if num_trained > num_estimates:
            raise ValueError(
                f"num_trained must be at most num_estimates ({num_estimates}), got {num_trained}"
            )
        self.inner = inner_searcher(searcher, space, seed)
        self.repeats = self.inner.repeats
        self.num_estimates = num_estimates
        self.num_trained = num_trained
        self.proxy = proxy
        self.surrogate = (
            make_surrogate(surrogate, space, "surrogate") if ranks_by == "surrogate" else None
        )
        if self.surrogate is not None and not self.surrogate.looks_at_networks:
            name = type(self.surrogate).__name__
            raise ValueError(
                "ranks_by=surrogate needs a surrogate to which scores are features of a network, "
                f"and {name} looks at genotypes alone, as configured; "
                "legal is GaussianProcess with network, kinds or both among surrogate.views"
            )
        self._inner_of: dict[int, int] = {}
        self._outer_of: list[int] = []  # by the inner one's number: where it was proposed last
        self._round: list[Candidate] = []
        self._num_waiting = 0  # of the round, for their estimates
        self._scores: dict[Key, float] = {}  # of everything that was estimated
        self._estimates: dict[Key, Mapping[str, float]] = {}  # all the scores, for a surrogate
        self._rewards: dict[Key, tuple[Genotype, float]] = {}  # of what was estimated and trained
        self._chosen: list[Candidate] = []  # to be trained, best first
        self._trained: set[Key | str] = set()  # genotypes, and the identities of their networks
        self._suggested: tuple[Proposal | None] | None = None  # of the inner one, as it is

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
        inside = self._suggestion()
        if inside is None:
            return None
        check_plain(inside, self.inner, "which a filter cannot choose by estimates")
        parent = None if inside.parent is None else self._outer_of[inside.parent]
        return dataclasses.replace(inside, index=index, kind="estimate", parent=parent)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._suggested = None
        if proposal.kind == "estimate":
            self._round.append(self._enter(proposal))
            self._num_waiting += 1
            return
        key = key_of(proposal.genotype)
        chosen = next((c for c in self._chosen if key_of(c.genotype) == key), None)
        if chosen is None:  # another has made it
            chosen = self._enter(proposal)
        else:
            self._chosen.remove(chosen)
        self._inner_of[proposal.index] = chosen.inner
        self._outer_of[chosen.inner] = proposal.index
        self._trained |= {key, self._network_of(proposal.genotype)}

    def learn(self, outcome: Outcome) -> None:
        self._suggested = None
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
            inside = self.inner.pending[self._inner_of[proposal.index]]
            self.inner.observe(dataclasses.replace(outcome, proposal=inside))
        self._end_round()

    def forget(self, proposal: Proposal) -> None:
        self._suggested = None
        if proposal.kind == "estimate":
            self._num_waiting -= 1
        else:
            self._drop(self._inner_of[proposal.index])
        self._end_round()

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        self.inner.learn_known(outcomes)

    @property
    def learns_known(self) -> bool:
        return self.inner.learns_known

    @property
    def ignores_known(self) -> str | None:
        return self.inner.ignores_known

    def see(self, networks: Networks) -> None:
        super().see(networks)
        self.inner.see(networks)
        if self.surrogate is not None:
            self.surrogate.networks = ScoredNetworks(networks, self._estimates)

    def report(self, report: Report) -> None:
        self._suggested = None
        self.inner.report(dataclasses.replace(report, index=self._inner_of[report.index]))

    def should_stop(self, index: int) -> bool:
        return self.inner.should_stop(self._inner_of[index])

    def needs(self) -> Collection[int]:
        return [self._outer_of[each] for each in self.inner.needs()]

    @property
    def listens(self) -> bool:
        return self.inner.listens

    @property
    def estimated(self) -> Collection[str]:
        return () if self.proxy is None else (self.proxy,)

    @property
    def asks_for_estimates(self) -> bool:
        return True

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

    def _suggestion(self) -> Proposal | None:
        """What the inner searcher would propose now; found once, as it may take a while."""
        if self._suggested is None:
            self._suggested = (self.inner.suggest(self.inner.num_proposed),)
        return self._suggested[0]

    def _enter(self, proposal: Proposal) -> Candidate:
        """Makes a proposal the next one of the inner searcher."""
        inner = self.inner.num_proposed
        parent = None if proposal.parent is None else self._inner_of[proposal.parent]
        inside = Proposal(
            inner,
            proposal.genotype,
            parent=parent,
            identity=self.identity_of(proposal.genotype),
            notes=proposal.notes,
        )
        self.inner.register(inside)
        self._inner_of[proposal.index] = inner
        self._outer_of.append(proposal.index)
        return Candidate(inner, proposal.genotype, proposal.parent)

    def _drop(self, inner: int) -> None:
        """Tells the inner searcher that a proposal of its own has no reward."""
        self.inner.observe(Outcome(self.inner.pending[inner], "failed"))

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
        self._suggested = None

    def _network_of(self, genotype: Genotype) -> Key | str:
        """The identity of its network, or the genotype where that is not known."""
        return self.identity_of(genotype) or key_of(genotype)

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
