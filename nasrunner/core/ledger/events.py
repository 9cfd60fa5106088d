"""The events of a ledger: what happened to a study, in the order in which it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nasrunner.core.ledger.known import Known
from nasrunner.core.records import Outcome, Proposal, Report


@dataclass(frozen=True)
class Began:
    """The first event of a study.

    Attributes:
        version: of the ledger's format.
        seed: the study's.
        space: the kinds of its space's decisions -> their options.
        fingerprints: what it depends on beside its configuration -> a text that changes with it.
        knows_networks: whether genotypes that make the same network are the same to it.
        reward: the ``metric`` that rewards are made of, and the ``mode`` in which it is better;
            empty where a trainer knows none.
    """

    kind: ClassVar[str] = "study"
    must_last: ClassVar[bool] = True

    version: int
    seed: int
    space: Mapping[str, Any]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    knows_networks: bool = False
    reward: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        noted = {
            "fingerprints": dict(self.fingerprints),
            "knows_networks": self.knows_networks,
            "reward": dict(self.reward),
        }
        told = {name: value for name, value in noted.items() if value}
        return {"version": self.version, "seed": self.seed, "space": dict(self.space), **told}


@dataclass(frozen=True)
class Resumed:
    """Another session of the study begins.

    Attributes:
        fingerprints: as of ``Began``, now.
        changed: what of it is not as it was in the session before, in words.
    """

    kind: ClassVar[str] = "resumed"
    must_last: ClassVar[bool] = True

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        told = {"fingerprints": dict(self.fingerprints), "changed": list(self.changed)}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True)
class Proposed:
    """The searcher has proposed a child."""

    kind: ClassVar[str] = "proposed"
    must_last: ClassVar[bool] = False  # it would propose the same once more

    proposal: Proposal

    def to_json(self) -> dict[str, Any]:
        return self.proposal.to_json()


@dataclass(frozen=True)
class Reported:
    """A running child has told what it measured after an epoch."""

    kind: ClassVar[str] = "reported"
    must_last: ClassVar[bool] = False  # the next event that lasts makes it last, too

    report: Report

    def to_json(self) -> dict[str, Any]:
        report = self.report
        return {"index": report.index, "epoch": report.epoch, "metrics": dict(report.metrics)}


@dataclass(frozen=True)
class Stopping:
    """The searcher stops a running child.

    Attributes:
        index: the child's.
        epoch: after which of its epochs it was decided.
    """

    kind: ClassVar[str] = "stopping"
    must_last: ClassVar[bool] = True

    index: int
    epoch: int

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "epoch": self.epoch}


@dataclass(frozen=True)
class Recorded:
    """What became of a child."""

    kind: ClassVar[str] = "outcome"
    must_last: ClassVar[bool] = True

    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        return self.outcome.to_json()


@dataclass(frozen=True)
class Ended:
    """A session of the study has ended.

    Attributes:
        reason: why, in words.
    """

    kind: ClassVar[str] = "ended"
    must_last: ClassVar[bool] = True

    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason}


Event = Began | Resumed | Known | Proposed | Reported | Stopping | Recorded | Ended


def read_event(record: Mapping[str, Any], proposals: Mapping[int, Proposal]) -> Event | None:
    """Reads an event from a line of a ledger, which ``EventOrder`` has checked.

    Args:
        record: the line.
        proposals: those of the events before, by index.

    Returns:
        The event; None: it is of a kind that only later versions know.
    """
    match record["event"]:
        case "study":
            return Began(
                record["version"],
                record["seed"],
                record["space"],
                record.get("fingerprints", {}),
                record.get("knows_networks", False),
                record.get("reward", {}),
            )
        case "resumed":
            return Resumed(record.get("fingerprints", {}), tuple(record.get("changed", ())))
        case "known":
            return Known.from_json(record)
        case "proposed":
            return Proposed(Proposal.from_json(record))
        case "reported":
            return Reported(Report(record["index"], record["epoch"], record["metrics"]))
        case "stopping":
            return Stopping(record["index"], record["epoch"])
        case "outcome":
            return Recorded(Outcome.from_json(record, proposals[record["index"]]))
        case "ended":
            return Ended(record["reason"])
    return None
