"""What people call a decision: ``layer 2 affine units`` for ``2/repeat/1/affine/units``."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.space import Space
from nasrunner.spaces import activations

_LAYERS = ("repeat", "skip_layers", "string")
"""Modules whose parts are called layers; those of cells are nodes."""

_CONTAINERS = ("or", "optional", "maybe_swap", "concat", "fork", "residual", "shared", "named")
_WORDS = {"maybe_swap": "order", "from": "inputs", "times": "number of layers"}
_EDGE = re.compile(r"(\d+)-(\d+)")
_ACTIVATIONS = {
    value.name()
    for value in vars(activations).values()
    if isinstance(value, type) and issubclass(value, Space) and value is not Space
} | {"identity"}


def readable(options_of: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Names decisions; those that would be called alike are numbered in the order of their paths.

    Args:
        options_of: path, or kind -> the options.
    """
    plain = {path: _name(path, options) for path, options in options_of.items()}
    counts = Counter(plain.values())
    met: Counter[str] = Counter()
    names = {}
    for path in sorted(plain, key=_in_order):
        name = plain[path]
        met[name] += 1
        names[path] = name if counts[name] == 1 else f"{name} #{met[name]}"
    return names


def _name(path: str, options: Sequence[Any]) -> str:
    *above, last = path.split("/")
    words = []
    if above and above[0] == "hyperparameters":
        return " ".join(each for each in (*above[1:], last) if not each.isdigit())
    for place, segment in enumerate(above):
        before = above[place - 1] if place else ""
        if edge := _EDGE.fullmatch(segment):
            words.append(f"edge {edge[1]}→{edge[2]}")
        elif segment in ("normal", "reduction"):
            words.append(segment)
        elif before in _LAYERS:
            words.append(_numbered("layer", segment, 1 if before == "repeat" else 0))
        elif before.endswith("_cell"):
            words.append(_numbered("node", segment, 0))
    return " ".join(filter(None, [*words, *_asked(above, last, options)]))


def _numbered(noun: str, segment: str, first: int) -> str:
    if segment == "*":
        return f"each {noun}"
    return f"{noun} {int(segment) + first}" if segment.isdigit() else f"{segment} {noun}"


def _asked(above: Sequence[str], last: str, options: Sequence[Any]) -> list[str]:
    """The module and its argument, or what is chosen."""
    if last == "or":
        return ["activation" if {*map(str, options)} <= _ACTIVATIONS else "operation"]
    if last == "optional":
        parts = [str(each) for each in options if str(each) != "empty"]
        return [f"optional {parts[0]}" if len(parts) == 1 else "optional part"]
    before = above[-1] if above else ""
    if last.isdigit() or last == "*":  # of a list, or a source
        if before == "from":
            return [f"takes {last}"]
        name = " ".join(_asked(above[:-1], before, options))
        return [f"{name}[{last}]"] if before else [last]
    is_module = bool(re.fullmatch(r"[a-z]\w*", before)) and not (
        before in (*_LAYERS, *_CONTAINERS) or before.endswith("_cell")
    )
    return [before if is_module else "", _WORDS.get(last, last)]


def _in_order(path: str) -> list[tuple[int, int, str]]:
    """Sorts a path's numbers as numbers."""
    return [(0, int(s), "") if s.isdigit() else (1, 0, s) for s in path.split("/")]
