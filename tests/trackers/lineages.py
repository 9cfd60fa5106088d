"""A study of everything that is no plain training: trainings that are paused and gone on with."""

import dataclasses

from nasrunner.core import Blueprint, Genotype, Outcome, Proposal, Summary, Tracker
from nasrunner.core.records import Source
from tests.trackers.fakes import EPOCHS, FakeStudy, genotype

SUPERNET, ESTIMATE, FAILED_ESTIMATE = 0, 1, 3
ROOT, NEXT, LAST = 4, 7, 9  # one training
STOPPED, CHEAP, COPY, SECOND, HEIR, CUT = 6, 8, 10, 11, 12, 13
NUM = 14

LINES = [
    (SUPERNET,),
    (ROOT, NEXT, LAST),
    (5,),
    (STOPPED,),
    (CHEAP,),
    (COPY,),
    (SECOND,),
    (HEIR, CUT),
]
"""The children of each run: those of one line have one."""


def training(child: int) -> tuple[Source, ...]:
    return (Source(child, "training"),)


PROPOSALS = {
    SUPERNET: Proposal(SUPERNET, {}, kind="supernet"),
    **{i: Proposal(i, genotype(i), kind="estimate") for i in (1, 2, 3)},
    ROOT: Proposal(ROOT, genotype(20), until=1),
    5: Proposal(5, genotype(21), until=1),
    STOPPED: Proposal(STOPPED, genotype(22)),
    NEXT: Proposal(NEXT, genotype(20), until=2, sources=training(ROOT), parent=ROOT),
    CHEAP: Proposal(CHEAP, genotype(23), fidelity={"trainer.max_epochs": 2}),
    LAST: Proposal(LAST, genotype(20), sources=training(NEXT), parent=NEXT),
    COPY: Proposal(COPY, genotype(24), sources=training(5), parent=5),
    SECOND: Proposal(SECOND, genotype(20), sources=training(ROOT), parent=ROOT),
    HEIR: Proposal(HEIR, genotype(25), until=1, sources=(Source(LAST, "weights"),)),
    CUT: Proposal(CUT, genotype(25), sources=training(HEIR), parent=HEIR),
}

DERIVED = '{"epoch": 0, "genotype": {}, "text": "affine"}\n'
PROBABILITIES = "".join(
    f'{{"epoch": {epoch}, "decisions": {{"0/or": {{"relu": 0.{5 + epoch}, "conv 3×3": 0.25}}}}}}\n'
    for epoch in range(EPOCHS)
)

EPOCHS_OF = {ROOT: 1, 5: 1, STOPPED: 2, NEXT: 2, CHEAP: 2, HEIR: 1, CUT: 2}
"""After how many epochs the curves end; those of all others have all."""


class LineageStudy(FakeStudy):
    """Leaves the files and the ledger of such a study; child ``n`` has the reward ``n / 100``."""

    def inspect(self, given: Genotype) -> Blueprint:
        assert given, "a supernet is no child of the space"
        return super().inspect(given)

    def proposal(self, index: int) -> Proposal:
        return PROPOSALS[index]

    def run_child(self, index: int) -> None:
        super().run_child(index)
        curves = self.folder / "children" / f"{index:04d}" / "curves.jsonl"
        lines = curves.read_text().splitlines(keepends=True)[: EPOCHS_OF.get(index, EPOCHS)]
        curves.write_text("".join(lines[2:] if index == LAST else lines))  # a trainer may do both
        if index == SUPERNET:
            (curves.parent / "derived.jsonl").write_text(DERIVED)
            (curves.parent / "probabilities.jsonl").write_text(PROBABILITIES)

    def outcome(self, index: int) -> Outcome:
        proposal = self.proposal(index)
        if index == SUPERNET:
            return Outcome(proposal, "completed", found=(genotype(20), genotype(21)), cost_s=9.0)
        if index == FAILED_ESTIMATE:
            return Outcome(proposal, "failed", error="RuntimeError: no gradient")
        if index == CUT:
            return Outcome(proposal, "failed", error="RuntimeError: loss is nan", cost_s=0.5)
        status = "completed" if proposal.until is None else "paused"
        return Outcome(
            proposal,
            "stopped" if index == STOPPED else status,  # type: ignore[arg-type]
            index / 100,
            {"val_accuracy": index / 100},
            cost_s=2.0,
            curve={"val_accuracy": [0.0] * EPOCHS_OF.get(index, EPOCHS)},
        )

    def summary(self, reason: str = "max_children=12 is spent") -> Summary:
        counts, num_full = dict(self.state.history.counts), self.state.history.num_full
        return dataclasses.replace(
            super().summary(reason), counts=counts, best=[], num_full=num_full
        )

    def record(self, tracker: Tracker, index: int) -> None:
        outcome = self.outcome(index)
        is_supernet = outcome.proposal.kind == "supernet"
        blueprint = None if is_supernet else self.inspect(outcome.proposal.genotype)
        self.propose(outcome.proposal)
        tracker.started(outcome.proposal, blueprint)
        if outcome.proposal.kind != "estimate":
            self.run_child(index)
        self.append(outcome)
        tracker.recorded(outcome, blueprint)


class LimitedStudy(FakeStudy):
    """A study of children that were to be paused, and are beyond a limit by their sizes."""

    def proposal(self, index: int) -> Proposal:
        return Proposal(index, genotype(index), until=1)

    def outcome(self, index: int) -> Outcome:
        return Outcome(
            self.proposal(index),
            "paused",
            metrics={"flops": 7.0, "epochs": 0.0},
            error="objectives.flops.limit=5: flops is 7",
            objectives={"flops": 7.0},
        )

    def record(self, tracker: Tracker, index: int) -> None:
        outcome = self.outcome(index)
        self.append(outcome)
        tracker.recorded(outcome, self.inspect(outcome.proposal.genotype))
