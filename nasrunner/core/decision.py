"""Decisions: the open questions of a search space, where they stand, and their answers."""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from nasrunner.core.errors import SpaceError

Genotype = dict[str, int]
"""The answers that make one architecture: decision path -> option index."""


Made = TypeVar("Made")

_LONGEST_NAME = 40
"""Letters of an option's name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a decision selects: whether ``candidate`` is in the set that ``taker`` takes.

    Attributes:
        candidate: path of a part of the space.
        taker: the same.
    """

    candidate: str
    taker: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One open question of a space.

    Attributes:
        path: where it stands, unique in the space: ``2/optional/dropout/p``.
        kind: ``path`` with the position inside every ``repeat`` replaced by ``*``. Decisions of
            one kind ask the same question with the same options, so a policy can share weights.
        options: what may be answered; a genotype holds an index into it.
        is_ordered: the options are numbers in strictly increasing or decreasing order.
        selection: where the options are (False, True) and select one member of a set; None for
            any other decision.
        forced: the index that the space answers itself, without asking; None: it asks.
    """

    path: str
    kind: str
    options: tuple[Any, ...]
    is_ordered: bool
    selection: Selection | None = None
    forced: int | None = None


Choose = Callable[[Decision], int]
"""Answers a decision with an option index, ``0 <= index < len(decision.options)``."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a part of the space stands: its path, and the same path for decisions of its kind.

    An address keeps those below it, and what was made there, so that the second walk through a
    space makes neither again.
    """

    path: str = ""
    kind: str = ""
    _below: dict[Any, "Address"] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _made: dict[int, tuple[object, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __truediv__(self, segment: str | int) -> "Address":
        if (found := self._below.get(segment)) is None:
            found = self._below[segment] = Address(
                f"{self.path}/{segment}" if self.path else str(segment),
                f"{self.kind}/{segment}" if self.kind else str(segment),
            )
        return found

    def __reduce__(self) -> tuple[type["Address"], tuple[str, str]]:
        return Address, (self.path, self.kind)

    def repetition(self, position: int | str) -> "Address":
        """Returns the address of one repetition; all repetitions share a kind."""
        key = (position,)
        if (found := self._below.get(key)) is None:
            found = self._below[key] = Address((self / position).path, (self / "*").kind)
        return found

    def keep(self, owner: object, make: Callable[[], Made]) -> Made:
        """Returns what ``make`` made for an owner at this address, and calls it the first time."""
        found = self._made.get(id(owner))
        if found is None:
            found = self._made[id(owner)] = (
                owner,
                make(),
            )  # with its owner, whose id lasts as long
        made: Made = found[1]
        return made


def _are_ordered(options: tuple[Any, ...]) -> bool:
    if any(isinstance(o, bool) or not isinstance(o, int | float) for o in options):
        return False
    steps = [after - before for before, after in itertools.pairwise(options)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


@dataclass(frozen=True)
class OneOf:
    """An open argument of a module: exactly one of ``options``, none of them twice.

    An option may hold decisions of its own, which are asked where it is chosen. ``range``,
    ``uniform`` and the like of the space language are this with numbers in order.

    Raises:
        SpaceError: ``options`` is empty or repeats a value.
    """

    options: tuple[Any, ...]
    is_ordered: bool = False

    def __post_init__(self) -> None:
        if not self.options:
            raise SpaceError("oneof needs at least one option, got []")
        seen: set[str] = set()
        for option in self.options:
            text = json.dumps(option, sort_keys=True, default=repr)
            if text in seen:
                raise SpaceError(f"oneof must not repeat an option, got {option!r} twice")
            seen.add(text)
        object.__setattr__(self, "is_ordered", _are_ordered(self.options))

    @property
    def values(self) -> tuple[Any, ...]:
        """The options that can still be chosen."""
        return self.options

    @functools.cached_property
    def is_nested(self) -> bool:
        """Whether an option has decisions of its own, to be asked where it is chosen."""
        return any(map(is_open, self.options))

    def decision(self, at: Address) -> Decision:
        """Returns the decision that it becomes at an address."""
        return at.keep(self, lambda: self._decision(at))

    def _decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self._labels, self.is_ordered)

    @functools.cached_property
    def _labels(self) -> tuple[Any, ...]:
        return tuple(map(label_of, self.options)) if self.is_nested else self.options

    @property
    def label(self) -> str:
        """The options in a text, ``{8, 16, 32}``; many are shortened."""
        options = [*self.options[:3], "…", self.options[-1]] if len(self.options) > 8 else None
        return f"{{{', '.join(shown(label_of(each)) for each in options or self.options)}}}"


@dataclass(frozen=True)
class SearchSchedule(OneOf):
    """An argument that changes in the course of a search, from option to option.

    The first ``every`` proposals of a search have the first option, as many after them the
    second, and so on; the last stays. No searcher is asked: see ``Space.at_proposal``. To all
    who look at proposals of any time it is an ordinary ordered decision.

    Args:
        options: whole numbers, each higher than the one before.
        every: proposals until the next option, >= 1.
        now: the index of the option that has its time; None: any time.

    Raises:
        SpaceError: the options do not rise, or ``every`` is less than 1.
    """

    every: int = field(kw_only=True)
    now: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_ordered or self.options[-1] < self.options[0]:
            raise SpaceError(f"a schedule must go up, got {list(self.options)}")
        if self.every < 1:
            raise SpaceError(f"every of a schedule must be >= 1 proposal, got {self.every}")

    @property
    def values(self) -> tuple[Any, ...]:
        return self.options if self.now is None else (self.options[self.now],)

    def stage(self, index: int) -> int:
        """Returns the index of the option that proposal number ``index`` has."""
        return min(index // self.every, len(self.options) - 1)

    def _decision(self, at: Address) -> Decision:
        return replace(super()._decision(at), forced=self.now)


def parts_of(value: Any) -> Iterable[tuple[str | int, Any]]:
    """Returns what a mapping, list or ``OneOf`` holds, each part with its name or place."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, OneOf):
        return enumerate(value.options)
    return enumerate(value) if isinstance(value, list | tuple) else ()


def with_parts(value: Any, change: Callable[[str | int, Any], Any]) -> Any:
    """Returns a mapping or list with every part changed; any other value as it is."""
    if isinstance(value, Mapping):
        return {name: change(name, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        changed = [change(place, part) for place, part in enumerate(value)]
        return changed if isinstance(value, list) else tuple(changed)
    return value


def is_open(value: Any) -> bool:
    """Tells whether an argument of a module still has a decision of its own, however deep."""
    return isinstance(value, OneOf) or any(is_open(part) for _, part in parts_of(value))


def label_of(value: Any) -> Any:
    """Returns a value as listed among options: open parts become texts, ``{8, 16}``."""
    if isinstance(value, OneOf):
        return value.label
    return with_parts(value, lambda _, part: label_of(part))


def shown(value: Any) -> str:
    """Returns ``SGD(lr=0.1)`` for an object's configuration; mappings and lists as YAML writes
    them.
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if not isinstance(value, Mapping):
        return str(value)
    if "_target_" not in value:
        return f"{{{', '.join(f'{name}: {shown(part)}' for name, part in value.items())}}}"
    given = [f"{name}={shown(v)}" for name, v in value.items() if not str(name).startswith("_")]
    return f"{str(value['_target_']).rpartition('.')[2]}({', '.join(given)})"


def option_names(decision: Decision) -> tuple[str, ...]:
    """Returns a short name for each option of a decision, no two of them the same."""
    if decision.selection is not None:
        return ("left out", "taken")
    names: dict[str, None] = {}
    for index, option in enumerate(decision.options):
        text = shown(option)
        name = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
        while name in names:
            name += f" #{index}"
        names[name] = None
    return tuple(names)


def options_of(value: Any) -> tuple[Any, ...]:
    """Returns every value that an argument of a module can have: its options, or itself."""
    if not isinstance(value, OneOf):
        return (value,)
    return tuple(each for option in value.options for each in options_of(option))


def most(value: Any) -> int:
    """Returns the highest value of an argument that takes whole numbers."""
    return max(map(int, options_of(value)))


def values_of(value: Any) -> tuple[Any, ...]:
    """Returns every value that an argument can have when its schedules are fixed."""
    if not isinstance(value, OneOf):
        return (value,)
    return tuple(each for option in value.values for each in values_of(option))


def readable_count(count: int) -> str:
    """Formats a count: ``1,024``, or ``1.2e1801`` from 1e15 on."""
    if count < 10**15:
        return f"{count:,}"
    return f"{Decimal(count):.1e}".replace("e+", "e")  # a float would overflow


def genotype_hash(genotype: Mapping[str, int]) -> str:
    """Returns twelve hex digits that are the same for a genotype in every process."""
    text = json.dumps(sorted(genotype.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
