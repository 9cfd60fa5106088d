"""Which columns of a table are read for a proposal: of which of an architecture's trainings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nasrunner.children.settings.fidelity import NAMES, keyed
from nasrunner.children.tables.cost import LinearCost
from nasrunner.core.annotations import fits
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.records import Proposal

_KEYS = ("reward", "metrics", "cost_s", "epochs")


@dataclass(frozen=True)
class Columns:
    """What of a row tells of one training.

    Attributes:
        reward: the column of the reward.
        metrics: (metric name, column) pairs.
        cost_s: the column of the seconds the training took, or what estimates them; None: the
            table does not say.
    """

    reward: str
    metrics: tuple[tuple[str, str], ...]
    cost_s: str | LinearCost | None

    def names(self) -> Iterator[str]:
        """Yields the columns."""
        yield self.reward
        yield from (column for _, column in self.metrics)
        if isinstance(self.cost_s, str):
            yield self.cost_s


@dataclass(frozen=True)
class Fidelities:
    """The trainings of each architecture that a proposal may ask for by its fidelity.

    Attributes:
        columns: (key of the child's configuration, its number) -> what of a row tells of it.
    """

    columns: Mapping[tuple[str, float], Columns]

    @classmethod
    def read(
        cls, given: Mapping[str, Mapping[Any, Mapping[str, Any]]], plain: Columns
    ) -> "Fidelities":
        """Reads the argument ``fidelities`` of a table's trainer.

        Args:
            given: key of the child's configuration, or name of a fidelity -> its number ->
                ``reward`` and, where they differ from the trainer's, ``metrics``, ``cost_s`` or the
                ``epochs`` that are counted by a ``LinearCost``.
            plain: what is read without a fidelity.

        Raises:
            ConfigError: it is not written like this.
        """
        columns = {}
        for key, by_number in given.items():
            for number, changes in by_number.items():
                at = f"trainer.fidelities.{key}.{number}"
                if not fits(number, float) or not isinstance(changes, Mapping):
                    raise ConfigError(f"{at} must be a number with columns, got {changes!r}")
                columns[NAMES.get(key, key), float(number)] = _changed(plain, changes, at)
        return cls(columns)

    def names(self) -> Iterator[str]:
        """Yields all columns that may be read."""
        for each in self.columns.values():
            yield from each.names()

    def check(self, fidelity: Mapping[str, float]) -> None:
        """Refuses what the table has no trainings of.

        Raises:
            ConfigError: says what it has.
        """
        if fidelity and self._of(fidelity) is None:
            legal = ", ".join(f"{key}={number:g}" for key, number in self.columns) or "none"
            asked = ", ".join(f"{key}={number:g}" for key, number in fidelity.items())
            raise ConfigError(
                f"fidelity: trainer.fidelities has no trainings with {asked}; legal: {legal}"
            )

    def of(self, proposal: Proposal) -> Columns | None:
        """Returns what is read for a proposal; None: as for any other without a fidelity."""
        return self._of(proposal.fidelity) if proposal.fidelity else None

    def _of(self, fidelity: Mapping[str, float]) -> Columns | None:
        if len(fidelity) != 1:
            return None
        ((key, number),) = keyed(fidelity).items()
        return self.columns.get((key, float(number)))


def _changed(plain: Columns, changes: Mapping[str, Any], at: str) -> Columns:
    for name in changes:
        if name not in _KEYS:
            raise ConfigError(f"{at}: there is no {name!r}, {suggest(name, _KEYS)}")
    cost_s = changes.get("cost_s", plain.cost_s)
    if "epochs" in changes:
        if not isinstance(cost_s, LinearCost):
            raise ConfigError(f"{at}.epochs is counted by a LinearCost alone, but cost_s={cost_s}")
        cost_s = replace(cost_s, epochs=changes["epochs"])
    metrics = changes.get("metrics")
    return Columns(
        changes.get("reward", plain.reward),
        plain.metrics if metrics is None else tuple(metrics.items()),
        cost_s,
    )
