"""Studies as they stand on disk, written with the real ledger and no training."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from omegaconf import OmegaConf

from nasrunner.compose.launch import build_space
from nasrunner.compose.saved import save_config
from nasrunner.core import Outcome, Proposal, SearchSpace
from nasrunner.study.beginning import beginning
from nasrunner.study.ledger import Ledger

SPACE = {"concat": [{"affine": {"units": {"oneof": list(range(1, 101))}}}, "relu"]}

CONFIG: dict[str, Any] = {
    "study": "toy",
    "seed": 0,
    "max_children": 100,
    "max_hours": None,
    "target_reward": None,
    "max_failures": None,
    "duplicates": "reuse",
    "failed_reward": "worst",
    "limits": {"parameters": None, "flops": None},
    "resume": None,
    "space": SPACE,
    "searcher": {"_target_": "nasrunner.searchers.sampling.random.RandomSearch"},
    "data": {
        "_target_": "nasrunner.data.digits.Digits",
        "in_shape": [64],
        "num_outputs": 10,
        "batch_size": 32,
        "validation_examples": 287,
        "split_seed": 0,
    },
    "task": {
        "_target_": "nasrunner.children.tasks.tasks.Classification",
        "reward": {
            "_target_": "nasrunner.children.tasks.reward.Reward",
            "metric": "val_accuracy",
            "mode": "max",
        },
    },
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
    "scheduler": None,
    "trainer": {"_target_": "nasrunner.children.lightning.LightningTrainer", "max_epochs": 10},
    "executor": {"_target_": "nasrunner.executors.serial.SerialExecutor", "threads": 1},
    "tracker": {"_target_": "nasrunner.trackers.none.NoTracker"},
}

EVOLUTION = {
    "_target_": "nasrunner.searchers.evolution.evolution.RegularizedEvolution",
    "population_size": 10,
    "tournament_size": 3,
}


def config(**changes: Any) -> dict[str, Any]:
    """The configuration with dotted keys changed: ``trainer__max_epochs=5``."""
    tree = OmegaConf.create(copy.deepcopy(CONFIG))
    for key, value in changes.items():
        OmegaConf.update(tree, key.replace("__", "."), value, merge=False)
    return OmegaConf.to_container(tree)  # type: ignore[return-value]


_starts = itertools.count(1_000_000.0, 10_000.0)


class Clock:
    """Unix time that goes on only when told."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Recording:
    """A study that is recorded child by child, at times of the test's choosing.

    Args:
        folder: the study's.
        start_s: Unix time at which it begins; None: later than every study before it.
        reward: what its ledger says that rewards are made of.
        changes: of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        start_s: float | None = None,
        reward: Mapping[str, str] = MappingProxyType({}),
        **changes: Any,
    ) -> None:
        self.folder = folder
        self.clock = Clock(next(_starts) if start_s is None else start_s)
        self.config = config(**changes)
        self.space: SearchSpace = build_space(self.config)
        folder.mkdir(parents=True)
        save_config(self.config, folder)
        self.num_proposed = 0
        self._open: Ledger | None = None
        begun = beginning(self.space, self.config["seed"], {}, reward=reward)
        self._append("study", begun.to_json())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keeps the ledger open for the events of the block: each opening reads all of it."""
        with self._ledger() as self._open:
            yield
        self._open = None

    def propose(self, units: int, at_s: float | None = None, **fields: Any) -> Proposal:
        genotype = {} if fields.get("kind") == "supernet" else {"0/affine/units": units}
        proposal = Proposal(self.num_proposed, genotype, **fields)
        self.num_proposed += 1
        self._append("proposed", proposal.to_json(), at_s)
        return proposal

    def record(self, outcome: Outcome, at_s: float | None = None) -> None:
        self._append("outcome", outcome.to_json(), at_s)

    def child(
        self,
        reward: float | None,
        cost_s: float = 0.0,
        units: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """One child, one second: with a reward, or failed."""
        proposal = self.propose(self.num_proposed % 100 if units is None else units)
        self.clock.now_s += 1.0
        if reward is None:
            self.record(Outcome(proposal, "failed", error="ValueError: bad luck", cost_s=cost_s))
        else:
            known = {"val_accuracy": reward, "parameters": 100.0, "flops": 200.0, **(metrics or {})}
            self.record(Outcome(proposal, "completed", reward, known, cost_s))

    def end(self, reason: str = "max_children=100 is spent") -> Path:
        self._append("ended", {"reason": reason})
        return self.folder

    def resume(self, at_s: float) -> None:
        self._append("resumed", {}, at_s)

    def _append(self, event: str, record: dict[str, Any], at_s: float | None = None) -> None:
        if at_s is not None:
            self.clock.now_s = at_s
        with nullcontext(self._open) if self._open else self._ledger() as ledger:
            ledger.append(event, record, must_last=False)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        path = self.folder / "ledger.jsonl"
        with (
            patch("nasrunner.study.ledger.time.time", self.clock),
            patch("nasrunner.study.ledger.time.monotonic", self.clock),
            Ledger(path) as ledger,
        ):
            yield ledger


def recorded(
    folder: Path, rewards: Sequence[float | None], cost_s: float = 0.0, **changes: Any
) -> Path:
    """A study that ended after these rewards; None is a failure."""
    study = Recording(folder, **changes)
    with study.together():
        for reward in rewards:
            study.child(reward, cost_s)
    return study.end()
