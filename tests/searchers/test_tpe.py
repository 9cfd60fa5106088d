from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from nasrunner.composition import construct
from nasrunner.core import ConfigError, Outcome, Searcher
from nasrunner.searchers.random import RandomSearch
from nasrunner.searchers.tpe import Tpe
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
        best_of_60(Tpe(sampler=optuna.samplers.TPESampler, space=space, seed=seed))
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
    fields = ("number", "state", "params", "distributions", "values", "system_attrs")
    return [{name: getattr(t, name) for name in fields} for t in searcher.study.get_trials()]


def test_cma_es_draws_ordered_decisions_from_its_distribution() -> None:
    searcher = make_searcher("cmaes", "deepconv")
    assert isinstance(searcher, Tpe)
    Loop(searcher).play(one_by_one(20))
    last = searcher.study.get_trials()[-1]
    assert any(key.endswith(":generation") for key in last.system_attrs)


def test_a_sampler_of_the_users_choice_is_replayed_by_asking_it_again() -> None:
    def make() -> Tpe:
        sampler = partial(optuna.samplers.NSGAIISampler, population_size=4)
        return Tpe(sampler=sampler, space=load_space("figure1"), seed=0)

    whole = Loop(make()).play(one_by_one(16))
    resumed = Loop(make()).replay(whole.events[:17]).play([(False, 0, False), *one_by_one(7)])
    assert resumed.events == whole.events


def test_experimental_samplers_do_not_warn() -> None:
    Tpe(
        sampler=partial(optuna.samplers.TPESampler, multivariate=True, group=True),
        space=load_space("figure1"),
        seed=0,
    )  # a warning would be an error here


def test_a_sampler_that_takes_no_seed_is_refused() -> None:
    config = {
        "_target_": "nasrunner.searchers.tpe.Tpe",
        "sampler": {"_target_": "optuna.samplers.TPESampler"},
    }
    with pytest.raises(ConfigError, match="searcher: sampler must be a partial that takes a seed"):
        construct(config, "searcher", space=load_space("figure1"), seed=0)
