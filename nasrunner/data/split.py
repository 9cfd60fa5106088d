"""Splits that keep the share of each class, and depend on their own seed alone."""

import math

import numpy as np
import torch

from nasrunner.core.errors import ConfigError

# N = number of examples


def hold_out(
    strata_N: np.ndarray, num_held_out: int, split_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws ``num_held_out`` examples so that each stratum gives its share, to within one.

    Args:
        strata_N: what to keep the shares of, usually the classes.
        num_held_out: how many examples the second part has, 0 <= num_held_out <= N.
        split_seed: fixes the draw; torch's global generator is neither used nor changed.

    Returns:
        The rows that stay and the rows held out, disjoint and each in increasing order.
    """
    generator = torch.Generator().manual_seed(split_seed)
    drawn_N = torch.randperm(len(strata_N), generator=generator).numpy()
    # Systematic sampling: sorted by stratum, in random order within one, at even distances.
    sorted_N = drawn_N[np.argsort(strata_N[drawn_N], kind="stable")]
    steps = (np.arange(num_held_out) + 0.5) * len(strata_N) / max(num_held_out, 1)
    is_held_out_N = np.zeros(len(strata_N), dtype=bool)
    is_held_out_N[sorted_N[steps.astype(int)]] = True
    return np.flatnonzero(~is_held_out_N), np.flatnonzero(is_held_out_N)


def count_of(name: str, wanted: int | float, total: int) -> int:
    """The number of examples a setting asks for: a count, or a share of ``total``.

    Raises:
        ConfigError: it is neither a whole number in [1, total - 1] nor a share in (0, 1), or the
            share is less than one example.
    """
    is_share = isinstance(wanted, float) and math.isfinite(wanted)
    count = round(wanted * total) if is_share else wanted
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < total:
        raise ConfigError(
            f"data.{name} must be a number of examples from 1 to {total - 1:,} or a share of the "
            f"{total:,} in (0, 1), got {wanted!r}"
        )
    return count


def check_count_or_share(name: str, wanted: object) -> None:
    """Refuses what ``count_of`` takes of no data set: known before a file of it is read.

    Raises:
        ConfigError: names ``data.<name>``.
    """
    is_count = isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 1
    if not is_count and not (isinstance(wanted, float) and 0 < wanted < 1):
        raise ConfigError(
            f"data.{name} must be a number of examples >= 1 or a share in (0, 1), got {wanted!r}"
        )
