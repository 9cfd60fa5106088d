"""Rewards of any size: one diverged child must not end what a searcher learns from the others."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal, Searcher
from nasrunner.searchers.outliers import ToldRewards, without_outliers
from nasrunner.searchers.surrogates.ngrams import basic_modules
from tests.sampling import spread
from tests.searchers.worlds import (
    ONE_SHOT,
    SEARCHERS,
    STOPPING,
    Loop,
    load_space,
    make_searcher,
    reward_of,
    run,
)
from tests.toys import chain

EIGHT = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
LOW, HIGH = -0.6, 1.5  # one width of these below and above them


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([], []),
        ([-7909.0], [-7909.0]),
        ([-7909.0, -0.5], [-7909.0, -0.5]),  # either may be the diverged one
        ([0.5, 0.51, 0.9], [0.5, 0.51, 0.9]),
        ([-7909.0, -0.5, -0.625], [-0.75, -0.5, -0.625]),
        ([-7909.0, *EIGHT], [LOW, *EIGHT]),
        ([*EIGHT, 1e30], [*EIGHT, HIGH]),
        ([*EIGHT, -1e308, 1e308], [*EIGHT, LOW, HIGH]),
        ([-7909.0, -1e5, *EIGHT, -3e7], [LOW, LOW, *EIGHT, LOW]),
        ([-7.0, *EIGHT], [-7.0, *EIGHT]),  # ten widths: bad, but no outlier
        ([-20.0, -40.0, *EIGHT], [-20.0, -40.0, *EIGHT]),  # each within 30 of what is above it
        # Most children are at chance: what learns is far above them, and must keep its order.
        ([0.1, 0.11, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.95],) * 2,
        ([0.5] * 9 + [-7909.0], [0.5] * 9 + [-7909.0]),  # the only one that differs
        ([0.5] * 9 + [-7909.0, 0.75], [0.5] * 9 + [0.25, 0.75]),
        ([0.5] * 9, [0.5] * 9),
        ([1e308, -1e308] * 5, [1e150, -1e150] * 5),
        ([1e308] * 5, [1e150] * 5),
    ],
)
def test_outliers_are_moved_to_one_width_beyond_the_bulk(
    rewards: list[float], expected: list[float]
) -> None:
    np.testing.assert_allclose(without_outliers(rewards), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0])
def test_ordinary_rewards_are_unchanged_to_the_bit(scale: float) -> None:
    rng = np.random.default_rng(0)
    for size in range(1, 200):
        for rewards_N in (rng.random(size), rng.normal(size=size), -rng.lognormal(size=size)):
            np.testing.assert_array_equal(without_outliers(scale * rewards_N), scale * rewards_N)


def told_one_by_one(rewards: Iterable[float]) -> int:
    """How often what was told of earlier rewards changed; checked at each step."""
    growing, so_far, num_changes = ToldRewards(), list[float](), 0
    for reward in rewards:
        before = list(growing.told)
        so_far.append(reward)
        is_unchanged = growing.add(reward)
        expected = without_outliers(so_far).tolist()
        assert growing.told == expected
        assert growing.ordered.tolist() == sorted(expected)
        assert is_unchanged == (expected[:-1] == before)
        num_changes += not is_unchanged
    return num_changes


sizes = st.sampled_from([1e-9, 1e-3, 1.0, 30.0, 1e3, 1e9, 1e200])
numbers = st.one_of(
    st.sampled_from([0.0, 0.5, -7909.0, 1e30, -1e308, 1e308]),
    st.integers(-40, 40).map(float),
    st.builds(lambda number, size: number * size, st.floats(-1, 1), sizes),
)


@settings(deadline=None)
@given(st.lists(numbers, max_size=60))
def test_rewards_told_one_by_one_are_those_told_at_once(rewards: list[float]) -> None:
    told_one_by_one(rewards)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_they_are_in_long_searches_that_converge_with_children_that_diverge(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    rewards_N = np.round(rng.normal(size=500) * np.geomspace(10, 0.01, 500), decimals)
    told_one_by_one(rewards_N.tolist())
    rewards_N[rng.random(500) < 0.02] = -1e6
    told_one_by_one(rewards_N.tolist())
    told_one_by_one((-rng.lognormal(sigma=3, size=500)).tolist())


def test_what_is_told_of_an_outlier_follows_the_bulk() -> None:
    assert told_one_by_one([*EIGHT, -7909.0, 0.55]) == 0
    assert told_one_by_one([*EIGHT, -7909.0, 0.55, 0.9, 0.5]) == 1  # a width more


def test_ordinary_rewards_are_told_without_a_look_at_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    look = ToldRewards._look_at_the_bulk
    monkeypatch.setattr(
        ToldRewards, "_look_at_the_bulk", lambda told: (looks.append(len(told.told)), look(told))
    )
    assert told_one_by_one(np.random.default_rng(0).normal(size=1000).tolist()) == 0
    assert len([length for length in looks if length > 100]) < 40  # each eighth more, and records


Rewards = Callable[[Proposal], float]


def with_one(value: float, base: Rewards = reward_of) -> Rewards:
    """Ordinary rewards, but for that of the third child."""
    return lambda proposal: value if proposal.index == 2 else base(proposal)


def mixed(proposal: Proposal) -> float:
    """Ordinary rewards among extreme ones of every kind."""
    return {1: 1e30, 2: -1e308, 5: -7909.0, 6: 1e308}.get(proposal.index, reward_of(proposal))


EXTREME: Mapping[str, Rewards] = {
    "diverged": with_one(-7909.0),
    "huge": with_one(1e30),
    "lowest": with_one(-1e308),
    "alternating": lambda proposal: 1e308 * (-1) ** proposal.index,
    "large": lambda proposal: 1e30 * reward_of(proposal),
    "equal": lambda proposal: 0.5,
    "mixed": mixed,
}


@pytest.mark.parametrize(
    ("name", "kind"),
    spread(
        itertools.product((name for name in SEARCHERS if name not in ONE_SHOT), EXTREME),
        is_slow=lambda name, kind: kind != "mixed" and name in ("gp", "smbo_lstm"),
    ),
)
def test_any_finite_rewards_are_learnt_from_and_replayed(name: str, kind: str) -> None:
    proposals = run(make_searcher(name, "figure1"), 16, EXTREME[kind])
    events: list[dict[str, Any]] = []
    for proposal in proposals:
        load_space("figure1").freeze(proposal.genotype)
        outcome = Outcome(proposal, "completed", EXTREME[kind](proposal))
        events += [{"proposed": proposal.to_json()}, {"outcome": outcome.to_json()}]
    json.dumps(events, allow_nan=False)
    resumed = Loop(make_searcher(name, "figure1")).replay(events[:20]).searcher
    assert run(resumed, 6, EXTREME[kind]) == proposals[10:]


@pytest.mark.parametrize(
    ("name", "value"),
    spread(
        itertools.product(
            sorted({*SEARCHERS} - {"random", "exhaustive", *ONE_SHOT, *STOPPING}),
            (-7909.0, 1e30, -1e308),
        )
    ),
)
def test_what_others_are_worth_still_decides_after_one_extreme_reward(
    name: str, value: float
) -> None:
    space = "small_cnn" if name == "smbo_ngrams" else chain(4)
    both = [
        [each.genotype for each in run(make_searcher(name, space), 16, with_one(value, base))]
        for base in (reward_of, lambda proposal: 1 - reward_of(proposal))
    ]
    assert both[0] != both[1]


def batch_norms(searcher: Searcher) -> Rewards:
    """How many batch normalizations an architecture has, in tens."""

    def reward(proposal: Proposal) -> float:
        frozen = searcher.space.freeze(proposal.genotype)
        return list(basic_modules(frozen)).count("batch_norm") / 10

    return reward


def last_options(searcher: Searcher) -> Rewards:
    """How far up the answers are, in [0, 1]."""
    return lambda proposal: sum(proposal.genotype.values()) / (3 * len(proposal.genotype))


LEARNERS: Mapping[str, tuple[Any, Callable[[Searcher], Rewards], int, float]] = {
    "reinforce": (chain(), last_options, 200, 0.15),
    "ppo": (chain(), last_options, 200, 0.15),
    "gp": (chain(), last_options, 40, 0.2),
    "smbo_ngrams": ("deepconv", batch_norms, 50, 1.5),
}
"""Searcher -> a space, its rewards, how many children, and what the last fifth gain at least."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LEARNERS])
def test_a_search_with_a_diverged_child_comes_near_one_without(name: str) -> None:
    space, rewards, num_children, gain = LEARNERS[name]

    def late(value: float | None) -> float:
        searcher = make_searcher(name, space)
        told = rewards(searcher) if value is None else with_one(value, rewards(searcher))
        worth = [rewards(searcher)(each) for each in run(searcher, num_children, told)]
        return float(np.mean(worth[-num_children // 5 :]))

    random = make_searcher("random", space)
    drawn = float(np.mean([rewards(random)(each) for each in run(random, 100)]))
    found = {str(value): late(value) for value in (None, -7909.0, -1e308)}
    print(name, {"random": drawn, **found})  # noqa: T201 - with -rP: the figures
    assert min(found.values()) > drawn + gain, found
