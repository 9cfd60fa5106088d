"""A study whose searcher pauses, promotes, stops and lends: loop, executor and children."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

import pytest

from nasrunner.core import Outcome, Proposal, Report, Searcher, StudyInfo, child_folder
from nasrunner.core.records import Source
from nasrunner.executors.local import LocalExecutor
from nasrunner.executors.serial import SerialExecutor
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.children.blobs import make_trainer
from tests.toys import RULES, train_one

BRANCHES = {
    "concat": [
        {"affine": {"units": {"oneof": [4, 8, 16, 32]}}},
        "relu",
        {"dropout": {"p": 0.5}},
        {"affine": {"units": 3}},
    ]
}
SETTINGS = ("trainer.max_epochs=6", "scheduler.interval=step", "optimizer.momentum=0.9")
GROUPS = {"space": BRANCHES, "scheduler": "cosine", "optimizer": "sgd"}


class Halving(Searcher):
    """Pauses all after 2 epochs, goes on with the better half, and stops the worse of these."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.paused: dict[int, Outcome] = {}
        self.promoted: dict[int, int] = {}  # proposal -> the one it goes on with
        self.heard: dict[int, Report] = {}

    def suggest(self, index: int) -> Proposal | None:
        sources = (Source(index - 1, "weights"),) if index else ()
        return Proposal(index, {"0/affine/units": index}, until=2, sources=sources)

    def suggest_continuation(self, index: int) -> Proposal | None:
        if len(self.paused) < 4 or len(self.promoted) == 2:
            return None
        left = set(self.paused) - set(self.promoted.values())
        best = max(left, key=lambda each: (self.paused[each].known_reward, each))
        genotype = self.paused[best].proposal.genotype
        return Proposal(index, genotype, sources=(Source(best, "training"),))

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if proposal.continues is not None:
            self.promoted[proposal.index] = proposal.continues

    def learn(self, outcome: Outcome) -> None:
        self.paused[outcome.proposal.index] = outcome

    def report(self, report: Report) -> None:
        self.heard[report.index] = report

    def should_stop(self, index: int) -> bool:
        return index == 5 and self.heard[index].epoch >= 4

    def needs(self) -> Collection[int]:
        return () if len(self.promoted) == 2 else set(self.paused)


class Apart(Halving):
    """The same with children that borrow nothing, so that they may train beside one another."""

    def suggest(self, index: int) -> Proposal | None:
        return Proposal(index, {"0/affine/units": index}, until=2)


def run(folder: Path, executor, searcher=Halving) -> Study:
    folder.mkdir(exist_ok=True)
    trainer = make_trainer(*SETTINGS, **GROUPS)
    rules = dataclasses.replace(RULES, max_children=4)
    with Ledger(folder / "ledger.jsonl") as ledger:
        study = Study(
            space=trainer.space,
            searcher=searcher(space=trainer.space, seed=rules.seed),
            trainer=trainer,
            executor=executor,
            trackers=[],
            ledger=ledger,
            rules=rules,
            info=StudyInfo("halving", folder, {}, rules.max_children, {}),
        )
        try:
            study.run()
        finally:
            executor.close()
    return study


def told(folder: Path, kind: str) -> list[dict]:
    """The events of a kind, without what no two runs have alike."""
    lines = map(json.loads, (folder / "ledger.jsonl").read_text().splitlines())
    clocks = ("time", "monotonic_s", "cost_s")
    return [
        {key: value for key, value in line.items() if key not in clocks}
        for line in lines
        if line["event"] == kind
    ]


def assert_as_trained_through(folder: Path, outcome: dict) -> None:
    """A child that was promoted is to the bit what one is that was never paused."""
    proposals = {each["index"]: Proposal.from_json(each) for each in told(folder, "proposed")}
    root = proposals[proposals[outcome["index"]].continues]
    through = dataclasses.replace(root, index=90 + outcome["index"], until=None)
    task = make_trainer(*SETTINGS, **GROUPS).task(folder, 0)
    whole = train_one(task, through)  # with the same weights lent
    measured = {k: v for k, v in outcome["metrics"].items() if k in whole.metrics}
    assert (whole.reward, whole.metrics) == (outcome["reward"], measured)
    assert whole.curve == outcome["curve"]


def test_a_study_pauses_promotes_and_stops_its_children(tmp_path):
    run(tmp_path, SerialExecutor(threads=1))
    outcomes = told(tmp_path, "outcome")
    statuses = [each["status"] for each in outcomes]
    assert statuses == ["paused"] * 4 + ["completed", "stopped"]
    assert [each["metrics"]["epochs"] for each in outcomes] == [2, 2, 2, 2, 6, 4]
    assert not list(tmp_path.glob("children/*/last.ckpt"))  # nobody needs them any more
    proposals = told(tmp_path, "proposed")
    assert [each["seed"] for each in proposals[4:]] == [
        proposals[each["sources"][0]["child"]]["seed"] for each in proposals[4:]
    ]
    assert_as_trained_through(tmp_path, outcomes[4])
    assert (child_folder(tmp_path, 5) / "best.ckpt").exists()


@pytest.mark.slow
def test_children_in_other_processes_are_paused_and_promoted_alike(tmp_path):
    run(tmp_path / "here", SerialExecutor(threads=1))
    run(tmp_path / "there", LocalExecutor(1, 1, None, 0, [], None, 1, ["pytorch_lightning"]))
    assert told(tmp_path / "there", "proposed") == told(tmp_path / "here", "proposed")
    here, there = (told(tmp_path / name, "outcome") for name in ("here", "there"))
    assert there[:5] == here[:5]  # the last may have been stopped later


@pytest.mark.slow
def test_what_two_workers_promote_is_trained_as_if_it_was_never_paused(tmp_path):
    workers = LocalExecutor(2, 1, None, 0, [], None, 1, ["pytorch_lightning"])
    run(tmp_path, workers, Apart)
    outcomes = told(tmp_path, "outcome")
    ended = {each["index"]: each for each in outcomes}
    assert [each["status"] for each in outcomes[:4]] == ["paused"] * 4
    assert ended[4]["status"] == "completed"
    assert ended[5]["status"] in ("stopped", "completed")  # it may have been too late to stop it
    for index in (4, 5):
        if ended[index]["status"] == "completed":
            assert_as_trained_through(tmp_path, ended[index])
