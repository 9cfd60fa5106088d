"""The state of a study: a fold over its ledger's events, and nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.ledger.checks import times
from nasrunner.core.ledger.events import (
    Began,
    Ended,
    Event,
    Proposed,
    Recorded,
    Reported,
    Resumed,
    Stopping,
    read_event,
)
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.known import Known
from nasrunner.core.ledger.lineages import Lineages
from nasrunner.core.ledger.repeats import Repeats
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import Extent, Outcome, Proposal


class StudyState:
    """What is known of a study after the events that were applied, in their order.

    The loop, a resumed study's replay, reports and the terminal all read it from here.

    Attributes:
        began: the first event; None before it.
        begins_with: what was known before the first proposal; None: nothing.
        proposals: by index, in the order they were proposed.
        lineages: which proposals are one training.
        history: the outcomes, and what follows from them.
        in_flight: the proposals without an outcome, by index.
        times_proposed: how often each identity was proposed.
        begun: the architectures that children were to be begun of, by how much of their training.
        repeats: how many proposals in a row have brought nothing new.
        num_roots_in_flight: children that were begun and have no outcome yet.
        outcomes: by index, in the order they were recorded.
        num_epochs: how many epochs each child with a curve was trained, by index.
        heard: the last epoch that each child has reported.
        stopping: after which epoch each child was stopped, by index.
        sessions: when the first and the last event of each session were written, Unix seconds.
        proposed_s: when each child was proposed, Unix seconds, by index.
        ended_s: when the outcome of each was recorded.
        fingerprints: what the study depends on beside its configuration, as noted last; None:
            that was never noted.
        changed: what of it changed between sessions, in words.
        reason: why the study ended; None: it goes on, or was killed.
    """

    def __init__(self) -> None:
        self.began: Began | None = None
        self.begins_with: Known | None = None
        self.proposals: dict[int, Proposal] = {}
        self.lineages = Lineages()
        self.history = History()
        self.in_flight: dict[int, Proposal] = {}
        self.times_proposed: Counter[str] = Counter()
        self.begun: dict[Extent, set[Key]] = {}
        self.repeats = Repeats()
        self.num_roots_in_flight = 0
        self.outcomes: dict[int, Outcome] = {}
        self.num_epochs: dict[int, int] = {}
        self.heard: dict[int, int] = {}
        self.stopping: dict[int, int] = {}
        self.sessions: list[tuple[float, float]] = []
        self.proposed_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.fingerprints: Mapping[str, str] | None = None
        self.changed: list[str] = []
        self.reason: str | None = None
        self.num_events = 0

    @classmethod
    def of(
        cls, records: Sequence[Mapping[str, Any]], instead: Mapping[int, Outcome] | None = None
    ) -> "StudyState":
        """Returns the state after all lines of a ledger, which were checked.

        Args:
            records: the lines.
            instead: outcomes that are taken in the place of recorded ones, by index.
        """
        state, others = cls(), instead or {}
        for record, time_s in zip(records, times(records), strict=True):
            event = read_event(record, state.in_flight)
            if isinstance(event, Recorded):
                event = Recorded(others.get(event.outcome.proposal.index, event.outcome))
            state.apply(event, time_s)
        return state

    def apply(self, event: Event | None, time_s: float) -> None:
        """Takes the next event.

        Args:
            event: None: one that only later versions know, which changes nothing.
            time_s: when it was written, Unix seconds.
        """
        self.num_events += 1
        if not self.sessions or isinstance(event, Resumed):
            self.sessions.append((time_s, time_s))
        first_s, last_s = self.sessions[-1]
        self.sessions[-1] = (first_s, max(last_s, time_s))
        self.reason = None
        match event:
            case Began():
                self.began = event
                self._note(event.fingerprints, ())
            case Resumed():
                self.repeats.resume()
                self._note(event.fingerprints, event.changed)
            case Known():
                self.begins_with = event
            case Proposed(proposal):
                self.proposals[proposal.index] = self.in_flight[proposal.index] = proposal
                self.lineages.add(proposal)
                self.times_proposed[proposal.key] += 1
                if proposal.is_root:
                    key = key_of(proposal.genotype)
                    self.begun.setdefault(proposal.extent, set()).add(key)
                    self.num_roots_in_flight += 1
                self.proposed_s[proposal.index] = time_s
            case Reported(report):
                self.heard[report.index] = report.epoch
            case Stopping(index, epoch):
                self.stopping[index] = epoch
            case Recorded(outcome):
                del self.in_flight[outcome.proposal.index]
                self.num_roots_in_flight -= outcome.proposal.is_root
                place = self.lineages.place_of(outcome.proposal.index).place
                self.history.add(outcome, is_same_child=place > 0)
                self.repeats.add(outcome)
                self.outcomes[outcome.proposal.index] = outcome
                if outcome.curve:
                    self.num_epochs[outcome.proposal.index] = max(map(len, outcome.curve.values()))
                self.ended_s[outcome.proposal.index] = time_s
            case Ended(reason):
                self.reason = reason

    @property
    def num_plain(self) -> int:
        """How many architectures were to be trained from first weights to the end."""
        return len(self.begun.get((None, ()), ()))

    @property
    def elapsed_s(self) -> float:
        """Seconds of all its sessions together, to their last events."""
        return sum(last_s - first_s for first_s, last_s in self.sessions)

    def _note(self, fingerprints: Mapping[str, str], changed: Sequence[str]) -> None:
        if fingerprints:
            self.fingerprints = fingerprints
        self.changed.extend(each for each in changed if each not in self.changed)
