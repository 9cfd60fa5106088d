"""Recurrent networks over the decisions of a genotype."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from torch.nn.functional import embedding

from nasrunner.core.annotations import Above, AtLeast, Count
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, key_of
from nasrunner.core.space import Space
from nasrunner.searchers.surrogates import ensemble
from nasrunner.searchers.surrogates.surrogate import Surrogate
from nasrunner.searchers.surrogates.tokens import Share, Tokens

# N = genotypes to fit, C = candidates, B = batch, T = decisions of the longest and the start,
# H = hidden units, G = 4 H: gates, M = members of the ensemble, R = rows: one for each token and
# the start


class LstmEnsemble(Surrogate):
    """LSTMs that read a genotype's answers one by one; their spread is the uncertainty.

    The surrogate of progressive NAS. Liu et al. 2018, arXiv:1712.00559, section 3.3: each member
    is fitted, by the absolute error, to all children but every ``num_members``-th, those left out
    being others for each; what it has read is the state that a linear layer predicts from. As in
    the controller of a policy gradient, each pair of a decision's kind and an option has an
    embedding, so that decisions of one kind share theirs wherever they stand.

    Args:
        hidden_units: H, of the LSTM and the embeddings; 100 in the paper.
        num_members: M, >= 2: one has no spread; 5 in the paper.
        num_steps: of Adam, for each member.
        batch_size: children of a step, all if there are no more.
        learning_rate: Adam's, > 0; it falls to 0 as half a cosine.
        share: what shares an embedding, see ``Tokens``.
        space: what the genotypes are of.

    Differs from the paper: what is predicted is no accuracy but the target, without a sigmoid;
    members start anew at each fit.
    """

    def __init__(
        self,
        *,
        hidden_units: Count,
        num_members: Annotated[int, AtLeast(2)],
        num_steps: Count,
        batch_size: Count,
        learning_rate: Annotated[float, Above(0)],
        share: Share = "kinds",  # studies saved before do not say it
        space: Space,
    ) -> None:
        self.hidden_units = hidden_units
        self.num_members = num_members
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tokens = Tokens(space, share)
        self._readers: Readers | None = None
        self._read: dict[Key, list[int]] = {}  # rows, of the children fitted last

    def fit(
        self, genotypes: Sequence[Genotype], targets_N: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Trains every member from new weights; torch's global generator is not touched."""
        self._read = {key_of(genotype): self._rows(genotype) for genotype in genotypes}
        rows_NT, last_N = self._padded([self._read[key_of(genotype)] for genotype in genotypes])
        targets = torch.from_numpy(targets_N).float()
        readers = Readers(
            self.num_members, self.tokens.num_rows + 1, self.hidden_units, targets.mean(), rng
        )
        ensemble.train(
            readers,
            [rows_NT, last_N],
            targets,
            rng,
            num_members=self.num_members,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        self._readers = readers

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean (C,) and standard deviation (C,) over the members."""
        assert self._readers is not None, "it is fitted first"
        inputs = self._padded([self._rows(genotype) for genotype in genotypes])
        return ensemble.predict(self._readers, inputs, self.num_members)

    def _rows(self, genotype: Genotype) -> list[int]:
        """The row of each answer, in the order that decisions are asked in."""
        if (found := self._read.get(key_of(genotype))) is not None:
            return found
        return [row for _, row in self.tokens.read(genotype, self.implied)]

    def _padded(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (B, T) of equal length that begin with the start, and where each ends (B,)."""
        longest, start = max(map(len, rows)), self.tokens.num_rows
        padded = [[start, *each, *[start] * (longest - len(each))] for each in rows]
        return torch.tensor(padded), torch.tensor([len(each) for each in rows])


class Readers:
    """LSTMs of one layer that read rows and predict a number, all members in one step.

    Args:
        num_members: M.
        num_rows: R.
        hidden_units: H.
        mean: what all predict before they are trained, nearly.
        rng: draws the weights from U(-1/√H, 1/√H), as torch does.

    Attributes:
        weights: by name; the gates are those of torch's LSTM: cell, input, forget, output.
    """

    def __init__(
        self,
        num_members: int,
        num_rows: int,
        hidden_units: int,
        mean: torch.Tensor,
        rng: np.random.Generator,
    ) -> None:
        num_gates, bound = 4 * hidden_units, 1 / math.sqrt(hidden_units)
        shapes = {
            "embedding_RH": (num_rows, hidden_units),
            "input_HG": (hidden_units, num_gates),
            "state_HG": (hidden_units, num_gates),
            "bias_G": (1, num_gates),
            "head_H": (hidden_units, 1),
        }
        self.weights = {
            name: torch.from_numpy(rng.uniform(-bound, bound, (num_members, *shape))).float()
            for name, shape in shapes.items()
        }
        self.weights["head_bias"] = mean.expand(num_members, 1).clone()
        for weight in self.weights.values():
            weight.requires_grad_()

    def predict(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Predicts a number (M, B).

        Args:
            inputs: what each member reads, rows (M, B, T), and the step after which it predicts,
                (M, B).
        """
        rows_MBT, last_MB = inputs
        w, (num_members, num_rows, hidden_units) = self.weights, self.weights["embedding_RH"].shape
        gates_MRG = torch.baddbmm(w["bias_G"], w["embedding_RH"], w["input_HG"])
        members_M1 = torch.arange(num_members).unsqueeze(-1)
        places_TMB = (rows_MBT + num_rows * members_M1.unsqueeze(-1)).permute(2, 0, 1)
        fed_TMBG = embedding(places_TMB, gates_MRG.flatten(0, 1))
        h_MBH = c_MBH = fed_TMBG.new_zeros(*last_MB.shape, hidden_units)
        states = []
        for fed_MBG in fed_TMBG:
            gates_MBG = torch.baddbmm(fed_MBG, h_MBH, w["state_HG"])
            opened_MBG = gates_MBG[..., hidden_units:].sigmoid()
            input_MBH, forget_MBH, output_MBH = opened_MBG.chunk(3, dim=-1)
            c_MBH = forget_MBH * c_MBH + input_MBH * gates_MBG[..., :hidden_units].tanh()
            h_MBH = output_MBH * c_MBH.tanh()
            states.append(h_MBH)
        batch_B = torch.arange(last_MB.shape[1])
        last_MBH = torch.stack(states)[last_MB, members_M1, batch_B]
        predicted_MB: torch.Tensor = torch.bmm(last_MBH, w["head_H"]).squeeze(-1)
        return predicted_MB + w["head_bias"]
