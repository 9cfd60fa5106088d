"""Long texts of a table's column, shortened where they agree and not where they differ."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

LONG_TEXT = 110

_STEP = " → "
_LONG_STEP = 20
_ODD = 3
"""A text with fewer than one in so many of the steps that others share is an odd one."""


def briefs(texts: Sequence[str]) -> list[str | None]:
    """Returns what is shown of each text until it is unfolded; None: all of it.

    What texts have in common, in one order, becomes ``…``; what differs stays, however long. One
    that has next to nothing in common with the others stays whole.
    """
    if max(map(len, texts), default=0) <= LONG_TEXT:
        return [None] * len(texts)
    if len(set(texts)) == 1:
        return [_clipped(text) for text in texts]
    is_series = sum(_STEP in text for text in texts) > len(texts) / 2
    steps = [re.split(f"({_STEP})" if is_series else "( )", text)[::2] for text in texts]
    joint = _STEP if is_series else " "
    common = _common(steps)
    shown = [_without(each, common, joint, inside=True) for each in steps]
    if len(set(shown)) < len(set(texts)):  # they differ in the places of what they share
        shown = [_without(each, common, joint, inside=False) for each in steps]
    if len(set(shown)) < len(set(texts)):
        shown = list(texts)
    is_shorter = [len(t) - len(s) >= _LONG_STEP for s, t in zip(shown, texts, strict=True)]
    return [brief if is_ else None for brief, is_ in zip(shown, is_shorter, strict=True)]


def _clipped(text: str) -> str | None:
    return None if len(text) <= LONG_TEXT else f"{text[:LONG_TEXT].rsplit(' ', 1)[0]} …"


def _common(steps: Sequence[Sequence[str]]) -> list[str]:
    """Steps that all but a few odd ones have, in this order; none where half are odd."""
    found, num_odd = list(steps[0]), 0
    for each in steps[1:]:
        matcher = SequenceMatcher(None, found, each, autojunk=False)
        shared = [step for m in matcher.get_matching_blocks() for step in found[m.a : m.a + m.size]]
        if len(shared) < len(found) / _ODD:
            num_odd += 1
        else:
            found = shared
    return found if num_odd < len(steps) / 2 else []


def _without(steps: Sequence[str], common: Sequence[str], joint: str, *, inside: bool) -> str:
    """The steps with each run of common ones as ``…``: at both ends, and between where asked.

    A short step between two others stays. Steps that lack some of the common ones stay whole.
    """
    is_common, place = [], 0
    for step in steps:
        is_same = place < len(common) and step == common[place]
        place += is_same
        is_common.append(is_same)
    if place < len(common):
        return joint.join(steps)
    shown: list[str] = []
    start = 0
    while start < len(steps):
        end = start
        while end < len(steps) and is_common[end] == is_common[start]:
            end += 1
        is_at_end = start == 0 or end == len(steps)
        is_long = end - start > 1 or len(steps[start]) > _LONG_STEP
        if is_common[start] and (is_at_end or (inside and is_long)):
            shown.append("…")
        else:
            shown += steps[start:end]
        start = end
    return joint.join(shown)
