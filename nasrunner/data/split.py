"""Splits that keep the share of each class, cut no group, and depend on their own seed alone."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
import torch

from nasrunner.core.annotations import Count, Within, fits
from nasrunner.core.errors import ConfigError

# N = number of examples, G = number of groups, ... = the shape of one example

Share = Annotated[float, Within("(0, 1)")]
"""A part of the examples."""

Examples = Count | Share
"""How many examples a setting asks for: a count, or a share of all."""


def hold_out(
    strata_N: np.ndarray,
    num_held_out: int,
    split_seed: int,
    groups_N: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws ``num_held_out`` examples so that each stratum gives its share, and no group is cut.

    Without groups the count is exact and the shares are to within one example. With groups the same
    holds where each stratum has enough examples that are a group of their own to make up for the
    larger groups; if not, the count is off by less than the largest group, and the share of a
    stratum by less than twice that. A group whose examples are of several strata is drawn with the
    stratum of its first.

    Args:
        strata_N: what to keep the shares of, usually the classes.
        num_held_out: how many examples the second part has, 0 <= num_held_out <= N.
        split_seed: fixes the draw; torch's global generator is neither used nor changed.
        groups_N: examples of the same number stay together; None: each is drawn for itself.

    Returns:
        The rows that stay and the rows held out, disjoint and each in increasing order.

    Raises:
        ConfigError: all examples are one group, of which a part was to be held out.
    """
    generator = torch.Generator().manual_seed(split_seed)
    total = len(strata_N)
    drawn_N = torch.randperm(total, generator=generator).numpy()
    if groups_N is None:
        groups_N = np.arange(total)
    _, first_G, group_N, size_G = np.unique(
        groups_N, return_index=True, return_inverse=True, return_counts=True
    )
    turn_N = np.empty(total, dtype=np.int64)
    turn_N[drawn_N] = np.arange(total)
    # Systematic sampling: sorted by stratum, in random order within one, at even distances. Large
    # groups come first in their stratum, for the small ones to make up for what these leave.
    order_G = np.lexsort((turn_N[first_G], -size_G, strata_N[first_G]))
    # Half of a group must be due before it is held out. For larger groups another part, drawn once:
    # of each stratum's largest group half would never be due.
    due_part = float(torch.rand((), generator=generator))
    is_held_out_G = np.zeros(len(size_G), dtype=bool)
    due = 0  # examples that should have been held out by now but were not, times their total
    for group, size in zip(order_G.tolist(), size_G[order_G].tolist(), strict=True):
        due += size * num_held_out
        if due > size * total * (0.5 if size == 1 else due_part):
            is_held_out_G[group] = True
            due -= size * total
    if 0 < num_held_out < total:
        _leave_none_empty(is_held_out_G, size_G)
    is_held_out_N = is_held_out_G[group_N]
    return np.flatnonzero(~is_held_out_N), np.flatnonzero(is_held_out_N)


def hold_out_fold(
    strata_N: np.ndarray,
    folds: int,
    fold: int,
    split_seed: int,
    groups_N: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out one of ``folds`` parts that together are all examples, for cross-validation.

    Args:
        strata_N, split_seed, groups_N: as of ``hold_out``, which draws one part after the other
            from what is left.
        folds: how many parts, >= 2.
        fold: which of them, from 0.

    Returns:
        As of ``hold_out``.

    Raises:
        ConfigError: there are fewer groups than parts.
    """
    groups_N = np.arange(len(strata_N)) if groups_N is None else groups_N
    if (num_groups := len(np.unique(groups_N))) < folds:
        raise ConfigError(
            f"evaluation.folds={folds} needs as many groups of examples, which are {num_groups}"
        )
    left = held_out = np.arange(len(strata_N))
    for part in range(fold + 1):
        held_out = left
        if (num_parts := folds - part) > 1:
            count = round(len(left) / num_parts)
            held_out = left[hold_out(strata_N[left], count, split_seed, groups_N[left])[1]]
            held_out = _leaving_groups(num_parts - 1, left, held_out, groups_N)
        left = np.setdiff1d(left, held_out)
    return np.setdiff1d(np.arange(len(strata_N)), held_out), held_out


def kept_share(
    strata_N: np.ndarray, share: float, split_seed: int, groups_N: np.ndarray | None = None
) -> np.ndarray:
    """Draws a share of the examples so that each stratum gives its own, and no group is cut.

    The examples of a smaller share are among those of a larger one with the same seed. Of each
    stratum the share is off by at most half of its largest group, and at least a group is kept. A
    group whose examples are of several strata counts as of the stratum of its first.

    Args:
        strata_N, split_seed, groups_N: as of ``hold_out``.
        share: in (0, 1].

    Returns:
        The rows that are kept, in increasing order.
    """
    total = len(strata_N)
    groups_N = np.arange(total) if groups_N is None else groups_N
    generator = torch.Generator().manual_seed(split_seed)
    turn_N = torch.randperm(total, generator=generator).numpy()
    _, first_G, group_N, size_G = np.unique(
        groups_N, return_index=True, return_inverse=True, return_counts=True
    )
    order_G = np.lexsort((turn_N[first_G], strata_N[first_G]))
    sizes_G, is_kept_G = size_G[order_G], np.empty(len(size_G), dtype=bool)
    _, starts, stratum_G = np.unique(
        strata_N[first_G][order_G], return_index=True, return_inverse=True
    )
    before_G = np.cumsum(sizes_G) - sizes_G
    before_G = before_G - before_G[starts][stratum_G]
    totals_G = np.bincount(stratum_G, weights=sizes_G)[stratum_G]
    is_kept_G[order_G] = (before_G == 0) | (before_G + sizes_G / 2 < share * totals_G)
    return np.flatnonzero(is_kept_G[group_N])


def _leaving_groups(
    count: int, left: np.ndarray, held_out: np.ndarray, groups_N: np.ndarray
) -> np.ndarray:
    """Gives small groups back until as many are left as there are parts still to be drawn."""
    drawn_G, size_G = np.unique(groups_N[held_out], return_counts=True)
    num_missing = count + len(drawn_G) - len(np.unique(groups_N[left]))
    given_back_G = drawn_G[np.argsort(size_G, kind="stable")[: max(0, num_missing)]]
    return held_out[~np.isin(groups_N[held_out], given_back_G)]


def _leave_none_empty(is_held_out_G: np.ndarray, size_G: np.ndarray) -> None:
    """Moves the smallest group to the part that got none."""
    if len(size_G) == 1:
        raise ConfigError(
            f"data: all {size_G[0]:,} examples are one group, by equal inputs or by what the data "
            "set says, and cannot be split; data.equal_inputs=apart draws each for itself where "
            "inputs are equal"
        )
    if is_held_out_G.all() or not is_held_out_G.any():
        is_held_out_G[size_G.argmin()] ^= True


def equal_inputs(x: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """Numbers the examples (N, ...) so that those with equal inputs, bit for bit, share one.

    Of several inputs by name all must be equal.
    """
    numbers: dict[tuple[bytes, ...], int] = {}
    digests = map(_digests, x.values() if isinstance(x, Mapping) else [x])
    examples = zip(*digests, strict=True)
    return np.array([numbers.setdefault(each, len(numbers)) for each in examples], np.int64)


def _digests(x: np.ndarray) -> Iterator[bytes]:
    if x.dtype.kind == "f":
        x = x + 0.0  # minus zero is zero
    for row in np.ascontiguousarray(x).reshape(len(x), -1):
        yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()


def joined(groups_N: np.ndarray, others_N: np.ndarray) -> np.ndarray:
    """Numbers the examples so that those that share either group, or a chain of them, share one."""
    (_, one_N), (_, other_N) = (
        np.unique(each, return_inverse=True) for each in (groups_N, others_N)
    )
    joined_N = one_N
    while True:
        before_N = joined_N
        for group_N in (other_N, one_N):
            lowest_G = np.full(len(group_N), len(group_N))
            np.minimum.at(lowest_G, group_N, joined_N)
            joined_N = lowest_G[group_N]
        if np.array_equal(joined_N, before_N):
            return joined_N


def count_of(name: str, wanted: Examples, total: int) -> int:
    """Returns the number of examples a setting asks for: a count, or a share of ``total``.

    Raises:
        ConfigError: it is neither a whole number in [1, total - 1] nor a share in (0, 1), or the
            share is less than one example.
    """
    count = round(wanted * total) if fits(wanted, Share) else wanted
    if not fits(count, Count) or count >= total:
        raise ConfigError(
            f"data.{name} must be a number of examples from 1 to {total - 1:,} or a share of the "
            f"{total:,} in (0, 1), got {wanted!r}"
        )
    return int(count)
