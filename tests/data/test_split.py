from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core import ConfigError
from nasrunner.data.split import count_of, hold_out


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.floats(0, 1), st.integers(0, 99))
def test_each_stratum_gives_its_share_to_within_one(
    strata: list[int], share: float, seed: int
) -> None:
    strata_N = np.array(strata)
    num_held_out = int(share * len(strata))
    kept, held_out = hold_out(strata_N, num_held_out, seed)
    assert sorted([*kept, *held_out]) == list(range(len(strata)))
    assert len(held_out) == num_held_out
    for stratum in set(strata):
        exact = (strata_N == stratum).sum() * num_held_out / len(strata)
        assert abs((strata_N[held_out] == stratum).sum() - exact) < 1 + 1e-9


def test_the_split_depends_on_its_seed_and_not_on_the_global_generator() -> None:
    strata_N = np.zeros(1000)
    torch.manual_seed(1)
    first = hold_out(strata_N, 100, 7)[1]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert np.array_equal(first, hold_out(strata_N, 100, 7)[1])
    assert not np.array_equal(first, hold_out(strata_N, 100, 8)[1])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_count_and_a_share_ask_for_the_same() -> None:
    assert count_of("test_examples", 360, 1797) == 360
    assert count_of("test_examples", 0.2, 1797) == 359


@pytest.mark.parametrize(("wanted", "count"), [(1, 1), (99, 99), (0.01, 1), (0.99, 99)])
def test_the_smallest_and_the_largest_part_leave_an_example_on_each_side(
    wanted: int | float, count: int
) -> None:
    assert count_of("validation_examples", wanted, 100) == count


@pytest.mark.parametrize(
    "wanted", [0, -1, 100, 1.0, 0.0, 1.5, 0.001, 0.999, -0.5, nan, inf, True, "5", None]
)
def test_an_impossible_count_is_refused(wanted: object) -> None:
    with pytest.raises(ConfigError, match=r"data.validation_examples must be .* from 1 to 99 or"):
        count_of("validation_examples", wanted, 100)  # type: ignore[arg-type]


def test_a_fifth_of_uneven_classes_is_a_fifth_of_each() -> None:
    strata_N = np.repeat([0, 1, 2], [70, 20, 10])
    kept, held_out = hold_out(strata_N, 20, 3)
    assert np.bincount(strata_N[held_out]).tolist() == [14, 4, 2]
    assert np.bincount(strata_N[kept]).tolist() == [56, 16, 8]
