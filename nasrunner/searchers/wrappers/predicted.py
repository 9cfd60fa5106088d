"""A predictor around a searcher: proposals that it predicts to be poor are not trained."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, runtime_checkable

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.outliers import without_outliers
from nasrunner.searchers.surrogates.smbo import choose_history, standardised
from nasrunner.searchers.surrogates.surrogate import Surrogate, make_surrogate
from nasrunner.searchers.wrappers.wrapper import Wrapper

# N = children


@runtime_checkable
class PredictsItself(Protocol):
    """A searcher that has a predictor of its own.

    Attributes:
        predictor_weight: 0: it has none.
        num_updates: how often it has learnt.
    """

    predictor_weight: float
    num_updates: int

    def predict(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Returns the rewards that it predicts."""


class Predicted(Wrapper):
    """Trains what another searcher proposes unless its reward is predicted to be a low one.

    Once ``num_trained_first`` rewards have arrived, each proposal of the inner searcher is
    predicted. If that is below the ``quantile`` of the rewards measured so far, it is not trained:
    it is an estimate whose outcome is the prediction, which the inner searcher learns as if it
    were the reward, as MLPNAS uses predictions "as a proxy to their validation accuracies". A share
    of such proposals, drawn at random, is trained all the same, so that the predictor keeps
    learning where it is wrong. What was trained before is not predicted. The study's summary has
    the correlation of predictions and later rewards.

    Every proposal is one of the inner searcher, with the same number.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        predictor: makes a ``Surrogate`` from ``space=``; None: the inner searcher's own.
        quantile: of the rewards measured; 0 skips nothing, as no prediction is below the worst.
        honest_share: of the proposals below, which are trained: in (0, 1], or a search whose
            proposals are all predicted to be poor would not end.
        num_trained_first: rewards to wait for, >= 4: of three a predictor learns no order.
        max_history: children the predictor is fitted to at most, see ``choose_history``.
        refit_growth: by what share of themselves rewards grow before it is fitted again.

    Raises:
        ValueError: ``predictor`` cannot be called, there is none, or the inner searcher proposes
            more than plain trainings.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        predictor: Callable[..., Surrogate] | None,
        quantile: Annotated[float, Within("[0, 1]")],
        honest_share: Annotated[float, Within("(0, 1]")],
        num_trained_first: Annotated[int, AtLeast(4)],
        max_history: Annotated[int, AtLeast(4)],
        refit_growth: Annotated[float, AtLeast(0)],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        if predictor is None and not _predicts(self.inner):
            raise ValueError(
                "predictor=null asks the inner searcher for its own predictor, and "
                f"{type(self.inner).__name__} has none as configured; legal is a surrogate, or "
                "searcher@searcher.searcher=reinforce searcher.searcher.predictor_weight=1"
            )
        self.predictor = (
            None if predictor is None else make_surrogate(predictor, space, "predictor")
        )
        self.quantile = quantile
        self.honest_share = honest_share
        self.num_trained_first = num_trained_first
        self.max_history = max_history
        self.refit_growth = refit_growth
        self.genotypes: list[Genotype] = []
        self.rewards: list[float] = []
        self._known: set[Key | str] = set()
        self._num_to_fit = 0
        self._num_fitted = 0

    def _threshold(self) -> float:
        """The quantile of the rewards measured, by halves, whose differences are finite."""
        return 2 * float(np.quantile(np.array(self.rewards) / 2, self.quantile))

    @property
    def is_ready(self) -> bool:
        return self.inner.is_ready

    def suggest(self, index: int) -> Proposal | None:
        inside = self._suggestion()
        if inside is None:
            return None
        reward = self._prediction(inside.genotype)
        if reward is None:
            return inside
        is_poor = reward < self._threshold()
        # A stream that neither the inner searcher nor the fit draws from.
        is_honest = self.rng(index).spawn(2)[1].random() < self.honest_share
        kind = inside.kind if is_honest or not is_poor else "estimate"
        return dataclasses.replace(inside, kind=kind, predicted=reward)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._enter(proposal, kind="train", predicted=None)
        if proposal.kind == "train":
            self._known.add(self._network_of(proposal.genotype))

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        if proposal.kind == "train" and outcome.reused_from is None:
            self.genotypes.append(proposal.genotype)
            self.rewards.append(outcome.known_reward)
            if len(self.rewards) - self._num_to_fit >= self.refit_growth * self._num_to_fit:
                self._num_to_fit = len(self.rewards)
        self._pass_on(outcome)

    def forget(self, proposal: Proposal) -> None:
        self._drop(self._inner_of[proposal.index])

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        self.genotypes += [each.genotype for each in outcomes]
        self.rewards += [each.reward for each in outcomes]
        self._num_to_fit = len(self.rewards)
        super().learn_known(outcomes)

    @property
    def ignores_known(self) -> str | None:
        return self.inner.ignores_known if self.predictor is None else None

    def see(self, networks: Networks) -> None:
        super().see(networks)
        if self.predictor is not None:
            self.predictor.networks = networks

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (Proposal(0, {}, kind="estimate", predicted=0.0),)

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.num_trained_first:
            return super().advice(max_children)
        return (
            f"A budget of {max_children} children is trained as {type(self.inner).__name__} "
            "proposes it: nothing is predicted before "
            f"searcher.num_trained_first={self.num_trained_first} rewards."
        )

    def _prediction(self, genotype: Genotype) -> float | None:
        """The reward that is predicted; None: too little is known, or it was trained before."""
        if len(self.rewards) < self.num_trained_first or self._network_of(genotype) in self._known:
            return None
        rewards_N = without_outliers(self.rewards[: self._num_to_fit])
        if self.predictor is None:
            assert isinstance(self.inner, PredictsItself)
            if not self.inner.num_updates:
                return None
            found = float(self.inner.predict([genotype])[0])
        else:
            self._fit(rewards_N)
            found = float(self.predictor.predict([genotype])[0][0])
            found = float(rewards_N.mean()) + float(rewards_N.std()) * found
        return float(np.clip(found, rewards_N.min(), rewards_N.max()))

    def _fit(self, rewards_N: np.ndarray) -> None:
        if self.predictor is None or self._num_fitted == self._num_to_fit:
            return
        chosen = choose_history(rewards_N, self.max_history)
        genotypes = [self.genotypes[position] for position in chosen]
        rng = self.rng(self._num_to_fit).spawn(3)[2]  # a stream that no proposal draws from
        self.predictor.fit(genotypes, standardised(rewards_N)[chosen], rng)
        self._num_fitted = self._num_to_fit


def _predicts(searcher: Searcher) -> bool:
    return isinstance(searcher, PredictsItself) and searcher.predictor_weight > 0
