import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core.randomness.draws import Draws, seeded

# Of 2^31 + 1 numbers, almost every other draw is rejected.
bounds = st.one_of(st.integers(1, 9), st.sampled_from([2**31, 2**31 + 1, 3 * 2**30 + 7]))


@given(st.integers(0, 2**32 - 1), st.lists(bounds, max_size=40), st.integers(1, 9), st.booleans())
def test_draws_are_those_of_the_generator_and_leave_it_where_they_would(
    seed: int, asked: list[int], num_expected: int, is_half_used: bool
) -> None:
    single, blocks = np.random.default_rng(seed), np.random.default_rng(seed)
    if is_half_used:  # the other half of 64 bits waits for the next draw
        assert single.integers(7) == blocks.integers(7)
    draws = Draws(blocks, num_expected)
    assert [draws.below(bound) for bound in asked] == [int(single.integers(b)) for b in asked]
    draws.settle()
    assert blocks.bit_generator.state == single.bit_generator.state


@given(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**70)), min_size=1, max_size=4))
def test_a_seeded_generator_is_numpys_own_for_numbers_of_any_size(numbers: list[int]) -> None:
    expected, found = np.random.default_rng(numbers), seeded(*numbers)
    assert found.bit_generator.state == expected.bit_generator.state
    assert found.spawn(1)[0].random() == expected.spawn(1)[0].random()


def test_draws_of_a_generator_that_makes_its_numbers_otherwise_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must draw from numpy's PCG64, got .*MT19937"):
        Draws(np.random.Generator(np.random.MT19937(0)), num_expected=4)
