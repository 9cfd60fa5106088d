"""Which option of a decision a written value means."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.decision import shown
from nasrunner.core.language.moved import with_present_targets

_AS_GOOD_AS_EQUAL = 1e-6
"""By what share a number may differ from an option, as one that was rounded to be read does."""

_REPETITION = re.compile(r"[0-9]+(-[0-9]+)?")


def same_option(options: Sequence[Any], value: Any) -> int | None:
    """Returns the index of the option that is this value; None: none is.

    Args:
        options: of a decision.
        value: an option of another, as JSON has it.
    """
    wanted = _canonical(value)
    found = (index for index, option in enumerate(options) if _canonical(option) == wanted)
    return next(found, None)


def meant_option(options: Sequence[Any], answer: Any) -> int | None:
    """Returns the index of the option that a person means by an answer; None: none, or several.

    Numbers may be rounded to six digits, and any option may be written as tables and reports do.
    """
    if (index := same_option(options, answer)) is not None:
        return index
    near = [i for i, option in enumerate(options) if _is_near(option, answer)]
    if not near:
        text = str(answer).strip()
        near = [i for i, option in enumerate(options) if str(shown(option)) == text]
    return near[0] if len(near) == 1 else None


def is_of_kind(path: str, kind: str) -> bool:
    """Tells whether a decision at this path is of a kind, in which ``*`` stands for any repetition.

    A repetition has a number, or those of the two nodes that an edge of a ``cell`` is between.
    """
    one, other = path.split("/"), kind.split("/")
    return len(one) == len(other) and all(
        part == asked or (asked == "*" and _REPETITION.fullmatch(part) is not None)
        for part, asked in zip(one, other, strict=True)
    )


def _canonical(value: Any) -> str:
    """A text that is equal for equal values: of numbers 1 and 1.0 are, and True is none."""
    if isinstance(value, Mapping):
        value = with_present_targets(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=repr)


def _is_near(option: Any, answer: Any) -> bool:
    both = option, answer
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in both):
        return False
    return math.isclose(option, answer, rel_tol=_AS_GOOD_AS_EQUAL)
