"""What every searcher promises on every space, for all that are found in conf/."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal
from nasrunner.core.order import rollout
from tests.sampling import spread
from tests.searchers.worlds import (
    GOLDEN_PAIRS,
    GOLDEN_SPACES,
    GROWING,
    OF_DEPTH,
    OF_HYPERPARAMETERS,
    SEARCHERS,
    SPACES,
    SPACES_THAT_GROW,
    SPACES_WITH_DEPTH,
    UNSCHEDULED,
    WIDE_SPACES,
    WRAPPERS,
    Loop,
    first_proposals,
    golden_genotypes,
    golden_path,
    load_space,
    make_searcher,
    measured,
    reward_of,
)

# deepconv_hyperparameters has all that the first two have, and more, nasrl_cell_small all that
# nasrl_cell has, enas_cell all that darts_rnn has, small_cnn and enas_cell all of segmentation,
# signals and text_classifier, nasbench_macro all of nasbench201 and rnn_baselines; cnn_baselines is
# one decision, and its nine networks are fewer than the proposals below.
IMPLIED = (
    *("deepconv", "deepconv_digits", "nasrl_cell", "darts_rnn", "cnn_baselines"),
    *("nasbench201", "rnn_baselines", "segmentation", "signals", "text_classifier"),
)
QUICK_SPACES = [space for space in SPACES if space not in (*WIDE_SPACES, *IMPLIED)]
# The other wide spaces differ from nasrl_conv in numbers only.
# What wraps a searcher leaves the space to that.
WRAPPED_SPACES = ("figure1", "mlp", "nasrl_conv_schedule")
# Gaussian processes and networks take seconds for what others do at once: of these searchers, the
# spaces of default tests, and those of slow ones; on the others similar ones are tested.
EXPENSIVE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gp": (GOLDEN_SPACES, ("small_cnn", "deepconv_hyperparameters", "nasrl_cell_small")),
    "ppo": ((*GOLDEN_SPACES, "nasrl_conv_small"), ()),
    "smbo_lstm": (
        (*GOLDEN_SPACES, "deepconv_hyperparameters"),
        ("small_cnn", "nasrl_conv_small", "nasrl_cell_small"),
    ),
    "smbo_ngrams": (
        (*GOLDEN_SPACES, "deepconv_hyperparameters", "nasbench_macro"),
        ("nasbench201", "nasrl_cell_small", "nasrl_conv", "nasrl_conv_small", "small_cnn"),
    ),
}


def spaces_of(name: str) -> tuple[str, ...]:
    if name in WRAPPERS:
        return WRAPPED_SPACES
    spaces = (*QUICK_SPACES, "nasrl_conv")
    if name in EXPENSIVE:
        tested = (*EXPENSIVE[name][0], *EXPENSIVE[name][1])
        return tuple(space for space in spaces if space in tested)
    return spaces


PAIRS = [
    (name, space)
    for name in SEARCHERS
    for space in spaces_of(name)
    if not (name in UNSCHEDULED and space == "nasrl_conv_schedule")
]
PAIRS += [(name, "deepconv_hyperparameters") for name in OF_HYPERPARAMETERS]
PAIRS += [(name, space) for name in OF_DEPTH for space in SPACES_WITH_DEPTH]
PAIRS += [(name, space) for name in GROWING for space in SPACES_THAT_GROW]


def is_slow(name: str, space: str) -> bool:
    return space in WIDE_SPACES or (name in EXPENSIVE and space in EXPENSIVE[name][1])


def pairs_of_two_spaces(turn: int, *, lasting: bool = False) -> pytest.MarkDecorator:
    """Each searcher on two spaces, and on another in CI; each property has pairs of its own."""
    cases = [pair for pair in PAIRS if not (lasting and pair[0] in GROWING)]
    return pytest.mark.parametrize(
        ("name", "space"), spread(cases, quick=2, ci=1, turn=turn, is_slow=is_slow)
    )


few_examples = settings(max_examples=3, deadline=None, derandomize=True, database=None)
steps = st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from([False, False, True]))
schedules = st.lists(steps, min_size=16, max_size=20)


def test_searchers_and_spaces_were_found() -> None:
    assert {"random", "exhaustive", "evolution", "tpe", "gp", "cmaes", "reinforce"} <= set(
        SEARCHERS
    )
    assert {"figure1", "mlp", "small_cnn", "nasbench_macro"} <= set(QUICK_SPACES)
    assert {*WIDE_SPACES, *IMPLIED} <= set(SPACES)


@pairs_of_two_spaces(0)
def test_proposals_follow_from_the_seed_freeze_count_up_and_survive_json(
    name: str, space: str
) -> None:
    proposals = first_proposals(name, space, seed=3)
    assert first_proposals(name, space, seed=3) == proposals
    is_alike = first_proposals(name, space, seed=4, num_children=3) == proposals[:3]
    assert is_alike == (name == "exhaustive")
    assert [proposal["index"] for proposal in proposals] == list(range(12))
    for proposal in proposals:
        is_child = proposal.get("kind") != "supernet"
        assert not is_child or "=" in load_space(space).freeze(proposal["genotype"]).text()
        assert Proposal.from_json(json.loads(json.dumps(proposal))).to_json() == proposal


@pairs_of_two_spaces(1)
def test_suggest_changes_nothing(name: str, space: str) -> None:
    asked, unasked = make_searcher(name, space), make_searcher(name, space)
    for index in range(6):
        suggestions = [asked.suggest(index), asked.suggest(index)]
        proposal = unasked.propose()
        assert proposal is not None
        assert [*suggestions, asked.propose()] == [proposal] * 3
        for searcher in (asked, unasked):
            searcher.observe(measured(searcher, proposal, float(index)))


@pairs_of_two_spaces(2, lasting=True)
@few_examples
@given(schedule=schedules, cut=st.integers(1, 20))
def test_resumed_equals_uninterrupted(
    name: str, space: str, schedule: list[tuple[bool, int, bool]], cut: int
) -> None:
    whole = Loop(make_searcher(name, space)).play(schedule)
    assert len(whole.events) == len(schedule)  # each step is one event
    resumed = Loop(make_searcher(name, space)).replay(whole.events[:cut]).play(schedule[cut:])
    assert resumed.events == whole.events


@pairs_of_two_spaces(3)
@few_examples
@given(order=st.permutations(range(6)), failed=st.sets(st.integers(0, 5)))
def test_outcomes_may_arrive_in_any_order_and_fail(
    name: str, space: str, order: list[int], failed: set[int]
) -> None:
    searcher = make_searcher(name, space)
    for _ in range(2):
        proposals = [searcher.propose() for _ in range(6) if searcher.is_ready]
        for position in order:
            if position >= len(proposals):
                continue
            proposal = proposals[position]
            assert proposal is not None
            is_failed = position in failed and proposal.kind != "supernet"  # that ends a study
            failure = Outcome(proposal, "failed", error="it broke")
            ended = failure if is_failed else measured(searcher, proposal, float(position))
            searcher.observe(ended)
    assert searcher.pending == {}
    last = searcher.propose()
    assert last is not None
    load_space(space).freeze(last.genotype)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *(
            pytest.param(name, space, marks=marks)
            for name in sorted({*SEARCHERS} - {"exhaustive"})  # it knows of all
            for space, marks in (("figure1", ()), ("nasrl_conv_small", pytest.mark.matrix))
        ),  # skips by attention
        *((name, space) for name in OF_DEPTH for space in SPACES_WITH_DEPTH),
        *((name, space) for name in GROWING for space in SPACES_THAT_GROW),
    ],
)
def test_proposals_of_another_are_taken_and_replayed(name: str, space: str) -> None:
    """As a study draws unseen architectures, and as other processors would propose."""
    searcher, events = make_searcher(name, space), []
    for index in range(12):
        rng = np.random.default_rng(index)
        another = Proposal(index, rollout(searcher.space_at(index), rng))
        proposal = searcher.suggest(index) if index % 3 else another
        assert proposal is not None
        searcher.register(proposal)
        outcome = measured(searcher, proposal, reward_of(proposal))
        searcher.observe(outcome)
        events += [{"proposed": proposal.to_json()}, {"outcome": outcome.to_json()}]
    replayed = Loop(make_searcher(name, space)).replay(events).searcher
    assert replayed.suggest(12) == searcher.suggest(12)


@pytest.mark.parametrize(("name", "space"), GOLDEN_PAIRS)
def test_first_twenty_proposals_are_the_recorded_ones(name: str, space: str) -> None:
    path = golden_path(name, space)
    assert path.exists(), "write it with `python -m tests.searchers.worlds` and review it"
    assert golden_genotypes(name, space) == json.loads(path.read_text())
