"""A study as trackers see it: children that are proposed, leave files behind, and end."""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from nasrunner.core import (
    Blueprint,
    Genotype,
    Outcome,
    Proposal,
    SearchSpace,
    SpaceError,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.ledger.events import Proposed, Recorded
from nasrunner.core.ledger.known import GIVEN
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.records import child_folder
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw
from nasrunner.trackers.mlflow.tracker import MlflowTracker

UNITS = list(range(1, 2001))
EPOCHS = 3
CHANGED = 11  # trained after the user's source had changed
COMPARED = 8  # has an objective, as in a study that has some
FAILED, INVALID, REUSED = 3, 5, 7  # what becomes of the children with these indices


def space() -> SearchSpace:
    """One decision, so that an index is a genotype."""
    units = {"affine": {"units": {"oneof": UNITS}}}
    return parse_space(
        {
            "hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.01]}},
            "concat": [units, "relu", {"affine": {"units": 10}}],
        }
    )


def genotype(index: int) -> Genotype:
    return {"hyperparameters/optimizer.lr": index % 2, "0/affine/units": index}


def reward(index: int) -> float:
    """0.63 for child 0; the best of the first twelve is child 8."""
    return ((index * 37 + 63) % 101) / 100


@dataclass
class FakeStudy:
    """A study that writes its ledger and its children's files, but trains nothing."""

    folder: Path
    name: str = "fake"
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = StudyState()
        self.space = space()
        self.num_inspected = 0

    @property
    def info(self) -> StudyInfo:
        config = {
            "study": self.name,
            "seed": 3,
            "searcher": {
                "_target_": "nasrunner.searchers.evolution.evolution.RegularizedEvolution"
            },
            "space": {"concat": []},
        }
        return StudyInfo(self.name, self.folder, config, 12)

    def inspect(self, given: Genotype) -> Blueprint:
        self.num_inspected += 1
        frozen = self.space.freeze(given)
        values = self.space.values(given)
        if values["0/affine/units"] == INVALID + 1:
            raise SpaceError("'0/affine': too large")
        number = 100 + values["0/affine/units"]
        return Blueprint(frozen.text(), values, number, 7, lambda: draw(frozen))

    def proposal(self, index: int) -> Proposal:
        source = FAILED + 1 if index == REUSED else index
        if index == 0:
            return Proposal(0, genotype(0), notes={GIVEN: 0})
        return Proposal(index, genotype(source), parent=index - 1)

    def run_child(self, index: int) -> None:
        """Leaves the files of a child that was trained."""
        folder = child_folder(self.folder, index)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "epoch": e,
                "step": 10 * e + 9,
                "time": 1.7e9 + 100 * index + e,
                "val_loss": 1 / (e + 1),
            }
            for e in range(EPOCHS)
        ]
        (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "config.yaml").write_text(f"child: {index}\n")

    def outcome(self, index: int) -> Outcome:
        proposal = self.proposal(index)
        if index == FAILED:
            return Outcome(proposal, "failed", cost_s=1.5, error="RuntimeError: loss is nan")
        if index == INVALID:
            return Outcome(proposal, "invalid", error="'0/affine': too large")
        metrics = {"val_loss": 1 / EPOCHS, "val_accuracy": reward(index)}
        reused = FAILED + 1 if index == REUSED else None
        source = index if reused is None else reused
        cost_s = 0.0 if reused else 2.0
        is_changed = index == CHANGED
        return Outcome(
            proposal,
            "completed",
            reward(source),
            metrics,
            cost_s,
            None,
            reused,
            is_changed,
            objectives={"reward": 0.25} if index == COMPARED else {},
        )

    def record(self, tracker: Tracker, index: int) -> None:
        """One child, from its proposal to the tracker."""
        outcome = self.outcome(index)
        self.propose(outcome.proposal)
        if outcome.status != "invalid" and outcome.reused_from is None:
            tracker.started(outcome.proposal, self.inspect(outcome.proposal.genotype))
            self.run_child(index)
        self.append(outcome)
        is_invalid = outcome.status == "invalid"
        tracker.recorded(outcome, None if is_invalid else self.inspect(outcome.proposal.genotype))

    def append(self, outcome: Outcome) -> None:
        """Writes to the ledger."""
        event = {"event": "outcome", "time": time.time(), **outcome.to_json()}
        with (self.folder / "ledger.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
        self.take(outcome)

    def propose(self, proposal: Proposal) -> None:
        """Changes the state as the proposal's event does."""
        if proposal.index not in self.state.proposals:
            self.state.apply(Proposed(proposal), time.time())

    def take(self, outcome: Outcome) -> None:
        """Changes the state as the outcome's event does."""
        self.propose(outcome.proposal)
        self.state.apply(Recorded(outcome), time.time())
        self.outcomes.append(outcome)

    def replay(self) -> StudyState:
        """What the ledger holds, after the process that wrote it was killed."""
        self.state, self.outcomes = StudyState(), []
        path = self.folder / "ledger.jsonl"
        for line in path.read_text().split("\n")[:-1] if path.exists() else []:
            event = json.loads(line)
            self.take(Outcome.from_json(event, self.proposal(event["index"])))
        return self.state

    def summary(self, reason: str = "max_children=12 is spent") -> Summary:
        best = sorted((o for o in self.outcomes if o.reward is not None), key=lambda o: -o.reward)
        rows = [
            {
                "index": o.proposal.index,
                "reward": o.reward,
                "architecture": self.space.freeze(o.proposal.genotype).text(),
                "parameters": 100 + o.proposal.index,
                "hash": o.proposal.hash,
                "trainings": 1,
                "reward_std": None,
            }
            for o in best[:5]
        ]
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        (self.folder / "summary.json").write_text("{}")
        return Summary(reason, counts, rows, 20.0, 30.0)


def tracker(uri: str, **changes: object) -> MlflowTracker:
    settings = {
        "tracking_uri": uri,
        "artifact_uri": None,
        "experiment": None,
        "poll_s": 5.0,
        "max_waiting": 256,
        "close_timeout_s": 60.0,
    }
    return MlflowTracker(**{**settings, **changes})


def track(uri: str, folder: Path, num_children: int, **changes: object) -> FakeStudy:
    """A whole study in one session."""
    study = FakeStudy(folder)
    tracked = tracker(uri, **changes)
    tracked.open(study.info, study.state, study.inspect)
    for index in range(num_children):
        study.record(tracked, index)
    tracked.close(study.summary())
    return study


if __name__ == "__main__":  # a session of a study in a process of its own, which tests kill
    uri, place, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    session = FakeStudy(place)
    artifacts = sys.argv[5] if len(sys.argv) > 5 else None
    mlflow = tracker(uri, artifact_uri=artifacts, poll_s=0.05, max_waiting=2)
    mlflow.open(session.info, session.replay(), session.inspect)
    for number in range(first, last):
        session.record(mlflow, number)
    mlflow.close(session.summary())
