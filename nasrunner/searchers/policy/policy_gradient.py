"""Policy gradient with a recurrent controller."""

import copy
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch

from nasrunner.core.annotations import Above, AtLeast, Seed, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space, enter
from nasrunner.searchers.outliers import without_outliers
from nasrunner.searchers.policy.controller import Controller
from nasrunner.searchers.policy.objectives import PolicyObjective
from nasrunner.searchers.policy.replicas import Arrivals, Batch, Batches, PolicyWeights, Replicas
from nasrunner.searchers.policy.rollout import NumpyController, Rollout
from nasrunner.searchers.policy.transcript import Transcript

# B = children of a batch, N = rewards

_LARGE = 2.0**20
"""Rewards that differ by more are scaled down: float32 has no squares of gradients beyond 3e38."""


class PolicyGradient(Searcher):
    """Learns to write architectures, one LSTM step a decision. Zoph & Le 2017, arXiv:1611.01578.

    Once a batch of children has ended, or several where asked, Adam takes a step, or as many as the
    objective says, that increases the mean of its gain over the children with a reward R. With
    ``objectives.Reinforce`` that is eq. 3 of the paper, 1/m Σ_k Σ_t ∇ log P(a_t | a_<t) (R_k - b).
    The baseline b is the moving average of the rewards that arrived before R_k; the very first
    reward is its own baseline and teaches nothing. All rewards are taken ``without_outliers``, as
    known when the batch is learnt from: Adam would take next to no step for thousands of children
    after one gradient of another magnitude. Decisions that select members of a set, such as
    skip connections, are predicted by attention to anchor points. Notes of a proposal:
    ``log_probability`` of the whole architecture when it was drawn, and ``update``, how many
    updates the weights that drew it had had. A proposal without them was drawn by another, and
    teaches nothing.

    With a ``predictor_weight``, the controller also predicts rewards: a linear layer on its LSTM's
    last state, in units of the rewards' standard deviation, is fitted with the policy, batch by
    batch, and shares embeddings and LSTM with it. With an ``adversarial_weight`` architectures are
    rewarded for being predicted badly, too. Minutoli & Ciranni, "Neural Architecture Search: An
    Overview", section 4.2, say no more than this of it: losses, units and baselines are ours.

    Args:
        hidden_units: of each LSTM layer, >= 1.
        num_layers: LSTM layers, >= 1.
        init_range: weights start in U(-init_range, init_range), > 0.
        learning_rate: Adam's step size, > 0.
        learning_rate_decay: d >= 0: after t updates the step size is learning_rate / (1 + d t), as
            Keras' ``decay`` has it.
        replicas: K, copies of the controller that each draw a batch, >= 1; see ``Replicas``. None:
            a batch is the children observed last, in order of arrival. With children in flight
            some of them were drawn before the latest update, and REINFORCE treats them as if drawn
            after it.
        children_per_replica: m, children of a batch, >= 1.
        batches_per_update: batches whose gradients are averaged for one update, >= 1; the paper's
            parameter servers wait for 10 where they train language models, with m = 1.
        learns_from: ``batch``: every batch once; ``all``: after each batch from all children that
            had a reward so far, as if the controller as it is had drawn them. MLPNAS does so.
        baseline_decay: weight of the old value in the moving average, in [0, 1).
        fixed_baseline: b, a reward, in the place of the moving average; None: the average. MLPNAS
            has 0.5.
        discount: γ in (0, 1]. MLPNAS' algorithm 2 (section 7.1) adds α γ^t G(t) ∇ log P(a_t) for
            each of T decisions, with G(t) the rewards from t on, discounted. The only reward comes
            after the last, so G(t) = γ^(T-t) (R - b) and each decision of an architecture weighs
            γ^T (R - b): longer ones teach less.
        entropy_bonus: weight of the policy's entropy, summed over decisions, in what is
            maximised; >= 0, in units of reward per nat.
        predictor_weight: of the predictor's squared error in the loss, >= 0; 0: nothing is
            predicted.
        adversarial_weight: reward for an absolute error of the predictor, before it has learnt
            from that child, both in standard deviations of the rewards; >= 0. The moving average
            of such rewards is their baseline.
        temperature: of the logits, > 0, as of ``Controller``.
        tanh_constant: likewise, > 0; None: there is none.
        objective: what a step increases.

    Raises:
        ValueError: there is an adversarial weight and no predictor, or replicas would learn from
            children that other weights than theirs drew.

    Attributes:
        num_updates: batches that the controller has learnt from.
    """

    def __init__(
        self,
        *,
        hidden_units: Annotated[int, AtLeast(1)],
        num_layers: Annotated[int, AtLeast(1)],
        init_range: Annotated[float, Above(0)],
        learning_rate: Annotated[float, Above(0)],
        learning_rate_decay: Annotated[float, AtLeast(0)],
        replicas: Annotated[int, AtLeast(1)] | None,
        children_per_replica: Annotated[int, AtLeast(1)],
        batches_per_update: Annotated[int, AtLeast(1)],
        learns_from: Literal["batch", "all"],
        baseline_decay: Annotated[float, Within("[0, 1)")],
        fixed_baseline: float | None,
        discount: Annotated[float, Within("(0, 1]")],
        entropy_bonus: Annotated[float, AtLeast(0)],
        predictor_weight: Annotated[float, AtLeast(0)],
        adversarial_weight: Annotated[float, AtLeast(0)],
        temperature: Annotated[float, Above(0)] = 1.0,  # studies saved before do not say it
        tanh_constant: Annotated[float, Above(0)] | None = None,  # likewise
        objective: PolicyObjective,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        if adversarial_weight > 0 and predictor_weight == 0:
            raise ValueError(
                f"adversarial_weight={adversarial_weight} rewards the errors of a predictor, which "
                "predictor_weight=0 leaves out; legal is predictor_weight > 0"
            )
        if learns_from == "all" and replicas is not None:
            raise ValueError(
                "learns_from=all takes each child for one that the controller as it is drew, which "
                f"replicas={replicas} keep apart; legal is replicas=null, or learns_from=batch"
            )
        self.children_per_update = children_per_replica * batches_per_update
        self.batches_per_update = batches_per_update
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.learns_from = learns_from
        self.baseline_decay = baseline_decay
        self.fixed_baseline = fixed_baseline
        self.discount = discount
        self.entropy_bonus = entropy_bonus
        self.predictor_weight = predictor_weight
        self.adversarial_weight = adversarial_weight
        self.objective = objective
        self.controller = Controller(
            space.signature(),
            has_selections=any(each.selection for each in space.decisions(enter(space))),
            hidden_units=hidden_units,
            num_layers=num_layers,
            init_range=init_range,
            predicts=predictor_weight > 0,
            temperature=temperature,
            tanh_constant=tanh_constant,
            rng=self.rng(0).spawn(1)[0],  # a stream that no proposal draws from
        )
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=learning_rate)
        self.baseline = fixed_baseline
        self.num_updates = 0
        self._arrived: list[tuple[int, float]] = []  # index and reward
        self._taken_for: list[float] = []  # each reward where outliers are none
        self._advantages: dict[int, float] = {}  # by index
        self._unit = 1.0
        self._targets: dict[int, float] = {}  # by index, of the batches that are learnt from
        self._scale = 0.0, 1.0  # mean and standard deviation of the rewards, at the last update
        self._surprise: float | None = None  # the adversarial reward's baseline
        self.batches: Batches = (
            Arrivals(children_per_replica)
            if replicas is None
            else Replicas(replicas, children_per_replica)
        )
        self._complete: list[Batch] = []
        self._learnt: list[Proposal] = []  # where all are learnt from, again and again
        self._newest: PolicyWeights | None = None
        self._policy: tuple[int, NumpyController] | None = None
        self._replica: Controller | None = None

    @property
    def is_ready(self) -> bool:
        return self.batches.is_ready

    def suggest(self, index: int) -> Proposal:
        update, policy = self._drawing_policy()
        rollout = Rollout(policy, self.rng(index))
        genotype = self.space_at(index).walk(rollout.choose)
        notes = {"log_probability": rollout.log_probability, "update": update}
        return Proposal(index, genotype, notes=notes)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.batches.register(proposal, self._weights)

    def learn(self, outcome: Outcome) -> None:
        proposal, reward = outcome.proposal, outcome.known_reward
        if "log_probability" not in proposal.notes:
            return self.forget(proposal)  # another drew it: no sample of the policy
        self._arrived.append((proposal.index, reward))
        self._take(proposal.index, reward)
        self._end(proposal, self._advantages[proposal.index])

    def forget(self, proposal: Proposal) -> None:
        self._end(proposal, None)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass  # its gradient is an expectation over what the policy itself draws

    @property
    def ignores_known(self) -> str:
        return "a policy gradient learns only from architectures that its own policy drew"

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.children_per_update:
            return None
        return (
            f"A budget of {max_children} children makes this a random search: the controller "
            f"learns after {self.children_per_update} children (searcher.children_per_replica x "
            "searcher.batches_per_update)."
        )

    def loss(
        self, results: Sequence[tuple[Proposal, float]], controller: Controller
    ) -> torch.Tensor:
        """Minus what a step increases, for proposals with their advantages R_k - b."""
        advantages_B = torch.tensor([advantage / self._unit for _, advantage in results])
        drawn_log_p_B = torch.tensor([each.notes["log_probability"] for each, _ in results])
        log_p_B, entropy_B = controller.forward([self._replay(each) for each, _ in results])
        gain_B = self.objective.gain(log_p_B, drawn_log_p_B, advantages_B)
        if self.entropy_bonus > 0:
            gain_B = gain_B + self.entropy_bonus / self._unit * entropy_B
        loss = -gain_B.mean()
        if self.predictor_weight > 0:
            loss = loss + self.predictor_weight * (self._errors(results, controller) ** 2).mean()
        return loss

    def predict(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Returns the rewards (C,) that it predicts for architectures of the next proposal's
        space.
        """
        space, (mean, deviation) = self.space_at(self.num_proposed), self._scale
        with torch.no_grad():
            found = self.controller.predict([self._transcript(space, each) for each in genotypes])
        return mean + deviation * found.double().numpy()

    def _end(self, proposal: Proposal, advantage: float | None) -> None:
        batch = self.batches.end(proposal, advantage)
        if batch is None or self.controller.vocabulary.num_rows == 0:
            return
        self._complete.append(batch)
        if len(self._complete) == self.batches_per_update:
            self._update(self._complete)
            self._complete = []

    def _take(self, index: int, reward: float) -> None:
        """Computes a reward's advantage over the baseline, and moves the baseline towards it."""
        baseline = reward if self.baseline is None else self.baseline
        if self.fixed_baseline is None:
            self.baseline = self.baseline_decay * baseline + (1 - self.baseline_decay) * reward
        self._advantages[index] = reward - baseline
        self._taken_for.append(reward)

    def _take_again(self) -> None:
        """Recomputes all advantages if newer rewards have changed which ones are outliers."""
        rewards_N = without_outliers([reward for _, reward in self._arrived])
        spread = float(rewards_N.max() - rewards_N.min())
        # A power of two changes no digit of what is divided by it.
        self._unit = 2.0 ** math.floor(math.log2(spread)) if spread > _LARGE else 1.0
        if np.array_equal(rewards_N, self._taken_for):
            return
        self.baseline, self._taken_for = self.fixed_baseline, []
        for (index, _), reward in zip(self._arrived, rewards_N.tolist(), strict=True):
            self._take(index, reward)

    def _update(self, batches: Sequence[Batch]) -> None:
        """Learns from batches, or from all children up to the end of these."""
        self._take_again()
        if self.learns_from == "all":
            self._learnt += [child for batch in batches for child, _ in batch.results]
            batches = [Batch(results=[(child, 0.0) for child in self._learnt])]
        for batch in batches:
            batch.results = [(child, self._worth(child)) for child, _ in batch.results]
        if self.predictor_weight > 0:
            self._aim(batches)
        rate = self.learning_rate / (1 + self.learning_rate_decay * self.num_updates)
        self.optimizer.param_groups[0]["lr"] = rate
        with torch.enable_grad():
            for _ in range(self.objective.num_steps):
                self.optimizer.zero_grad()
                for batch in batches:
                    self._add_gradient(batch, 1 / len(batches))
                self.optimizer.step()
        self.num_updates += 1

    def _worth(self, child: Proposal) -> float:
        """What the log-probability of each decision of a child is multiplied by."""
        return self._advantages[child.index] * self.discount ** len(child.genotype)

    def _aim(self, batches: Sequence[Batch]) -> None:
        """Sets the predictor's targets, and rewards children that were predicted badly."""
        rewards = dict(zip((index for index, _ in self._arrived), self._taken_for, strict=True))
        self._scale = float(np.mean(self._taken_for)), float(np.std(self._taken_for)) or 1.0
        mean, deviation = self._scale
        indices = [child.index for batch in batches for child, _ in batch.results]
        self._targets = {index: (rewards[index] - mean) / deviation for index in indices}
        if self.adversarial_weight == 0:
            return
        for batch in batches:
            with torch.no_grad():
                errors = self._errors(batch.results, self.controller).abs().tolist()
            for place, (child, advantage) in enumerate(batch.results):
                baseline = errors[place] if self._surprise is None else self._surprise
                decay = self.baseline_decay
                self._surprise = decay * baseline + (1 - decay) * errors[place]
                extra = self.adversarial_weight * deviation * (errors[place] - baseline)
                batch.results[place] = child, advantage + extra

    def _errors(
        self, results: Sequence[tuple[Proposal, float]], controller: Controller
    ) -> torch.Tensor:
        """Prediction minus target (B,)."""
        targets_B = torch.tensor([self._targets[each.index] for each, _ in results])
        return controller.predict([self._replay(each) for each, _ in results]) - targets_B

    def _add_gradient(self, batch: Batch, share: float) -> None:
        """Adds a batch's share of the gradient, computed on the weights that drew the batch."""
        if batch.weights is None or self.objective.is_corrected:
            torch.autograd.backward(share * self.loss(batch.results, self.controller))
            return
        replica = self._replica_with(batch.weights)
        replica.zero_grad()
        torch.autograd.backward(share * self.loss(batch.results, replica))
        both = zip(self.controller.parameters(), replica.parameters(), strict=True)
        for weight, copied in both:
            assert copied.grad is not None
            weight.grad = copied.grad.clone() if weight.grad is None else weight.grad + copied.grad

    def _drawing_policy(self) -> tuple[int, NumpyController]:
        """What the next child is drawn with, and how many updates it has had."""
        weights = self.batches.weights
        update = self.num_updates if weights is None else weights.update
        if self._policy is None or self._policy[0] != update:
            controller = self.controller if weights is None else self._replica_with(weights)
            self._policy = update, NumpyController(controller)
        return self._policy

    def _weights(self) -> PolicyWeights:
        """A copy of the controller's weights, the same one until the next update."""
        if self._newest is None or self._newest.update != self.num_updates:
            values = {k: w.detach().clone() for k, w in self.controller.named_parameters()}
            self._newest = PolicyWeights(self.num_updates, values)
        return self._newest

    def _replica_with(self, weights: PolicyWeights) -> Controller:
        if self._replica is None:
            self._replica = copy.deepcopy(self.controller)
        with torch.no_grad():
            for name, weight in self._replica.named_parameters():
                weight.copy_(weights.values[name])
        return self._replica

    def _replay(self, proposal: Proposal) -> Transcript:
        """The controller's steps that lead to a proposal."""
        return self._transcript(self.space_at(proposal.index), proposal.genotype)

    def _transcript(self, space: Space, genotype: Genotype) -> Transcript:
        return Transcript.of(self.controller.vocabulary, space, genotype)
