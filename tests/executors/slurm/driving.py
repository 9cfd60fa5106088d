"""Leads an executor against the made-up SLURM, a step at a time."""

import contextlib
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrunner.compose.construct import construct
from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.executors.slurm.child import SlurmChildren
from nasrunner.executors.slurm.executor import SlurmExecutor
from tests.executors import trains
from tests.executors.trains import submit

SHIPPED = OmegaConf.load("conf/executor/slurm.yaml")


def configuration(trainer: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What is shipped, composed with a trainer's numbers."""
    whole = OmegaConf.create({"trainer": trainer or {}, "executor": SHIPPED})
    described = OmegaConf.to_container(whole, resolve=True)["executor"]
    return described | {"result_interval_s": 0.001, "grace_s": 0.001, **changes}


@contextlib.contextmanager
def opened(trainer: dict[str, Any] | None = None, **changes: Any) -> Iterator[SlurmExecutor]:
    with contextlib.closing(construct(configuration(trainer, **changes), "executor")) as executor:
        yield executor


def send(executor: SlurmExecutor, study: Path, *indices: int) -> list[Proposal]:
    """Submits children as far as sbatch."""
    proposals = [Proposal(index, {"a": index}) for index in indices]
    for proposal in proposals:
        submit(executor, trains.by_notes, proposal, child_folder(study, proposal.index))
    hand_in(executor)
    return proposals


def hand_in(executor: SlurmExecutor) -> None:
    """Calls sbatch for what has gathered."""
    executor._submit_gathered()
    executor._watch.watch(executor._jobs)


def lost(executor: SlurmExecutor) -> list[Outcome]:
    """What the next look at SLURM, and one after the grace time, find to have ended."""
    outcomes: list[Outcome] = []
    for _ in range(2):
        executor._watch.ask()
        outcomes += executor._lost()
        threading.Event().wait(0.002)
    return outcomes


def record(study: Path, index: int) -> dict[str, Any]:
    return json.loads((child_folder(study, index) / "slurm.json").read_text())


def abandon(executor: SlurmExecutor) -> None:
    """What kill -9 of a driver leaves: nobody cancels."""
    executor._jobs.clear()
    executor._gathered.clear()
    executor._train_files._written.clear()
    executor.close()


def leave_outcome(study: Path, outcome: Outcome) -> None:
    folder = child_folder(study, outcome.proposal.index)
    (folder / "proposal.json").write_text(json.dumps(outcome.proposal.to_json()))
    (folder / "outcome.json").write_text(json.dumps(outcome.to_json()))


def children_of(study: Path, job_id: str) -> SlurmChildren:
    (path,) = (study / "slurm").glob(f"*/{job_id}_submitted.pkl")
    children = pickle.loads(path.read_bytes()).function
    assert isinstance(children, SlurmChildren)
    return children
