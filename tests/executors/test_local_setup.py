"""The local executor as it is set up: limits, warmth, threads, GPUs, errors, and its end."""

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nasrunner.core import ConfigError, NasRunnerError, Outcome, Proposal
from nasrunner.executors.local import LocalExecutor
from tests.executors import trains
from tests.executors.trains import submit

ARGUMENTS: dict[str, Any] = {
    "workers": 2,
    "threads_per_worker": 1,
    "memory_limit_gb": None,
    "retries": 1,
    "gpus": [],
    "workers_per_gpu": None,
    "gpus_per_worker": 1,
    "preload": [],
}


def local(**changes: Any) -> contextlib.closing[LocalExecutor]:
    return contextlib.closing(LocalExecutor(**{**ARGUMENTS, **changes}))


def wait_for_all(executor: LocalExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def test_one_is_open_at_a_time() -> None:
    with local(), pytest.raises(NasRunnerError, match=r"legal is one open executor=local"):
        LocalExecutor(**ARGUMENTS)
    LocalExecutor(**ARGUMENTS).close()


def test_no_process_is_left_after_close() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with local() as executor:
        submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        executor.wait()
        processes = {
            child.pid: child.cmdline() for child in psutil.Process().children(recursive=True)
        }
        assert len(set(processes) - before) >= 3
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    # multiprocessing's resource tracker ends with the process it belongs to
    assert [pid for pid in left if "resource_tracker" not in str(processes[pid])] == []


def test_it_can_be_closed_before_its_workers_are_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes_minutes_to_import.py").write_text("import time; time.sleep(300)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    start_s = time.perf_counter()
    with local(preload=["takes_minutes_to_import"]) as executor:
        submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    assert time.perf_counter() - start_s < 30


def test_each_worker_has_the_threads_and_the_gpu_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        'echo "GPU 0: NVIDIA H200 (UUID: GPU-aaaa)"\n'
        'echo "GPU 1: NVIDIA H200 (UUID: GPU-bbbb)"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with local(
        workers=None, gpus=None, threads_per_worker=3, preload=["wave", "torch"]
    ) as executor:
        assert executor.free_slots() == 2
        outcomes: dict[float, Outcome] = {}
        for index in range(20):  # until both workers have had one
            submit(executor, trains.describe_process, Proposal(index, {}), trains.FOLDER)
            submit(executor, trains.describe_process, Proposal(index + 100, {}), trains.FOLDER)
            for outcome in wait_for_all(executor, 2).values():
                outcomes[outcome.metrics["pid"]] = outcome
            if len(outcomes) == 2:
                break
    assert {o.error for o in outcomes.values()} == {"GPU-aaaa,3,3", "GPU-bbbb,3,3"}
    assert {o.metrics["threads"] for o in outcomes.values()} == {3}
    assert {o.metrics["is_preloaded"] for o in outcomes.values()} == {1.0}


@pytest.mark.slow
def test_a_child_above_the_memory_limit_fails_and_says_so() -> None:
    with local(workers=1, memory_limit_gb=0.6, retries=0) as executor:
        submit(executor, trains.takes_memory, Proposal(0, {}), trains.FOLDER)
        submit(executor, trains.by_notes, Proposal(1, {}), trains.FOLDER)
        outcomes = wait_for_all(executor, 2)
    assert outcomes[1].status == "completed"
    assert re.fullmatch(
        r"the worker process died once while it trained this child, the last time: it used "
        r"0\.\d\d GB and was stopped; the limit is 95 % of executor\.memory_limit_gb=0\.60 "
        r"\(executor\.retries=0\)",
        outcomes[0].error or "",
    )


def test_a_limit_below_what_an_idle_worker_takes_is_an_error() -> None:
    with local(memory_limit_gb=0.02) as executor:
        submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        with pytest.raises(ConfigError, match=r"executor\.memory_limit_gb must be more than 0\.\d"):
            executor.wait()


def test_a_preload_that_crashes_is_an_error_and_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashes_at_import.py").write_text("raise SystemExit(4)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    with local(preload=["crashes_at_import"]) as executor:
        submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        for _ in range(2):  # not only the first time
            with pytest.raises(NasRunnerError, match=r"no worker can start.*crashes_at_import"):
                executor.wait()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_limit_gb": 1e6}, r"executor\.memory_limit_gb must be at most the .* GB of this"),
        ({"gpus_per_worker": 2}, r"executor\.gpus_per_worker needs as many GPUs, got 2 and exec"),
        ({"workers_per_gpu": 2}, r"executor\.workers_per_gpu needs a GPU, got 2"),
        ({"preload": ["no_such_module"]}, r"executor\.preload: there is no module 'no_such_mod"),
        ({"preload": ["torch.nope"]}, r"executor\.preload: there is no module 'torch\.nope'"),
    ],
)
def test_impossible_settings_are_one_error_that_names_its_key(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LocalExecutor(**{**ARGUMENTS, **changes})
