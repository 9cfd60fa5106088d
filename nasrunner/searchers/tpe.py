"""Any sampler of Optuna as a searcher: TPE, Gaussian processes, CMA-ES."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from nasrunner.core.decision import Decision
from nasrunner.core.records import Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

_READS_TRIALS_ONLY = (TPESampler, GPSampler, RandomSampler)
"""Samplers whose draws follow from the trials' parameters, values and states alone."""


class Tpe(Searcher):
    """Asks an Optuna sampler at each decision. TPE: Bergstra et al. 2011; define-by-run.

    Ordered decisions are integers (the option's index), all others are categorical; the name of
    a parameter is the decision's path. Each proposal gets a sampler of its own, seeded from the
    study's seed and the index, so that what it draws depends on the recorded events alone.
    Running children are running trials, which TPE and GP avoid (constant liar).

    Args:
        sampler: makes an Optuna sampler from ``seed=``.

    Raises:
        ValueError: ``sampler`` cannot be called with a seed.
    """

    def __init__(self, *, sampler: Callable[..., BaseSampler], space: Space, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.make_sampler = sampler
        self.study = optuna.create_study(
            direction="maximize", storage=_TrialsOnly(), sampler=self._sampler(0)
        )
        self._is_replayed_by_asking = not isinstance(self.study.sampler, _READS_TRIALS_ONLY)
        self._trial_numbers: dict[int, int] = {}
        self._suggested: tuple[Proposal, Trial] | None = None

    def suggest(self, index: int) -> Proposal:
        if self._suggested is not None and self._suggested[0].index == index:
            return self._suggested[0]
        self._withdraw()
        self.study.sampler = self._sampler(index)
        trial = self.study.ask()
        genotype = self.space.walk(lambda decision: _answer(trial, decision))
        self._suggested = Proposal(index, genotype), trial
        return self._suggested[0]

    def register(self, proposal: Proposal) -> None:
        """Keeps the trial just asked, or rebuilds that of a recorded proposal.

        CMA-ES writes its distribution into the trials it is asked for, so such samplers are asked
        again; for the others the parameters suffice, at a small part of the cost.
        """
        super().register(proposal)
        if self._is_replayed_by_asking:
            self.suggest(proposal.index)
        if self._suggested is not None and self._suggested[0].genotype == proposal.genotype:
            number = self._suggested[1].number
            self._suggested = None
        else:
            self._withdraw()
            number = self._add_running(proposal)
        self._trial_numbers[proposal.index] = number

    def learn(self, proposal: Proposal, reward: float) -> None:
        self._withdraw()
        self.study.tell(self._trial_numbers.pop(proposal.index), reward)

    def forget(self, proposal: Proposal) -> None:
        self._withdraw()
        self.study.tell(self._trial_numbers.pop(proposal.index), state=TrialState.FAIL)

    def _sampler(self, index: int) -> BaseSampler:
        seed = int(self.rng(index).integers(2**32))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return self.make_sampler(seed=seed)
        except TypeError as error:
            raise ValueError(f"sampler must be a partial that takes a seed: {error}") from error

    def _withdraw(self) -> None:
        """Ends the trial of a suggestion that was not registered: samplers pass over it."""
        if self._suggested is not None:
            self.study.tell(self._suggested[1], state=TrialState.FAIL)
            self._suggested = None

    def _add_running(self, proposal: Proposal) -> int:
        distributions: dict[str, BaseDistribution] = {}

        def replay(decision: Decision) -> int:
            distributions[decision.path] = _distribution(decision)
            return proposal.genotype[decision.path]

        params = self.space.walk(replay)
        trial = optuna.create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions
        )
        self.study.add_trial(trial)
        return len(self.study.get_trials(deepcopy=False)) - 1


class _TrialsOnly(optuna.storages.InMemoryStorage):
    """Keeps no draft of a trial's parameters.

    TPE and GP write the jointly drawn parameters into a trial before they are asked for, for
    other processes to see. Those that the space then never asks for would stay in the trial and
    count as its parameters, and a replayed trial would lack them.
    """

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if ":relative_params:" not in key:
            super().set_trial_system_attr(trial_id, key, value)


def _distribution(decision: Decision) -> BaseDistribution:
    last = len(decision.options) - 1
    if decision.is_ordered:
        return IntDistribution(0, last)
    return CategoricalDistribution(tuple(range(last + 1)))


def _answer(trial: Trial, decision: Decision) -> int:
    last = len(decision.options) - 1
    if decision.is_ordered:
        return trial.suggest_int(decision.path, 0, last)
    return trial.suggest_categorical(decision.path, tuple(range(last + 1)))
