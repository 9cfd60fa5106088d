"""How many proposals in a row have brought nothing new."""

from nasrunner.core.records import MEASURED, Extent, Outcome


class Repeats:
    """Counts proposals that were known, invalid or too large, since the last one that was neither.

    Attributes:
        num_fruitless: those in a row that were known, invalid, or beyond a limit of an objective
            by their size, in this session of the study.
        num_known: those in a row that were to begin a child, which was known.
        known_extents: how much of a training these asked for, the latest last.
        num_idle: those in a row that were to go on with a child as another one has before.
    """

    def __init__(self) -> None:
        self.num_fruitless = 0
        self.num_known = 0
        self.known_extents: list[Extent] = []
        self.num_idle = 0

    def add(self, outcome: Outcome) -> None:
        """Takes the next outcome of the ledger."""
        is_known = outcome.reused_from is not None
        is_new = not is_known and outcome.status in (*MEASURED, "failed") and outcome.is_trained
        self.num_fruitless = 0 if is_new else self.num_fruitless + 1
        goes_on = outcome.proposal.continues is not None
        self.num_idle = self.num_idle + 1 if is_known and goes_on else 0
        if not is_known:
            self.num_known = 0
            self.known_extents.clear()
        elif outcome.proposal.is_root:
            self.num_known += 1
            extent = outcome.proposal.extent
            self.known_extents = [*(e for e in self.known_extents if e != extent), extent]

    def resume(self) -> None:
        """Counts from 0 again, since a session that resumes the study asks for more."""
        self.num_fruitless = 0
