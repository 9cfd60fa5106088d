"""Efficient neural architecture search: a supernet in turns with a controller that learns."""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated

from nasrunner.core.annotations import Above, AtLeast, Count, Seed, Within
from nasrunner.core.decision import Genotype
from nasrunner.core.order import key_of
from nasrunner.core.ports import Lessons, Policy
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space, enter
from nasrunner.searchers.one_shot.learnt_paths import LearntPaths
from nasrunner.searchers.one_shot.supernet_search import SupernetSearch
from nasrunner.searchers.one_shot.unscheduled import check_unscheduled
from nasrunner.searchers.policy.controller import Controller


class Enas(SupernetSearch):
    """Trains one supernet in turns with a controller, and trains the best that it draws anew.

    Pham et al. 2018, arXiv:1802.03268, section 2. (a) In an epoch of the supernet each step trains
    one network that the controller draws (M = 1 in the paper), with the weights that all share. (b)
    After it the weights are fixed, and the controller takes steps of REINFORCE by rewards of
    validation batches. Then networks that it draws are estimated with the shared weights, and the
    best of them are trained from first weights like any other child: these rewards are the study's.

    The reward of a batch is the task's, with its ``metric``, ``power`` and ``scale``: accuracy for
    images as in the paper, and for language models c / perplexity with ``task.reward.power=-1
    task.reward.scale=80``.

    Differs from the paper: the controller is that of ``searcher=reinforce``, whose decisions of
    one kind share their head, so that it draws from any space; what it draws in the end is
    estimated on the whole validation part instead of one batch of it, and several networks are
    trained, not the best alone.

    Args:
        controller_steps: of Adam after each epoch of the weights, >= 1; 2,000 in the paper for
            language models, 50 in its code for images.
        controller_batch: networks that a step learns from, each by a validation batch of its own,
            >= 1; 1 and 20 there.
        learns: whether the controller learns; False: the control, which draws with its first
            weights to the end.
        num_estimates: different networks that are drawn and estimated once it has learnt, at most.
        num_trained: how many of them are trained from first weights, the best ones, each network
            once; at most ``num_estimates``.
        supernet: the settings that the supernet is trained with instead of a child's: dotted keys
            of its configuration -> numbers, such as ``trainer.max_epochs``; None: there are none.
        hidden_units: of each LSTM layer, >= 1.
        num_layers: LSTM layers, >= 1.
        init_range: weights start in U(-init_range, init_range), > 0.
        temperature: of the logits, > 0, as of ``Controller``.
        tanh_constant: likewise, > 0; None: there is none.
        learning_rate: Adam's step size, > 0.
        baseline_decay: weight of the old value in the moving average of rewards, in [0, 1).
        entropy_bonus: reward per nat of entropy, >= 0.
        skip_weight: of the divergence of skip connections' probabilities from ``skip_share`` in
            the controller's loss, >= 0; 0.8 in the paper's macro space, section 3.2.
        skip_share: of the skip connections, in (0, 1); 0.4 there.

    Raises:
        ValueError: ``num_trained`` is larger than ``num_estimates``; the space has a schedule; or
            there is a ``skip_weight`` and the space has no skip connections to choose.
    """

    def __init__(
        self,
        *,
        controller_steps: Count,
        controller_batch: Count,
        learns: bool,
        num_estimates: Count,
        num_trained: Count,
        supernet: Mapping[str, float] | None,
        hidden_units: Count,
        num_layers: Count,
        init_range: Annotated[float, Above(0)],
        temperature: Annotated[float, Above(0)],
        tanh_constant: Annotated[float, Above(0)] | None,
        learning_rate: Annotated[float, Above(0)],
        baseline_decay: Annotated[float, Within("[0, 1)")],
        entropy_bonus: Annotated[float, AtLeast(0)],
        skip_weight: Annotated[float, AtLeast(0)],
        skip_share: Annotated[float, Within("(0, 1)")],
        space: Space,
        seed: Seed,
    ) -> None:
        check_unscheduled(space, "Enas")
        super().__init__(
            searcher=FoundNetworks,
            num_estimates=num_estimates,
            num_trained=num_trained,
            supernet=supernet,
            space=space,
            seed=seed,
        )
        self.has_selections = any(each.selection for each in space.decisions(enter(space)))
        if skip_weight > 0 and not self.has_selections:
            raise ValueError(
                f"skip_weight={skip_weight} weighs the skip connections that are chosen, and the "
                "space has none to choose (skip_layers); legal: 0"
            )
        self.lessons = Lessons(controller_steps if learns else 0, controller_batch, num_estimates)
        self._controller = functools.partial(
            Controller,
            space.signature(),
            has_selections=self.has_selections,
            hidden_units=hidden_units,
            num_layers=num_layers,
            init_range=init_range,
            predicts=False,
            temperature=temperature,
            tanh_constant=tanh_constant,
        )
        self._policy = functools.partial(
            LearntPaths,
            space,
            learning_rate=learning_rate,
            baseline_decay=baseline_decay,
            entropy_bonus=entropy_bonus,
            skip_weight=skip_weight,
            skip_share=skip_share,
            lessons=self.lessons,
        )

    def policy(self) -> Policy:
        # A stream that no proposal draws from.
        return self._policy(self._controller(rng=self.rng(0).spawn(1)[0]))

    def learn(self, outcome: Outcome) -> None:
        if outcome.proposal.kind == "supernet":
            assert isinstance(self.inner, FoundNetworks)
            self.inner.take(outcome.found)
        super().learn(outcome)


class FoundNetworks(Searcher):
    """Proposes architectures that others have found, in their order.

    Args:
        space: what they are of.
        seed: draws nothing.
    """

    def __init__(self, *, space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        self._left: list[Genotype] = []

    def take(self, genotypes: Sequence[Genotype]) -> None:
        """Proposes these, too, from now on."""
        self._left += genotypes

    def suggest(self, index: int) -> Proposal | None:
        return Proposal(index, self._left[0]) if self._left else None

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if self._left and key_of(self._left[0]) == key_of(proposal.genotype):
            del self._left[0]

    def learn(self, outcome: Outcome) -> None:
        pass

    @property
    def why_done(self) -> str:
        return "all that was found is proposed"
