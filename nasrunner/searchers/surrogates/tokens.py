"""The answers of a genotype as tokens that networks read."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.space import Space

Share = Literal["kinds", "labels"]
"""What shares a token: the answers of decisions of one kind, whose options are the same; or all
that are labelled alike, of decisions whose paths differ in numbers alone."""

_NUMBER = re.compile(r"(?<![^/])\d+(?![^/])")
"""A segment of a path that is a number."""


@dataclass(frozen=True)
class Role:
    """Which question a decision asks, wherever it stands.

    Attributes:
        name: what decisions of one role have in common.
        rows: the token of each of its options.
    """

    name: str
    rows: tuple[int, ...]


class Tokens:
    """Numbers what a genotype may answer: its rows.

    Args:
        space: what the genotypes are of.
        share: with ``kinds`` decisions share their tokens which are of one kind, as a controller's
            do; with ``labels`` also those whose paths differ in numbers alone, as of blocks that
            choose among more earlier ones each: options that are labelled alike are one token.

    Attributes:
        role_of: decision kind -> its role.
        roles: their names, in the order in which decisions are asked.
        num_rows: of all roles together.
    """

    def __init__(self, space: Space, share: Share) -> None:
        self.space = space
        self.role_of: dict[str, Role] = {}
        found: dict[tuple[str, str], int] = {}
        for kind, options in space.signature().items():
            name = kind if share == "kinds" else _NUMBER.sub("*", kind)
            places = range(len(options))
            labels = [str(place if share == "kinds" else options[place]) for place in places]
            rows = tuple(found.setdefault((name, label), len(found)) for label in labels)
            self.role_of[kind] = Role(name, rows)
        self.roles = list(dict.fromkeys(role.name for role in self.role_of.values()))
        self.num_rows = len(found)

    def read(self, genotype: Genotype, implied: Collection[str] = ()) -> list[tuple[str, int]]:
        """Returns the role and the row of each answer, in the order that decisions are asked in.

        Args:
            genotype: answers them.
            implied: paths of decisions that are left out.
        """
        read: list[tuple[str, int]] = []

        def replay(decision: Decision) -> int:
            index = genotype[decision.path]
            if decision.path not in implied:
                role = self.role_of[decision.kind]
                read.append((role.name, role.rows[index]))
            return index

        self.space.walk(replay)
        return read
