"""Which run a child is written to: one for each line of trainings that go on with one another."""

from dataclasses import dataclass

from nasrunner.core.ledger.lineages import Lineages
from nasrunner.core.records import Outcome, Proposal


@dataclass(frozen=True)
class Line:
    """Where a child stands in the line whose run it is written to.

    Attributes:
        children: those of the line, up to this one.
        cost_s: seconds that those before it were trained.
    """

    children: tuple[int, ...]
    cost_s: float = 0.0

    @property
    def first(self) -> int:
        """The child that the run is named after."""
        return self.children[0]

    @property
    def name(self) -> str:
        """What the run is called, as the first child's folder is."""
        return f"{self.first:04d}"

    @property
    def place(self) -> int:
        """How many are before this one."""
        return len(self.children) - 1

    @property
    def index(self) -> int:
        """The child's own."""
        return self.children[-1]

    @property
    def before(self) -> int | None:
        """The child that it goes on with; None: it is the first."""
        return self.children[-2] if self.place else None


class Lines:
    """Says for each child where it stands. Only the study's thread asks it.

    Args:
        lineages: those of the study.
    """

    def __init__(self, lineages: Lineages) -> None:
        self._lineages = lineages
        self._spent_s: dict[int, float] = {}

    def of(self, proposal: Proposal) -> Line:
        """Finds where a proposal stands."""
        member = self._lineages.place_of(proposal.index)
        if not member.place:
            return Line((proposal.index,))
        children = self._lineages.line(member.first)[: member.place + 1]
        return Line(tuple(children), self._spent_s.get(children[-2], 0.0))

    def ended(self, outcome: Outcome) -> Line:
        """Finds where an outcome's child stands, of which the next one's cost follows."""
        line = self.of(outcome.proposal)
        self._spent_s[line.index] = line.cost_s + outcome.cost_s
        return line
