"""Schedules in spaces: numbers that depend on how many children were proposed."""

from typing import Any

import pytest

from nasrunner.core import SpaceError
from nasrunner.core.decision import SearchSchedule
from nasrunner.spaces.language.parsing import parse_space

SCHEDULE = {"schedule": {"start": 1, "step": 2, "end": 5, "every": 10}}
UNITS = {"affine": {"units": {"oneof": [8, 16]}}}


def times_of(space: Any) -> tuple[int, ...]:
    (schedule,) = space.schedules()
    return tuple(schedule.values)


@pytest.mark.parametrize(("index", "value"), [(0, 1), (9, 1), (10, 3), (19, 3), (20, 5), (99, 5)])
def test_the_value_changes_after_so_many_proposals_and_the_last_stays(
    index: int, value: int
) -> None:
    space = parse_space({"repeat": {"times": SCHEDULE, "body": UNITS}})
    now = space.at_proposal(index)
    assert times_of(now) == (value,)
    assert now.size() == 2**value
    genotype = now.walk(lambda decision: 1)  # the schedule is not asked, or it would say 3
    assert space.values(genotype)["repeat/times"] == value
    assert len(genotype) == 1 + value
    assert space.freeze(genotype) == now.freeze(genotype)


def test_the_space_of_any_time_holds_all_of_them() -> None:
    space = parse_space({"repeat": {"times": SCHEDULE, "body": UNITS}})
    assert space.size() == 2**1 + 2**3 + 2**5
    assert space.signature() == {"repeat/times": (1, 3, 5), "repeat/*/affine/units": (8, 16)}
    asked = []
    space.walk(lambda decision: asked.append(decision) or 0)
    assert asked[0].is_ordered
    assert asked[0].forced is None


@pytest.mark.parametrize(
    "config",
    [
        {"skip_layers": {"times": SCHEDULE, "layer": "relu"}},
        {"skip_layers": {"times": SCHEDULE, "layer": "relu", "pool": "tanh", "pool_after": [4]}},
        {"repeat_tied": {"times": SCHEDULE, "body": "relu"}},
        {"or": ["relu", {"optional": {"affine": {"units": SCHEDULE}}}]},
        {"hyperparameters": {"trainer.max_epochs": SCHEDULE}, "relu": None},
        {"_target_": "torch.nn.Upsample", "scale_factor": SCHEDULE},
        {"conv2d": {"filters": 8, "kernel_size": [SCHEDULE, 3]}},
    ],
)
def test_a_schedule_may_stand_wherever_a_number_does(config: Any) -> None:
    space = parse_space(config)
    assert [times_of(space.at_proposal(index)) for index in (0, 15, 25)] == [(1,), (3,), (5,)]
    assert times_of(space) == (1, 3, 5)


def test_a_space_without_a_schedule_is_the_same_at_any_time() -> None:
    space = parse_space({"concat": [UNITS, {"optional": UNITS}]})
    assert list(space.schedules()) == []
    assert space.at_proposal(1000) is space


@pytest.mark.parametrize(
    ("options", "every", "message"),
    [
        ((6, 4), 10, r"a schedule must go up, got \[6, 4\]"),
        (("a", "b"), 10, "a schedule must go up"),
        ((4, 6), 0, "every of a schedule must be >= 1 proposal, got 0"),
    ],
)
def test_a_schedule_in_python_that_cannot_be_is_refused(
    options: tuple[Any, ...], every: int, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSchedule(options, every=every)
