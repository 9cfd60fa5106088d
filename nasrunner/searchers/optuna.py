"""Any sampler of Optuna as a searcher: TPE, Gaussian processes, CMA-ES, NSGA-II."""

import bisect
import copy
import math
import warnings
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, Trial, TrialState

from nasrunner.core.annotations import AtLeast, Seed
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.ledger.objectives import Objective, ObjectiveScores
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.outliers import without_outliers

_READS_TRIALS_ONLY = (TPESampler, GPSampler, RandomSampler)
"""Samplers whose draws follow from the trials' parameters, values and states alone."""


_NAMES: Mapping[type[BaseSampler], str] = {
    CmaEsSampler: "cmaes",
    GPSampler: "gp",
    NSGAIISampler: "nsga2",
    TPESampler: "tpe",
}
"""What users call searchers with a sampler, which are all of one class."""


class Tpe(Searcher):
    """Asks an Optuna sampler at each decision. TPE: Bergstra et al. 2011; define-by-run.

    Ordered decisions are integers (the option's index), all others are categorical; the name of
    a parameter is the decision's path. Each proposal gets a sampler of its own, seeded from the
    study's seed and the index, so that what it draws depends on the recorded events alone.
    Running children are running trials, which TPE and GP avoid (constant liar).

    What a sampler takes for a proposal grows with the trials it sees. Past ``max_history`` rewards
    it sees the best quarter of that number, the newest three quarters and what is running. Of
    1,000 children or of 10,000, Optuna's TPE takes the same best 25 for good ones. Of these it
    sees the rewards ``without_outliers``: GP fits to values, not to ranks.

    What earlier studies found are completed trials before the first. CMA-ES, which looks at trials
    of its own alone, begins with a distribution estimated from theirs (Nomura et al. 2021,
    arXiv:2012.06932).

    With ``learns=objectives`` a trial has a value for each of the study's objectives, as samplers
    for several take them: TPE with the trials that are not dominated for good ones (Ozaki et al.
    2022, doi:10.1613/jair.1.13188), NSGA-II (Deb et al. 2002). How far a child is beyond limits is
    a constraint of its trial. One that failed has the worst value seen of each objective.

    Args:
        max_history: trials with a reward that the sampler sees at most, >= 4; None: all, which
            samplers that count their trials (CMA-ES, genetic algorithms) or learn objectives need.
        sampler: makes an Optuna sampler from ``seed=``.
        learns: the ``reward`` of each child, or the study's ``objectives``.

    Raises:
        ValueError: ``sampler`` cannot be called with a seed, or ``max_history`` is given where
            objectives are learnt.
    """

    def __init__(
        self,
        *,
        max_history: Annotated[int, AtLeast(4)] | None,
        sampler: Callable[..., BaseSampler],
        learns: Literal["reward", "objectives"] = "reward",
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.learns_objectives = learns == "objectives"
        if self.learns_objectives and max_history is not None:
            raise ValueError(
                f"max_history={max_history} keeps the best rewards; legal with learns=objectives "
                "is null, all trials"
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.make_sampler = sampler
        self.max_history = max_history
        self._known: list[FrozenTrial] = []  # of earlier studies, for CMA-ES
        self._begin()
        self._is_replayed_by_asking = not isinstance(self.study.sampler, _READS_TRIALS_ONLY)
        if not isinstance(self.study.sampler, TPESampler):
            # What samplers import when they first compute; the study holds it to one thread if it
            # is there before.
            import scipy.linalg  # type: ignore[import-untyped]  # noqa: F401  # ships no types
        self._trial_numbers: dict[int, int] = {}
        self._suggested: tuple[Proposal, Trial] | None = None

    def _begin(self) -> None:
        """Makes a study without trials, of as many values as there are objectives."""
        self._storage = _Trials(self.max_history, shows_outliers=self.learns_objectives)
        self._scores = ObjectiveScores(self.objectives)
        self.study = optuna.create_study(
            directions=["maximize"] * (len(self.objectives) if self.learns_objectives else 1),
            storage=self._storage,
            sampler=self._sampler(0),
        )

    def compare(self, objectives: Sequence[Objective]) -> None:
        super().compare(objectives)
        if self.learns_objectives:
            self._begin()

    def suggest(self, index: int) -> Proposal:
        if self._suggested is not None and self._suggested[0].index == index:
            return self._suggested[0]
        self._withdraw()
        genotype, trial = self._ask(index)
        self._suggested = Proposal(index, genotype), trial
        return self._suggested[0]

    def register(self, proposal: Proposal) -> None:
        """Keeps the trial just asked, or rebuilds that of a recorded proposal.

        CMA-ES writes its distribution into the trials it is asked for, so such samplers are asked
        again, with the recorded answers; for the others the parameters suffice, at a small part of
        the cost.
        """
        super().register(proposal)
        if self._suggested is not None and self._suggested[0].genotype == proposal.genotype:
            number = self._suggested[1].number
            self._suggested = None
            self._storage.settle(is_kept=True)
        else:
            self._withdraw()
            replay = self._ask_for if self._is_replayed_by_asking else self._add_running
            number = replay(proposal)
            self._storage.settle(is_kept=True)
        self._trial_numbers[proposal.index] = number

    def learn(self, outcome: Outcome) -> None:
        self._withdraw()
        number = self._trial_numbers.pop(outcome.proposal.index)
        if not self.learns_objectives:
            self.study.tell(number, outcome.known_reward)
            return
        found = self._scores.of(outcome)
        if found is None:
            self.study.tell(number, state=TrialState.FAIL)
            return
        scores, excess = found
        if any(each.limit is not None for each in self.objectives):
            # There is one study in the storage: ids of trials are their numbers.
            Trial(self.study, number).set_constraint("limits", excess)
        self.study.tell(number, list(scores))

    def forget(self, proposal: Proposal) -> None:
        self._withdraw()
        self.study.tell(self._trial_numbers.pop(proposal.index), state=TrialState.FAIL)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        for outcome in () if self.learns_objectives else outcomes:
            params, distributions = _parameters(self.space, outcome.genotype)
            self.study.add_trial(
                optuna.create_trial(
                    value=outcome.reward, params=params, distributions=distributions
                )
            )
        if isinstance(self.study.sampler, CmaEsSampler) and self.ignores_known is None:
            self._known = self.study.get_trials()

    @property
    def known_as(self) -> str:
        sampler = self.study.sampler
        if isinstance(sampler, TPESampler) and self.learns_objectives:
            return "motpe"
        named = (name for each, name in _NAMES.items() if isinstance(sampler, each))
        return next(named, type(sampler).__name__)

    @property
    def ignores_known(self) -> str | None:
        if self.learns_objectives:
            return "earlier studies tell their rewards alone, and it learns objectives"
        sampler: Any = self.study.sampler
        given = getattr(self.make_sampler, "keywords", {})
        own = [name for name in ("x0", "sigma0", "use_separable_cma") if given.get(name)]
        if not isinstance(sampler, CmaEsSampler) or not own:
            return None
        return f"with searcher.sampler.{own[0]} CMA-ES begins where that says"

    def advice(self, max_children: int | None) -> str | None:
        size = getattr(self.study.sampler, "population_size", None)  # of genetic algorithms
        if size is None or max_children is None or max_children > size:
            return None
        return (
            f"A budget of {max_children} children makes this a random search: the second "
            f"generation starts after searcher.sampler.population_size={size} children."
        )

    def _sampler(self, index: int) -> BaseSampler:
        seed = int(self.rng(index).integers(2**32))
        source = self._source_trials() if self._known else []
        begins_with = {"source_trials": source} if source else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return self.make_sampler(seed=seed, **begins_with)
        except TypeError as error:
            raise ValueError(f"sampler must be a partial that takes a seed: {error}") from error

    def _source_trials(self) -> list[FrozenTrial]:
        """What was known as trials of the decisions that CMA-ES draws; it takes no others.

        It begins with the best tenth of them, so there must be ten.
        """
        common = IntersectionSearchSpace().calculate(self.study)
        drawn = {n: d for n, d in common.items() if isinstance(d, IntDistribution)}
        drawn = {name: each for name, each in drawn.items() if not each.single()}
        if not drawn:
            return []
        trials = [
            optuna.create_trial(
                value=trial.value,
                params={name: trial.params[name] for name in drawn},
                distributions=dict(drawn),
            )
            for trial in self._known
        ]
        return trials * math.ceil(10 / len(trials))

    def _withdraw(self) -> None:
        """Ends the trial of a suggestion that was not registered: samplers pass over it."""
        if self._suggested is not None:
            self._storage.settle(is_kept=False)
            self.study.tell(self._suggested[1], state=TrialState.FAIL)
            self._suggested = None

    def _ask(self, index: int) -> tuple[Genotype, Trial]:
        self.study.sampler = self._sampler(index)
        with self._storage.drafting():
            trial = self.study.ask()
            _ = trial.relative_params  # draws them, also where an enqueued trial needs none
            genotype = self.space_at(index).walk(lambda decision: _answer(trial, decision))
        return genotype, trial

    def _ask_for(self, proposal: Proposal) -> int:
        """Asks for a trial and gives it the answers of the proposal, whatever the sampler draws."""
        self.study.enqueue_trial(dict(proposal.genotype))
        genotype, trial = self._ask(proposal.index)
        assert genotype == proposal.genotype, "an enqueued trial has the answers it was given"
        return trial.number

    def _add_running(self, proposal: Proposal) -> int:
        space = self.space_at(proposal.index)
        params, distributions = _parameters(space, proposal.genotype)
        trial = optuna.create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions
        )
        self.study.add_trial(trial)
        return self._storage.get_trial_number_from_id(self._storage.newest_id)


class _Trials(optuna.storages.InMemoryStorage):
    """Shows a sampler a bounded part of the history without outliers, and no drafts of parameters.

    TPE and GP write the jointly drawn parameters into a trial before they are asked for, for
    other processes to see. Those that the space then never asks for would stay in the trial and
    count as its parameters, and a replayed trial would lack them.

    NSGA-II keeps the parents of a generation in the study when it is first asked for one of their
    children. Of a suggestion that is withdrawn they are forgotten: a resumed study never made it.

    Args:
        max_history: as of ``Tpe``.
        shows_outliers: of several objectives, whose values are ranked.

    Attributes:
        newest_id: of the trial made last.
    """

    def __init__(self, max_history: int | None, *, shows_outliers: bool) -> None:
        super().__init__()
        self.newest_id = -1
        self._shows_outliers = shows_outliers
        self._drafts: dict[tuple[int, str], Any] = {}  # attributes of the study, of a suggestion
        self._is_drafting = False
        self._max_history = max_history
        self._num_best = (max_history or 0) // 4
        self._num_completed = 0
        self._running: set[int] = set()
        self._newest: deque[int] = deque(maxlen=(max_history or 0) - self._num_best)
        self._best: list[tuple[float, int]] = []  # (-reward, trial's id), ascending

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if ":relative_params:" not in key:
            super().set_trial_system_attr(trial_id, key, value)

    @contextmanager
    def drafting(self) -> Iterator[None]:
        """Holds attributes of the study that are set in the block back until ``settle``."""
        self._is_drafting = True
        try:
            yield
        finally:
            self._is_drafting = False

    def settle(self, *, is_kept: bool) -> None:
        """Keeps or forgets what was held back."""
        drafts, self._drafts = self._drafts, {}
        for (study_id, key), value in drafts.items() if is_kept else ():
            super().set_study_system_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        if self._is_drafting:
            self._drafts[study_id, key] = value
        else:
            super().set_study_system_attr(study_id, key, value)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        held_back = {key: value for (_, key), value in self._drafts.items()}
        return {**super().get_study_system_attrs(study_id), **held_back}

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.newest_id = super().create_new_trial(study_id, template_trial)
        if template_trial is None or template_trial.values is None:
            self._running.add(self.newest_id)
        else:
            self._complete(self.newest_id, template_trial.values[0])
        return self.newest_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        is_set = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._running.discard(trial_id)
        if state == TrialState.COMPLETE and values is not None:
            self._complete(trial_id, values[0])
        return is_set

    def _complete(self, trial_id: int, value: float) -> None:
        self._num_completed += 1
        self._newest.append(trial_id)
        bisect.insort(self._best, (-value, trial_id))
        del self._best[self._num_best :]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if self._max_history is None or self._num_completed <= self._max_history:
            trials = super().get_all_trials(study_id, deepcopy, states)
        else:
            shown = self._running.union(self._newest, (trial_id for _, trial_id in self._best))
            trials = [self.get_trial(trial_id) for trial_id in sorted(shown)]
            trials = [trial for trial in trials if states is None or trial.state in states]
            trials = copy.deepcopy(trials) if deepcopy else trials
        return trials if self._shows_outliers else _without_outliers(trials)


def _without_outliers(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The same trials; a copy of each whose value is an outlier, with the value taken for it."""
    places = [i for i, trial in enumerate(trials) if trial.state == TrialState.COMPLETE]
    values = [trials[i].values[0] for i in places]
    shown = list(trials)
    for place, value, told in zip(places, values, without_outliers(values).tolist(), strict=True):
        if value != told:
            shown[place] = copy.copy(trials[place])
            shown[place].values = [told]
    return shown


def _parameters(
    space: Space, genotype: Genotype
) -> tuple[dict[str, int], dict[str, BaseDistribution]]:
    """A genotype's answers to the decisions that are asked, and what these are drawn from."""
    distributions: dict[str, BaseDistribution] = {}

    def replay(decision: Decision) -> int:
        distributions[decision.path] = _distribution(decision)
        return genotype[decision.path]

    space.walk(replay)
    return {path: genotype[path] for path in distributions}, distributions


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
