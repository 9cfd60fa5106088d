"""Which proposals are one training: a root, and what goes on with it."""

from dataclasses import dataclass

from nasrunner.core.records import Proposal


@dataclass(frozen=True)
class LineagePlace:
    """Where a proposal stands among those that are one training.

    Attributes:
        first: the one that begins the line.
        place: 0 for the first, 1 for the one that goes on with it, …
        root: the child that was begun first of all that this training comes from.
    """

    first: int
    place: int
    root: int


class Lineages:
    """The lines of a study: each is one training, which proposals pause and go on with.

    The first proposal that goes on with a training, as the same network with the same
    hyperparameters, is of its line. Another one, or a copy with other hyperparameters, begins a
    line of its own, which has the same root.
    """

    def __init__(self) -> None:
        self._places: dict[int, LineagePlace] = {}
        self._next: dict[int, int] = {}
        self._genotype: dict[int, object] = {}

    def add(self, proposal: Proposal) -> None:
        """Takes the next proposal."""
        index, source = proposal.index, proposal.continues
        self._genotype[index] = proposal.genotype
        before = None if source is None else self._places.get(source)
        if source is None or before is None:
            self._places[index] = LineagePlace(index, 0, index)
        elif source in self._next or self._genotype[source] != proposal.genotype:
            self._places[index] = LineagePlace(index, 0, before.root)
        else:
            self._next[source] = index
            self._places[index] = LineagePlace(before.first, before.place + 1, before.root)

    def place_of(self, index: int) -> LineagePlace:
        """Says where a proposal stands."""
        return self._places[index]

    def line(self, first: int) -> list[int]:
        """Lists the proposals of a line, in their order."""
        found = [first]
        while (following := self._next.get(found[-1])) is not None:
            found.append(following)
        return found
