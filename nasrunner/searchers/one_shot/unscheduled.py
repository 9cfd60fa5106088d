"""Refuses schedules where a search finds architectures of the whole space at once."""

from nasrunner.core.space import Space


def check_unscheduled(space: Space, searcher: str) -> None:
    """Refuses a space some of whose numbers change with the proposals.

    Args:
        space: what is searched.
        searcher: the name of who searches it.

    Raises:
        ValueError: it has a schedule.
    """
    if next(iter(space.schedules()), None) is not None:
        raise ValueError(
            f"space must have no schedule, since {searcher} finds architectures of the whole space "
            "at once; legal in its place is a number, or {oneof: [...]}"
        )
