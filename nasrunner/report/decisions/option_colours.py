"""The options of a decision as colours that can be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from nasrunner.core.decision import shown
from nasrunner.report.decisions.answers import Answers
from nasrunner.report.page.style import colour_of
from nasrunner.report.study.evaluations import clipped

MAX_OPTIONS = 10
"""Ordered options told apart in a panel, neighbours being merged; the table has all."""

_CATEGORIES = ("blue", "orange", "green", "vermillion", "sky", "purple", "context", "muted")
"""Colours of unordered options; the last one is that of all others, if there are more."""


@dataclass(frozen=True)
class Band:
    """Options that are drawn as one.

    Attributes:
        label: what the figure calls them.
        colour: a hex colour.
        options: their indices.
    """

    label: str
    colour: str
    options: Sequence[int]


def bands_of(each: Answers) -> list[Band]:
    """Returns the options as a few bands: too many ordered ones are merged, or all rare others."""
    num = len(each.options)
    if each.is_ordered:
        colours = matplotlib.colormaps["viridis"](np.linspace(0.12, 0.95, min(num, MAX_OPTIONS)))
        groups = np.array_split(np.arange(num), min(num, MAX_OPTIONS))
        return [
            Band(_span(each.options, group.tolist()), to_hex(colour), group.tolist())
            for group, colour in zip(groups, colours, strict=True)
        ]
    counts = np.bincount([option for _, option in each.asked], minlength=num)
    by_count = np.argsort(-counts, kind="stable").tolist()
    is_few = num <= len(_CATEGORIES)
    kept = sorted(by_count if is_few else by_count[: len(_CATEGORIES) - 1])
    bands = [
        Band(_shown(each.options[option]), colour_of(colour), [option])
        for option, colour in zip(kept, _CATEGORIES, strict=False)
    ]
    if rare := sorted(set(by_count) - set(kept)):
        bands.append(Band(f"{len(rare)} others", colour_of(_CATEGORIES[-1]), rare))
    return bands


def _span(options: Sequence[Any], group: Sequence[int]) -> str:
    first, last = _shown(options[group[0]]), _shown(options[group[-1]])
    return first if len(group) == 1 else f"{first} – {last}"


def _shown(option: Any) -> str:
    return f"{option:.4g}" if isinstance(option, float) else clipped(shown(option), 22)
