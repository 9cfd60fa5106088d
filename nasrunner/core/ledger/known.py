"""The event that says what a study knew before its first proposal, and where it knew it from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from nasrunner.core.decision import Genotype
from nasrunner.core.records import KnownOutcome, Proposal

GIVEN = "given"
"""The note of a proposal that the user gave: its place among those that were given."""


_MAX_REASONS = 3


def is_given(proposal: Proposal) -> bool:
    """Tells whether the user gave a proposal to begin with."""
    return GIVEN in proposal.notes


@dataclass(frozen=True)
class GivenGenotype:
    """An architecture that the user gave to begin with.

    Attributes:
        genotype: all its answers.
        drawn: the paths of those that the user left open, which were drawn at random.
    """

    genotype: Genotype
    drawn: Sequence[str] = ()


@dataclass(frozen=True)
class EarlierStudy:
    """What was taken from an earlier study.

    Attributes:
        name: what its user called it.
        folder: where it lay.
        outcomes: those of its children that tell something of this space.
        left_out: why others tell nothing -> how many.
        differs: what its children were trained with that this study's are not, in words.
    """

    name: str
    folder: str
    outcomes: Sequence[KnownOutcome]
    left_out: Mapping[str, int]
    differs: Sequence[str] = ()

    @property
    def told(self) -> str:
        """How many outcomes were taken, and why not all, in words."""
        taken, num_others = len(self.outcomes), sum(self.left_out.values())
        reasons = [f"{count:,} {why}" for why, count in self.left_out.items()]
        if len(reasons) > _MAX_REASONS:
            rest = sum(list(self.left_out.values())[_MAX_REASONS:])
            reasons[_MAX_REASONS:] = [f"{rest:,} for other reasons"]
        others = f" (the others: {', '.join(reasons)})" if reasons else ""
        return f"{taken:,} of {taken + num_others:,} outcomes of {self.name}{others}"


@dataclass(frozen=True)
class Known:
    """What a study begins with.

    It holds all of it, so that nobody ever asks the earlier studies again.

    Attributes:
        given: the first proposals.
        studies: what the searcher has learnt before them, in this order.
        ignored: why it has learnt nothing of it, in words; None: it has.
    """

    kind: ClassVar[str] = "known"
    must_last: ClassVar[bool] = True

    given: Sequence[GivenGenotype] = ()
    studies: Sequence[EarlierStudy] = ()
    ignored: str | None = None

    @property
    def told(self) -> str:
        """What it is, in words: ``12 of 20 outcomes of smbo-mlp, 2 architectures given``."""
        parts = [study.told for study in self.studies]
        if self.studies and self.ignored is not None:
            parts.append(f"of which the searcher learnt nothing ({self.ignored})")
        if count := len(self.given):
            parts.append(f"{count:,} {'architecture' if count == 1 else 'architectures'} given")
        return ", ".join(parts)

    @property
    def outcomes(self) -> list[KnownOutcome]:
        """Those of all earlier studies."""
        return [outcome for study in self.studies for outcome in study.outcomes]

    def proposal(self, index: int) -> Proposal | None:
        """Returns the proposal number ``index``, where the user gave it."""
        if index >= len(self.given):
            return None
        return Proposal(index, dict(self.given[index].genotype), notes={GIVEN: index})

    def to_json(self) -> dict[str, Any]:
        return {
            "given": [{"genotype": g.genotype, "drawn": list(g.drawn)} for g in self.given],
            "studies": [
                {
                    "name": study.name,
                    "folder": study.folder,
                    "outcomes": [
                        {"child": o.child, "reward": o.reward, "genotype": o.genotype}
                        for o in study.outcomes
                    ],
                    "left_out": dict(study.left_out),
                    "differs": list(study.differs),
                }
                for study in self.studies
            ],
            **({} if self.ignored is None else {"ignored": self.ignored}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Known":
        return cls(
            tuple(
                GivenGenotype(dict(each["genotype"]), tuple(each["drawn"]))
                for each in record["given"]
            ),
            tuple(
                EarlierStudy(
                    each["name"],
                    each["folder"],
                    tuple(
                        KnownOutcome(dict(o["genotype"]), o["reward"], o["child"])
                        for o in each["outcomes"]
                    ),
                    dict(each["left_out"]),
                    tuple(each["differs"]),
                )
                for each in record["studies"]
            ),
            record.get("ignored"),
        )
