"""The base of searchers around another searcher."""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.objectives import Objective
from nasrunner.core.network.known import Networks
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import KnownOutcome, Outcome, Proposal, Report, Source
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

_KEY = re.compile(r"(?<![\w.])searcher\.")
"""Where a key of a searcher begins in its advice and errors."""

_LEGAL = "legal are searchers that do not ask for it"


class Wrapper(Searcher):
    """Passes on what another searcher proposes, in its own way.

    The inner searcher counts its proposals 0, 1, 2, … whatever its wrapper proposes in between, so
    indices are translated both ways. What this class does not override it asks the inner one.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.

    Raises:
        ValueError: ``searcher`` cannot be called, or the inner one learns objectives or asks for
            what its wrapper does not pass on, see ``passes_on``.
    """

    passes_on: Collection[str] = ()
    """What the inner searcher may ask for beside trainings from first weights to their ends:
    ``kind=estimate``, ``weights`` of others; see ``Proposal.asked``."""

    def __init__(self, *, searcher: Callable[..., Searcher], space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        if not callable(searcher):
            raise ValueError("searcher must be a partial: set _partial_: true")
        self.inner = searcher(space=space, seed=seed)
        self.repeats = self.inner.repeats
        if self.inner.learns_objectives:
            raise ValueError(
                f"{type(self).__name__} ranks children by their rewards, and "
                f"{self.inner.known_as} compares them by objectives; legal are searchers "
                "that learn rewards, which scalarization can make of objectives"
            )
        for asked in self.inner.asks_for:
            if refused := self._refused(asked):
                name = type(self.inner).__name__
                raise ValueError(
                    f"{type(self).__name__} does not pass on {refused}, which {name} "
                    f"proposes; {_LEGAL}"
                )
        self._inner_of: dict[int, int] = {}
        self._outer_of: list[int] = []  # by the inner one's index: where it was proposed last
        self._suggested: tuple[Proposal | None] | None = None  # of the inner one, as it is

    def register(self, proposal: Proposal) -> None:
        self._suggested = None
        super().register(proposal)

    def revise(self, outcome: Outcome) -> None:
        self._pass_on(outcome)

    def see(self, networks: Networks) -> None:
        super().see(networks)
        self.inner.see(networks)

    def compare(self, objectives: Sequence[Objective]) -> None:
        super().compare(objectives)
        self.inner.compare(objectives)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        self._suggested = None
        self.inner.learn_known(outcomes)

    @property
    def learns_known(self) -> bool:
        return self.inner.learns_known

    @property
    def ignores_known(self) -> str | None:
        return self.inner.ignores_known

    @property
    def has_parents(self) -> bool:
        return self.inner.has_parents

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return self.inner.asks_for

    @property
    def hears(self) -> Mapping[str, Collection[int]]:
        return self.inner.hears

    @property
    def whole_epochs(self) -> Collection[int]:
        return self.inner.whole_epochs

    @property
    def ignored(self) -> str | None:
        return self.inner.ignored

    @property
    def estimated(self) -> Collection[str]:
        return self.inner.estimated

    def report(self, report: Report) -> None:
        self._suggested = None
        self.inner.report(dataclasses.replace(report, index=self._inner_of[report.index]))

    def should_stop(self, index: int) -> bool:
        return self.inner.should_stop(self._inner_of[index])

    @property
    def listens(self) -> bool:
        return self.inner.listens

    def needs(self) -> Collection[int]:
        return [self._outer_of[each] for each in self.inner.needs()]

    def parents(self) -> Collection[int]:
        return [self._outer_of[each] for each in self.inner.parents()]

    @property
    def why_done(self) -> str:
        return self.inner.why_done

    def advice(self, max_children: int | None) -> str | None:
        advice = self.inner.advice(max_children)
        return advice and _KEY.sub("searcher.searcher.", advice)  # where its keys are

    def _suggestion(self) -> Proposal | None:
        """Returns what the inner searcher would propose now, with the indices of this one.

        It is found once, as it may take a while, until something is registered or learnt.

        Raises:
            ConfigError: the inner searcher proposes what is not passed on.
        """
        if self._suggested is None:
            try:
                inside = self.inner.suggest(self.inner.num_proposed)
            except ConfigError as error:  # of one that wraps another, too
                raise ConfigError(_KEY.sub("searcher.searcher.", str(error))) from error
            if inside is not None and (refused := self._refused(inside)):
                raise ConfigError(
                    f"searcher.searcher: {type(self.inner).__name__} proposes {refused}, which "
                    f"{type(self).__name__} does not pass on; {_LEGAL}"
                )
            self._suggested = (None if inside is None else self._outside(inside),)
        return self._suggested[0]

    def _enter(self, proposal: Proposal, **changes: Any) -> int:
        """Makes a proposal the next one of the inner searcher.

        Args:
            proposal: registered with this one.
            changes: fields that it has to the inner one.

        Returns:
            Its index there.
        """
        self._suggested = None
        inner = self.inner.num_proposed
        inside = dataclasses.replace(
            proposal,
            index=inner,
            parent=None if proposal.parent is None else self._inner_of[proposal.parent],
            sources=_translated(proposal.sources, self._inner_of),
            identity=self.identity_of(proposal.genotype),
            seed=None,
            **changes,
        )
        self.inner.register(inside)
        self._inner_of[proposal.index] = inner
        self._outer_of.append(proposal.index)
        return inner

    def _pass_on(self, outcome: Outcome) -> None:
        """Tells the inner searcher the outcome of a proposal that entered it.

        An outcome of what was trained further than it asked for revises the one that it learnt.
        """
        self._suggested = None
        inner, genotype = self._inner_of[outcome.proposal.index], outcome.proposal.genotype
        if (inside := self.inner.pending.get(inner)) is not None:
            self.inner.observe(dataclasses.replace(outcome, proposal=inside))
            return
        inside = Proposal(inner, genotype, identity=self.identity_of(genotype))
        self.inner.revise(dataclasses.replace(outcome, proposal=inside))

    def _drop(self, inner: int) -> None:
        """Tells the inner searcher that a proposal of its own has no reward."""
        self._suggested = None
        self.inner.observe(Outcome(self.inner.pending[inner], "failed"))

    def _network_of(self, genotype: Genotype) -> Key | str:
        """Returns the identity of its network, or the genotype where that is not known."""
        return self.identity_of(genotype) or key_of(genotype)

    def _outside(self, inside: Proposal) -> Proposal:
        parent = None if inside.parent is None else self._outer_of[inside.parent]
        sources = _translated(inside.sources, self._outer_of)
        return dataclasses.replace(inside, index=self.num_proposed, parent=parent, sources=sources)

    def _refused(self, proposal: Proposal) -> str:
        """What a proposal of the inner searcher asks for that is not passed on; empty: nothing."""
        return ", ".join(each for each in proposal.asked if each not in self.passes_on)


def _translated(
    sources: Sequence[Source], index_of: Sequence[int] | Mapping[int, int]
) -> tuple[Source, ...]:
    return tuple(Source(index_of[each.child], each.what) for each in sources)
