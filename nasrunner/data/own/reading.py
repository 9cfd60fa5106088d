"""What is known of own data once it was read: for those who read more of the same later."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["arrays", "table", "images"]

Label = str | bool | int | float
"""A class, as it stands in the data."""


def as_label(value: Any) -> Label:
    """Returns a value as JSON has it: dates, decimals and other objects become texts."""
    return value if isinstance(value, str | bool | int | float) else str(value)


@dataclass(frozen=True)
class Reading:
    """Says how examples of own data become inputs of a network, and its outputs become answers.

    Attributes:
        kind: what the data are.
        settings: how they are read, by the names of the data set's settings.
        classes: in the order of the outputs; None: the outputs are numbers.
        mean: what is subtracted from each channel or feature; of several inputs lists by name.
            None: the only input is of tokens.
        std: what they are divided by then, likewise.
        columns: of a table, in the order of its features: what ``Column.to_json`` returns.
    """

    kind: Kind
    settings: Mapping[str, Any]
    classes: tuple[Label, ...] | None
    mean: Any
    std: Any
    columns: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """Returns it as a text that ``from_json`` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Reading":
        """Reads what ``to_json`` returned."""
        found = json.loads(text)
        classes = found.pop("classes")
        columns = tuple(found.pop("columns"))
        return cls(**found, classes=classes if classes is None else (*classes,), columns=columns)


@dataclass(frozen=True)
class Guess:
    """What own data say of themselves, where nobody has set it.

    Attributes:
        settings: keys of ``data`` with what they must be.
        source: what was read, in words.
        facts: what is worth knowing of it, in words; each is a part of a sentence.
    """

    settings: Mapping[str, Any]
    source: str
    facts: tuple[str, ...]

    def told(self) -> str:
        """Returns it as one sentence, but for the digest, which says nothing to a reader."""
        known = {name: value for name, value in self.settings.items() if name != "digest"}
        found = ", ".join(f"{name}={value}" for name, value in known.items())
        return f"{self.source}: {'; '.join([*self.facts, found])}"
