"""Layers written as a string of tokens, which a final token ends."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from nasrunner.core.annotations import AtLeast
from nasrunner.core.decision import Address, Choose, Decision, readable_count
from nasrunner.core.errors import SpaceError
from nasrunner.core.order import listed
from nasrunner.core.questions import Asked, Question
from nasrunner.core.shapes import Shape
from nasrunner.core.space import Space, enter, resolve_module
from nasrunner.spaces.composite import Concat

FINAL = "final"
"""The token that ends the string."""

MAX_TOKENS = 1000
"""A vocabulary of more is refused: every decision lists all of it."""


@dataclass(frozen=True)
class String(Space):
    """Submodules in series, one token each, until a final token or the length ends the string.

    Each architecture that ``token`` can be is a token of its own, and one decision picks among
    them and the final token, where ``repeat`` decides the length first and asks several questions
    a layer. No final token is asked for after ``max_length`` others. MLPNAS writes perceptrons so:
    Minutoli & Ciranni, "Neural Architecture Search: An Overview", section 4.

    Args:
        max_length: tokens at most, the final one not counted, >= 1.
        first: what the first token stands for, which is never the final one.
        token: what the others stand for.

    Raises:
        SpaceError: ``max_length`` is a decision, or a token can be more than 1,000 architectures
            or changes while a search goes on.
    """

    max_length: Annotated[int, AtLeast(1)]
    first: Space
    token: Space

    def __post_init__(self) -> None:
        if not isinstance(self.max_length, int):
            raise SpaceError(
                f"max_length of string must be a whole number, got {self.max_length}: its final "
                "token decides the length"
            )
        for name in ("first", "token"):
            module: Space = getattr(self, name)
            if (count := module.size()) > MAX_TOKENS:
                raise SpaceError(
                    f"{name} of string must be at most {MAX_TOKENS:,} architectures, each a token, "
                    f"and can be {readable_count(count)}"
                )
            if next(module.schedules(), None) is not None:
                raise SpaceError(f"{name} of string must have no schedule: its tokens are fixed")

    def resolve(self, ask: Choose, at: Address) -> Space:
        layers = []
        for position in range(self.max_length):
            index = ask(self._decision(at, position))
            if self._ends(position, index):
                break
            layers.append(self._layer(at, position, index))
        return Concat(tuple(layers), path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        yield self._asked(at, 0)

    def size(self) -> int:
        each = self.token.size()
        return self.first.size() * sum(
            math.prod([each] * length) for length in range(self.max_length)
        )

    def most_modules(self) -> int:
        later = (self.max_length - 1) * self.token.most_modules()
        return 1 + self.first.most_modules() + later

    def decisions(self, at: Address) -> Iterator[Decision]:
        for position in range(min(2, self.max_length)):
            yield self._decision(at, position)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its tokens have to be chosen: freeze it first")

    def _asked(self, at: Address, position: int) -> Asked:
        def opens(index: int) -> Iterator[Question]:
            if not self._ends(position, index) and position + 1 < self.max_length:
                yield self._asked(at, position + 1)

        return Asked(self._decision(at, position), opens)

    def _decision(self, at: Address, position: int) -> Decision:
        at = self._token_at(at, position)
        options = self._later_tokens if position else self._first_tokens
        return Decision(at.path, at.kind, options, is_ordered=False)

    def _token_at(self, at: Address, position: int) -> Address:
        return at.repetition(position) if position else at / "first"

    @staticmethod
    def _ends(position: int, index: int) -> bool:
        """Whether an answer is the final token, the first option of all decisions but the first."""
        return position > 0 and index == 0

    def _layer(self, at: Address, position: int, index: int) -> Space:
        """What a token stands for."""
        module = self.token if position else self.first
        answers = iter(
            self._answers_of_token[index - 1] if position else self._answers_of_first[index]
        )
        where = enter(module, self._token_at(at, position))
        return resolve_module(module, lambda decision: next(answers), where)

    @functools.cached_property
    def _answers_of_first(self) -> tuple[tuple[int, ...], ...]:
        return _answers(self.first)

    @functools.cached_property
    def _answers_of_token(self) -> tuple[tuple[int, ...], ...]:
        return _answers(self.token)

    @functools.cached_property
    def _first_tokens(self) -> tuple[str, ...]:
        return _texts(self.first)

    @functools.cached_property
    def _later_tokens(self) -> tuple[str, ...]:
        return FINAL, *_texts(self.token)


def _answers(module: Space) -> tuple[tuple[int, ...], ...]:
    """The answers that make each architecture of a module, in the order they are asked."""
    return tuple(tuple(genotype.values()) for genotype in listed(module))


def _texts(module: Space) -> tuple[str, ...]:
    """What each architecture of a module is called."""
    return tuple(module.freeze(genotype).text() for genotype in listed(module))
