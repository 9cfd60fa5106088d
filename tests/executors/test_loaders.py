"""Children whose data is loaded by processes of its own leave none of them behind."""

import contextlib
import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from nasrunner.core import Outcome, Proposal, Train
from nasrunner.executors.local import LocalExecutor
from nasrunner.executors.serial import SerialExecutor
from tests.children.blobs import OWN, make_trainer
from tests.executors.trains import submit

WORKERS = {
    **OWN,
    "_target_": "tests.children.plain.WorkerBlobs",
    "num_workers": 2,
    "has_sampler": False,
    "seeds_workers": False,
}


@dataclass(frozen=True)
class Counting:
    """Trains a child, and counts the processes that this one has afterwards."""

    train: Train

    def __call__(self, proposal: Proposal) -> Outcome:
        before = psutil.Process().children(recursive=True)
        (outcome,) = self.train([proposal])
        after = psutil.Process().children(recursive=True)
        default = multiprocessing.get_start_method()
        own = multiprocessing.get_all_start_methods()[0]
        counts = {"before": len(before), "after": len(after), "is_default": default == own}
        return replace(outcome, metrics={**outcome.metrics, **counts})


def local() -> LocalExecutor:
    arguments: dict[str, Any] = {"memory_limit_gb": None, "gpus": [], "workers_per_gpu": None}
    arguments |= {"gpus_per_worker": 1, "preload": ["nasrunner.children.fit.training"]}
    return LocalExecutor(workers=1, threads_per_worker=1, retries=1, **arguments)


def serial() -> SerialExecutor:
    return SerialExecutor(threads=1)


@pytest.mark.parametrize("make_executor", [pytest.param(local, marks=pytest.mark.slow), serial])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_no_loader_outlives_its_child(make_executor: Any, tmp_path: Path) -> None:
    trainer = make_trainer(data=WORKERS, is_rehearsed=False)
    train = Counting(trainer.task(tmp_path, 0))
    genotype = trainer.space.walk(lambda decision: 0)
    with contextlib.closing(make_executor()) as executor:
        for index in range(2):
            submit(executor, train, Proposal(index, genotype), tmp_path)
            outcomes: list[Outcome] = []
            while not outcomes:
                outcomes = executor.wait()
            assert outcomes[0].error is None
            assert outcomes[0].metrics["after"] == outcomes[0].metrics["before"]
            assert outcomes[0].metrics["is_default"]
