"""A policy that learns, while a supernet is trained, which of its architectures are good."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nasrunner.core.decision import Decision, Genotype, option_names
from nasrunner.core.ports import Lessons
from nasrunner.core.space import Space
from nasrunner.searchers.policy.controller import Controller
from nasrunner.searchers.policy.rollout import NumpyController, Rollout
from nasrunner.searchers.policy.transcript import Transcript

# B = architectures of a step

_NUM_AVERAGED = 100
"""Architectures that probabilities are means over."""


class LearntPaths:
    """Draws architectures with a recurrent controller that REINFORCE teaches.

    Pham et al. 2018, arXiv:1802.03268, section 2.2: a step of Adam increases the mean over its
    architectures of log P(a) (R - b), with the moving average b of the rewards before R, and a
    bonus for the policy's entropy. The first reward of all is its own baseline.

    Differs from the authors' code: the bonus is a gradient of the entropy, where theirs is added to
    the reward; b does not move before R is compared with it.

    Args:
        space: whose decisions are answered.
        controller: of its decisions.
        learning_rate: of Adam.
        baseline_decay: weight of the old value in b.
        entropy_bonus: reward per nat of entropy, summed over decisions.
        skip_weight: of the divergence of selections' probabilities from ``skip_share`` in the loss,
            see ``Controller.judge``.
        skip_share: of skip connections, in (0, 1).
        lessons: how often it is taught.
    """

    def __init__(
        self,
        space: Space,
        controller: Controller,
        *,
        learning_rate: float,
        baseline_decay: float,
        entropy_bonus: float,
        skip_weight: float,
        skip_share: float,
        lessons: Lessons,
    ) -> None:
        self.space = space
        self.controller = controller
        self.baseline_decay = baseline_decay
        self.entropy_bonus = entropy_bonus
        self.skip_weight = skip_weight
        self.skip_share = skip_share
        self._lessons = lessons
        self.optimizer = torch.optim.Adam(controller.parameters(), lr=learning_rate)
        self.baseline: float | None = None
        self._drawing: NumpyController | None = None  # the controller as it is
        self._entropies: list[float] = []  # of a decision, of each architecture learnt since asked

    @property
    def lessons(self) -> Lessons:
        """How often it is taught."""
        return self._lessons

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Genotype]:
        """Draws architectures, independently of one another."""
        policy = self._numpy()
        return [self.space.walk(Rollout(policy, rng).choose) for _ in range(count)]

    def learn(self, genotypes: Sequence[Genotype], rewards: Sequence[float]) -> None:
        """Takes one step of the optimizer."""
        advantages_B = torch.tensor([self._advantage(reward) for reward in rewards])
        if self.controller.vocabulary.num_rows == 0:
            return  # a space without decisions
        vocabulary = self.controller.vocabulary
        transcripts = [Transcript.of(vocabulary, self.space, each) for each in genotypes]
        with torch.enable_grad():
            share = self.skip_share if self.skip_weight > 0 else None
            log_p_B, entropy_B, divergence_B = self.controller.judge(transcripts, share)
            gain_B = log_p_B * advantages_B + self.entropy_bonus * entropy_B
            loss = self.skip_weight * divergence_B.mean() - gain_B.mean()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
        self.optimizer.step()
        self._drawing = None
        answers_B = [max(1, len(each)) for each in genotypes]
        self._entropies += (entropy_B.detach() / torch.tensor(answers_B)).tolist()

    def measured(self) -> Mapping[str, float]:
        """Returns the mean entropy of a decision, in nats, and the baseline."""
        entropies, self._entropies = self._entropies, []
        found = {} if self.baseline is None else {"policy_baseline": self.baseline}
        return {"policy_entropy": float(np.mean(entropies)), **found} if entropies else found

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns how likely the options are of each decision that has several.

        An answer depends on those before it: this is the mean, over architectures that are drawn
        as ``draw`` does, always by the same random numbers, of the probabilities that their answers
        were drawn by, where the decision was asked.
        """
        policy, rng = self._numpy(), np.random.default_rng(0)
        asked: dict[str, Decision] = {}
        found: dict[str, list[np.ndarray]] = {}
        for _ in range(_NUM_AVERAGED):
            rollout = Rollout(policy, rng)

            def choose(decision: Decision, rollout: Rollout = rollout) -> int:
                index = rollout.choose(decision)
                asked[decision.path] = decision
                found.setdefault(decision.path, []).append(rollout.likelihoods(decision))
                return index

            self.space.walk(choose)
        several = (path for path, each in asked.items() if len(each.options) > 1)
        return {
            path: dict(zip(option_names(asked[path]), _mean(found[path]), strict=True))
            for path in sorted(several, key=_place)  # whichever is drawn first
        }

    def likeliest(self) -> Genotype:
        """Returns the architecture of the likeliest answer to each decision, one after the other.

        Another one may be likelier than that as a whole.
        """
        rollout = Rollout(self._numpy(), np.random.default_rng(0))

        def choose(decision: Decision) -> int:
            rollout.advance(decision)
            if decision.selection is None:
                index = int(rollout.probabilities(decision).argmax())
            else:
                index = int(rollout.chance(decision) > 0.5)
            rollout.transcript.answer(decision, index)
            return index

        return self.space.walk(choose)

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the controller, its optimizer and the baseline."""
        moments = self.optimizer.state_dict()["state"]
        return {
            "controller": self.controller.state_dict(),
            "moments": [moments[place] for place in sorted(moments)],
            "baseline": self.baseline,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self.controller.load_state_dict(state["controller"])
        groups = self.optimizer.state_dict()["param_groups"]
        moments = dict(enumerate(state["moments"]))
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.baseline = state["baseline"]
        self._drawing = None

    def _advantage(self, reward: float) -> float:
        """A reward less the baseline, which then moves towards it."""
        baseline = reward if self.baseline is None else self.baseline
        self.baseline = self.baseline_decay * baseline + (1 - self.baseline_decay) * reward
        return reward - baseline

    def _numpy(self) -> NumpyController:
        if self._drawing is None:
            self._drawing = NumpyController(self.controller)
        return self._drawing


def _mean(probabilities: Sequence[np.ndarray]) -> list[float]:
    return [float(each) for each in np.mean(probabilities, axis=0)]


def _place(path: str) -> list[tuple[int, str]]:
    """Sorts paths the same way after each epoch, the numbers in them by their size."""
    parts = re.findall(r"\d+|\D+", path)
    return [(int(each), "") if each.isdecimal() else (-1, each) for each in parts]
