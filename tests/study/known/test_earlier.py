"""What the ledger of one study tells of the space of another."""

from typing import Any

import numpy as np
import pytest

from nasrunner.core import Genotype, KnownOutcome, Outcome, Proposal, SearchSpace, Source
from nasrunner.core.ledger.events import Proposed, Recorded
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.order import rollout
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.study.beginning import beginning
from nasrunner.study.known.answers import meant_option, same_option
from nasrunner.study.known.earlier import compared, outcomes_for
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, load_space
from tests.toys import chain


def layers(units: Any, repeats: Any = 2, **more: Any) -> SearchSpace:
    return parse_space(
        {
            "hyperparameters": more,
            "network": {"repeat": {"times": repeats, "body": {"affine": {"units": units}}}},
        }
        if more
        else {"repeat": {"times": repeats, "body": {"affine": {"units": units}}}}
    )


def state_of(space: SearchSpace, outcomes: list[Outcome]) -> StudyState:
    state = StudyState()
    state.apply(beginning(space, 0, {}), 0.0)
    for outcome in outcomes:
        state.apply(Proposed(outcome.proposal), 0.0)
        state.apply(Recorded(outcome), 0.0)
    return state


def trained(*genotypes: Genotype) -> list[Outcome]:
    return [
        Outcome(Proposal(index, genotype), "completed", index / 10)
        for index, genotype in enumerate(genotypes)
    ]


def test_answers_go_by_their_values_and_not_by_their_places() -> None:
    before, now = chain(2, 4), chain(2, 2)  # 1, 2, 3, 4 and 1, 2
    there = trained(
        {"0/affine/units": 1, "1/affine/units": 0}, {"0/affine/units": 3, "1/affine/units": 0}
    )
    taken, left_out = outcomes_for(state_of(before, there), now)
    assert taken == [KnownOutcome({"0/affine/units": 1, "1/affine/units": 0}, 0.0, 0)]
    assert left_out == {"whose answer to 0/affine/units is no option here": 1}


def test_values_at_other_places_and_in_repetitions_are_found() -> None:
    before = layers({"oneof": [8, 16, 32]}, {"oneof": [1, 2]})
    now = layers({"oneof": [32, 8]}, {"oneof": [2, 1, 0]})
    asked = list(before.walk(lambda decision: len(decision.options) - 1))
    assert len(asked) == 3
    times, first, second = asked
    there = trained({times: 1, first: 0, second: 2}, {times: 0, first: 1})
    taken, left_out = outcomes_for(state_of(before, there), now)
    assert [outcome.genotype for outcome in taken] == [{times: 0, first: 1, second: 0}]
    assert sum(left_out.values()) == 1


@one_in(3, 2, "name", SPACES)
def test_each_space_knows_its_own_answers_again(name: str) -> None:
    space = load_space(name)
    genotype = rollout(space, np.random.default_rng(0))
    taken, left_out = outcomes_for(state_of(space, trained(genotype)), space)
    assert (taken, left_out) == ([KnownOutcome(genotype, 0.0, 0)], {})


def test_an_outcome_needs_an_answer_to_each_decision_here_and_not_there() -> None:
    small, large = chain(2, 4), chain(3, 4)
    genotype = {f"{place}/affine/units": place for place in range(3)}
    taken, left_out = outcomes_for(state_of(large, trained(genotype)), small)
    assert [outcome.genotype for outcome in taken] == [{"0/affine/units": 0, "1/affine/units": 1}]
    assert left_out == {}
    del genotype["2/affine/units"]
    taken, left_out = outcomes_for(state_of(small, trained(genotype)), large)
    assert taken == []
    assert left_out == {"without an answer to 2/affine/units": 1}


def test_only_whole_trainings_with_a_reward_tell_something() -> None:
    space = chain(1, 4)
    genotype = {"0/affine/units": 0}
    proposals = [
        Proposal(0, genotype),
        Proposal(1, genotype),
        Proposal(2, genotype),
        Proposal(3, genotype, until=2),
        Proposal(4, genotype, sources=(Source(3, "training"),)),
        Proposal(5, genotype, fidelity={"trainer.max_epochs": 1}),
        Proposal(6, genotype, kind="estimate"),
        Proposal(7, genotype),
        Proposal(8, genotype),
    ]
    statuses = ["failed", "invalid", "completed", "paused", *["completed"] * 5]
    outcomes = [
        Outcome(
            proposal,
            status,  # type: ignore[arg-type]
            None if status in ("failed", "invalid") else 0.5,
            reused_from=2 if proposal.index == 7 else None,
        )
        for proposal, status in zip(proposals, statuses, strict=True)
    ]
    outcomes[8] = Outcome(proposals[8], "completed", float("inf"))
    taken, left_out = outcomes_for(state_of(space, outcomes), space)
    assert [outcome.child for outcome in taken] == [2]
    assert left_out == {
        "no whole trainings": 4,
        "failed": 1,
        "invalid": 1,
        "repeat another": 1,
        "without a finite reward": 1,
    }


def test_two_spaces_are_compared_decision_by_decision() -> None:
    before = {"a": [1, 2], "b": ["x"], "c": [3], "e": [1, 2], "f": [1]}
    now = {"a": (2, 4), "b": ("y",), "d": (5,), "e": (2, 1), "f": (1, 2)}
    assert compared(before, now) == (
        "both have e; both have with some options in common a, f; both have with other options b; "
        "only the earlier study has c; only this one has d"
    )
    assert compared({"a": [1]}, {"b": (1,)}).startswith("both have no decision; ")


@pytest.mark.parametrize(
    ("options", "value", "same", "meant"),
    [
        ((1, 2, 4), 2, 1, 1),
        ((1, 2, 4), 2.0, 1, 1),
        ((False, True), 1, None, None),
        ((0, 1), True, None, None),
        ((False, True), True, 1, 1),
        ((1e-4, 0.00026826957952797), 0.000268269580, None, 1),
        ((1e-4, 0.00026826957952797), 0.000268, None, None),
        (("relu", "tanh"), "tanh", 1, 1),
        ((None, 0.5), None, 0, 0),
        (((2, 3), (3, 4)), [3, 4], 1, 1),
        (
            ({"_target_": "torch.optim.SGD", "lr": 0.1}, {"_target_": "torch.optim.Adam"}),
            "SGD(lr=0.1)",
            None,
            0,
        ),
    ],
)
def test_an_option_is_found_by_its_value(
    options: tuple[Any, ...], value: Any, same: int | None, meant: int | None
) -> None:
    assert same_option(options, value) == same
    assert meant_option(options, value) == meant
