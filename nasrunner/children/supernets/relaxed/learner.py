"""Learns the weights of options by their gradients, and derives an architecture from them.

Liu et al. 2019, arXiv:1806.09055, algorithm 1 and section 2.4.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

from nasrunner.children.supernets.relaxed.second_order import first_order, second_order
from nasrunner.children.supernets.skips import SkipCount
from nasrunner.children.supernets.trials import Trials
from nasrunner.children.supernets.validation_batches import Batch
from nasrunner.core import Genotype, InShape, SearchSpace, SpaceError
from nasrunner.core.decision import Decision
from nasrunner.core.network.canonical import Identities
from nasrunner.core.network.statistics import Measured
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import Space, living
from nasrunner.core.tracing import Traceable

_SAMPLED = 5
"""The stream of random numbers that architectures are drawn from."""

_MOST_DRAWN = 1_000
"""So many architectures are drawn at most until enough are different."""


class WeighedOptions(Protocol):
    """A supernet whose options count by parameters α; see ``RelaxedSupernet``."""

    relaxation: Relaxation
    num_trained: int
    seed: int

    @property
    def space(self) -> SearchSpace: ...

    @property
    def in_shape(self) -> InShape: ...

    @property
    def selections(self) -> Mapping[str, tuple[tuple[str, ...], ...]]: ...

    @property
    def followed(self) -> Mapping[str, tuple[str, tuple[str, ...]]]: ...

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]: ...

    def parameters_of_options(self) -> Sequence[nn.Parameter]: ...

    def probabilities(self) -> Mapping[str, np.ndarray]: ...

    def zeros(self) -> Mapping[str, frozenset[int]]: ...


class GradientLearner:
    """Takes a step of α on a validation batch before each step of the weights.

    Args:
        supernet: whose α learn.
    """

    def __init__(self, supernet: WeighedOptions) -> None:
        self.supernet = supernet
        self.skips = SkipCount(supernet.space)
        self._adam: Adam | None = None
        self._moments: list[dict[str, Any]] = []  # of Adam, read and not used yet
        self._last: Genotype | None = None  # derived, with as many skips as are allowed

    def parameters(self) -> Iterable[nn.Parameter]:
        """Returns α, which the optimizer of the weights must not have."""
        return self.supernet.parameters_of_options()

    def before_step(self, training: Batch, trials: Trials) -> None:
        """Takes a step of α.

        Args:
            training: the batch of the weights' next step.
            trials: gives a validation batch.
        """
        validation = next(trials.validation)
        alphas = list(self.parameters())
        with self._learning():
            if self.supernet.relaxation.order == "first":
                found = trials.averaged(first_order(alphas, lambda: trials.loss(validation)))
            else:
                found = second_order(
                    alphas,
                    trials.optimizer,
                    lambda: trials.loss(training),
                    lambda: trials.loss(validation),
                    trials.averaged,
                )
        optimizer = self._optimizer()
        for alpha, gradient in zip(alphas, found, strict=True):
            alpha.grad = gradient
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def after_epoch(self, trials: Trials) -> Mapping[str, float]:
        """Looks at α after an epoch.

        Returns:
            The mean ``architecture_entropy`` of softmax(α), 1 where all options are alike; how
            often the derived architecture skips, see ``SkipCount``; and, where there is a most of
            them, ``found_skips``: how many skips the architecture has that is found.

        Raises:
            FloatingPointError: α is no number any more.
        """
        probabilities = self.supernet.probabilities()
        for path, each in probabilities.items():
            if not np.isfinite(each).all():
                raise FloatingPointError(
                    f"the weights of the options of {path!r} have diverged: {each.tolist()}"
                )
        self.supernet.num_trained += 1
        genotype = self.likeliest()
        if self._last is None or not self._has_too_many_skips(genotype):
            self._last = genotype
        several = (each for each in probabilities.values() if len(each) > 1)
        entropy = float(np.mean([*map(_entropy, several)]))
        found = {"architecture_entropy": entropy, **self.skips.shares([genotype])}
        if self.supernet.relaxation.max_skips is not None:
            found["found_skips"] = float(self.skips.number_in(self._last))
        return found

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns softmax(α) of each decision that has several options."""
        options = self.supernet.options
        return {
            path: dict(zip(options[path], each.tolist(), strict=True))
            for path, each in self.supernet.probabilities().items()
            if len(each) > 1
        }

    def is_done(self) -> bool:
        """Returns whether training ends before its last epoch, since too many options are skips."""
        return self._has_too_many_skips(self.likeliest())

    def likeliest(self) -> Genotype:
        """Returns the architecture of the strongest options."""
        zeros = self.supernet.zeros()
        takes_zero = self.supernet.relaxation.takes_zero

        def strengths(decision: Decision, probabilities: np.ndarray) -> np.ndarray:
            none = [k for k in zeros.get(decision.path, ()) if k < len(probabilities)]
            if takes_zero or len(none) == len(probabilities):
                return probabilities
            found = probabilities.copy()
            found[none] = -1.0
            return found

        return self._answered(lambda *given: int(strengths(*given).argmax()))

    def found(self) -> Sequence[Genotype]:
        """Returns the derived architecture, and others that are drawn by softmax(α).

        Of the derived ones it is the last that had no more skips than are allowed, or the first
        where each had. The others are networks that differ from it and from one another, with a
        path from input to output; there are fewer where no more are drawn.

        Raises:
            SpaceError: no path leads through the derived one.
        """
        derived = self._last if self._last is not None else self.likeliest()
        if self._is_dead(derived):
            how = (
                "" if not self.supernet.relaxation.takes_zero else "searcher.takes_zero=false, or "
            )
            raise SpaceError(
                "nothing of its input reaches the output of the derived architecture, whose "
                f"strongest options are zeros; legal, in a new study: {how}other settings of the "
                "supernet's training (searcher.supernet)"
            )
        networks = Identities(_shape_of, self.supernet.in_shape)
        tried = {tuple(derived.items())}
        found = {self._known_by(networks, derived): derived}
        rng = seeded(self.supernet.seed, _SAMPLED)

        def draw(_: Decision, probabilities: np.ndarray) -> int:
            return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))

        for _ in range(_MOST_DRAWN):
            if len(found) > self.supernet.relaxation.num_sampled:
                break
            genotype = self._answered(draw)
            answers = tuple(genotype.items())
            if answers not in tried and not self._is_dead(genotype):
                found.setdefault(self._known_by(networks, genotype), genotype)
            tried.add(answers)
        return list(found.values())

    def _is_dead(self, genotype: Genotype) -> bool:
        """Whether no path leads from the input of an architecture to its output."""
        return living(self.supernet.space.freeze(genotype)).network.is_zero

    def _known_by(self, networks: Identities, genotype: Genotype) -> str:
        return networks.of(self.supernet.space.freeze(genotype).network)

    def _answered(self, answer: Callable[[Decision, np.ndarray], int]) -> Genotype:
        """An architecture whose decisions are answered by how strong their options are.

        An option that keeps some parts of many is as strong as the strongest options of these are
        together, zeros left out. Liu et al. 2019, arXiv:1806.09055, section 2.4.

        Args:
            answer: is given a decision and how strong its options are.
        """
        probabilities, zeros = self.supernet.probabilities(), self.supernet.zeros()

        def strength(path: str) -> float:
            others = [k for k in range(len(probabilities[path])) if k not in zeros.get(path, ())]
            return float(probabilities[path][others].max(initial=0.0))

        answers: Genotype = {}

        def choose(decision: Decision) -> int:
            answers[decision.path] = index = answered(decision)
            return index

        def answered(decision: Decision) -> int:
            kept = self.supernet.selections.get(decision.path)
            if kept is not None:
                sums = [sum(map(strength, paths)) for paths in kept]
                return answer(decision, np.array(sums))
            path = decision.path
            if path in self.supernet.followed:
                said_by, paths = self.supernet.followed[path]
                path = paths[answers.get(said_by, 0)]
            if path not in probabilities:  # it has one option
                return 0
            return answer(decision, probabilities[path][: len(decision.options)])

        return self.supernet.space.walk(choose)

    def state_dict(self) -> dict[str, Any]:
        """Returns what it remembers, as JSON has it."""
        moments = self._moments
        if self._adam is not None:
            states = (self._adam.state[alpha] for alpha in self.parameters())
            moments = [{name: each.tolist() for name, each in state.items()} for state in states]
        return {"adam": moments, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self._adam, self._moments, self._last = None, state["adam"], state["last"]

    def _optimizer(self) -> Adam:
        if self._adam is None:
            alphas, how = list(self.parameters()), self.supernet.relaxation
            self._adam = Adam(alphas, how.learning_rate, how.betas, weight_decay=how.weight_decay)
            for alpha, state in zip(alphas, self._moments, strict=False):
                self._adam.state[alpha] = {
                    name: torch.tensor(value, device="cpu" if name == "step" else alpha.device)
                    for name, value in state.items()
                }
        return self._adam

    @contextlib.contextmanager
    def _learning(self) -> Iterator[None]:
        for alpha in self.parameters():
            alpha.requires_grad_(True)
        try:
            yield
        finally:
            for alpha in self.parameters():
                alpha.requires_grad_(False)

    def _has_too_many_skips(self, genotype: Genotype) -> bool:
        most = self.supernet.relaxation.max_skips
        return most is not None and self.skips.number_in(genotype) > most


def _entropy(probabilities_K: np.ndarray) -> float:
    """That of an option, in units of the highest one."""
    logs = np.log(np.maximum(probabilities_K, 1e-300))
    return float(-(probabilities_K * logs).sum() / np.log(len(probabilities_K)))


def _shape_of(part: Traceable, in_shape: InShape) -> Measured:
    """The shape that comes out of an operation, without its size."""
    assert isinstance(part, Space)
    with torch.device("meta"):
        _, out_shape = part.build(in_shape)
    return Measured(0, 0, out_shape)
