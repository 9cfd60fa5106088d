"""What travels between searcher, executor and ledger: proposals go out, outcomes come back."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nasrunner.core.decision import Genotype, genotype_hash
from nasrunner.core.network.known import NETWORK

Kind = Literal["train", "estimate", "supernet"]

Status = Literal["completed", "paused", "stopped", "failed", "invalid", "duplicate"]

Extent = tuple[int | None, tuple[tuple[str, float], ...]]
"""How much of a training is asked for: after how many epochs it is paused, and its fidelity."""

MEASURED = ("completed", "paused", "stopped")
"""The statuses of proposals that were trained, or estimated, as far as was asked."""


_COST_DIGITS = 4
"""Of an outcome's seconds, after the point, in ledgers and in children's folders."""


def child_folder(study_folder: Path, index: int) -> Path:
    """Returns the folder in which child number ``index`` keeps its files."""
    return study_folder / "children" / f"{index:04d}"


_OUR_MODULE = re.compile(r"^nasrunner\.(?:\w+\.)*(?=\w+: )")


def last_line(error: str | None, max_length: int | None = 160) -> str:
    """Returns the line of a child's error that says what happened: of a traceback, the last.

    Our own errors are named without the module that they are in.
    """
    lines = (error or "").strip().splitlines()
    return _OUR_MODULE.sub("", lines[-1])[:max_length] if lines else "no reason given"


@dataclass(frozen=True)
class Source:
    """Another child that a proposal takes something over from.

    Attributes:
        child: its index.
        what: ``training``: the whole training state, which is continued; ``weights``: the weights
            that fit, as the first weights of a new training; ``morphism``: all of its weights,
            changed so that a wider or deeper network begins with computing what it does.
    """

    child: int
    what: Literal["training", "weights", "morphism"]


@dataclass(frozen=True)
class Proposal:
    """One child to train, estimate, or share weights from.

    Small, and JSON: it crosses process borders and stands in the ledger.

    Attributes:
        index: 0, 1, 2, … in the order the searcher proposed.
        genotype: its answers, decision path -> option index.
        kind: ``train``: a child; ``estimate``: a cheap measurement, no child of its own;
            ``supernet``: one network that holds many, whose outcome says which it found.
        fidelity: dotted keys of the child's configuration -> the numbers that replace their values
            before it is resolved; or ``epochs``, ``data`` (a share of the training examples),
            ``width`` (a share of the network's widths) and ``resolution`` (of images). It makes
            another, cheaper training, which is never continued.
        until: pauses the full training after this many epochs, for another proposal to continue;
            None trains it to its end.
        sources: the children it takes over from: at most one ``training``, or ``weights`` in order
            of precedence.
        parent: the index of the child it was mutated from, if any.
        seed: of its training; None derives it from the index, as studies of earlier versions did.
        identity: equal for proposals that ask for the same evaluation; None stands for the
            architecture's hash, as in studies of earlier versions.
        predicted: the reward that its searcher predicts, if it does. The study records it as the
            reward of an estimate, and runs nothing.
        notes: numbers of the searcher's own, returned to it with the outcome.

    Raises:
        ValueError: two sources are ``training``, or ``until`` is below 1.
    """

    index: int
    genotype: Genotype
    kind: Kind = field(default="train", kw_only=True)
    fidelity: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    until: int | None = field(default=None, kw_only=True)
    sources: tuple[Source, ...] = field(default=(), kw_only=True)
    parent: int | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    identity: str | None = field(default=None, kw_only=True)
    predicted: float | None = field(default=None, kw_only=True)
    notes: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.sources) > 1 and sum(each.what == "training" for each in self.sources) > 1:
            raise ValueError(f"a proposal goes on with one training at most, got {self.sources}")
        if self.until is not None and self.until < 1:
            raise ValueError(f"until must be at least 1 epoch, got {self.until}")

    @cached_property
    def hash(self) -> str:
        """The architecture hash, equal for proposals of the same genotype."""
        return genotype_hash(self.genotype)

    @property
    def continues(self) -> int | None:
        """The child whose training it continues; None if it begins one."""
        for each in self.sources:
            if each.what == "training":
                return each.child
        return None

    @property
    def is_root(self) -> bool:
        """Whether it begins the training of a child, and so spends budget."""
        return self.kind == "train" and self.continues is None

    @property
    def is_prediction(self) -> bool:
        """Whether its outcome is what its searcher has predicted."""
        return self.kind == "estimate" and self.predicted is not None

    @property
    def extent(self) -> Extent:
        """How much of a training it asks for, if it begins one."""
        if self.is_plain:
            return None, ()
        return self.until, tuple(sorted(self.fidelity.items()))

    @property
    def asked(self) -> tuple[str, ...]:
        """What it asks for that is no training from first weights to its end; empty for one.

        Any of ``kind=estimate`` or ``kind=supernet``, ``fidelity``, ``until``, and ``training`` or
        ``weights`` of others.
        """
        kind = () if self.kind == "train" else (f"kind={self.kind}",)
        others = {"fidelity": self.fidelity, "until": self.until}
        taken = dict.fromkeys(
            "training" if each.what == "training" else "weights" for each in self.sources
        )
        return (*kind, *(name for name, value in others.items() if value), *taken)

    @property
    def is_plain(self) -> bool:
        """Whether it trains a child from its first weights to its end.

        The identity that its study gave it says so, since ``until`` may lie beyond the end.
        """
        if self.identity is None:
            return not self.asked
        return self.identity == self.hash or self.identity.startswith(NETWORK)

    @cached_property
    def evaluation(self) -> str:
        """A hash that is equal for proposals that ask for the same evaluation.

        For a plain training it is the architecture's hash alone.
        """
        return self.evaluation_of(self.hash)

    def evaluation_of(self, architecture: str) -> str:
        """Returns ``evaluation`` for an architecture that another text identifies."""
        if not self.asked:
            return architecture
        sources = [[each.child, each.what] for each in self.sources]
        told: list[Any] = [
            self.kind,
            architecture,
            sorted(self.fidelity.items()),
            self.until,
            sources,
        ]
        if self.is_prediction:
            told.append(self.predicted)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    @property
    def architecture(self) -> str:
        """Identifies the architecture: by its network if that is known, else by its genotype."""
        is_network = self.identity is not None and self.identity.startswith(NETWORK)
        return self.identity if is_network and self.identity else self.hash

    @property
    def key(self) -> str:
        """Equal for duplicates: the identity that its study gave it, or the genotype's hash."""
        return self.identity or self.hash

    def to_json(self) -> dict[str, Any]:
        """Returns its fields, without those that have their default values."""
        sources = [{"child": each.child, "what": each.what} for each in self.sources]
        others = {
            "kind": None if self.kind == "train" else self.kind,
            "fidelity": dict(self.fidelity) or None,
            "until": self.until,
            "sources": sources or None,
            "parent": self.parent,
            "seed": self.seed,
            "identity": self.identity,
            "predicted": None if self.predicted is None else float(self.predicted),
        }
        told = {name: value for name, value in others.items() if value is not None}
        # Of numpy's numbers JSON knows float64 alone.
        notes = {n: v if isinstance(v, int | float) else float(v) for n, v in self.notes.items()}
        return {"index": self.index, "genotype": self.genotype, "notes": notes, **told}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Proposal":
        """Reads what ``to_json`` wrote; in earlier versions ``parent`` was a note."""
        notes = dict(record["notes"])
        parent = record.get("parent", notes.pop("parent", None))
        return cls(
            record["index"],
            dict(record["genotype"]),
            kind=record.get("kind", "train"),
            fidelity=dict(record.get("fidelity", {})),
            until=record.get("until"),
            sources=tuple(
                Source(each["child"], each["what"]) for each in record.get("sources", ())
            ),
            parent=None if parent is None else int(parent),
            seed=record.get("seed"),
            identity=record.get("identity"),
            predicted=record.get("predicted"),
            notes=notes,
        )


@dataclass(frozen=True)
class Report:
    """What a running child measured after one of its epochs.

    Attributes:
        index: the child's.
        epoch: how many epochs it has trained, >= 1.
        metrics: measured during or after the last of them.
    """

    index: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal.

    Attributes:
        status: ``completed``: trained to its end, with a reward; ``paused``: trained as far as its
            proposal asked, with the reward so far, and can be continued; ``stopped``: ended by its
            searcher, with the reward so far; ``failed``: was started and broke; ``invalid``: never
            trained, because its network cannot be built or exceeds a limit; ``duplicate``: was
            proposed before, and another proposal replaces it. What is beyond a limit of an
            objective by its size has the status that its training would have had.
        reward: what the searcher maximises. Higher is better.
        metrics: final values under their metric names.
        curve: the value after each epoch of every metric that the reward depends on.
        objectives: what the study compares its children by, by name; filled in where the study
            runs, and empty if it has no objectives or the child failed.
        found: the genotypes that a supernet derived.
        cost_s: wall-clock seconds spent in the worker on this proposal, without its sources; 0 if
            nothing was trained.
        error: the reason for ``failed`` and ``invalid``, or the limit of an objective that the
            child is beyond; readable, the middle of a long one is cut out.
        reused_from: index of the child of the same identity whose outcome this repeats.
        is_changed: whether it was trained after the user's source or data had changed.
        lacks: the sources whose weights, or training state, were missing when it began.
    """

    proposal: Proposal
    status: Status
    reward: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost_s: float = 0.0
    error: str | None = None
    reused_from: int | None = None
    is_changed: bool = False
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict, kw_only=True)
    objectives: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    found: Sequence[Genotype] = field(default=(), kw_only=True)
    lacks: Sequence[int] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if self.error is not None and len(self.error) > _MAX_ERROR:
            object.__setattr__(self, "error", _shortened(self.error))

    @property
    def is_evaluation(self) -> bool:
        """Whether it spends budget: a child was trained, or its outcome was reused."""
        return self.proposal.is_root and self.status in (*MEASURED, "failed")

    @property
    def is_trained(self) -> bool:
        """Whether anything was trained: not for a size that is beyond a limit of an objective."""
        # One that diverges at once, or breaks in its first epoch, has no epochs either.
        is_begun = self.status == "failed" or "diverged" in self.metrics
        return is_begun or self.metrics.get("epochs") != 0

    @property
    def is_too_large(self) -> bool:
        """Whether a size that is beyond a limit of an objective kept it from being trained."""
        return self.status in MEASURED and not self.is_trained

    @property
    def told_status(self) -> str:
        """The status as users are told it: ``too_large`` of a training that was not made."""
        return "too_large" if self.is_too_large else self.status

    @property
    def is_full(self) -> bool:
        """Whether its reward is that of a child trained to its end, at full fidelity."""
        if self.status != "completed" or self.proposal.kind != "train":
            return False
        return self.proposal.is_plain or not self.proposal.fidelity

    @property
    def is_trained_again(self) -> bool:
        """Whether the training state that it was to go on with was gone, and was trained again."""
        return self.proposal.continues is not None and self.proposal.continues in self.lacks

    @property
    def known_reward(self) -> float:
        """The reward; only for outcomes that have one."""
        assert self.reward is not None, "it is asked of outcomes with a reward alone"
        return self.reward

    def rounded(self) -> "Outcome":
        """Returns the outcome as ``from_json`` reads it: its cost to a tenth of a millisecond."""
        return replace(self, cost_s=round(self.cost_s, _COST_DIGITS))

    def to_json(self) -> dict[str, Any]:
        """Returns its fields; the proposal is represented by its index."""
        others = {
            "changed": self.is_changed,
            "curve": {name: list(values) for name, values in self.curve.items()},
            "objectives": dict(self.objectives),
            "found": [dict(each) for each in self.found],
            "lacks": list(self.lacks),
        }
        return {
            "index": self.proposal.index,
            "status": self.status,
            "reward": self.reward,
            "metrics": dict(self.metrics),
            "cost_s": round(self.cost_s, _COST_DIGITS),
            "error": self.error,
            "reused_from": self.reused_from,
            **{name: value for name, value in others.items() if value},
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
            curve=record.get("curve", {}),
            objectives=record.get("objectives", {}),
            found=tuple(record.get("found", ())),
            lacks=tuple(record.get("lacks", ())),
        )


@dataclass(frozen=True)
class KnownOutcome:
    """The reward of an architecture of this space in an earlier study.

    Attributes:
        genotype: the architecture, in this space.
        reward: what it had in that study.
        child: its index there.
    """

    genotype: Genotype
    reward: float
    child: int


_MAX_ERROR = 20_000
"""Characters of an error that are recorded: every reader of a ledger reads them all."""


def _shortened(error: str) -> str:
    half = _MAX_ERROR // 2 - 50
    note = f"\n[{len(error) - 2 * half:,} characters were cut here]\n"
    return f"{error[:half]}{note}{error[-half:]}"
