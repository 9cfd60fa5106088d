"""The base of searchers that stop another one's children while they train."""

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from nasrunner.core.annotations import Seed
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.ledger.objectives import COSTS
from nasrunner.core.records import Outcome, Proposal, Report
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.wrapper import Wrapper

Mode = Literal["max", "min"]


class EarlyStopping(Wrapper):
    """Passes on what another searcher proposes, and stops children by what they measure.

    A child is asked about after each epoch it reports, whether it runs in this process, on another
    worker or on another machine, and stops after the epoch that it is in. Its reward is that of its
    curve so far; the inner searcher learns it, and nobody ranks it beside children that were
    trained to their ends.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        metric: what is compared: a name in the children's curves; None: that of the reward.
        mode: ``max``: higher is better; ``min``: lower is; None: as of the reward, if that is of
            the same metric.
        reward: the ``metric`` and ``mode`` of the reward, None where it names none.
        min_epochs: no child is stopped before.

    Attributes:
        curves: of each child: epoch -> the metric, higher is better, those of the training that it
            goes on with included.

    Raises:
        ValueError: nothing says what is compared, or which direction of another metric is better;
            or ``metric`` is what a child costs, which has no curve.
        ConfigError: once the first child has ended: it has not measured ``metric``.
    """

    passes_on = ("kind=estimate", "weights", "until", "training")  # curves of one fidelity compare

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        metric: str | None,
        mode: Mode | None,
        reward: Mapping[str, str | None],
        min_epochs: int,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        compared = metric or reward["metric"]
        if compared is None:
            raise ValueError(
                "metric must say what children are compared by; task.reward.metric, which it is by "
                "default, is not there"
            )
        if compared in COSTS:
            raise ValueError(
                f"metric={compared} has one value a child, and children are stopped by what they "
                "measure after each epoch; legal are metrics such as val_loss"
            )
        direction = mode or (reward["mode"] if compared == reward["metric"] else None)
        if direction is None:
            raise ValueError(
                f"mode must be max or min where metric={compared} is not that of the reward "
                f"({reward['metric']}), got null"
            )
        self.metric = compared
        self.sign = 1.0 if direction == "max" else -1.0
        self.min_epochs = min_epochs
        self.curves: dict[int, dict[int, float]] = {}
        self._measured: set[str] = set()  # the names of all that children have reported

    @property
    def is_ready(self) -> bool:
        return self.inner.is_ready

    @property
    def listens(self) -> bool:
        return True

    @property
    def hears(self) -> Mapping[str, Collection[int]]:
        inside = self.inner.hears
        return {**inside, self.metric: [*inside.get(self.metric, ()), *self.compares_after]}

    @property
    def compares_after(self) -> Collection[int]:
        """The only epochs after which it compares children; empty: any."""
        return ()

    def suggest(self, index: int) -> Proposal | None:
        return self._suggestion()

    def suggest_continuation(self, index: int) -> Proposal | None:
        inside = self.inner.suggest_continuation(self.inner.num_proposed)
        return None if inside is None else self._outside(inside)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._enter(proposal)
        if proposal.kind == "train":
            source = proposal.continues
            self.curves[proposal.index] = {} if source is None else dict(self.curves[source])

    def learn(self, outcome: Outcome) -> None:
        self._check_measured(outcome)
        self._pass_on(outcome)
        self._note_end(outcome)

    def revise(self, outcome: Outcome) -> None:
        self._pass_on(outcome)
        self._note_end(outcome)

    def forget(self, proposal: Proposal) -> None:
        self._drop(self._inner_of[proposal.index])

    def report(self, report: Report) -> None:
        if self.inner.listens:
            super().report(report)
        self._measured.update(report.metrics)
        value = report.metrics.get(self.metric)
        if value is not None:  # one that is not a number compares with nothing, and is the worst
            signed = -math.inf if math.isnan(value) else self.sign * value
            self.curves[report.index][report.epoch] = signed

    def should_stop(self, index: int) -> bool:
        if self.inner.listens and super().should_stop(index):
            return True
        curve = self.curves[index]
        return bool(curve) and max(curve) >= self.min_epochs and self.is_hopeless(index)

    def _check_measured(self, outcome: Outcome) -> None:
        """Refuses a metric that a child, trained as far as was asked, has not measured at all.

        Raises:
            ConfigError: says what children measure.
        """
        is_trained = outcome.status in ("completed", "paused") and outcome.reused_from is None
        if is_trained and self._measured and self.metric not in self._measured:
            told = suggest(self.metric, self._measured)
            raise ConfigError(
                f"searcher: {type(self).__name__} compares children by metric={self.metric}, which "
                f"they do not measure; {told}"
            )

    def _note_end(self, outcome: Outcome) -> None:
        curve = self.curves.get(outcome.proposal.index)
        if outcome.status == "completed" and outcome.reused_from is None and curve:
            self.trained_through(curve)

    def trained_through(self, curve: Mapping[int, float]) -> None:
        """Takes notice of the curve of a child that was trained to its end."""

    @abstractmethod
    def is_hopeless(self, index: int) -> bool:
        """Tells whether a child that was trained for ``min_epochs`` is to stop; changes nothing."""
