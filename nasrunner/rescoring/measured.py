"""What was recorded of a child: its curves, and metrics that have one value."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nasrunner.core.errors import ConfigError, nearest
from nasrunner.core.machine.child_folder import NO_METRICS, ChildFolder
from nasrunner.core.records import Outcome
from nasrunner.recorded import RecordedChild, RecordedStudy

Curve = Sequence[Mapping[str, float]]
"""Metrics of one child, a mapping for each epoch."""

_NOT_SHOWN = "the report leaves this child's curve out"
_OF_LEDGER = "the child is scored by what the ledger has of it"


@dataclass(frozen=True)
class KeptValues:
    """A child's outcome, and the curves of the trainings that its reward is the mean of.

    Attributes:
        outcome: as recorded.
        curves: of each training; empty where they were not kept.
        is_whole: whether the curves are those of the child's folder, with all metrics; else they
            are those of the ledger.
    """

    outcome: Outcome
    curves: Sequence[Curve]
    is_whole: bool

    def has_curve(self, metric: str) -> bool:
        """Tells whether each training has a curve of a metric."""
        return bool(self.curves) and all(
            any(metric in line for line in curve) for curve in self.curves
        )

    def names(self) -> set[str]:
        """Returns the metrics that are known of the child."""
        lines = (line for curve in self.curves for line in curve)
        return {*self.outcome.metrics, *(name for line in lines for name in line)} - {*NO_METRICS}


def measured(study: RecordedStudy, child: RecordedChild) -> KeptValues:
    """Reads what was recorded of a child that has an outcome.

    Raises:
        ConfigError: a file of its curves is damaged.
    """
    outcome = child.outcome
    assert outcome is not None, "it is asked of those that have ended"
    num_trainings = round(outcome.metrics.get("trainings", 1))
    if num_trainings > 1:  # the ledger's curve is their mean, which has another best epoch
        folder = ChildFolder(child.folder)
        parts = [folder.training(number) for number in range(num_trainings)]
        curves = [_curve_in(part, _OF_LEDGER) for part in parts]
        return KeptValues(outcome, curves if all(curves) else [], is_whole=all(map(bool, curves)))
    if whole := whole_curve(study, child, without=_OF_LEDGER):
        return KeptValues(outcome, [whole], is_whole=True)
    length = max(map(len, outcome.curve.values()), default=0)
    lines = [
        {"epoch": epoch, **{name: values[epoch] for name, values in outcome.curve.items()}}
        for epoch in range(length)
    ]
    return KeptValues(outcome, [lines] if lines else [], is_whole=False)


def whole_curve(study: RecordedStudy, child: RecordedChild, without: str = _NOT_SHOWN) -> Curve:
    """Reads a child's epochs, and before them those of the trainings that it went on with.

    Args:
        study: the child's.
        child: whose they are.
        without: what happens where the file of one of them is not there, for who reads an error.

    Raises:
        ConfigError: a file is damaged.
    """
    found: list[Mapping[str, float]] = []
    for each in study.course(child.proposal.index):
        done = found[-1]["epoch"] if found else -1
        curve = _curve_in(ChildFolder(each.folder), without)
        found += [line for line in curve if line["epoch"] > done]
    return found


def read_curve(child: RecordedChild) -> Curve:
    """Returns a child's epochs; empty where it has none. A line that is being written is left out.

    Raises:
        ConfigError: the file is damaged.
    """
    return _curve_in(ChildFolder(child.folder), _NOT_SHOWN)


def _curve_in(folder: ChildFolder, without: str) -> Curve:
    try:
        return folder.curves()
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise ConfigError(f"{error}. Without the file, {without}") from error


def check_recorded(key: str, metric: str, having: int, children: Sequence[KeptValues]) -> None:
    """Refuses a metric that not all children have.

    Args:
        key: who asks for it.
        metric: its name.
        having: how many children have it.
        children: all that have an outcome.

    Raises:
        ConfigError: says of how many it was recorded, and what else was.
    """
    if having == len(children):
        return
    counts = Counter(name for each in children for name in each.names())
    near = nearest(metric, counts) if not having else []
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ConfigError(
        f"{key}: {metric!r} was recorded of {having or 'none'} of {len(children):,} children; "
        f"{hint}recorded were {_listed(counts.items())}"
    )


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    """``flops, val_loss (of 40 children), val_f1 (of 3)``."""
    names: dict[int, list[str]] = {}
    for name, count in sorted(counts):
        names.setdefault(count, []).append(name)
    told = [f"{', '.join(names[count])} (of {count:,})" for count in sorted(names, reverse=True)]
    return "; ".join(told) or "no metrics"
