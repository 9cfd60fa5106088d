"""Children that were trained before: rewards are looked up in a benchmark's table."""

import functools
import math
import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nasrunner.children.tables.cost import LinearCost
from nasrunner.children.tables.fidelities import Columns, Fidelities
from nasrunner.children.tables.table import BenchmarkTable
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.ledger.goal_settings import check_measured
from nasrunner.core.ledger.objectives import REWARD
from nasrunner.core.ports import Blueprint, Check, OneByOne, Policy, Train
from nasrunner.core.records import Kind, Outcome, Proposal
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.shapes import InShape
from nasrunner.core.space import living


@dataclass(frozen=True)
class Lookup:
    """Trains a child by looking it up: microseconds, and picklable without the table.

    Attributes:
        table: where the rows are.
        template: a format string with one ``{}`` for each decision; its result is a row's key.
        symbols: (path, text of each option) of every decision in the order asked.
        plain: what is read of a row.
        fidelities: what is read of it for a proposal with a fidelity.
    """

    table: BenchmarkTable
    template: str
    symbols: tuple[tuple[str, tuple[str, ...]], ...]
    plain: Columns
    fidelities: Fidelities

    def key(self, genotype: Genotype) -> str:
        """Returns what the row of an architecture is called."""
        return self.template.format(*self._spelt(genotype))

    def columns(self, proposal: Proposal) -> Columns:
        """Returns what of its row is read for a proposal."""
        return self.fidelities.of(proposal) or self.plain

    def load(self) -> Sequence[str]:
        """Reads the table, once a process; a rehearsal that has nothing to remark.

        Raises:
            DataError: it cannot be read.
        """
        self.table.rows()
        return ()

    def __call__(self, proposal: Proposal) -> Outcome:
        key = self.key(proposal.genotype)
        row = self.table.rows().get(key)
        if row is None:
            return Outcome(proposal, "failed", error=f"{self.table.path} has no row {key!r}")
        columns = self.columns(proposal)
        return Outcome(
            proposal,
            "completed",
            row[columns.reward],
            {name: row[column] for name, column in columns.metrics},
            self._cost_s(columns.cost_s, proposal.genotype, row),
        )

    def _spelt(self, genotype: Genotype) -> list[str]:
        return [texts[genotype[path]] for path, texts in self.symbols]

    def _cost_s(
        self, cost_s: str | LinearCost | None, genotype: Genotype, row: Mapping[str, float]
    ) -> float:
        if isinstance(cost_s, LinearCost):
            return cost_s.seconds(self._spelt(genotype))
        return 0.0 if cost_s is None else row[cost_s]


class TabularTrainer:
    """A child trainer that reads rewards from a tabular benchmark.

    Args:
        path: the table, see ``BenchmarkTable``.
        source: where people get it, for error messages.
        key_column: see ``BenchmarkTable``.
        template: see ``Lookup``.
        symbols: the text of option 0, 1, … of every decision; None: its value.
        reward: the column of the reward; higher is better.
        metrics: metric name -> column.
        cost_s: see ``Columns``.
        parameters: the column of the number of parameters; None: the table does not say.
        parameters_factor: parameters for each one that column counts: 1000000 for millions.
        flops: the column of the cost of one example's forward pass; None likewise.
        flops_factor: floating-point operations for each one that column counts: 2 where it
            counts multiply-adds, 2000000 for millions of them.
        fidelities: see ``Fidelities``; None: the table has trainings of one kind.
        objectives: what the study compares its children by.
        space: what is searched; all its architectures answer the same decisions.
        draw: the picture of a frozen space as SVG text.
        config, in_shape, construct: what other child trainers build networks from; not used.

    Raises:
        ConfigError: template, symbols and space do not fit together, or no column is of an
            objective.
        DataError: the table is missing or damaged, or lacks a column.
    """

    def __init__(
        self,
        path: str,
        source: str,
        key_column: str,
        template: str,
        symbols: Sequence[str] | None,
        reward: str,
        metrics: Mapping[str, str],
        cost_s: str | LinearCost | None,
        parameters: str | None,
        parameters_factor: float,
        flops: str | None,
        flops_factor: float,
        fidelities: Mapping[str, Mapping[Any, Mapping[str, Any]]] | None = None,
        *,
        objectives: Sequence[str] = (),
        space: SearchSpace,
        config: Mapping[str, Any],
        in_shape: InShape,
        construct: Callable[..., Any],
        draw: Callable[[SearchSpace], str],
    ) -> None:
        sizes = {"parameters": parameters, "flops": flops}
        counted = [name for name, column in sizes.items() if column is not None]
        check_measured(objectives, [REWARD, *metrics, *counted])
        plain = Columns(reward, tuple(metrics.items()), cost_s)
        cheaper = Fidelities.read(fidelities or {}, plain)
        columns = (*plain.names(), *cheaper.names(), parameters, flops)
        named = tuple(dict.fromkeys(name for name in columns if isinstance(name, str)))
        table = BenchmarkTable(Path(path), key_column, named, source)
        texts = _symbols(space, symbols)
        _check_template(template, len(texts))
        if isinstance(cost_s, LinearCost):
            cost_s.check(list(dict.fromkeys(text for _, options in texts for text in options)))
        self.lookup = Lookup(table, template, texts, plain, cheaper)
        self.parameters = parameters
        self.parameters_factor = parameters_factor
        self.flops = flops
        self.flops_factor = flops_factor
        self.space = space
        self.draw = draw
        self.lookup.load()

    def inspect(self, genotype: Genotype) -> Blueprint:
        key = self.lookup.key(genotype)
        row = self.lookup.table.rows().get(key)
        if row is None:
            raise SpaceError(f"{self.lookup.table.path} has no row {key!r}")
        shown = living(self.space.freeze(genotype))
        return Blueprint(
            text=shown.text(),
            values=self.space.values(genotype),
            parameters=_counted(row, self.parameters, self.parameters_factor),
            flops=_counted(row, self.flops, self.flops_factor),
            draw=functools.partial(self.draw, shown),
        )

    def rehearsal(self) -> Check:
        return self.lookup.load

    @property
    def reports(self) -> bool:
        return False  # it answers at once

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        pass  # of what reports nothing

    @property
    def estimates(self) -> Collection[str]:
        return ()

    def check(self, proposal: Proposal) -> None:
        if proposal.kind != "train" or proposal.until or proposal.sources:
            raise ConfigError(
                "trainer: a table has rows of children that were trained to their ends; legal are "
                "proposals of kind=train without until and sources, got "
                f"{', '.join(proposal.asked)}"
            )
        self.lookup.fidelities.check(proposal.fidelity)

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}  # a column's values are rewards as they are

    @property
    def trains_networks(self) -> bool:
        return False  # a row for each genotype

    def plainest(self, proposal: Proposal) -> Proposal:
        is_as_plain = self.lookup.columns(proposal) == self.lookup.plain
        return replace(proposal, fidelity={}) if is_as_plain else proposal

    def most_epochs(self, proposal: Proposal) -> int | None:
        cost_s = self.lookup.columns(proposal).cost_s
        return round(cost_s.epochs) if isinstance(cost_s, LinearCost) else None

    def num_at_once(self, kind: Kind) -> int:
        return 1

    def task(
        self, folder: Path, seed: int, policy: Policy | Relaxation | ForwardGrowth | None = None
    ) -> Train:
        return OneByOne(self.lookup)


def _counted(row: Mapping[str, float], column: str | None, factor: float) -> int | None:
    return None if column is None else round(row[column] * factor)


def _symbols(
    space: SearchSpace, symbols: Sequence[str] | None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(path, text of each option) of every decision, in the order asked."""
    asked: list[Decision] = []

    def choose(decision: Decision) -> int:
        asked.append(decision)
        return 0

    space.walk(choose)
    if math.prod(len(decision.options) for decision in asked) != space.size():
        raise ConfigError(
            "trainer: a table needs a space with the same decisions in all its architectures"
        )
    for decision in asked:
        if symbols is not None and len(decision.options) > len(symbols):
            raise ConfigError(
                f"trainer.symbols names {len(symbols)} options, but {decision.path!r} has "
                f"{len(decision.options)}: {list(decision.options)}"
            )
    return tuple(
        (decision.path, tuple(map(str, symbols or decision.options))) for decision in asked
    )


def _check_template(template: str, num_decisions: int) -> None:
    try:
        num_fields = sum(field is not None for _, field, _, _ in string.Formatter().parse(template))
        if num_fields != num_decisions:
            raise ConfigError(
                f"trainer.template needs one {{}} for each of the space's {num_decisions} "
                f"decisions, got {num_fields} in {template!r}"
            )
        template.format(*[""] * num_decisions)
    except (ValueError, LookupError) as error:
        raise ConfigError(f"trainer.template: {template!r} is no format string: {error}") from error
