"""The goals of a study: how they are read, what they make of an outcome, and its reward."""

import math
from typing import Any

import pytest

from nasrunner.core import ConfigError, Outcome, Proposal, Source
from nasrunner.core.ledger.goal_settings import check_measured, read_goals
from nasrunner.core.ledger.goals import Goals, reference_point, unmet_limits
from nasrunner.core.ledger.objectives import Objective, ObjectiveScores

ACCURACY_LATENCY = {"val_accuracy": "max", "latency_ms": {"goal": "min", "limit": 80}}


def goals(objectives: Any, scalarization: Any = None) -> Goals:
    read = read_goals({"objectives": objectives, "scalarization": scalarization})
    assert read is not None
    return read


def outcome(index: int = 0, reward: float | None = 0.5, **metrics: float) -> Outcome:
    status = "failed" if reward is None else "completed"
    return Outcome(Proposal(index, {}), status, reward, metrics)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"objectives": {"flops": "mni"}}, r"objectives\.flops: 'mni' is no direction, did you "),
        ({"objectives": {"flops": {"limit": 3}}}, r"objectives\.flops needs a goal: max or min"),
        ({"objectives": {"flops": {"goal": "min", "limt": 3}}}, "no key 'limt', did you mean 'lim"),
        ({"objectives": {"flops": {"goal": "min", "limit": "3"}}}, "limit must be a finite number"),
        ({"objectives": {"flops": {"goal": "min", "limit": math.inf}}}, "limit must be a finite n"),
        ({"objectives": ["flops"]}, "must map the names of metrics to max or min"),
        ({"objectives": {}}, "must map the names of metrics to max or min"),
        ({"scalarization": "product"}, "and there are none: set objectives="),
        ({"objectives": ACCURACY_LATENCY, "scalarization": "prodct"}, "did you mean 'product'"),
        (
            {"objectives": {"a": "max"}, "scalarization": {"weighted_sum": {"b": 1}}},
            r"weighted_sum: 'b' is no objective, legal: a",
        ),
        (
            {"objectives": {"a": "max", "b": "min"}, "scalarization": {"weighted_sum": {"a": 1}}},
            r"weighted_sum\.b must be the weight of b, >= 0; got None",
        ),
        (
            {"objectives": {"a": "max", "b": "min"}, "scalarization": "product"},
            r"objectives\.b\.limit must be a number > 0, got None",
        ),
        (
            {"objectives": {"a": "min"}, "scalarization": "product"},
            "needs an objective to maximise",
        ),
        (
            {"objectives": ACCURACY_LATENCY, "scalarization": {"product": {"w": -1}}},
            "no key 'w', legal: beyond, within",
        ),
        (
            {"objectives": ACCURACY_LATENCY, "scalarization": {"product": {"within": "a"}}},
            r"product\.within must be float, got 'a'",
        ),
        ({"objectives": {"a": "max"}, "scalarization": "limit"}, "limit needs a limit"),
        (
            {"objectives": ACCURACY_LATENCY, "scalarization": {"limit": {"objective": "flops"}}},
            r"limit\.objective: 'flops' is none",
        ),
    ],
)
def test_what_is_no_goal_is_one_sentence(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_goals(config)


def test_a_study_without_objectives_has_no_goals() -> None:
    assert read_goals({}) is None
    assert read_goals({"objectives": None, "scalarization": None}) is None


def test_an_objective_that_no_child_measures_is_refused_with_the_nearest_name() -> None:
    check_measured(["flops"], ["flops", "reward"])
    with pytest.raises(ConfigError, match=r"objectives\.flop: no child measures 'flop', did you m"):
        check_measured(["flop"], ["flops", "reward"])


def test_objectives_are_filled_in_and_the_reward_stays_the_tasks_without_a_scalarization() -> None:
    judged = goals({"reward": "max", "flops": "min"}).judged(outcome(flops=7.0))
    assert judged.objectives == {"reward": 0.5, "flops": 7.0}
    assert (judged.status, judged.reward, judged.error) == ("completed", 0.5, None)


# MnasNet, eq. 2 and 3: 0.75 · (160/80)^-0.07 and 0.75 · (40/80)^-0.07; hard: 0.75 · 80/160, 0.75.
@pytest.mark.parametrize(
    ("exponents", "latency", "reward"),
    [
        ({}, 160, 0.75 * 0.9526379980439373),
        ({}, 40, 0.75 * 1.0497166836230674),
        ({}, 80, 0.75),
        ({"within": 0, "beyond": -1}, 160, 0.375),
        ({"within": 0, "beyond": -1}, 40, 0.75),
    ],
)
def test_mnasnets_product(exponents: dict[str, float], latency: float, reward: float) -> None:
    judged = goals(ACCURACY_LATENCY, {"product": exponents}).judged(
        outcome(val_accuracy=0.75, latency_ms=latency)
    )
    assert judged.reward == pytest.approx(reward, rel=1e-12)
    assert judged.error is None  # the target may be missed


def test_a_product_of_what_is_not_positive_makes_a_failed_child() -> None:
    judged = goals(ACCURACY_LATENCY, "product").judged(outcome(val_accuracy=0.75, latency_ms=0.0))
    assert (judged.status, judged.reward) == ("failed", None)
    assert judged.error == "scalarization: a product needs values > 0, but latency_ms is 0"


def test_monas_mixed_reward_is_a_weighted_sum() -> None:
    mixed = goals({"accuracy": "max", "energy": "min"}, {"weighted_sum": _alpha(0.75)})
    judged = mixed.judged(outcome(accuracy=0.5, energy=0.25))
    assert judged.reward == 0.75 * 0.5 - 0.25 * 0.25
    assert judged.objectives == {"accuracy": 0.5, "energy": 0.25}


def _alpha(alpha: float) -> dict[str, float]:
    return {"accuracy": alpha, "energy": 1 - alpha}


def test_monas_accuracy_under_a_limit_has_a_given_reward_beyond_it() -> None:
    limited = goals(ACCURACY_LATENCY, {"limit": {"beyond": 0.0}})
    within = limited.judged(outcome(val_accuracy=0.75, latency_ms=80))
    assert (within.reward, within.error) == (0.75, None)
    beyond = limited.judged(outcome(val_accuracy=0.9, latency_ms=81))
    assert (beyond.status, beyond.reward) == ("completed", 0.0)
    assert beyond.error == "objectives.latency_ms.limit=80: latency_ms is 81"


@pytest.mark.parametrize("scalarization", [None, "limit", {"weighted_sum": {"a": 1, "b": 1}}])
def test_a_child_beyond_a_limit_is_completed_without_a_reward(scalarization: Any) -> None:
    limited = goals({"a": {"goal": "max", "limit": 0.5}, "b": "min"}, scalarization)
    judged = limited.judged(outcome(a=0.25, b=3.0))
    assert (judged.status, judged.reward) == ("completed", None)
    assert judged.objectives == {"a": 0.25, "b": 3.0}
    assert judged.error == "objectives.a.limit=0.5: a is 0.25"


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"flop": 3.0}, r"objectives.flops: the child has no 'flops', did you mean 'flop'? "),
        ({"flops": math.nan}, "objectives.flops: flops is nan"),
    ],
)
def test_an_objective_that_one_child_lacks_makes_it_failed(
    metrics: dict[str, float], message: str
) -> None:
    judged = goals({"reward": "max", "flops": "min"}).judged(outcome(**metrics))
    assert (judged.status, judged.reward, judged.objectives) == ("failed", None, {})
    assert judged.error is not None
    assert judged.error.startswith(message)


def test_failed_children_and_estimates_are_not_judged() -> None:
    read = goals({"flops": "min"})
    assert read.judged(outcome(reward=None)) == outcome(reward=None)
    estimate = Outcome(Proposal(0, {}, kind="estimate"), "completed", 0.5)
    assert read.judged(estimate) == estimate


def test_the_front_is_of_children_within_the_limits_each_point_once() -> None:
    read = goals({"a": "max", "b": {"goal": "min", "limit": 5}})
    points = [(1, 1), (3, 6), (2, 2), (2, 2), (0, 3), (2, 5)]
    outcomes = [read.judged(outcome(i, a=a, b=b)) for i, (a, b) in enumerate(points)]
    assert [read.front(outcomes)[i] for i in range(2)] == [2, 0]
    assert len(read.front(outcomes)) == 2
    assert read.front([outcome(reward=None)]) == []


def test_a_limit_or_target_that_nothing_meets_is_a_sentence() -> None:
    for scalarization in (None, "product"):
        read = goals(ACCURACY_LATENCY, scalarization)
        missing = [read.judged(outcome(val_accuracy=0.5, latency_ms=ms)) for ms in (95.0, 90.0)]
        assert unmet_limits(read, missing) == [
            "no child is within objectives.latency_ms.limit=80: the best has 90"
        ]
        meeting = read.judged(outcome(val_accuracy=0.5, latency_ms=80.0))
        assert unmet_limits(read, [*missing, meeting]) == []
    assert unmet_limits(read, []) == []


def test_the_reference_point_is_given_or_the_limit_or_the_worst_measured() -> None:
    read = goals(
        {"a": "max", "b": {"goal": "min", "limit": 5}, "c": {"goal": "min", "reference": 9}}
    )
    outcomes = [read.judged(outcome(a=a, b=1.0, c=2.0)) for a in (3.0, 1.0, 2.0)]
    assert reference_point(read, outcomes) == {"a": 1.0, "b": 5, "c": 9}
    assert reference_point(read, [outcome(reward=None)]) == {}


@pytest.mark.parametrize(
    ("latencies", "reference"), [((40.0, 60.0), 80.0), ((40.0, 95.0), 95.0), ((90.0,), 90.0)]
)
def test_a_target_is_the_reference_unless_it_was_missed(
    latencies: tuple[float, ...], reference: float
) -> None:
    read = goals(ACCURACY_LATENCY, "product")
    outcomes = [read.judged(outcome(val_accuracy=0.5, latency_ms=ms)) for ms in latencies]
    assert reference_point(read, outcomes) == {"val_accuracy": 0.5, "latency_ms": reference}


def test_a_reference_of_ones_own_is_before_a_target() -> None:
    given = {"val_accuracy": "max", "latency_ms": {"goal": "min", "limit": 80, "reference": 100}}
    read = goals(given, "product")
    outcomes = [read.judged(outcome(val_accuracy=0.5, latency_ms=ms)) for ms in (40.0, 120.0)]
    assert reference_point(read, outcomes) == {"val_accuracy": 0.5, "latency_ms": 100}


def test_a_failed_child_scores_the_worst_of_each_objective_and_is_beyond_all_limits() -> None:
    read = goals({"a": "max", "b": {"goal": "min", "limit": 4}})
    scores = ObjectiveScores(read.objectives)
    failed = Outcome(Proposal(0, {}), "failed", 0.1)
    assert scores.of(failed) is None
    assert scores.of(read.judged(outcome(a=1.0, b=2.0))) == ((1.0, -2.0), 0.0)
    assert scores.of(read.judged(outcome(a=3.0, b=6.0))) == ((3.0, -6.0), 0.5)
    assert scores.of(failed) == ((1.0, -6.0), math.inf)


def test_scores_of_the_reward_alone_are_rewards() -> None:
    scores = ObjectiveScores([Objective("reward", "max")])
    assert scores.of(outcome(reward=0.5)) == ((0.5,), 0.0)
    assert scores.of(Outcome(Proposal(0, {}), "failed", 0.25)) == ((0.5,), 0.0)


def estimate(reward: float, *, is_shared: bool, **metrics: float) -> Outcome:
    sources = (Source(0, "weights"),) if is_shared else ()
    proposal = Proposal(1, {}, kind="estimate", sources=sources)
    return Outcome(proposal, "completed", reward, metrics)


def test_estimates_with_shared_weights_are_judged_as_trainings_are() -> None:
    limited = goals({"flops": {"goal": "min", "limit": 10}, "reward": "max"})
    assert limited.judged(estimate(0.9, is_shared=True, flops=11)).reward is None
    assert limited.judged(estimate(0.9, is_shared=True, flops=9)).reward == 0.9
    weights = {"weighted_sum": {"flops": 0.5, "reward": 1}}
    added = goals({"flops": "min", "reward": "max"}, weights)
    assert added.judged(estimate(3, is_shared=True, flops=4)).reward == 1
    assert added.judged(estimate(3, is_shared=False)).reward == 3  # a score of its own unit
    front = goals({"latency_ms": "min", "reward": "max"})
    assert front.judged(estimate(3, is_shared=True)).status == "completed"
