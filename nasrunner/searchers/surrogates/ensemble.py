"""Networks that are fitted together, each with weights of its own: their spread is uncertainty."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

# N = genotypes to fit, C = candidates, B = batch, M = members of the ensemble

_AT_ONCE = 4096
"""Candidates that are predicted in one step, so that their states fit in memory."""


class Members(Protocol):
    """Networks that predict a number each."""

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The weights of all members by name, (M, …)."""

    def predict(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Predicts (M, B) from what each member is given, (M, B, …)."""


def train(
    members: Members,
    inputs: Sequence[torch.Tensor],
    targets_N: torch.Tensor,
    rng: np.random.Generator,
    *,
    num_members: int,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Fits each member to its batches by the absolute error; torch's generator is not touched.

    Each member is fitted to all children but every ``num_members``-th, those left out being others
    for each, as in Liu et al. 2018, arXiv:1712.00559, section 3.3.

    Args:
        members: are changed.
        inputs: what they are given of the children, (N, …) each.
        targets_N: of the children.
        rng: draws the batches.
        num_members: M.
        num_steps: of Adam.
        batch_size: children of a step, all if there are no more.
        learning_rate: Adam's; it falls to 0 as half a cosine.
    """
    optimizer = torch.optim.Adam(members.weights.values(), lr=learning_rate)
    is_left_out_MN = left_out(num_members, len(targets_N), rng)
    num_kept = int((~is_left_out_MN).sum(axis=1).min())
    with torch.enable_grad():
        for step in range(num_steps):
            drawn_MN = np.where(is_left_out_MN, np.inf, rng.random(is_left_out_MN.shape))
            order_MN = torch.from_numpy(np.argsort(drawn_MN, axis=1))
            batch_MB = order_MN[:, : min(batch_size, num_kept)]
            share = (1 + math.cos(math.pi * step / num_steps)) / 2
            optimizer.param_groups[0]["lr"] = share * learning_rate
            optimizer.zero_grad()
            predicted_MB = members.predict(*(each[batch_MB] for each in inputs))
            errors_MB = (predicted_MB - targets_N[batch_MB]).abs()
            torch.autograd.backward(errors_MB.mean(dim=1).sum())  # each has weights of its own
            optimizer.step()


def predict(
    members: Members, inputs: Sequence[torch.Tensor], num_members: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean (C,) and standard deviation (C,) over the members.

    Args:
        members: fitted ones.
        inputs: what they are given of the candidates, (C, …) each.
        num_members: M.
    """
    parts = []
    with torch.no_grad():
        for part in zip(*(torch.split(each, _AT_ONCE) for each in inputs), strict=True):
            given = (each.expand(num_members, *each.shape) for each in part)
            parts.append(members.predict(*given).double())
    predicted_MC = torch.cat(parts, dim=1)
    return predicted_MC.mean(dim=0).numpy(), predicted_MC.std(dim=0, correction=0).numpy()


def left_out(num_members: int, num_children: int, rng: np.random.Generator) -> np.ndarray:
    """Returns which children (M, N) a member is not fitted to: each is left out by one, if they
    suffice.
    """
    if num_children < 2 * num_members:
        return np.zeros((num_members, num_children), dtype=bool)
    folds_N = rng.permutation(num_children) % num_members
    left_out_MN: np.ndarray = np.arange(num_members)[:, None] == folds_N
    return left_out_MN
