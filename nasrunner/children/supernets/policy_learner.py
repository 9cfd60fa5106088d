"""Has the policy of a supernet learn from the rewards of architectures that it draws."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from torch import nn

from nasrunner.children.supernets.skips import SkipCount
from nasrunner.children.supernets.trials import Trials
from nasrunner.children.supernets.validation_batches import Batch
from nasrunner.core import Genotype, Policy, SearchSpace, genotype_hash
from nasrunner.core.ports import LearningPolicy

_MOST_ALIKE = 20
"""So many draws for each architecture that is to be found end the search for different ones."""


class PathNetwork(Protocol):
    """A supernet that runs one architecture at a time; see ``Supernet``."""

    @property
    def space(self) -> SearchSpace: ...

    def train(self, mode: bool = True) -> object: ...

    def draw(self, policy: Policy, rng: np.random.Generator) -> tuple[Genotype, nn.Module]: ...

    def set_to(self, network: nn.Module) -> AbstractContextManager[None]: ...


class PolicyLearner:
    """Teaches a policy after each epoch of the weights. Pham et al. 2018, arXiv:1802.03268, 2.2.

    Each architecture that the policy draws then has the reward of a validation batch of its own:
    without dropout, and normalized with the statistics of that batch.

    Args:
        supernet: runs the architectures.
        policy: draws them and learns.
        rng: what they are drawn by.
    """

    def __init__(
        self, supernet: PathNetwork, policy: LearningPolicy, rng: np.random.Generator
    ) -> None:
        self.supernet = supernet
        self.policy = policy
        self.lessons = policy.lessons
        self.rng = rng
        self.skips = SkipCount(supernet.space)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Returns none: a policy keeps what it learns to itself."""
        return ()

    def before_step(self, training: Batch, trials: Trials) -> None:
        """Leaves all as it is: the policy learns between epochs."""

    def after_epoch(self, trials: Trials) -> Mapping[str, float]:
        """Draws architectures, has the policy learn their rewards, and says what they were.

        Returns:
            ``drawn_reward``: the mean reward of what was drawn; ``unrewarded_share``, where there
            are any: the share of it that has no reward, as of ``Trials``, and that the policy does
            not learn from; how often it skips, see ``SkipCount``; and what the policy says of
            itself.
        """
        drawn: list[Genotype] = []
        rewards: list[float] = []
        self.supernet.train(False)
        for _ in range(self.lessons.num_steps):
            both = [self.supernet.draw(self.policy, self.rng) for _ in self._places]
            genotypes = [genotype for genotype, _ in both]
            found = [self._reward(network, trials) for _, network in both]
            pairs = zip(genotypes, found, strict=True)
            learnt = [(genotype, reward) for genotype, reward in pairs if reward is not None]
            if learnt:
                self.policy.learn(*zip(*learnt, strict=True))
            drawn += genotypes
            rewards += [reward for _, reward in learnt]
        self.supernet.train()
        found_out = {"drawn_reward": float(np.mean(rewards))} if rewards else {}
        if len(rewards) < len(drawn):
            found_out["unrewarded_share"] = 1 - len(rewards) / len(drawn)
        return {**found_out, **self.skips.shares(drawn), **self.policy.measured()}

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns how likely the policy is to draw each option, also for what cannot be built."""
        return self.policy.probabilities()

    def is_done(self) -> bool:
        """Returns False: it learns until training ends."""
        return False

    def likeliest(self) -> Genotype:
        """Returns the architecture that the policy takes for the best one."""
        return self.policy.likeliest()

    def found(self) -> Sequence[Genotype]:
        """Returns different architectures that the policy draws."""
        found: dict[str, Genotype] = {}
        for _ in range(_MOST_ALIKE * self.lessons.num_found):
            if len(found) == self.lessons.num_found:
                break
            genotype, _ = self.supernet.draw(self.policy, self.rng)
            found.setdefault(genotype_hash(genotype), genotype)
        return list(found.values())

    @property
    def _places(self) -> range:
        return range(self.lessons.num_drawn)

    def _reward(self, network: nn.Module, trials: Trials) -> float | None:
        with self.supernet.set_to(network):
            return trials.reward(next(trials.validation))
