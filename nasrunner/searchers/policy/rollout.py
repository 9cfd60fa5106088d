"""Draws architectures from a recurrent controller."""

import math

import numpy as np

from nasrunner.core.decision import Decision
from nasrunner.searchers.policy.controller import Controller
from nasrunner.searchers.policy.transcript import Transcript

# A = anchor points so far, H = hidden units, L = LSTM layers, R = rows: one for each
# (decision kind, option), Q = R + 1: with the walk's start


class NumpyController:
    """A copy of a controller's weights in numpy, to draw with: ten times torch's speed at one step.

    Attributes:
        vocabulary: the controller's.
    """

    def __init__(self, controller: Controller) -> None:
        w = {k: p.detach().double().numpy() for k, p in controller.named_parameters()}
        layers = range(controller.lstm.num_layers)
        self.vocabulary = controller.vocabulary
        self.temperature, self.tanh_constant = controller.temperature, controller.tanh_constant
        self.head_RH, self.head_bias_R = w["head.weight"], w["head.bias"]
        size = self.head_RH.shape[1]
        # sigmoid(x) = (1 + tanh(x / 2)) / 2 does not overflow, and lets one tanh serve all gates.
        # torch's order of gates is input, forget, cell, output; only the cell's is a tanh itself.
        halves_4H = np.repeat([0.5, 0.5, 1.0, 0.5], size)
        biases = [w[f"lstm.bias_ih_l{i}"] + w[f"lstm.bias_hh_l{i}"] for i in layers]
        inputs = [w[f"lstm.weight_ih_l{i}"] for i in layers]
        states = [w[f"lstm.weight_hh_l{i}"] for i in layers]
        # The first layer sees nothing but embeddings: its input's share of the gates is a table.
        self.first_gates_Q4H = (w["embedding.weight"] @ inputs[0].T + biases[0]) * halves_4H
        self.first_weights = halves_4H[:, None] * states[0]
        self.weights = [
            halves_4H[:, None] * np.concatenate([below, own], axis=1)
            for below, own in zip(inputs[1:], states[1:], strict=True)
        ]
        self.biases = [halves_4H * bias for bias in biases[1:]]
        if controller.attention is not None:
            self.previous_HH = w["attention.previous.weight"]
            self.current_HH = w["attention.current.weight"]
            self.score_H = w["attention.score.weight"][0]

    def shaped(self, logits: np.ndarray) -> np.ndarray:
        """Returns logits as probabilities are made of them, see ``Controller.shaped``."""
        if self.temperature != 1:
            logits = logits / self.temperature
        return logits if self.tanh_constant is None else self.tanh_constant * np.tanh(logits)


class Rollout:
    """One architecture being drawn: pass ``choose`` to ``Space.walk``.

    Attributes:
        transcript: the steps and answers so far.
        log_probability: of these answers together.
    """

    def __init__(self, policy: NumpyController, rng: np.random.Generator) -> None:
        self.policy = policy
        self.rng = rng
        self.transcript = Transcript(policy.vocabulary)
        self.log_probability = 0.0
        size = (1 + len(policy.weights), policy.head_RH.shape[1])
        self._h_LH, self._c_LH = np.zeros(size), np.zeros(size)
        self._previous: list[np.ndarray] = []  # W_prev h of each anchor point
        self._current: list[np.ndarray] = []  # W_curr h
        self._chances: dict[int, list[float]] = {}  # taker -> probability of each candidate

    def choose(self, decision: Decision) -> int:
        self.advance(decision)
        if decision.selection is None:
            probabilities = self.probabilities(decision)
            sums = probabilities.cumsum()
            drawn = int(sums.searchsorted(self.rng.random() * sums[-1], side="right"))
            index = min(drawn, len(probabilities) - 1)
            self.log_probability += math.log(probabilities[index])
        else:
            chance = self.chance(decision)
            index = int(self.rng.random() < chance)
            self.log_probability += math.log(chance if index else 1 - chance)
        self.transcript.answer(decision, index)
        return index

    def advance(self, decision: Decision) -> None:
        """Takes the steps before a decision can be answered."""
        num_anchors = len(self.transcript.anchors)
        for step in range(-self.transcript.open(decision), 0):
            self._step(*self.transcript.fed[step])
            if len(self.transcript.anchors) > num_anchors:
                self._previous.append(self.policy.previous_HH @ self._h_LH[-1])
                self._current.append(self.policy.current_HH @ self._h_LH[-1])

    def probabilities(self, decision: Decision) -> np.ndarray:
        """Returns the softmax over the options of the decision that was advanced to."""
        policy = self.policy
        rows = policy.vocabulary.rows_of[decision.kind]
        logits = policy.shaped(policy.head_RH[rows] @ self._h_LH[-1] + policy.head_bias_R[rows])
        weights = np.exp(logits - logits.max())
        probabilities: np.ndarray = weights / weights.sum()
        return probabilities

    def likelihoods(self, decision: Decision) -> np.ndarray:
        """Returns the probability of each option of the decision that was advanced to, whatever it
        is.
        """
        if decision.selection is None:
            return self.probabilities(decision)
        chance = self.chance(decision)
        return np.array([1.0 - chance, chance])

    def chance(self, decision: Decision) -> float:
        """Returns the probability that the selection that was advanced to takes its candidate."""
        taker, candidate = self.transcript.pair(decision)
        if len(self._chances.get(taker, ())) <= candidate:
            mixed_AH = np.tanh(np.array(self._previous) + self._current[taker])
            halves_A = 0.5 * np.tanh(self.policy.shaped(0.5 * (mixed_AH @ self.policy.score_H)))
            self._chances[taker] = (0.5 + halves_A).tolist()
        return self._chances[taker][candidate]

    def _step(self, row: int, share: float) -> None:
        """One step of the LSTM, fed a row and a share of the one after it."""
        policy, h_LH = self.policy, self._h_LH
        fed_4H = policy.first_gates_Q4H[row]
        if share:
            fed_4H = (1 - share) * fed_4H + share * policy.first_gates_Q4H[row + 1]
        self._apply(0, fed_4H + policy.first_weights @ h_LH[0])
        for layer, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True), 1):
            both_2H = h_LH[layer - 1 : layer + 1].reshape(-1)  # what comes from below, and its own
            self._apply(layer, weight @ both_2H + bias)

    def _apply(self, layer: int, gates_4H: np.ndarray) -> None:
        """Updates the state of a layer with its gates, halved where they are sigmoids."""
        tanh_4H = np.tanh(gates_4H, out=gates_4H).reshape(4, -1)
        input_H, forget_H, _, output_H = 0.5 + 0.5 * tanh_4H
        self._c_LH[layer] = c_H = forget_H * self._c_LH[layer] + input_H * tanh_4H[2]
        self._h_LH[layer] = output_H * np.tanh(c_H)
