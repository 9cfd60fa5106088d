"""What travels between searcher, executor and ledger: proposals go out, outcomes come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nasrunner.core.decision import Genotype, genotype_hash

Status = Literal["completed", "failed", "invalid", "duplicate"]


def child_folder(study_folder: Path, index: int) -> Path:
    """Where the child number ``index`` keeps its files."""
    return study_folder / "children" / f"{index:04d}"


def last_line(error: str | None) -> str:
    """The line of a child's error that says what happened: of a traceback, the last."""
    lines = (error or "").strip().splitlines()
    return lines[-1][:160] if lines else "no reason given"


@dataclass(frozen=True)
class Proposal:
    """One child to train. Small, and JSON: it crosses process borders and stands in the ledger.

    Attributes:
        index: 0, 1, 2, … in the order the searcher proposed.
        genotype: its answers, decision path -> option index.
        notes: numbers of the searcher's own, returned to it with the outcome (``parent``: the
            index of the child this one was mutated from).
        seed: of its training; None: it follows from its index, as in studies of earlier versions.
    """

    index: int
    genotype: Genotype
    notes: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None

    @cached_property
    def hash(self) -> str:
        """The architecture hash, equal for proposals of the same genotype."""
        return genotype_hash(self.genotype)

    def to_json(self) -> dict[str, Any]:
        seed = {} if self.seed is None else {"seed": self.seed}
        return {"index": self.index, "genotype": self.genotype, "notes": dict(self.notes), **seed}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Proposal":
        genotype, notes = dict(record["genotype"]), dict(record["notes"])
        return cls(record["index"], genotype, notes, record.get("seed"))


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal.

    Attributes:
        status: ``completed`` has a reward; ``failed`` was started and broke; ``invalid`` was
            never trained, because its network cannot be built or exceeds a limit; ``duplicate``
            was proposed before and is replaced by another proposal.
        reward: what the searcher maximises. Higher is better.
        metrics: final values under their metric names.
        cost_s: wall-clock seconds spent in the worker; 0 where nothing was trained.
        error: for ``failed`` and ``invalid``: the reason, readable; the middle of a long one is
            cut out.
        reused_from: index of the child with the same genotype whose outcome this repeats.
        is_changed: whether it was trained after the user's source or data had changed.
    """

    proposal: Proposal
    status: Status
    reward: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost_s: float = 0.0
    error: str | None = None
    reused_from: int | None = None
    is_changed: bool = False

    def __post_init__(self) -> None:
        if self.error is not None and len(self.error) > _MAX_ERROR:
            object.__setattr__(self, "error", _shortened(self.error))

    @property
    def is_evaluation(self) -> bool:
        """Whether it spends budget: the child was trained, or its outcome was reused."""
        return self.status in ("completed", "failed")

    def to_json(self) -> dict[str, Any]:
        """Everything but the proposal, which is named by its index."""
        return {
            "index": self.proposal.index,
            "status": self.status,
            "reward": self.reward,
            "metrics": dict(self.metrics),
            "cost_s": round(self.cost_s, 4),
            "error": self.error,
            "reused_from": self.reused_from,
            **({"changed": True} if self.is_changed else {}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], proposal: Proposal) -> "Outcome":
        return cls(
            proposal,
            record["status"],
            record["reward"],
            record["metrics"],
            record["cost_s"],
            record["error"],
            record["reused_from"],
            record.get("changed", False),
        )


_MAX_ERROR = 20_000
"""Characters of an error that are recorded: every reader of a ledger reads them all."""


def _shortened(error: str) -> str:
    half = _MAX_ERROR // 2 - 50
    note = f"\n[{len(error) - 2 * half:,} characters were cut here]\n"
    return f"{error[:half]}{note}{error[-half:]}"
