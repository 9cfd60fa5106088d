import math
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from nasrunner.compose.construct import construct
from nasrunner.core import Address, ConfigError, Outcome, Searcher
from nasrunner.searchers.optuna import Tpe, _distribution
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.surrogates.encoding import Encoding
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, load_space, make_searcher, one_by_one


def best_of_60(searcher: Searcher) -> float:
    """The number of answers, of 8, that are right; 1 / 6,561 of all architectures get all 8."""
    best = 0.0
    for _ in range(60):
        proposal = searcher.propose()
        assert proposal is not None
        reward = float(sum(index == 2 for index in proposal.genotype.values()))
        best = max(best, reward)
        searcher.observe(Outcome(proposal, "completed", reward))
    return best


def test_tpe_beats_random_search_on_a_separable_reward() -> None:
    space = load_space("nasbench_macro")
    tpe = [
        best_of_60(
            Tpe(max_history=None, sampler=optuna.samplers.TPESampler, space=space, seed=seed)
        )
        for seed in range(5)
    ]
    random = [best_of_60(RandomSearch(space=space, seed=seed)) for seed in range(5)]
    assert np.mean(tpe) >= np.mean(random) + 1


def test_ordered_decisions_are_integers_and_others_categorical() -> None:
    searcher = make_searcher("tpe", "mlp")
    assert isinstance(searcher, Tpe)
    Loop(searcher).play(one_by_one(3))
    found = searcher.study.get_trials()[0].distributions
    assert found["0/affine/units"] == IntDistribution(0, 6)
    assert found["1/or"] == CategoricalDistribution((0, 1, 2, 3))


@pytest.mark.parametrize(
    "leaf", [{"uniform": [0, 1]}, {"loguniform": [1, 9]}, {"randint": [0, 999]}]
)
def test_a_fine_grid_is_numbers_and_no_categories(leaf: dict[str, Any]) -> None:
    space = parse_space({"hyperparameters": {"optimizer.lr": leaf}, "relu": None})
    (decision,) = space.decisions(Address())
    assert _distribution(decision) == IntDistribution(0, 999)  # TPE, GP, CMA-ES
    encoding = Encoding(space)
    rows = [{decision.path: index} for index in (0, 999)]
    encoding.fit(rows)
    assert encoding.transform(rows).tolist() == [[0.0], [math.sqrt(2)]]  # smbo


def test_a_child_without_a_reward_is_a_failed_trial_and_one_in_flight_a_running_one() -> None:
    searcher = make_searcher("tpe", "figure1")
    assert isinstance(searcher, Tpe)
    Loop(searcher).play([(True, 0, False)] * 3 + [(False, 0, True), (False, 0, False)])
    states = [trial.state for trial in searcher.study.get_trials()]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]


def test_a_suggestion_that_is_not_registered_is_no_running_trial() -> None:
    searcher = make_searcher("tpe", "figure1")
    assert isinstance(searcher, Tpe)
    searcher.suggest(0)
    searcher.suggest(1)
    Loop(searcher).play(one_by_one(1))
    states = {trial.state for trial in searcher.study.get_trials()}
    assert states == {TrialState.FAIL, TrialState.COMPLETE}


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_a_replayed_study_holds_the_trials_of_the_original(name: str) -> None:
    steps = one_by_one(6) + [(True, 0, False)] * 2
    original = Loop(make_searcher(name, "small_cnn")).play(steps)
    replayed = Loop(make_searcher(name, "small_cnn")).replay(original.events)
    assert trials(original.searcher) == trials(replayed.searcher)


def trials(searcher: Searcher) -> list[dict[str, Any]]:
    assert isinstance(searcher, Tpe)
    fields = ("number", "state", "params", "distributions", "values")
    found = []
    for trial in searcher.study.get_trials():
        # How a recorded trial came by its answers; no sampler looks at it.
        attributes = {k: v for k, v in trial.system_attrs.items() if k != "fixed_params"}
        found.append({**{name: getattr(trial, name) for name in fields}, "attributes": attributes})
    return found


def test_cma_es_draws_ordered_decisions_from_its_distribution() -> None:
    searcher = make_searcher("cmaes", "deepconv")
    assert isinstance(searcher, Tpe)
    Loop(searcher).play(one_by_one(20))
    last = searcher.study.get_trials()[-1]
    assert any(key.endswith(":generation") for key in last.system_attrs)


def test_cma_es_learns_from_recorded_children_that_it_would_not_have_proposed() -> None:
    searcher = make_searcher("cmaes", "deepconv")
    assert isinstance(searcher, Tpe)
    recorded = Loop(make_searcher("random", "deepconv", seed=1)).play(one_by_one(18))
    Loop(searcher).replay(recorded.events)
    searcher.suggest(18)
    # The first child is drawn at random, the others make generations of four.
    assert searcher.study.get_trials()[-1].system_attrs["cma:generation"] == 17 // 4


def test_a_sampler_of_the_users_choice_is_replayed_by_asking_it_again() -> None:
    def make() -> Tpe:
        sampler = partial(optuna.samplers.NSGAIISampler, population_size=4)
        return Tpe(max_history=None, sampler=sampler, space=load_space("figure1"), seed=0)

    whole = Loop(make()).play(one_by_one(16))
    resumed = Loop(make()).replay(whole.events[:17]).play([(False, 0, False), *one_by_one(7)])
    assert resumed.events == whole.events


def test_experimental_samplers_do_not_warn() -> None:
    Tpe(
        max_history=None,
        sampler=partial(optuna.samplers.TPESampler, multivariate=True, group=True),
        space=load_space("figure1"),
        seed=0,
    )  # a warning would be an error here


def test_a_sampler_that_takes_no_seed_is_refused() -> None:
    config = {
        "_target_": "nasrunner.searchers.optuna.Tpe",
        "max_history": None,
        "sampler": {"_target_": "optuna.samplers.TPESampler"},
    }
    with pytest.raises(ConfigError, match="searcher: sampler must be a partial that takes a seed"):
        construct(config, "searcher", space=load_space("figure1"), seed=0)


def bounded(max_history: int | None, rewards: list[float | None], seed: int = 0) -> Tpe:
    """A searcher that has heard these rewards; None is a failure."""
    sampler = partial(optuna.samplers.TPESampler, n_startup_trials=4)
    space = load_space("nasbench_macro")
    searcher = Tpe(max_history=max_history, sampler=sampler, space=space, seed=seed)
    for reward in rewards:
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed" if reward else "failed", reward))
    return searcher


def shown(searcher: Tpe) -> list[int]:
    return [trial.number for trial in searcher.study.get_trials()]


def test_past_the_bound_the_sampler_sees_the_best_quarter_and_the_newest() -> None:
    rewards = [0.1, 0.9, 0.2, 0.8, 0.7, 0.3, None, 0.4, 0.5, 0.6, 0.1, 0.2]
    searcher = bounded(8, rewards[:9])
    assert shown(searcher) == list(range(9))  # 8 rewards: all of it, the failure too
    # the best two are 1 and 3; the newest six of eleven rewards are 5, 7, 8, 9, 10, 11
    assert shown(bounded(8, rewards)) == [1, 3, 5, 7, 8, 9, 10, 11]


def test_past_the_bound_the_sampler_sees_every_child_in_training() -> None:
    searcher = bounded(4, [0.5])
    oldest = searcher.propose()
    for reward in (0.1, 0.2, 0.3, 0.4, 0.3):
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", reward))
    assert oldest is not None
    assert shown(searcher) == [0, 1, 4, 5, 6]
    searcher.observe(Outcome(oldest, "failed", error="it broke"))
    assert shown(searcher) == [0, 4, 5, 6]


def test_a_study_shorter_than_the_bound_is_as_without_it() -> None:
    rewards: list[float | None] = [float(index * 7 % 20) + 1 for index in range(20)]
    genotypes = [bounded(bound, rewards).suggest(20).genotype for bound in (20, None)]
    assert genotypes[0] == genotypes[1]


def test_a_bounded_study_resumes_exactly() -> None:
    def make() -> Tpe:
        return bounded(8, [])

    steps = [*one_by_one(10), *[(True, 0, False)] * 3, *one_by_one(10)]
    whole = Loop(make()).play(steps)
    resumed = Loop(make()).replay(whole.events[:30]).play(steps[30:])
    assert resumed.events == whole.events
    assert isinstance(resumed.searcher, Tpe)
    assert len(shown(resumed.searcher)) < 14


@pytest.mark.parametrize("name", ["tpe", "motpe", "nsga2", "gp", "cmaes"])
def test_a_searcher_is_called_as_its_file_is(name: str) -> None:
    assert make_searcher(name, load_space("mlp"), 0).known_as == name
