"""A schedule in a space: every searcher sees it grow, whatever else it does."""

import pytest
from hypothesis import given

from nasrunner.core import ConfigError, Outcome, SearchSpace
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.test_contract import few_examples, schedules
from tests.searchers.worlds import SEARCHERS, UNSCHEDULED, WRAPPERS, Loop, make_searcher, one_by_one

EVERY = 4
DEPTHS = [2, 3, 4]
ADMITTING = [name for name in SEARCHERS if name not in UNSCHEDULED]
every_searcher = pytest.mark.parametrize("name", ADMITTING)
COUNTING = [name for name in ADMITTING if name not in WRAPPERS]
"""Searchers whose proposals are the study's; in a wrapper the time is that of the inner one."""


def growing(**changes: int) -> SearchSpace:
    """Layers with skips: two in the first four children, then three, then four."""
    schedule = {"start": 2, "step": 1, "end": 4, "every": EVERY, **changes}
    width = {"affine": {"units": {"oneof": [8, 16, 32]}}}
    return parse_space(
        {"concat": [{"skip_layers": {"times": {"schedule": schedule}, "layer": width}}, width]}
    )


@pytest.mark.parametrize("name", UNSCHEDULED)
def test_who_finds_architectures_at_once_refuses_a_schedule(name: str) -> None:
    with pytest.raises(ConfigError, match=r"searcher: space must have no schedule, since .* finds"):
        make_searcher(name, growing())


@pytest.mark.parametrize("name", COUNTING)
def test_every_proposal_has_the_value_of_its_time(name: str) -> None:
    space = growing()
    proposals = Loop(make_searcher(name, space)).play(one_by_one(16)).proposals
    depths = [space.values(each["genotype"])["0/skip_layers/times"] for each in proposals]
    assert depths == [2] * EVERY + [3] * EVERY + [4] * 2 * EVERY
    for proposal, depth in zip(proposals, depths, strict=True):
        assert f"{depth}: affine(" in space.freeze(proposal["genotype"]).text()


@every_searcher
@few_examples
@given(schedule=schedules)
def test_resumed_equals_uninterrupted_across_stages(
    name: str, schedule: list[tuple[bool, int, bool]]
) -> None:
    space = growing(every=2)
    whole = Loop(make_searcher(name, space)).play(schedule)
    for cut in (3, 9):
        resumed = Loop(make_searcher(name, space)).replay(whole.events[:cut]).play(schedule[cut:])
        assert resumed.events == whole.events


@pytest.mark.parametrize("name", ["evolution", "local_search", "smbo"])
def test_what_is_mutated_grows_with_the_schedule(name: str) -> None:
    """Children of the last stage that keep answers of one of an earlier stage."""
    searcher = make_searcher(name, growing(every=6))
    seen = []
    for _ in range(24):
        proposal = searcher.propose()
        assert proposal is not None
        reward = float(sum(proposal.genotype.values()))
        searcher.observe(Outcome(proposal, "completed", reward))
        seen.append(proposal.genotype)
    small = [set(g.items()) for g in seen[:6]]
    first_large = [g for g in seen[6:12] if "0/skip_layers/3/affine/units" in g]
    assert len(first_large) == 6
    shared = [max(len(set(g.items()) & s) for s in small) for g in first_large]
    assert max(shared) >= 3  # all but one of the four decisions of two layers


@pytest.mark.parametrize("name", [name for name in COUNTING if name != "exhaustive"])
def test_a_stage_may_be_used_up_before_its_time(name: str) -> None:
    schedule = {"schedule": {"start": 1, "step": 1, "end": 3, "every": 5}}
    space = parse_space({"repeat": {"times": schedule, "body": {"or": ["relu", "tanh", "elu"]}}})
    proposals = Loop(make_searcher(name, space)).play(one_by_one(12)).proposals
    times = [space.values(each["genotype"])["repeat/times"] for each in proposals]
    assert times == [1] * 5 + [2] * 5 + [3] * 2


def test_a_surrogate_proposes_nothing_twice_within_a_stage_that_is_large_enough() -> None:
    proposals = Loop(make_searcher("smbo", growing(every=12))).play(one_by_one(30)).proposals
    answers = [frozenset(each["genotype"].items()) for each in proposals]
    assert len(set(answers)) == 30


def test_exhaustive_search_begins_each_stage_with_its_first_architecture() -> None:
    searcher = make_searcher("exhaustive", growing())
    proposals = Loop(searcher).play(one_by_one(6)).proposals
    answers = [list(each["genotype"].values()) for each in proposals]
    # times, the width of layer 1 and of layer 2, the skip from 1 to 2, and the last width
    assert answers[:4] == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 2], [0, 0, 0, 1, 0]]
    assert answers[4] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert answers[5] == [1, 0, 0, 0, 0, 0, 0, 1]


def test_tree_search_has_a_tree_for_each_stage() -> None:
    searcher = make_searcher("mcts", growing())
    Loop(searcher).play(one_by_one(9))
    visits = {stage: root.num_visits for stage, root in searcher.roots.items()}  # type: ignore[attr-defined]
    assert visits == {(0,): 4, (1,): 4, (2,): 1}


def test_a_controller_is_not_asked_for_what_the_schedule_says() -> None:
    searcher = make_searcher("reinforce", growing())
    proposal = searcher.propose()
    assert proposal is not None
    transcript = searcher._replay(proposal)  # type: ignore[attr-defined]
    asked = [one for one in transcript.asked if one is not None]
    assert len(asked) == 3  # three widths; the skip has an anchor point
