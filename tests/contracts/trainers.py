"""A child trainer whose children keep a number where a network would have weights."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core import (
    Genotype,
    Hear,
    Kind,
    Outcome,
    Policy,
    Proposal,
    Report,
    SearchSpace,
    Train,
    child_folder,
)
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.machine.stop_file import StopFile
from tests.toys import ToyTrainer, toy_reward

METRIC = "val_accuracy"
EPOCHS = 6


def step(state: str, seed: int | None, epoch: int) -> str:
    """What an epoch makes of the weights."""
    return hashlib.sha256(f"{state} {seed} {epoch}".encode()).hexdigest()


def first_state(genotype: Mapping[str, int], lent: Sequence[str] = ()) -> str:
    """The weights before the first epoch: the architecture's own, and what others have lent."""
    return json.dumps([sorted(genotype.items()), *lent])


def accuracy(state: str, genotype: Mapping[str, int], epoch: int) -> float:
    """Grows with the epochs, mostly towards what the genotype is worth."""
    noise = int(state[:8], 16) / 2**32
    return toy_reward(genotype) * epoch / EPOCHS + 0.01 * noise


@dataclass(frozen=True)
class Epochs:
    """Trains children for some epochs, each of which follows from the one before and the seed.

    Attributes:
        study: its folder.
        epoch_s: how long an epoch takes.
        num_found: how many children a supernet finds.
    """

    study: Path
    space: SearchSpace
    epoch_s: float = 0.0
    num_found: int = 3
    policy: Policy | None = None

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            yield self._train(proposal, hear)

    def _train(self, proposal: Proposal, hear: Hear | None) -> Outcome:
        if proposal.kind == "estimate":
            return Outcome(proposal, "completed", toy_reward(proposal.genotype), cost_s=0.01)
        if proposal.kind == "supernet":
            return Outcome(proposal, "completed", found=self._found(proposal.seed), cost_s=5.0)
        folder = child_folder(self.study, proposal.index)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "proposal.json").write_text(json.dumps(proposal.to_json()))
        state, curve, done = self._begin(proposal)
        lines = [{"epoch": e, "train_loss": 0.0, METRIC: value} for e, value in enumerate(curve)]
        path = folder / "curves.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        end = round(proposal.fidelity.get("trainer.max_epochs", EPOCHS))
        status = "completed"
        for epoch in range(done + 1, end + 1):
            time.sleep(self.epoch_s)
            state = step(state, proposal.seed, epoch)
            curve.append(accuracy(state, proposal.genotype, epoch))
            with path.open("a") as file:
                line = {"epoch": epoch - 1, "train_loss": 0.0, METRIC: curve[-1]}
                file.write(json.dumps(line) + "\n")
            if hear is not None:
                hear(Report(proposal.index, epoch, {METRIC: curve[-1]}))
            asked = StopFile(folder).read()
            if epoch < end and asked is not None and asked <= epoch:
                status = "stopped"
                break
            if epoch < end and epoch == proposal.until:
                status = "paused"
                break
        record = {"state": state, "curve": curve}
        (folder / "last.ckpt").write_text(json.dumps(record))
        outcome = Outcome(
            proposal,
            status,  # type: ignore[arg-type]
            curve[-1],
            {METRIC: curve[-1]},
            cost_s=float(len(curve) - done),
            curve={METRIC: curve},
        )
        (folder / "outcome.json").write_text(json.dumps(outcome.to_json()))
        return outcome

    def _begin(self, proposal: Proposal) -> tuple[str, list[float], int]:
        if (source := proposal.continues) is None:
            lent = [self._ended(each.child)["state"] for each in proposal.sources]
            return first_state(proposal.genotype, lent), [], 0
        record = self._ended(source)
        return record["state"], record["curve"], len(record["curve"])

    def _ended(self, child: int) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(ChildFolder.of(self.study, child).last.read_text())
        return record

    def _found(self, seed: int | None) -> list[Genotype]:
        """The best of what the searcher's policy draws while it learns what is good."""
        assert self.policy is not None, "who proposes a supernet has a policy"
        rng, drawn = np.random.default_rng(seed), list[Genotype]()
        for _ in range(5):
            genotypes = self.policy.draw(8, rng)
            self.policy.learn(genotypes, [toy_reward(each) for each in genotypes])
            drawn += genotypes
        return sorted(drawn, key=toy_reward, reverse=True)[: self.num_found]


@dataclass
class EpochsTrainer(ToyTrainer):
    """Children that can be paused, gone on with, stopped, estimated, and found by a supernet."""

    reports = True  # type: ignore[misc]
    epoch_s: float = 0.0
    at_once: Mapping[Kind, int] = field(default_factory=lambda: {"estimate": 100})

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}

    @property
    def trains_networks(self) -> bool:
        return False

    def plainest(self, proposal: Proposal) -> Proposal:
        until = proposal.until
        is_reached = until is None or until < self.most_epochs(proposal)
        fidelity = {k: v for k, v in proposal.fidelity.items() if v != EPOCHS}
        return replace(proposal, until=until if is_reached else None, fidelity=fidelity)

    def most_epochs(self, proposal: Proposal) -> int:
        return round(proposal.fidelity.get("trainer.max_epochs", EPOCHS))

    def num_at_once(self, kind: Kind) -> int:
        return self.at_once.get(kind, 1)

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return Epochs(folder, self.space, self.epoch_s, policy=policy)
