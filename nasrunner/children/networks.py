"""Looks at the networks of a study's space without building them: their statistics and identity."""

import hashlib
import json
import math
import operator
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from nasrunner.children.inheritance.channels import NotMorphismError
from nasrunner.children.inheritance.keys import Anatomy, anatomy_on_meta
from nasrunner.children.inheritance.morphism import morphism
from nasrunner.children.inputs import InDtype
from nasrunner.children.inspecting import measured_operation
from nasrunner.core import Genotype, InShape, SearchSpace, Space, SpaceError
from nasrunner.core.decision import Decision, label_of
from nasrunner.core.network.bigrams import bigrams
from nasrunner.core.network.canonical import Identities
from nasrunner.core.network.known import NETWORK, Bigram, Description
from nasrunner.core.network.statistics import Measured, Row, Statistics
from nasrunner.core.shapes import hashable
from nasrunner.core.tracing import Traceable

_MOST_KEPT = 20_000
_MOST_BUILT = 32

_Row = tuple[Row, dict[str, float]]
"""A network's statistics, and its settings."""

_SETTINGS = "hyperparameters/"
"""What the paths of decisions about settings begin with."""


class SpaceNetworks:
    """What is known of a space's networks; see ``Networks``.

    Args:
        space: what is searched.
        in_shape: of one example.
        in_dtype: as of ``data.in_dtype``.
        identifies: whether the study takes networks of one identity for the same.
    """

    def __init__(
        self, space: SearchSpace, in_shape: InShape, in_dtype: InDtype, *, identifies: bool
    ) -> None:
        self.space = space
        self.in_shape = in_shape
        self.in_dtype = in_dtype
        self.identifies = identifies
        self._sizes: dict[Hashable, Measured | SpaceError] = {}
        self._statistics = Statistics(self._measure, in_shape)
        self._identities = Identities(self._measure, in_shape)
        self._decisions: dict[str, Decision] = {}
        self._rows: dict[Hashable, _Row | None] = {}
        self._last: tuple[list[_Row | None], Description] | None = None
        self._anatomies: dict[Hashable, tuple[SearchSpace, Anatomy]] = {}

    def describe(self, genotypes: Sequence[Genotype]) -> Description:
        found = [self._row(genotype) for genotype in genotypes]
        if self._last is not None:  # candidates are asked for twice: whether they are possible
            before, described = self._last
            if len(found) == len(before) and all(map(operator.is_, found, before)):
                return described
        described = self._described(found)
        self._last = found, described
        return described

    def _described(self, found: list[_Row | None]) -> Description:
        names, rows_NF = self._statistics.table([each and each[0] for each in found])
        settings = sorted({name for each in found if each for name in each[1]})
        values_NS = [
            [each[1].get(name, 0.0) if each else math.nan for name in settings] for each in found
        ]
        return Description(
            (*names, *settings),
            np.concatenate([rows_NF, np.reshape(values_NS, (len(found), len(settings)))], axis=1),
            np.array([each is not None for each in found], dtype=bool),
        )

    def bigrams(self, genotype: Genotype) -> Mapping[Bigram, int]:
        frozen = self.space.freeze(genotype)
        found = bigrams(frozen.network, self.in_shape, self._measure)
        return {each.bigram: each.parameters for each in found}

    def morphism(self, parent: Genotype, child: Genotype) -> Collection[str]:
        pair = self._built(parent), self._built(child)
        try:
            return morphism(*pair, self.in_shape, np.random.default_rng(0)).kinds
        except NotMorphismError:
            return ()

    def _built(self, genotype: Genotype) -> tuple[SearchSpace, Anatomy]:
        """A network without weights; a parent is compared with many."""
        key = tuple(genotype.items())
        found = self._anatomies.get(key)
        if found is None:
            frozen = self.space.freeze(genotype)
            found = frozen, anatomy_on_meta(frozen, self.in_shape)
            if len(self._anatomies) >= _MOST_BUILT:
                self._anatomies.clear()
            self._anatomies[key] = found
        return found

    def identity(self, genotype: Genotype) -> str:
        frozen = self.space.freeze(genotype)
        network = self._identities.of(frozen.network)
        if not frozen.hyperparameters:
            return NETWORK + network
        settings = [[key, label_of(value)] for key, value in frozen.hyperparameters]
        told = json.dumps([network, settings], default=str)
        return NETWORK + hashlib.sha256(told.encode()).hexdigest()[: len(network)]

    def _row(self, genotype: Genotype) -> _Row | None:
        """A network's statistics, and its settings; None: it is impossible."""
        key = tuple(genotype.items())
        if key in self._rows:
            return self._rows[key]
        if len(self._rows) >= _MOST_KEPT:
            self._rows.clear()
        frozen = self.space.freeze(genotype)
        try:
            found = self._statistics.of(frozen.network), self._settings(genotype)
        except SpaceError:
            found = None
        self._rows[key] = found
        return found

    def _settings(self, genotype: Genotype) -> dict[str, float]:
        """The searched settings as numbers: where an ordered one stands, 1 for any other's name."""
        answers = {path: index for path, index in genotype.items() if path.startswith(_SETTINGS)}
        if not self._decisions.keys() >= answers.keys():
            self.space.walk(lambda decision: self._known(decision, genotype))
        found: dict[str, float] = {}
        for path, index in answers.items():
            decision = self._decisions[path]
            if decision.is_ordered:
                found[path] = index / max(1, len(decision.options) - 1)
            else:
                found[f"{path}={index}"] = 1.0
        return found

    def _known(self, decision: Decision, genotype: Genotype) -> int:
        self._decisions[decision.path] = decision
        return genotype[decision.path]

    def _measure(self, part: Traceable, in_shape: InShape) -> Measured:
        """What an operation needs, found out once for equal operations on inputs of one shape."""
        given = hashable(in_shape)
        try:
            found = self._sizes.get((part, given))
        except TypeError:  # an argument cannot be hashed
            return self._measured(part, in_shape)
        if found is None:
            try:
                found = self._measured(part, in_shape)
            except SpaceError as error:
                found = error
            if len(self._sizes) >= _MOST_KEPT:
                self._sizes.clear()
            self._sizes[part, given] = found
        if isinstance(found, SpaceError):
            raise found
        return found

    def _measured(self, part: Traceable, in_shape: InShape) -> Measured:
        assert isinstance(part, Space)
        size, out_shape = measured_operation(part, in_shape, self.in_dtype)
        return Measured(size.parameters, size.flops, out_shape)
