"""Arguments that change while a search goes on."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from nasrunner.core.decision import OneOf, SearchSchedule, parts_of, with_parts
from nasrunner.core.space.part import Part


def value_at_proposal(value: Any, index: int) -> Any:
    """Returns an argument as it stands for one proposal; the same object where nothing is
    scheduled.
    """
    if isinstance(value, SearchSchedule):
        return dataclasses.replace(value, now=value.stage(index)) if value.now is None else value
    if isinstance(value, Part):
        return value.at_proposal(index)
    if isinstance(value, OneOf) and not value.is_nested:
        return value
    before = dict(parts_of(value))
    now = {place: value_at_proposal(part, index) for place, part in before.items()}
    if all(now[place] is part for place, part in before.items()):
        return value
    if isinstance(value, OneOf):
        return dataclasses.replace(value, options=tuple(now.values()))
    return with_parts(value, lambda place, _: now[place])


def schedules_of_value(value: Any) -> Iterator[SearchSchedule]:
    """Yields every schedule in an argument, those inside its modules, too."""
    if isinstance(value, SearchSchedule):
        yield value
    elif isinstance(value, Part):
        yield from value.schedules()
    elif not isinstance(value, OneOf) or value.is_nested:
        for _, part in parts_of(value):
            yield from schedules_of_value(part)
