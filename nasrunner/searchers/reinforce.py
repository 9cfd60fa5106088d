"""REINFORCE with a recurrent controller."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nasrunner.core.decision import Decision
from nasrunner.core.records import Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space, enter
from nasrunner.searchers.controller import Controller
from nasrunner.searchers.rollout import Policy, Rollout
from nasrunner.searchers.transcript import Transcript

# B = children of a batch


class Reinforce(Searcher):
    """Policy gradient over decisions, one LSTM step each. Zoph & Le 2017, arXiv:1611.01578, eq. 3.

    Whenever ``batch_size`` rewards R_k have arrived, Adam takes one step along
    1/m Σ_k Σ_t ∇ log P(a_t | a_<t) (R_k - b). The baseline b is the moving average of the rewards
    that arrived before R_k; the very first reward is its own baseline and teaches nothing.
    Decisions that select members of a set, such as skip connections, are predicted by attention to
    anchor points. ``notes["log_probability"]`` is that of the whole architecture when it was drawn.

    Args:
        hidden_units: of each LSTM layer, >= 1.
        num_layers: LSTM layers, >= 1.
        init_range: weights start in U(-init_range, init_range), > 0.
        learning_rate: Adam's step size, > 0.
        batch_size: m, children for one update, >= 1.
        baseline_decay: weight of the old value in the moving average, in [0, 1).
        entropy_bonus: weight of the policy's entropy, summed over decisions, in what is
            maximised; >= 0, in units of reward per nat.

    Raises:
        ValueError: an argument is out of its range.

    Differs from the paper: one controller and no parameter servers. A batch is the m children
    observed last, in order of arrival: with children in flight some of them were drawn before the
    latest update, and are treated as if drawn after it, as the paper's delayed gradients are. A
    child without a reward is in no batch.
    """

    def __init__(
        self,
        *,
        hidden_units: int,
        num_layers: int,
        init_range: float,
        learning_rate: float,
        batch_size: int,
        baseline_decay: float,
        entropy_bonus: float,
        space: Space,
        seed: int,
    ) -> None:
        super().__init__(space=space, seed=seed)
        for name, value in (("hidden_units", hidden_units), ("num_layers", num_layers)):
            _require(name, value, value >= 1, ">= 1")
        _require("init_range", init_range, init_range > 0, "> 0")
        _require("learning_rate", learning_rate, learning_rate > 0, "> 0")
        _require("batch_size", batch_size, batch_size >= 1, ">= 1")
        _require("baseline_decay", baseline_decay, 0 <= baseline_decay < 1, "in [0, 1)")
        _require("entropy_bonus", entropy_bonus, entropy_bonus >= 0, ">= 0")
        self.batch_size = batch_size
        self.baseline_decay = baseline_decay
        self.entropy_bonus = entropy_bonus
        self.controller = Controller(
            space.signature(),
            has_selections=any(each.selection for each in space.decisions(enter(space))),
            hidden_units=hidden_units,
            num_layers=num_layers,
            init_range=init_range,
            rng=self.rng(0).spawn(1)[0],  # a stream that no proposal draws from
        )
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=learning_rate)
        self.baseline: float | None = None
        self.batch: list[tuple[Proposal, float]] = []
        self._policy: Policy | None = None

    def suggest(self, index: int) -> Proposal:
        if self._policy is None:
            self._policy = Policy(self.controller)
        rollout = Rollout(self._policy, self.rng(index))
        genotype = self.space_at(index).walk(rollout.choose)
        return Proposal(index, genotype, {"log_probability": rollout.log_probability})

    def learn(self, proposal: Proposal, reward: float) -> None:
        baseline = reward if self.baseline is None else self.baseline
        self.batch.append((proposal, reward - baseline))
        self.baseline = self.baseline_decay * baseline + (1 - self.baseline_decay) * reward
        if len(self.batch) == self.batch_size:
            if self.controller.vocabulary.num_rows > 0:  # else there is nothing to decide
                self._update()
            self.batch.clear()
            self._policy = None

    def loss(self, batch: list[tuple[Proposal, float]]) -> torch.Tensor:
        """Minus the objective whose gradient is eq. 3, for proposals with their R_k - b."""
        advantages_B = torch.tensor([advantage for _, advantage in batch])
        log_p_B, entropy_B = self.controller.forward([self._replay(each) for each, _ in batch])
        objective_B = advantages_B * log_p_B
        if self.entropy_bonus > 0:
            objective_B = objective_B + self.entropy_bonus * entropy_B
        return -objective_B.mean()

    def _update(self) -> None:
        with _one_thread(), torch.enable_grad():
            self.optimizer.zero_grad()
            torch.autograd.backward(self.loss(self.batch))
            self.optimizer.step()

    def _replay(self, proposal: Proposal) -> Transcript:
        """The controller's steps that lead to a proposal."""
        transcript = Transcript(self.controller.vocabulary)

        def choose(decision: Decision) -> int:
            index = proposal.genotype[decision.path]
            transcript.open(decision)
            transcript.answer(decision, index)
            return index

        self.space_at(proposal.index).walk(choose)
        return transcript


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch adds in an order that depends on its threads; with one there is one order."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _require(name: str, value: float, is_legal: bool, legal: str) -> None:
    if not is_legal:
        raise ValueError(f"{name} must be {legal}, got {value}")
