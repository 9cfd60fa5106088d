"""The recurrent policy that writes an architecture one decision at a time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from nasrunner.core.decision import Decision

# B = batch of architectures, T = decisions of the longest, H = hidden units,
# K = kinds of decisions, R = rows: one for each (kind, option), Q = R + 1: with the string's start


class Controller(nn.Module):
    """Autoregressive LSTM over decisions. Zoph & Le 2017, arXiv:1611.01578, section 3.1.

    Each pair of a decision kind and an option has an embedding and a logit. A step takes the
    embedding of the option chosen before, and its output goes through the softmax of the kind
    that is asked, so that decisions of one kind share their head wherever they stand.

    Args:
        options: decision kind -> its options, as ``Space.signature`` gives them.
        hidden_units: H; 35 in the paper. Embeddings are as wide.
        num_layers: LSTM layers; 2 in the paper.
        init_range: weights are drawn from U(-init_range, init_range); 0.08 in the paper.
        rng: draws the weights; torch's global generator is neither used nor moved.

    Attributes:
        kinds: decision kind -> its position.
        rows_of: decision kind -> the rows of its options.
        num_rows: R.

    Differs from the paper: the first input is a learnt embedding.
    """

    def __init__(
        self,
        options: Mapping[str, Sequence[Any]],
        *,
        hidden_units: int,
        num_layers: int,
        init_range: float,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.kinds = {kind: position for position, kind in enumerate(options)}
        self.rows_of: dict[str, slice] = {}
        self.num_rows = num_rows = sum(map(len, options.values()))
        self.options_KR = torch.zeros(len(options), num_rows, dtype=torch.bool)
        first = 0
        for kind, values in options.items():
            self.rows_of[kind] = slice(first, first + len(values))
            self.options_KR[self.kinds[kind], self.rows_of[kind]] = True
            first += len(values)
        # On the meta device the layers do not initialise themselves from the global generator.
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_rows + 1, hidden_units)
            self.lstm = nn.LSTM(hidden_units, hidden_units, num_layers, batch_first=True)
            self.head = nn.Linear(hidden_units, max(1, num_rows))  # torch warns of empty layers
        self.to_empty(device="cpu")
        with torch.no_grad():
            for weight in self.parameters():
                drawn = rng.uniform(-init_range, init_range, tuple(weight.shape))
                weight.copy_(torch.from_numpy(drawn))

    def forward(self, rows_BT: torch.Tensor, kinds_BT: torch.Tensor) -> torch.Tensor:
        """Log-probability of every row at every step, given the rows chosen before it.

        Args:
            rows_BT: the row chosen at each step; steps past an architecture's end hold any row.
            kinds_BT: the position in ``kinds`` of the decision asked at each step.

        Returns:
            log-probabilities (B, T, R), minus infinity for rows that are no option of the kind.
        """
        start_B1 = torch.full_like(rows_BT[:, :1], self.num_rows)
        inputs_BT = torch.cat([start_B1, rows_BT[:, :-1]], dim=1)
        states_BTH, _ = self.lstm(self.embedding(inputs_BT))
        logits_BTR: torch.Tensor = self.head(states_BTH)
        logits_BTR = logits_BTR.masked_fill(~self.options_KR[kinds_BT], -torch.inf)
        return logits_BTR.log_softmax(-1)


class Policy:
    """A copy of a controller's weights in numpy, to draw with: ten times torch's speed at one step.

    Attributes:
        rows_of: decision kind -> the rows of its options.
    """

    def __init__(self, controller: Controller) -> None:
        w = {k: p.detach().double().numpy() for k, p in controller.named_parameters()}
        layers = range(controller.lstm.num_layers)
        self.rows_of = controller.rows_of
        self.start_row = controller.num_rows
        self.input_weights = [w[f"lstm.weight_ih_l{i}"] for i in layers]
        self.state_weights = [w[f"lstm.weight_hh_l{i}"] for i in layers]
        self.biases = [w[f"lstm.bias_ih_l{i}"] + w[f"lstm.bias_hh_l{i}"] for i in layers]
        self.head_RH, self.head_bias_R = w["head.weight"], w["head.bias"]
        # The first layer sees nothing but embeddings: its input's share of the gates is a table.
        self.first_gates_Q4H = w["embedding.weight"] @ self.input_weights[0].T + self.biases[0]


class Rollout:
    """One architecture being drawn: pass ``choose`` to ``Space.walk``.

    Attributes:
        rows: the rows chosen so far.
        log_probability: of these choices together.
    """

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        self.policy = policy
        self.rng = rng
        self.rows: list[int] = []
        self.log_probability = 0.0
        size = (len(policy.biases), policy.head_RH.shape[1])
        self._h_LH, self._c_LH = np.zeros(size), np.zeros(size)

    def choose(self, decision: Decision) -> int:
        probabilities = self.probabilities(decision.kind)
        sums = probabilities.cumsum()
        drawn = int(sums.searchsorted(self.rng.random() * sums[-1], side="right"))
        index = min(drawn, len(probabilities) - 1)
        self.rows.append(self.policy.rows_of[decision.kind].start + index)
        self.log_probability += math.log(probabilities[index])
        return index

    def probabilities(self, kind: str) -> np.ndarray:
        """Takes one LSTM step and returns the softmax over the options of ``kind``."""
        policy = self.policy
        gates_4H = policy.first_gates_Q4H[self.rows[-1] if self.rows else policy.start_row]
        for layer, state_weight in enumerate(policy.state_weights):
            if layer > 0:
                gates_4H = policy.input_weights[layer] @ self._h_LH[layer - 1]
                gates_4H = gates_4H + policy.biases[layer]
            gates_4H = gates_4H + state_weight @ self._h_LH[layer]
            # torch's order of gates: input, forget, cell, output
            input_H, forget_H, cell_H, output_H = gates_4H.reshape(4, -1)
            c_H = _sigmoid(forget_H) * self._c_LH[layer] + _sigmoid(input_H) * np.tanh(cell_H)
            self._c_LH[layer] = c_H
            self._h_LH[layer] = _sigmoid(output_H) * np.tanh(c_H)
        rows = policy.rows_of[kind]
        logits = policy.head_RH[rows] @ self._h_LH[-1] + policy.head_bias_R[rows]
        weights = np.exp(logits - logits.max())
        probabilities: np.ndarray = weights / weights.sum()
        return probabilities


def _sigmoid(x: np.ndarray) -> np.ndarray:
    half: np.ndarray = np.tanh(0.5 * x)  # does not overflow
    return 0.5 + 0.5 * half
