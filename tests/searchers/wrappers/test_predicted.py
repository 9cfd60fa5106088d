"""What is predicted to be poor is not trained: in studies, and around any searcher."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from nasrunner.core import (
    ConfigError,
    Genotype,
    Outcome,
    Proposal,
    Searcher,
    SearchSpace,
    StudyInfo,
)
from nasrunner.core.network.known import Description
from nasrunner.core.records import Proposal as Recorded
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.wrappers.predicted import Predicted
from nasrunner.trackers.notes import ended_note
from tests.contracts.searchers import EverySecond
from tests.searchers.policy.test_policy_gradient import reinforce
from tests.searchers.worlds import INNER, make_searcher
from tests.study.test_loop import Crash, Run, events, with_rules
from tests.toys import ToyExecutor, chain, toy_reward

FIRST = 6


class Knowing:
    """Predicts the rank of the reward, or the wrong way round; remembers what it was fitted to."""

    def __init__(self, *, sign: float = 1.0, space: SearchSpace) -> None:
        self.sign = sign
        self.fitted: list[int] = []

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.fitted.append(len(genotypes))
        rewards = np.array([toy_reward(each) for each in genotypes])
        self.mean, self.std = rewards.mean(), rewards.std() or 1.0

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        rewards = np.array([toy_reward(each) for each in genotypes])
        return self.sign * (rewards - self.mean) / self.std, np.zeros(len(genotypes))


def made(inner: Any = RandomSearch, predictor: Any = Knowing, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "quantile": 0.5,
        "honest_share": 0.2,
        "num_trained_first": FIRST,
        "max_history": 100,
        "refit_growth": 0.0,
    }
    arguments |= changes
    return functools.partial(Predicted, searcher=inner, predictor=predictor, **arguments)


SMALL = functools.partial(RegularizedEvolution, population_size=4, tournament_size=2)


def run(folder: Path, searcher: Any, slots: int = 1, num_children: int = 30, **rules: Any) -> Run:
    folder.mkdir(exist_ok=True)
    return Run(
        folder,
        chain(12),
        with_rules(max_children=num_children, **rules),
        searcher,
        executor=ToyExecutor(slots),
    )


def predicted_of(folder: Path) -> dict[int, float]:
    return {e["index"]: e["predicted"] for e in events(folder, "proposed") if "predicted" in e}


def skipped(folder: Path) -> list[int]:
    return [e["index"] for e in events(folder, "proposed") if e.get("kind") == "estimate"]


def test_what_is_predicted_below_the_quantile_of_the_rewards_so_far_is_not_trained(
    tmp_path: Path,
) -> None:
    summary = run(tmp_path, made(honest_share=1e-9)).run()
    outcomes = {e["index"]: e for e in events(tmp_path, "outcome")}
    left_out, measured = skipped(tmp_path), list[float]()
    for event in events(tmp_path, "proposed"):
        index, reward = event["index"], toy_reward(event["genotype"])
        if len(measured) >= FIRST:
            assert event["predicted"] == pytest.approx(
                np.clip(reward, min(measured), max(measured))
            )
            assert (index in left_out) == (event["predicted"] < np.quantile(measured, 0.5))
        else:
            assert "predicted" not in event
        if index in left_out:
            assert outcomes[index]["reward"] == event["predicted"]
            assert outcomes[index]["cost_s"] == 0
        else:
            measured.append(outcomes[index]["reward"])
    assert len(left_out) > 10
    assert summary.counts == {"completed": 30, "estimates": len(left_out)}
    assert not any((tmp_path / "children" / f"{index:04d}").exists() for index in left_out)


def test_a_share_of_what_is_poor_is_trained_all_the_same(tmp_path: Path) -> None:
    run(tmp_path, made(honest_share=0.3), num_children=120).run()
    measured, honest, left_out = list[float](), 0, set(skipped(tmp_path))
    for event in events(tmp_path, "proposed"):
        is_trained = event["index"] not in left_out
        if is_trained and event.get("predicted", np.inf) < np.quantile(measured or [0.0], 0.5):
            honest += 1
        if is_trained:
            measured.append(toy_reward(event["genotype"]))
    # of so many draws with probability 0.3, within four standard deviations
    num_poor = honest + len(left_out)
    assert num_poor > 60
    assert abs(honest / num_poor - 0.3) < 4 * np.sqrt(0.3 * 0.7 / num_poor)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rank_correlation_with_later_rewards_is_in_the_summary(
    tmp_path: Path, sign: float
) -> None:
    predictor = functools.partial(Knowing, sign=sign)
    summary = run(tmp_path, made(predictor=predictor, honest_share=0.5)).run()
    rewards = {e["index"]: e["reward"] for e in events(tmp_path, "outcome")}
    left_out = set(skipped(tmp_path))
    pairs = [(p, rewards[i]) for i, p in predicted_of(tmp_path).items() if i not in left_out]
    assert summary.num_predicted == len(pairs) == 30 - FIRST
    expected = spearmanr(*zip(*pairs, strict=True)).statistic
    assert summary.rank_correlation == pytest.approx(expected)
    assert expected * sign > 0.9
    told = f"Spearman's ρ of predictions and rewards {expected:.2f} (24 children)"
    assert summary.about_predictions == told
    assert told in ended_note(StudyInfo("toy", tmp_path, {}, None), summary)


class Told(RandomSearch):
    """Remembers what it was told."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.learnt: dict[int, float] = {}

    def register(self, proposal: Recorded) -> None:
        assert proposal.is_plain
        assert proposal.index == self.num_proposed
        super().register(proposal)

    def learn(self, outcome: Outcome) -> None:
        assert outcome.proposal.is_plain
        self.learnt[outcome.proposal.index] = outcome.known_reward


@pytest.mark.parametrize("slots", [1, 4])
def test_the_inner_searcher_learns_the_prediction_as_the_reward(tmp_path: Path, slots: int) -> None:
    study = run(tmp_path, made(Told), slots)
    study.run()
    assert isinstance(study.study.searcher, Predicted)
    inner = study.study.searcher.inner
    assert isinstance(inner, Told)
    assert inner.learnt == {e["index"]: e["reward"] for e in events(tmp_path, "outcome")}
    assert len(skipped(tmp_path)) > 5


class BySum:
    """Genotypes of an equal sum are one network."""

    identifies = True

    def describe(self, genotypes: Sequence[Genotype]) -> Description:
        raise AssertionError

    def identity(self, genotype: Genotype) -> str:
        return f"network:{sum(genotype.values())}"


def test_a_network_that_was_trained_is_not_predicted_by_whatever_genotype_it_is_made() -> None:
    class Identified(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            told.append(outcome.proposal.identity)

    told: list[str | None] = []
    searcher = made(Identified)(space=chain(4), seed=0)
    searcher.see(BySum())
    trained: list[int] = []
    proposed = []
    for _ in range(60):
        proposal = searcher.propose()
        network = sum(proposal.genotype.values())
        if len(searcher.rewards) >= FIRST:
            assert (proposal.predicted is None) == (network in trained)
        if proposal.kind == "train":
            trained.append(network)
        reward = toy_reward(proposal.genotype)
        searcher.observe(Outcome(proposal, "completed", reward))
        proposed.append(proposal)
    assert any(each.predicted is not None for each in proposed)
    assert told == [f"network:{sum(each.genotype.values())}" for each in proposed]


@pytest.mark.parametrize("dies_after", [5, 21, 34, 60])
def test_a_killed_study_goes_on_as_if_nothing_had_happened(tmp_path: Path, dies_after: int) -> None:
    run(tmp_path / "whole", made(SMALL)).run()
    parts = run(tmp_path / "parts", made(SMALL))
    append, left = parts.ledger.append, iter(range(dies_after))

    def dies(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    parts.ledger.append = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        parts.run()
    run(tmp_path / "parts", made(SMALL)).run()
    assert len(skipped(tmp_path / "whole")) > 5
    for kind in ("proposed", "outcome"):
        assert events(tmp_path / "parts", kind) == events(tmp_path / "whole", kind)


@pytest.mark.parametrize("name", INNER)
def test_every_searcher_can_be_the_inner_one(tmp_path: Path, name: str) -> None:
    def inner(**arguments: Any) -> Searcher:
        return make_searcher(name, arguments["space"], arguments["seed"])

    run(tmp_path, made(inner), num_children=9).run()
    before = events(tmp_path, "proposed")
    summary = run(tmp_path, made(inner), num_children=12).run()
    assert events(tmp_path, "proposed")[: len(before)] == before
    assert sum(n for kind, n in summary.counts.items() if kind in ("completed", "reused")) == 12


def test_reinforce_predicts_for_itself_with_the_lstm_that_it_draws_with(tmp_path: Path) -> None:
    def inner(**arguments: Any) -> PolicyGradient:
        return reinforce(arguments["space"], arguments["seed"], predictor_weight=1.0)

    study = run(tmp_path, made(inner, None))
    study.run()
    searcher = study.study.searcher
    assert isinstance(searcher, Predicted)
    assert isinstance(searcher.inner, PolicyGradient)
    proposal = searcher.suggest(searcher.num_proposed)
    assert proposal is not None
    rewards = [e["reward"] for e in events(tmp_path, "outcome") if "kind" not in e]
    (own,) = searcher.inner.predict([proposal.genotype])
    if proposal.predicted is not None:
        assert proposal.predicted == pytest.approx(np.clip(own, min(rewards), max(rewards)))
    assert len(predicted_of(tmp_path)) >= 20


def test_a_searcher_without_a_predictor_of_its_own_is_refused() -> None:
    for inner, name in ((RandomSearch, "RandomSearch"), (without_predictor, "PolicyGradient")):
        with pytest.raises(ValueError, match=rf"predictor=null .* and {name} has none"):
            made(inner, None)(space=chain(), seed=0)
    with pytest.raises(ValueError, match=r"predictor must be a partial that takes a space"):
        made(RandomSearch, 3)(space=chain(), seed=0)


def without_predictor(**arguments: Any) -> PolicyGradient:
    return reinforce(arguments["space"], arguments["seed"])


def test_a_searcher_of_other_things_than_plain_trainings_is_refused(tmp_path: Path) -> None:
    inner = functools.partial(EverySecond, searcher=RandomSearch)
    told = "searcher.searcher: EverySecond proposes until, which Predicted does not pass on"
    with pytest.raises(ConfigError, match=told):
        run(tmp_path, made(inner)).run()


def test_a_budget_in_which_nothing_is_predicted_is_told() -> None:
    searcher = made()(space=chain(), seed=0)
    assert searcher.advice(FIRST + 1) is None
    assert searcher.advice(FIRST) == (
        "A budget of 6 children is trained as RandomSearch proposes it: nothing is predicted "
        "before searcher.num_trained_first=6 rewards."
    )
    around = made(functools.partial(SMALL, population_size=50))(space=chain(), seed=0)
    assert around.advice(100) is None
    assert "after searcher.searcher.population_size=50 children" in around.advice(FIRST + 1)


def test_a_prediction_is_another_evaluation_than_an_estimate_that_is_measured() -> None:
    genotype = {"a": 1}
    measured = Proposal(0, genotype, kind="estimate")
    predictions = [Proposal(0, genotype, kind="estimate", predicted=each) for each in (0.1, 0.2)]
    assert len({each.evaluation for each in (measured, *predictions)}) == 3
    trained = Proposal(0, genotype, predicted=0.1)
    assert trained.evaluation == Proposal(0, genotype).evaluation
    assert Proposal.from_json(trained.to_json()) == trained
