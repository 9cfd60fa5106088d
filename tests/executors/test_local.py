"""The local executor on real worker processes: deaths, limits, warmth, threads, errors."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nasrunner.core import ConfigError, NasRunnerError, Outcome, Proposal
from nasrunner.executors.local import LocalExecutor
from tests.executors import trains

ARGUMENTS: dict[str, Any] = {
    "workers": 2,
    "threads_per_worker": 1,
    "memory_limit_gb": None,
    "retries": 1,
    "gpus": [],
    "workers_per_gpu": None,
    "preload": [],
}


def local(**changes: Any) -> contextlib.closing[LocalExecutor]:
    return contextlib.closing(LocalExecutor(**{**ARGUMENTS, **changes}))


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with local() as built:
        yield built


def wait_for_all(executor: LocalExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def test_a_child_whose_worker_is_killed_from_outside_is_retried_and_completes(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    executor.submit(trains.Barrier(tmp_path), Proposal(0, {}))
    started = tmp_path / "0.started"
    while not (started.exists() and started.read_text()):
        time.sleep(0.001)
    victim = int(started.read_text())
    started.unlink()
    os.kill(victim, signal.SIGKILL)
    (tmp_path / "go").touch()
    (outcome,) = executor.wait()
    assert outcome.status == "completed"
    assert outcome.metrics["pid"] != victim
    assert started.exists()


def test_a_child_that_kills_every_worker_fails_and_no_other_child_does(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    for index in range(8):
        notes = {"dies": 2.0} if index in (0, 3) else {"dies": 1.0} if index == 5 else {}
        executor.submit(trains.Dies(tmp_path), Proposal(index, {}, notes))
    outcomes = wait_for_all(executor, 8)
    assert {i for i, o in outcomes.items() if o.status == "failed"} == {0, 3}
    starts = {i: len((tmp_path / f"{i}.starts").read_text()) for i in range(8)}
    assert starts == {0: 2, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1, 7: 1}
    assert re.fullmatch(
        r"the worker process died 2 times while it trained this child, the last time: "
        r"it was killed(?: by signal 9.*| or crashed) \(executor\.retries=1\)",
        outcomes[0].error or "",
    )


def test_a_worker_that_dies_idle_is_replaced(executor: LocalExecutor) -> None:
    executor.submit(trains.by_notes, Proposal(0, {}))
    pid = int(executor.wait()[0].metrics["pid"])
    victim = psutil.Process(pid)
    victim.kill()
    victim.wait(timeout=30)
    for index in range(6):
        executor.submit(trains.by_notes, Proposal(index, {}, {"sleep_s": 0.02}))
    outcomes = wait_for_all(executor, 6)
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    assert pid not in {outcome.metrics["pid"] for outcome in outcomes.values()}


def test_an_outcome_that_cannot_be_pickled_is_a_failed_outcome(executor: LocalExecutor) -> None:
    executor.submit(trains.unpicklable, Proposal(0, {}))
    (outcome,) = executor.wait()
    assert outcome.status == "failed"
    assert "TypeError: CannotCross stays where it is" in (outcome.error or "")


def test_what_trains_children_must_be_picklable(executor: LocalExecutor) -> None:
    stays = trains.CannotCross()
    with pytest.raises(NasRunnerError, match="must be picklable to be sent to workers: CannotCros"):
        executor.submit(lambda proposal: stays, Proposal(0, {}))  # type: ignore[arg-type, return-value]


def test_what_trains_children_may_be_defined_anywhere(executor: LocalExecutor) -> None:
    executor.submit(lambda proposal: Outcome(proposal, "completed", 2.5), Proposal(0, {}))
    assert executor.wait() == [Outcome(Proposal(0, {}), "completed", 2.5)]


def test_workers_stay_while_children_come_and_go(executor: LocalExecutor) -> None:
    for index in range(10):
        executor.submit(trains.by_notes, Proposal(index, {}))
    pids = {outcome.metrics["pid"] for outcome in wait_for_all(executor, 10).values()}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_no_port_is_open_beyond_the_loopback_device(executor: LocalExecutor) -> None:
    executor.submit(trains.by_notes, Proposal(0, {}))
    pids = [os.getpid(), int(executor.wait()[0].metrics["pid"])]
    listening = [
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_no_process_and_no_thread_is_left_after_close() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with local() as executor:
        executor.submit(trains.by_notes, Proposal(0, {}))
        executor.wait()
        processes = {
            child.pid: child.cmdline() for child in psutil.Process().children(recursive=True)
        }
        assert len(set(processes) - before) >= 3
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    # multiprocessing's resource tracker ends with the process it belongs to
    assert [pid for pid in left if "resource_tracker" not in str(processes[pid])] == []


def test_it_can_be_closed_before_its_workers_are_up() -> None:
    start_s = time.perf_counter()
    with local(preload=["torch"]) as executor:
        executor.submit(trains.by_notes, Proposal(0, {}))
    assert time.perf_counter() - start_s < 2


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
    with local(workers=None, gpus=None, threads_per_worker=3, preload=["wave"]) as executor:
        assert executor.free_slots() == 2
        outcomes: dict[float, Outcome] = {}
        for index in range(20):  # until both workers have had one
            executor.submit(trains.describe_process, Proposal(index, {}))
            executor.submit(trains.describe_process, Proposal(index + 100, {}))
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
        executor.submit(trains.takes_memory, Proposal(0, {}))
        executor.submit(trains.by_notes, Proposal(1, {}))
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
        executor.submit(trains.by_notes, Proposal(0, {}))
        with pytest.raises(ConfigError, match=r"executor\.memory_limit_gb must be more than 0\.\d"):
            executor.wait()


def test_a_preload_that_crashes_is_an_error_and_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashes_at_import.py").write_text("raise SystemExit(4)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    with local(preload=["crashes_at_import"]) as executor:
        executor.submit(trains.by_notes, Proposal(0, {}))
        for _ in range(2):  # not only the first time
            with pytest.raises(NasRunnerError, match=r"no worker can start.*crashes_at_import"):
                executor.wait()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, r"executor\.workers must be a whole number >= 1 or null, got 0"),
        ({"workers": -2}, r"executor\.workers must be a whole number >= 1 or null, got -2"),
        ({"workers": "two"}, r"executor\.workers must be .* got 'two'"),
        ({"threads_per_worker": 0}, r"executor\.threads_per_worker must be .* >= 1, got 0"),
        ({"retries": -1}, r"executor\.retries must be a whole number >= 0, got -1"),
        ({"memory_limit_gb": 0}, r"executor\.memory_limit_gb must be > 0 or null, got 0"),
        ({"memory_limit_gb": 1e6}, r"executor\.memory_limit_gb must be at most the .* GB of this"),
        ({"workers_per_gpu": 2}, r"executor\.workers_per_gpu needs a GPU, got 2"),
        ({"workers_per_gpu": 0}, r"executor\.workers_per_gpu must be .* >= 1 or null, got 0"),
        ({"preload": ["no_such_module"]}, r"executor\.preload: there is no module 'no_such_mod"),
    ],
)
def test_impossible_settings_are_one_error_that_names_its_key(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LocalExecutor(**{**ARGUMENTS, **changes})
