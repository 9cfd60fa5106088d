"""Multi-layer perceptrons over the mean of what a genotype answers."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch

from nasrunner.core.annotations import Above, AtLeast, Count
from nasrunner.core.decision import Genotype
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates import ensemble
from nasrunner.searchers.surrogates.surrogate import Surrogate
from nasrunner.searchers.surrogates.tokens import Share, Tokens

# N = genotypes to fit, C = candidates, B = batch, M = members of the ensemble, R = rows: tokens,
# D = units of an embedding, Q = roles, I = Q D, H = hidden units


class MlpEnsemble(Surrogate):
    """Perceptrons of one hidden layer; their spread is the uncertainty.

    The other surrogate of progressive NAS. Liu et al. 2018, arXiv:1712.00559, section 3.3: each
    answer has an embedding; those of one role, such as all blocks' first operations, are averaged,
    and the means of all roles are the input. So it reads genotypes of any length, and neither their
    length nor an order in them.

    Args:
        embedding_units: D; 100 in the paper.
        hidden_units: H; 100 in the paper.
        num_members: M, >= 2: one has no spread; 5 in the paper.
        num_steps: of Adam, for each member.
        batch_size: children of a step, all if there are no more.
        learning_rate: Adam's, > 0; it falls to 0 as half a cosine.
        share: what shares an embedding, see ``Tokens``.
        space: what the genotypes are of.

    Differs from the paper: what is predicted is no accuracy but the target, without a sigmoid;
    members start anew at each fit. A role that no answer has is zero.
    """

    def __init__(
        self,
        *,
        embedding_units: Count,
        hidden_units: Count,
        num_members: Annotated[int, AtLeast(2)],
        num_steps: Count,
        batch_size: Count,
        learning_rate: Annotated[float, Above(0)],
        share: Share,
        space: Space,
    ) -> None:
        self.embedding_units = embedding_units
        self.hidden_units = hidden_units
        self.num_members = num_members
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tokens = Tokens(space, share)
        self._perceptrons: Perceptrons | None = None

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Trains every member from new weights; torch's global generator is not touched."""
        shares_NR = self._shares(genotypes)
        targets = torch.from_numpy(targets_N).float()
        perceptrons = Perceptrons(
            self._rows_of_roles(), self.num_members, self._sizes, targets.mean(), rng
        )
        ensemble.train(
            perceptrons,
            [shares_NR],
            targets,
            rng,
            num_members=self.num_members,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        self._perceptrons = perceptrons

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean (C,) and standard deviation (C,) over the members."""
        assert self._perceptrons is not None, "it is fitted first"
        return ensemble.predict(self._perceptrons, [self._shares(genotypes)], self.num_members)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.embedding_units, self.hidden_units

    def _shares(self, genotypes: Sequence[Genotype]) -> torch.Tensor:
        """Which share (N, R) of the answers of its role each token has."""
        shares_NR = np.zeros((len(genotypes), max(1, self.tokens.num_rows)), dtype=np.float32)
        for shares_R, genotype in zip(shares_NR, genotypes, strict=True):
            read = self.tokens.read(genotype, self.implied)
            counts: dict[str, int] = {}
            for role, _ in read:
                counts[role] = counts.get(role, 0) + 1
            for role, row in read:
                shares_R[row] += 1 / counts[role]
        return torch.from_numpy(shares_NR)

    def _rows_of_roles(self) -> list[list[int]]:
        """The tokens of each role; a space without decisions has a role of one."""
        rows: dict[str, dict[int, None]] = {name: {} for name in self.tokens.roles}
        for role in self.tokens.role_of.values():
            rows[role.name].update(dict.fromkeys(role.rows))
        return [list(each) for each in rows.values()] or [[0]]


class Perceptrons:
    """Perceptrons over the mean embedding of each role, all members in one step.

    Args:
        rows_of_roles: the tokens of each of Q roles.
        num_members: M.
        sizes: D and H.
        mean: what all predict before they are trained, nearly.
        rng: draws weights from U(-1/√n, 1/√n), n being a layer's inputs, and embeddings from
            N(0, 1), both as torch does.

    Attributes:
        weights: by name.
    """

    def __init__(
        self,
        rows_of_roles: Sequence[list[int]],
        num_members: int,
        sizes: tuple[int, int],
        mean: torch.Tensor,
        rng: np.random.Generator,
    ) -> None:
        embedding_units, hidden_units = sizes
        num_inputs, num_rows = len(rows_of_roles) * embedding_units, sum(map(len, rows_of_roles))
        self._rows_of_roles = rows_of_roles
        shapes = {
            "hidden_IH": (num_inputs, (num_inputs, hidden_units)),
            "bias_H": (num_inputs, (1, hidden_units)),
            "head_H": (hidden_units, (hidden_units, 1)),
        }
        embedding = rng.normal(size=(num_members, num_rows, embedding_units))
        self.weights = {"embedding_RD": torch.from_numpy(embedding).float()}
        for name, (fan_in, shape) in shapes.items():
            bound = 1 / math.sqrt(fan_in)
            drawn = rng.uniform(-bound, bound, (num_members, *shape))
            self.weights[name] = torch.from_numpy(drawn).float()
        self.weights["head_bias"] = mean.expand(num_members, 1).clone()
        for weight in self.weights.values():
            weight.requires_grad_()

    def predict(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Predicts a number (M, B).

        Args:
            inputs: the share of each token in its role, (M, B, R), alone.
        """
        (shares_MBR,), w = inputs, self.weights
        means = [
            torch.bmm(shares_MBR[..., rows], w["embedding_RD"][:, rows])
            for rows in self._rows_of_roles
        ]
        hidden_MBH = torch.baddbmm(w["bias_H"], torch.cat(means, dim=-1), w["hidden_IH"]).relu()
        predicted_MB: torch.Tensor = torch.bmm(hidden_MBH, w["head_H"]).squeeze(-1)
        return predicted_MB + w["head_bias"]
