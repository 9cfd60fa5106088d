"""Workers of a Dask cluster that runs already: found, checked, taken as they come and go."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nasrunner.core import ConfigError, NasRunnerError, Outcome, Proposal
from nasrunner.executors.dask.address import AddressExecutor, describe_difference
from tests.executors import trains
from tests.executors.test_signals import eventually
from tests.executors.trains import submit

StartWorker = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Path]:
    """The scheduler file of a cluster without workers."""
    file = tmp_path / "scheduler.json"
    command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with running([*command, "--scheduler-file", str(file)]):
        eventually(lambda: file.exists() and bool(file.read_text()), "the scheduler is up")
        yield file


@pytest.fixture
def start_worker(scheduler: Path) -> Iterator[StartWorker]:
    with contextlib.ExitStack() as stack:
        command = ["worker", "--scheduler-file", str(scheduler), "--nthreads", "1"]
        command += ["--no-dashboard", "--host", "127.0.0.1"]
        yield lambda: stack.enter_context(running(command))


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Dask's that is killed at the end, with all its processes but one.

    Multiprocessing's tracker ends after them, and removes their semaphores.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid)
            for each in [started, *started.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if not any("resource_tracker" in word for word in each.cmdline()):
                        each.kill()
        process.wait()


def executor(address: object, **changes: Any) -> contextlib.closing[AddressExecutor]:
    arguments = {"workers": 1, "wait_s": 20.0, "threads_per_worker": 1, "retries": 1, **changes}
    return contextlib.closing(AddressExecutor(str(address), **arguments))


def outcomes_of(executor: AddressExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def test_children_run_on_whatever_workers_come(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    with executor(scheduler) as built:
        submit(built, trains.by_notes, Proposal(0, {}), tmp_path)
        assert outcomes_of(built, 1)[0].status == "completed"
        assert built.free_slots() == 1
        start_worker()
        eventually(lambda: built.free_slots() == 2, "the second worker counts")
        for index in range(2):
            submit(built, trains.Barrier(tmp_path), Proposal(index, {}), tmp_path)
        started = [tmp_path / f"{index}.started" for index in range(2)]
        eventually(lambda: all(file.exists() for file in started), "both train at once")
        (tmp_path / "go").touch()
        assert len({outcome.metrics["pid"] for outcome in outcomes_of(built, 2).values()}) == 2


def test_a_study_that_waits_hears_of_a_worker_that_comes(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    with executor(scheduler) as built:
        submit(built, trains.Barrier(tmp_path), Proposal(0, {}), tmp_path)
        eventually((tmp_path / "0.started").exists, "it trains")
        start_worker()
        assert built.wait() == []
        assert built.free_slots() == 1
        (tmp_path / "go").touch()
        assert outcomes_of(built, 1)[0].status == "completed"


def test_two_studies_on_one_cluster_get_their_own_outcomes(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    address = json.loads(scheduler.read_text())["address"]
    with executor(scheduler) as one, executor(address) as other:
        for index in range(5):
            submit(one, trains.by_notes, Proposal(index, {}, notes={"sleep_s": 0.01}), tmp_path)
            submit(other, trains.by_notes, Proposal(index, {}, notes={"raises": 1.0}), tmp_path)
        assert {o.status for o in outcomes_of(one, 5).values()} == {"completed"}
        assert {o.status for o in outcomes_of(other, 5).values()} == {"failed"}


@pytest.mark.slow
def test_a_child_whose_worker_is_lost_waits_for_the_next(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    first = start_worker()
    with executor(scheduler) as built:
        submit(built, trains.Barrier(tmp_path), Proposal(0, {}), tmp_path)
        eventually((tmp_path / "0.started").exists, "it trains")
        os.killpg(first.pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        start_worker()
        assert outcomes_of(built, 1)[0].status == "completed"


@pytest.mark.slow
def test_a_child_that_still_runs_when_the_study_stops_does_not_run_on(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    with executor(scheduler) as built:
        submit(built, trains.Barrier(tmp_path), Proposal(0, {}), tmp_path)
        started = tmp_path / "0.started"
        eventually(lambda: started.exists() and bool(started.read_text()), "it trains")
    pid = int(started.read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "its process has ended")


def test_a_cluster_without_workers_is_an_error_after_a_while(scheduler: Path) -> None:
    with executor(scheduler, wait_s=1.0) as built:
        assert built.free_slots() == 1
        submit(built, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        with pytest.raises(
            NasRunnerError,
            match=r"has had no worker for executor\.wait_s=1 seconds; start some, for example with",
        ):
            built.wait()


@pytest.mark.slow  # Dask tries for 20 s to reach it again
def test_a_scheduler_that_ends_is_an_error(
    scheduler: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    with executor(scheduler) as built:
        submit(built, trains.Barrier(tmp_path), Proposal(0, {}), tmp_path)
        eventually((tmp_path / "0.started").exists, "it trains")
        os.kill(json_pid(scheduler), signal.SIGKILL)
        with pytest.raises(NasRunnerError, match=r"no child can run: Dask's scheduler is gone"):
            built.wait()


def json_pid(scheduler: Path) -> int:
    """The process that wrote the scheduler file."""
    name = str(scheduler)
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
            if name in command and "dask_scheduler" in command:
                return int(entry.name)
    raise AssertionError("no scheduler runs")


def test_workers_with_other_versions_are_refused(
    scheduler: Path, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_worker()
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "99", "0"))
    with executor(scheduler) as built:
        submit(built, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        with pytest.raises(
            ConfigError,
            match=rf"the one at tcp://\S+ has others: python {here} instead of 3\.99$",
        ):
            built.wait()


def test_what_differs_is_told_in_words() -> None:
    here = {"python": "3.11", "dask": "2026.8.0", "torch": "2.13.0"}
    assert describe_difference(here, here) == ""
    there = {"python": "3.11", "dask": "2025.1.0"}
    assert describe_difference(here, there) == (
        "dask 2025.1.0 instead of 2026.8.0, torch missing instead of 2.13.0"
    )
    assert describe_difference(here, "ModuleNotFoundError: nasrunner") == (
        "ModuleNotFoundError: nasrunner"
    )


def test_an_address_that_does_not_answer_is_one_error() -> None:
    with executor("tcp://127.0.0.1:9", wait_s=0.5) as built:
        submit(built, trains.by_notes, Proposal(0, {}), trains.FOLDER)
        with pytest.raises(
            ConfigError, match=r"tcp://127\.0\.0\.1:9 does not answer within executor\.wait_s=0\.5"
        ):
            built.wait()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"address": ""}, r"executor\.address must be a Dask scheduler's.* got ''"),
        ({"address": "host:8786"}, r"executor\.address=host:8786 is neither an address.* nor a"),
    ],
)
def test_an_impossible_setting_is_one_error_that_names_its_key(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        executor(**{"address": "tcp://127.0.0.1:9", **changes})
