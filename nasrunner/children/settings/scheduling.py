"""Builds a child's learning-rate scheduler for the length of its training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from nasrunner.children.settings.length import Length
from nasrunner.children.settings.schedulers import Plateau
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.core import ConfigError
from nasrunner.core.errors import suggest

AUTO = "auto"
"""In a scheduler's argument: as long as it lasts; in ``max_lr``: the optimizer's learning rate."""

Interval = Literal["epoch", "step"]
"""When a scheduler is stepped: at the end of each epoch, or after each step of the optimizer."""

_INTERVALS = ("epoch", "step")


@dataclass(frozen=True)
class Schedule:
    """The ``scheduler`` part of a child's configuration.

    Beside the arguments of its class it has ``interval``. An argument ``auto`` becomes the number
    of times that the scheduler is stepped: all of the training, or its part of a ``SequentialLR``.
    Schedulers in ``schedulers``, of ``SequentialLR`` and ``ChainedScheduler``, are mappings with
    ``_target_`` of their own; ``milestones`` of ``SequentialLR`` may be shares of the training.

    Args:
        config: that part.
        construct: builds an object from its configuration.

    Raises:
        ConfigError: the interval is not one.
    """

    config: Config
    construct: Construct

    def __post_init__(self) -> None:
        if self.interval not in _INTERVALS:
            raise ConfigError(
                f"scheduler.interval={self.interval!r} is no choice, "
                f"{suggest(str(self.interval), _INTERVALS)}"
            )

    @property
    def interval(self) -> Interval:
        """When the scheduler is stepped."""
        interval: Interval = self.config.get("interval", "epoch")
        return interval

    def make(self, optimizer: Optimizer, length: Callable[[], Length]) -> LRScheduler:
        """Builds the scheduler of an optimizer.

        Args:
            optimizer: whose learning rate it changes.
            length: how long the training is; called only where that matters.

        Raises:
            ConfigError: it cannot be built, or needs a length that the training has not.
        """
        scheduler = self._built(self.config, "scheduler", optimizer, lambda: self._span(length()))
        if isinstance(scheduler, ReduceLROnPlateau) and self.interval == "step":
            raise ConfigError(
                "scheduler.interval=step: a plateau is looked for after epochs; legal: epoch"
            )
        if isinstance(scheduler, OneCycleLR):
            self._check_cycle(scheduler, self._span(length()))
        return scheduler

    def remark(self, scheduler: LRScheduler, length: Length) -> str | None:
        """Says where a ramp is longer than the training, as one that is meant in steps is."""
        total, unit = self._span(length), self.interval
        parts: Sequence[Any] = getattr(scheduler, "_schedulers", [scheduler])
        for part in parts:
            ramp = getattr(part, "total_iters", 0)
            if total is not None and ramp > total:
                return (
                    f"scheduler.total_iters={ramp} is longer than training, which steps the "
                    f"scheduler {total} times: scheduler.interval={unit}"
                )
        return None

    def _span(self, length: Length) -> int | None:
        return length.steps if self.interval == "step" else length.epochs

    def _built(
        self, config: Config, key: str, optimizer: Optimizer, span: Callable[[], int | None]
    ) -> LRScheduler:
        given = {name: value for name, value in config.items() if name != "interval"}
        parts = given.get("schedulers")
        if not isinstance(parts, list | tuple):
            filled = {n: _filled(v, f"{key}.{n}", n, optimizer, span) for n, v in given.items()}
            scheduler = self.construct(filled, key, optimizer)
        else:
            del given["schedulers"]
            spans: list[Callable[[], int | None]] = [span] * len(parts)
            if "milestones" in given:
                given["milestones"] = _milestones(given["milestones"], len(parts), span)
                spans = _between(given["milestones"], span)
            made = []
            for place, part in enumerate(parts):
                at = f"{key}.schedulers.{place}"
                if not isinstance(part, Mapping) or "interval" in part:
                    raise ConfigError(
                        f"{at} must be a mapping with _target_ and arguments, stepped with "
                        f"scheduler.interval like all of them, got {part!r}"
                    )
                made.append(self._built(dict(part), at, optimizer, spans[place]))
            scheduler = self.construct(given, key, optimizer=optimizer, schedulers=made)
        _check(scheduler, key)
        return scheduler  # type: ignore[no-any-return]  # checked

    def _check_cycle(self, scheduler: OneCycleLR, total: int | None) -> None:
        if total is not None and scheduler.total_steps != total:
            raise ConfigError(
                f"scheduler.total_steps={scheduler.total_steps}, but training steps the scheduler "
                f"{total} times (scheduler.interval={self.interval}); legal: {total} or {AUTO}"
            )


def _filled(
    value: Any, key: str, name: str, optimizer: Optimizer, span: Callable[[], int | None]
) -> Any:
    if value != AUTO:
        return value
    if name == "max_lr":
        return [group["lr"] for group in optimizer.param_groups]
    return _known(span(), f"{key}={AUTO}")


def _known(total: int | None, what: str) -> int:
    if total is None:
        raise ConfigError(
            f"{what} needs to know how long training is, which trainer.max_epochs=-1 and "
            "trainer.max_steps=-1 leave open; legal: a number, or one of these limits"
        )
    return total


def _milestones(given: Any, num_parts: int, span: Callable[[], int | None]) -> list[int]:
    """When the next of several schedulers follows, in steps of the scheduler."""
    key = "scheduler.milestones"
    if not isinstance(given, list | tuple) or len(given) != num_parts - 1:
        raise ConfigError(
            f"{key} must list {num_parts - 1} places between {num_parts} schedulers, got {given!r}"
        )
    found: list[int] = []
    for each in given:
        is_share = isinstance(each, float) and 0 < each < 1
        place = max(1, round(each * _known(span(), f"{key}={each}"))) if is_share else each
        if isinstance(place, bool) or not isinstance(place, int) or place <= max([0, *found]):
            raise ConfigError(
                f"{key} must be increasing whole numbers >= 1, or shares of the training in "
                f"(0, 1), got {given!r}"
            )
        found.append(place)
    return found


def _between(
    milestones: Sequence[int], span: Callable[[], int | None]
) -> list[Callable[[], int | None]]:
    """How long each of several schedulers lasts that follow one another."""

    def last() -> int | None:
        total = span()
        if total is not None and total <= milestones[-1]:
            raise ConfigError(
                f"scheduler.milestones={list(milestones)}: training steps the scheduler {total} "
                "times and never comes to the last scheduler"
            )
        return None if total is None else total - milestones[-1]

    lengths = [after - before for before, after in zip([0, *milestones], milestones, strict=False)]
    return [*[lambda length=length: length for length in lengths], last]


def _check(scheduler: Any, key: str) -> None:
    """Refuses what is no scheduler, and what torch takes although it cannot work."""
    if isinstance(scheduler, ReduceLROnPlateau) and not isinstance(scheduler, Plateau):
        raise ConfigError(
            f"{key}._target_: torch's ReduceLROnPlateau does not say which metric it watches; "
            "use nasrunner.children.settings.schedulers.Plateau"
        )
    if not isinstance(scheduler, LRScheduler):
        raise ConfigError(f"{key}._target_ must name an LRScheduler, got {type(scheduler)}")
    if isinstance(scheduler, MultiStepLR):
        for each in scheduler.milestones:
            if not isinstance(each, int) or isinstance(each, bool) or each < 1:
                raise ConfigError(f"{key}.milestones must be epochs >= 1, got {each!r}")
    for name in ("T_max", "T_0", "step_size"):
        value = getattr(scheduler, name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}.{name} must be a whole number >= 1 or {AUTO}, got {value!r}")
