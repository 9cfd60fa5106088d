from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core import ConfigError
from nasrunner.data.split import (
    count_of,
    equal_inputs,
    hold_out,
    hold_out_fold,
    joined,
    kept_share,
)


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


# G = number of groups, each of one stratum
TABLES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8)), min_size=2, max_size=60)


@given(TABLES, st.floats(0, 1), st.integers(0, 99))
def test_no_group_is_cut_and_shares_are_as_near_as_groups_allow(
    table: list[tuple[int, int]], share: float, seed: int
) -> None:
    strata_G, sizes_G = map(list, zip(*table, strict=True))
    groups_N = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(table)), sizes_G))
    strata_N = np.array(strata_G)[groups_N]
    total, largest = len(groups_N), max(sizes_G)
    wanted = max(1, int(share * (total - 1)))
    kept, held_out = hold_out(strata_N, wanted, seed, groups_N)
    assert sorted([*kept, *held_out]) == list(range(total))
    assert not {*groups_N[kept]} & {*groups_N[held_out]}
    assert len(kept)
    assert len(held_out)
    assert abs(len(held_out) - wanted) <= largest
    for stratum in set(strata_G):
        exact = (strata_N == stratum).sum() * wanted / total
        assert abs((strata_N[held_out] == stratum).sum() - exact) < 2 * largest
    again = hold_out(strata_N, wanted, seed, groups_N)
    np.testing.assert_array_equal(held_out, again[1])


@given(st.lists(st.integers(0, 3), min_size=2, max_size=200), st.floats(0, 1), st.integers(0, 99))
def test_groups_of_one_are_drawn_as_without_groups(
    strata: list[int], share: float, seed: int
) -> None:
    strata_N = np.array(strata)
    names_N = np.random.default_rng(seed).permutation(len(strata))
    wanted = int(share * len(strata))
    alone, grouped = (hold_out(strata_N, wanted, seed, each)[1] for each in (None, names_N))
    np.testing.assert_array_equal(alone, grouped)


@pytest.mark.parametrize("seed", range(10))
def test_examples_alone_make_up_for_groups_so_that_shares_are_to_within_one(seed: int) -> None:
    """Of each stratum 400 alone, 40 pairs and 5 groups of 8."""
    sizes_G = np.tile(np.repeat([1, 2, 8], [400, 40, 5]), 3)
    groups_N = np.repeat(np.arange(len(sizes_G)), sizes_G)
    strata_N = np.repeat([0, 1, 2], 520)
    _, held_out = hold_out(strata_N, 312, seed, groups_N)
    assert len(held_out) == 312
    assert set(np.bincount(strata_N[held_out])) <= {103, 104, 105}


def test_large_groups_are_held_out_as_often_as_their_share() -> None:
    """One group of 8 among 92 examples alone is held out with a fifth of the seeds."""
    groups_N = np.concatenate([np.zeros(8, int), np.arange(1, 93)])
    num_held_out = sum(
        0 in groups_N[hold_out(np.zeros(100), 20, seed, groups_N)[1]] for seed in range(500)
    )
    assert 65 <= num_held_out <= 135  # binomial: 100 ± 9


def test_of_few_large_groups_each_part_gets_one_and_a_single_one_is_refused() -> None:
    groups_N = np.repeat([0, 1], 4)
    for seed in range(20):
        assert [len(part) for part in hold_out(np.zeros(8), 1, seed, groups_N)] == [4, 4]
        assert [len(part) for part in hold_out(np.zeros(8), 7, seed, groups_N)] == [4, 4]
    with pytest.raises(ConfigError, match=r"all 8 examples are one group.*equal_inputs=apart"):
        hold_out(np.zeros(8), 1, 0, np.zeros(8))


def test_equal_inputs_share_a_number_bit_for_bit() -> None:
    x = np.array([[0.1, 2.0], [0.1 + 1e-18, 2.0], [0.1 + 1e-16, 2.0], [0.0, 2.0], [-0.0, 2.0]])
    assert equal_inputs(x).tolist() == [0, 0, 1, 2, 2]
    images = np.array([0, 1, 0], dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2))
    assert equal_inputs(images).tolist() == [0, 1, 0]
    assert equal_inputs(x[:, ::-1]).tolist() == [0, 0, 1, 2, 2]


def test_a_chain_of_groups_is_one() -> None:
    ours = np.array([0, 0, 1, 1, 2, 2, 3])
    theirs = np.array(["a", "b", "b", "c", "c", "d", "e"])
    assert joined(ours, theirs).tolist() == [0, 0, 0, 0, 0, 0, joined(ours, theirs)[6]]
    assert joined(ours, theirs)[6] != 0


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


@pytest.mark.parametrize("folds", [2, 3, 5])
@given(
    strata=st.lists(st.integers(0, 2), min_size=12, max_size=80),
    size=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_folds_are_all_examples_once_and_cut_no_group(
    folds: int, strata: list[int], size: int, seed: int
) -> None:
    strata_N, groups_N = np.array(strata), np.arange(len(strata)) // size
    if len(np.unique(groups_N)) < folds:
        return
    held_out = []
    for fold in range(folds):
        rows, fold_rows = hold_out_fold(strata_N, folds, fold, seed, groups_N)
        assert sorted([*rows, *fold_rows]) == list(range(len(strata)))
        assert not set(groups_N[rows]) & set(groups_N[fold_rows])
        assert len(fold_rows) > 0
        held_out.extend(fold_rows.tolist())
        if size == 1:
            assert abs(len(fold_rows) - len(strata) / folds) <= 1
    assert sorted(held_out) == list(range(len(strata)))


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=8),
    data=st.data(),
    seed=st.integers(0, 20),
)
def test_of_few_large_groups_each_fold_gets_one(
    sizes: list[int], data: st.DataObject, seed: int
) -> None:
    folds = data.draw(st.integers(2, len(sizes)))
    groups_N = np.repeat(np.arange(len(sizes)), sizes)
    strata_N = np.arange(len(groups_N)) % 3
    parts = [hold_out_fold(strata_N, folds, fold, seed, groups_N)[1] for fold in range(folds)]
    assert min(map(len, parts)) > 0
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups_N)))
    assert sum(len(np.unique(groups_N[part])) for part in parts) == len(sizes)


def test_classes_keep_their_shares_in_each_fold() -> None:
    strata_N = np.repeat([0, 1, 2], [50, 30, 20])
    for fold in range(5):
        _, rows = hold_out_fold(strata_N, 5, fold, 0)
        counts = np.bincount(strata_N[rows])
        assert np.abs(counts - [10, 6, 4]).max() <= 1


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.folds=5 needs as many groups .* are 2"):
        hold_out_fold(np.zeros(10), 5, 0, 0, np.arange(10) // 5)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.99])
def test_a_share_is_of_each_stratum_and_within_a_larger_one(share: float) -> None:
    strata_N = np.repeat([0, 1, 2], [100, 40, 3])
    rows, more = (kept_share(strata_N, each, split_seed=0) for each in (share, min(1, 2 * share)))
    counts = np.bincount(strata_N[rows])
    expected = share * np.array([100, 40, 3])
    assert (np.abs(counts - expected) <= 0.5).all() or counts[2] == 1  # at least one is kept
    assert set(rows) <= set(more)
    assert rows.tolist() == sorted(rows)
    assert kept_share(strata_N, 1.0, 0).tolist() == list(range(143))
    assert share > 0.9 or set(rows) != set(kept_share(strata_N, share, split_seed=1))


def test_a_share_cuts_no_group() -> None:
    groups_N = np.repeat(np.arange(30), 4)
    strata_N = np.arange(120) // 40
    for share in (0.2, 0.5, 0.8):
        rows = kept_share(strata_N, share, 0, groups_N)
        kept = np.bincount(groups_N[rows], minlength=30)
        assert set(kept) <= {0, 4}
        assert abs(len(rows) - share * 120) <= 3 * 2  # half a group of each stratum
