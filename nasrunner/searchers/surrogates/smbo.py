"""Sequential model-based optimisation: a surrogate, an acquisition and candidates, put together."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from statistics import NormalDist
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key, key_of, untaken
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.outliers import without_outliers
from nasrunner.searchers.surrogates.acquisition import Acquisition
from nasrunner.searchers.surrogates.candidates import Candidates
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate

# N = children, C = candidates


class Smbo(Searcher):
    """Proposes the candidate that looks best to a surrogate. Hutter et al. 2011, algorithm 1.

    Random children until ``num_random`` rewards have arrived, those of earlier studies counted;
    then each proposal draws candidates
    that were never proposed, lets the surrogate predict them and takes the one the acquisition
    scores highest. Where every architecture has been proposed, they may be proposed again.

    The surrogate is fitted anew whenever the rewards have grown by ``refit_growth``, to at most
    ``max_history`` children: the best third, the newest third, and from the others a third evenly
    spaced in time. Children in flight at that moment are among them with the targets that are
    predicted without them (kriging believer; Ginsbourger et al. 2010, section 4.2), so that
    parallel workers spread. What is fitted and when follows from the recorded events, so a resumed
    study fits once.

    Args:
        num_random: rewards to wait for with random children, >= 1.
        max_history: children the surrogate is fitted to at most, >= 3, those in flight left out.
        refit_growth: by what share of themselves rewards grow before the surrogate is fitted
            again, >= 0; at least by one.
        refit_each_until: it is fitted after each of so many rewards, whatever ``refit_growth``.
        use_ranks: the surrogate sees the normal scores of the rewards' ranks, so that neither
            their scale nor a few far-off ones matter; else the rewards ``without_outliers``,
            standardised.
        surrogate: makes a ``Surrogate`` from ``space=``.
        acquisition: scores the candidates.
        candidates: draws them.

    Raises:
        ValueError: ``surrogate`` cannot be called, or makes no surrogate.
    """

    def __init__(
        self,
        *,
        num_random: Annotated[int, AtLeast(1)],
        max_history: Annotated[int, AtLeast(3)],
        refit_growth: Annotated[float, AtLeast(0)],
        refit_each_until: Annotated[int, AtLeast(0)] = 0,  # studies saved before do not say it
        use_ranks: bool,
        surrogate: Callable[..., Surrogate],
        acquisition: Acquisition,
        candidates: Candidates,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.num_random = num_random
        self.max_history = max_history
        self.refit_growth = refit_growth
        self.refit_each_until = refit_each_until
        self.use_ranks = use_ranks
        self.surrogate = make_surrogate(surrogate, space, "surrogate")
        self.acquisition = acquisition
        self.candidates = candidates
        self.genotypes: list[Genotype] = []
        self.rewards: list[float] = []
        self._best: list[tuple[float, int]] = []  # (-reward, position) of the best, none twice
        self._squared_errors: list[float] = []  # of rewards that are means of trainings
        self._identities: set[str] = set()  # of the networks that were evaluated
        self._taken: defaultdict[tuple[int, ...], set[Key]] = defaultdict(set)  # of each stage
        self._num_to_fit = 0
        self._in_flight_then: list[Genotype] = []
        self._num_fitted = 0
        self._best_target = 0.0

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._taken[self.stage(proposal.index)].add(key_of(proposal.genotype))

    def learn(self, outcome: Outcome) -> None:
        spread, num_trainings = (outcome.metrics.get(n) for n in ("reward_std", "trainings"))
        if outcome.status == "completed" and spread is not None and num_trainings:
            self._squared_errors.append(spread**2 / num_trainings)
        if outcome.proposal.identity is not None:
            self._identities.add(outcome.proposal.identity)
        self._add(outcome.proposal.genotype, outcome.known_reward)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        for outcome in outcomes:
            self._add(outcome.genotype, outcome.reward)

    def _add(self, genotype: Genotype, reward: float) -> None:
        self.genotypes.append(genotype)
        self.rewards.append(reward)
        self._rank(len(self.rewards) - 1)
        growth = len(self.rewards) - self._num_to_fit
        is_each = len(self.rewards) <= self.refit_each_until
        if is_each or growth >= self.refit_growth * self._num_to_fit:
            self._num_to_fit = len(self.rewards)
            self._in_flight_then = [p.genotype for p in self.pending.values()]

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        taken: Collection[Key] = self._taken[self.stage(index)]
        if len(taken) >= space.size():
            taken = ()
        if len(self.rewards) < self.num_random:
            return Proposal(index, untaken(space, taken, rng))
        genotypes = self._possible(self.candidates.draw(space, self._parents(), taken, rng))
        self._fit()
        mean_C, std_C = self.surrogate.predict(genotypes)
        scores_C = self.acquisition(mean_C, std_C, self._best_target, rng)
        return Proposal(index, self._first_unknown(genotypes, scores_C))

    def see(self, networks: Networks) -> None:
        super().see(networks)
        self.surrogate.networks = networks

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.num_random:
            return None
        return (
            f"A budget of {max_children} children makes this a random search: the surrogate is "
            f"asked after searcher.num_random={self.num_random} rewards."
        )

    def _rank(self, position: int) -> None:
        """Places a child among the best; of children that are the same architecture, the best."""
        place = -self.rewards[position], position
        if len(self._best) == self.candidates.num_parents and place > self._best[-1]:
            return
        genotype = self.genotypes[position]
        for other in self._best:
            if self.genotypes[other[1]] == genotype:
                if other < place:
                    return
                self._best.remove(other)
                break
        bisect.insort(self._best, place)
        del self._best[self.candidates.num_parents :]

    def _parents(self) -> list[Genotype]:
        """Returns the best children, best first, none twice."""
        return [self.genotypes[position] for _, position in self._best]

    def _possible(self, genotypes: list[Genotype]) -> list[Genotype]:
        """Drops genotypes of impossible networks, if the surrogate looks at networks; never all."""
        if self.networks is None or not self.surrogate.looks_at_networks:
            return genotypes
        is_possible_C = self.networks.describe(genotypes).is_possible_N
        possible = [each for each, is_one in zip(genotypes, is_possible_C, strict=True) if is_one]
        return possible or genotypes

    def _first_unknown(self, genotypes: Sequence[Genotype], scores_C: np.ndarray) -> Genotype:
        """Returns the candidate with the highest score whose network was not evaluated before.

        The one with the highest score where all were, or the study tells genotypes apart.
        """
        first = _first_of_the_highest(scores_C)
        looks = self.surrogate.looks_at_networks
        if self.networks is None or not looks or not self.networks.identifies:
            return genotypes[first]
        known = {*self._identities, *(self.identity_of(p.genotype) for p in self.pending.values())}
        for place in (first, *map(int, np.argsort(-scores_C, kind="stable"))):
            if self.identity_of(genotypes[place]) not in known:
                return genotypes[place]
        return genotypes[first]

    def _fit(self) -> None:
        if self._num_fitted == self._num_to_fit:
            return
        rewards_N = np.array(self.rewards[: self._num_to_fit])
        chosen = choose_history(rewards_N, self.max_history)
        targets = (
            normal_scores(rewards_N, chosen)
            if self.use_ranks
            else standardised(without_outliers(rewards_N))[chosen]
        )
        genotypes = [self.genotypes[i] for i in chosen]
        rng = self.rng(self._num_to_fit).spawn(1)[0]  # a stream that no proposal draws from
        self.surrogate.noise = self._noise(rewards_N)
        self.surrogate.fit(genotypes, targets, rng)
        if self._in_flight_then:
            believed, _ = self.surrogate.predict(self._in_flight_then)
            both = np.concatenate([targets, believed])
            self.surrogate.fit(genotypes + self._in_flight_then, both, rng)
        self._best_target = float(targets.max())  # the best child is among those chosen
        self._num_fitted = self._num_to_fit

    def _noise(self, rewards_N: np.ndarray) -> float | None:
        """The noise of rewards, which is about the same for all, relative to what differs."""
        if not self._squared_errors:
            return None
        noise = float(np.mean(self._squared_errors))
        variance = float(without_outliers(rewards_N).var())
        return noise / max(variance - noise, 0.1 * noise, 1e-12)


def choose_history(rewards_N: np.ndarray, max_history: int) -> np.ndarray:
    """Returns positions of the children to fit, in order: the best, the newest, and some of the
    others.
    """
    num_children = len(rewards_N)
    if num_children <= max_history:
        return np.arange(num_children)
    third = max_history // 3
    is_chosen_N = np.zeros(num_children, dtype=bool)
    is_chosen_N[np.argsort(-rewards_N, kind="stable")[:third]] = True
    is_chosen_N[-third:] = True
    others = np.flatnonzero(~is_chosen_N)
    num_others = max_history - int(is_chosen_N.sum())
    is_chosen_N[others[np.linspace(0, len(others) - 1, num_others).astype(int)]] = True
    return np.flatnonzero(is_chosen_N)


def normal_scores(rewards_N: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns Φ⁻¹((rank - 1/2) / N) of some of N rewards, equal rewards sharing their mean rank."""
    ordered_N, asked = np.sort(rewards_N), rewards_N[positions]
    num_below, num_up_to = (ordered_N.searchsorted(asked, side) for side in ("left", "right"))
    quantiles = (num_up_to - (num_up_to - num_below) / 2) / len(rewards_N)
    return np.array(list(map(NormalDist().inv_cdf, quantiles)))


def standardised(rewards_N: np.ndarray) -> np.ndarray:
    """Returns rewards with mean 0 and standard deviation 1; zeros where all are equal."""
    centred_N: np.ndarray = rewards_N - rewards_N.mean()
    return centred_N / (centred_N.std() or 1.0)


def _first_of_the_highest(scores_C: np.ndarray) -> int:
    """Position of the highest score; scores as good as equal, which rounding orders, are ties."""
    tolerance = 1e-9 * float(np.abs(scores_C).max())
    return int(np.flatnonzero(scores_C >= scores_C.max() - tolerance)[0])
