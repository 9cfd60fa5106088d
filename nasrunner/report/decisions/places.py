"""Which decisions of a study are one: what the repetitions of a block have in common."""

import re
from collections.abc import Iterator, Sequence

from nasrunner.core.decision import Decision

_EDGE = re.compile(r"\d+-\d+")


def varying_places(asked: Sequence[Sequence[Decision]]) -> frozenset[str]:
    """Finds the blocks whose number of repetitions varies, or is itself a decision.

    Args:
        asked: of each child its decisions.

    Returns:
        The places of their repetitions, with ``*`` for those: ``2/repeat/*``.
    """
    decided = {d.kind for each in asked for d in each if len(d.options) > 1}
    positions: dict[str, set[frozenset[str]]] = {}
    for decisions in asked:
        of_child: dict[str, set[str]] = {}
        for decision in decisions:
            for place, repetition in _repetitions(decision):
                of_child.setdefault(place, set()).add(repetition)
        for place, repetitions in of_child.items():
            positions.setdefault(place, set()).add(frozenset(repetitions))
    return frozenset(
        place
        for place, found in positions.items()
        if len(found) > 1 or f"{place.removesuffix('*')}times" in decided
    )


def place_of(decision: Decision, varying: frozenset[str]) -> str:
    """Returns a decision's path, with ``*`` for the repetitions of blocks that vary."""
    chosen, kind = [], ""
    for segment, of_kind in _segments(decision):
        kind = f"{kind}/{of_kind}" if kind else of_kind
        is_one = of_kind == "*" and not _EDGE.fullmatch(segment) and kind in varying
        chosen.append("*" if is_one else segment)
    return "/".join(chosen)


def _repetitions(decision: Decision) -> Iterator[tuple[str, str]]:
    """The place and the number of each repetition that a decision stands in."""
    kind = ""
    for segment, of_kind in _segments(decision):
        kind = f"{kind}/{of_kind}" if kind else of_kind
        if of_kind == "*" and not _EDGE.fullmatch(segment):
            yield kind, segment


def _segments(decision: Decision) -> Iterator[tuple[str, str]]:
    return zip(decision.path.split("/"), decision.kind.split("/"), strict=True)
