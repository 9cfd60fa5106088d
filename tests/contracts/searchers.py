"""Small searchers that each propose one of the things that are not plain trainings."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core import (
    Decision,
    Genotype,
    Outcome,
    Proposal,
    Report,
    Searcher,
    SearchSpace,
    Source,
)
from nasrunner.core.order import rollout
from nasrunner.searchers.wrappers.wrapper import Wrapper


class Halving(Searcher):
    """Begins random children, and goes on with the better half of each rung as soon as it can.

    Args:
        rungs: after how many epochs children are paused; the best of the last are trained to
            their ends.
    """

    def __init__(self, *, rungs: tuple[int, ...] = (1, 3), space: SearchSpace, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        self.rungs = rungs
        self.ended: dict[int, dict[int, float]] = {rung: {} for rung in range(len(rungs))}
        self.promoted: set[int] = set()
        self.genotypes: dict[int, Genotype] = {}
        self.revised: list[int] = []

    def suggest(self, index: int) -> Proposal:
        genotype = rollout(self.space_at(index), self.rng(index))
        return self.suggest_continuation(index) or Proposal(index, genotype, until=self.rungs[0])

    def suggest_continuation(self, index: int) -> Proposal | None:
        for rung, rewards in reversed(self.ended.items()):
            best = sorted(rewards, key=lambda child: (-rewards[child], child))[: len(rewards) // 2]
            for child in best:
                if child not in self.promoted:
                    until = self.rungs[rung + 1] if rung + 1 < len(self.rungs) else None
                    sources = (Source(child, "training"),)
                    genotype = self.genotypes[child]
                    return Proposal(index, genotype, until=until, sources=sources, parent=child)
        return None

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.genotypes[proposal.index] = proposal.genotype
        if proposal.continues is not None:
            self.promoted.add(proposal.continues)

    def learn(self, outcome: Outcome) -> None:
        self._rank(outcome)

    def revise(self, outcome: Outcome) -> None:
        self.revised.append(outcome.proposal.index)
        self._rank(outcome)

    def _rank(self, outcome: Outcome) -> None:
        if outcome.status == "paused" and outcome.reused_from is None:
            assert outcome.proposal.until is not None
            rung = self.rungs.index(outcome.proposal.until)
            self.ended[rung][outcome.proposal.index] = outcome.known_reward

    def needs(self) -> Collection[int]:
        return {child for rewards in self.ended.values() for child in rewards} - self.promoted


class MedianStopping(Searcher):
    """Random children; one whose reward so far is below the median of the others is stopped.

    Args:
        metric: what is compared, after as many epochs.
    """

    def __init__(self, *, metric: str = "val_accuracy", space: SearchSpace, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        self.metric = metric
        self.curves: dict[int, dict[int, float]] = {}
        self.learnt: list[tuple[int, str]] = []

    def suggest(self, index: int) -> Proposal:
        return Proposal(index, rollout(self.space_at(index), self.rng(index)))

    def learn(self, outcome: Outcome) -> None:
        self.learnt.append((outcome.proposal.index, outcome.status))

    def report(self, report: Report) -> None:
        self.curves.setdefault(report.index, {})[report.epoch] = report.metrics[self.metric]

    def should_stop(self, index: int) -> bool:
        epoch = max(self.curves[index])
        others = sorted(
            curve[epoch]
            for other, curve in self.curves.items()
            if other != index and epoch in curve
        )
        return len(others) >= 3 and self.curves[index][epoch] < others[len(others) // 2]


class FidelitySearch(Searcher):
    """Tries random children cheaply, and trains the best of them as they are meant to be.

    Args:
        fidelity: what is changed of their configuration.
        num_cheap: how many are tried.
    """

    def __init__(
        self, *, fidelity: dict[str, float], num_cheap: int = 6, space: SearchSpace, seed: int
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.fidelity = fidelity
        self.num_cheap = num_cheap
        self.cheap: dict[int, tuple[float, Genotype]] = {}
        self.full: list[float] = []

    @property
    def is_ready(self) -> bool:
        return self.num_proposed < self.num_cheap or not self.pending

    def suggest(self, index: int) -> Proposal | None:
        if index < self.num_cheap:
            genotype = rollout(self.space_at(index), self.rng(index))
            return Proposal(index, genotype, fidelity=self.fidelity)
        if index > self.num_cheap:
            return None
        best = max(self.cheap.values(), key=lambda each: each[0])
        return Proposal(index, best[1])

    def learn(self, outcome: Outcome) -> None:
        if outcome.proposal.fidelity:
            self.cheap[outcome.proposal.index] = outcome.known_reward, outcome.proposal.genotype
        else:
            self.full.append(outcome.known_reward)

    @property
    def why_done(self) -> str:
        return "the best of the cheap ones is trained"


class Inheriting(Searcher):
    """Trains two random children, and then one that takes its weights from both."""

    @property
    def is_ready(self) -> bool:
        return self.num_proposed < 2 or not self.pending

    def suggest(self, index: int) -> Proposal | None:
        if index > 2:
            return None
        genotype = rollout(self.space_at(index), self.rng(index))
        sources = (Source(1, "weights"), Source(0, "weights")) if index == 2 else ()
        return Proposal(index, genotype, sources=sources)

    def learn(self, outcome: Outcome) -> None:
        pass

    def needs(self) -> Collection[int]:
        return (0, 1) if self.num_proposed < 3 else ()


class Filter(Searcher):
    """Estimates many random architectures together, and trains the best of them.

    Args:
        num_estimates: how many.
        num_trained: of the best.
    """

    def __init__(
        self, *, num_estimates: int = 100, num_trained: int = 3, space: SearchSpace, seed: int
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.num_estimates = num_estimates
        self.num_trained = num_trained
        self.estimates: dict[int, tuple[float, Genotype]] = {}
        self.trained: list[float] = []

    @property
    def is_ready(self) -> bool:
        return self.num_proposed < self.num_estimates or not any(
            each.kind == "estimate" for each in self.pending.values()
        )

    def suggest(self, index: int) -> Proposal | None:
        if index < self.num_estimates:
            genotype = rollout(self.space_at(index), self.rng(index))
            return Proposal(index, genotype, kind="estimate")
        place = index - self.num_estimates
        if place >= self.num_trained:
            return None
        ranked = sorted(self.estimates.values(), key=lambda each: -each[0])
        return Proposal(index, ranked[place][1])

    def learn(self, outcome: Outcome) -> None:
        if outcome.proposal.kind == "estimate":
            known = outcome.known_reward, outcome.proposal.genotype
            self.estimates[outcome.proposal.index] = known
        else:
            self.trained.append(outcome.known_reward)

    @property
    def why_done(self) -> str:
        return f"the {self.num_trained} best estimates are trained"


@dataclasses.dataclass
class BestFirst:
    """A policy that draws changes of the best architecture that it knows."""

    space: SearchSpace
    best: Genotype | None = None
    reward: float = float("-inf")

    def draw(self, count: int, rng: np.random.Generator) -> list[Genotype]:
        def choose(decision: Decision) -> int:
            if self.best is not None and rng.random() < 0.7:
                return self.best[decision.path]
            return int(rng.integers(len(decision.options)))

        return [self.space.walk(choose) for _ in range(count)]

    def learn(self, genotypes: Sequence[Genotype], rewards: Sequence[float]) -> None:
        for genotype, reward in zip(genotypes, rewards, strict=True):
            if reward > self.reward:
                self.best, self.reward = genotype, reward

    def state_dict(self) -> Mapping[str, Any]:
        return {"best": self.best, "reward": self.reward}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.reward = state["best"], state["reward"]


class OneShot(Searcher):
    """Trains a supernet, and then the children that it found."""

    def __init__(self, *, space: SearchSpace, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        self.found: list[Genotype] = []

    @property
    def is_ready(self) -> bool:
        return self.num_proposed == 0 or bool(self.found) or not self.pending

    def suggest(self, index: int) -> Proposal | None:
        if index == 0:
            return Proposal(0, {}, kind="supernet")
        return Proposal(index, self.found[index - 1]) if index <= len(self.found) else None

    def policy(self) -> BestFirst:
        return BestFirst(self.space)

    def learn(self, outcome: Outcome) -> None:
        self.found.extend(outcome.found)

    @property
    def why_done(self) -> str:
        return f"the {len(self.found)} children that the supernet found are trained"


class EverySecond(Wrapper):
    """Goes on with every second child of another searcher, which knows nothing of it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.genotypes: dict[int, Genotype] = {}
        self.waiting: list[int] = []

    @property
    def is_ready(self) -> bool:
        return bool(self.waiting) or self.inner.is_ready

    def suggest(self, index: int) -> Proposal | None:
        if (due := self.suggest_continuation(index)) is not None:
            return due
        proposal = self._suggestion()
        return None if proposal is None else dataclasses.replace(proposal, until=1)

    def suggest_continuation(self, index: int) -> Proposal | None:
        if not self.waiting:
            return None
        child = self.waiting[0]
        return Proposal(index, self.genotypes[child], sources=(Source(child, "training"),))

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.genotypes[proposal.index] = proposal.genotype
        if proposal.continues is not None:
            self.waiting.remove(proposal.continues)
            self._inner_of[proposal.index] = self._inner_of[proposal.continues]
        else:
            self._enter(proposal)

    def learn(self, outcome: Outcome) -> None:
        self._pass_on(outcome)
        index = outcome.proposal.index
        if self._inner_of[index] % 2 == 0 and outcome.reused_from is None:
            self.waiting.append(index)

    def forget(self, proposal: Proposal) -> None:
        if proposal.continues is None:
            self._drop(self._inner_of[proposal.index])

    def needs(self) -> Collection[int]:
        return self.waiting
