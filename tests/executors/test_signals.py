"""Ctrl-C, a second Ctrl-C, and a driver that is killed: seen from outside, on real processes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 60.0


class Driver:
    """``tests.executors.driver`` in a session of its own, as on a terminal of its own."""

    def __init__(self, folder: Path, temporary: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.executors.driver", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": temporary},
        )

    def ctrl_c(self) -> None:
        """What a terminal does: SIGINT to every process of the foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def is_training(self, num_children: int) -> bool:
        return len(list(self.folder.glob("*.started"))) >= num_children

    def processes(self) -> list[psutil.Process]:
        """The driver's session: itself, the fork server, its workers, helpers; no zombies."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and (
                    process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory() as temporary:  # short: a socket's path stands in it
        driver = Driver(tmp_path, temporary)
        eventually(lambda: driver.is_training(2), "two children train")
        yield driver
        for process in driver.processes():
            process.kill()
        driver.process.communicate()


def eventually(is_true: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> float:
    """Waits until it is true, and returns how long that took."""
    start_s = time.monotonic()
    while not is_true():
        assert time.monotonic() - start_s < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - start_s


def test_children_finish_after_ctrl_c(driver: Driver) -> None:
    driver.ctrl_c()
    eventually((driver.folder / "interrupted").exists, "the driver has seen the signal")
    (driver.folder / "go").touch()
    out, err = driver.process.communicate(timeout=PATIENCE_S)
    assert err == ""
    assert sorted(out.splitlines()[:3]) == [f"{i} completed None" for i in range(3)]
    eventually(lambda: not driver.processes(), "no process is left", within_s=10)


def test_a_second_ctrl_c_stops_everything_at_once(driver: Driver) -> None:
    driver.ctrl_c()
    eventually((driver.folder / "interrupted").exists, "the driver has seen the first signal")
    driver.ctrl_c()
    out, err = driver.process.communicate(timeout=PATIENCE_S)
    assert err == ""
    (closed,) = out.splitlines()
    assert float(closed.removeprefix("closed ")) < 2
    eventually(lambda: not driver.processes(), "no process is left", within_s=10)


def test_workers_end_when_the_driver_is_killed(driver: Driver) -> None:
    assert len(driver.processes()) >= 4  # the driver, the fork server, two workers
    driver.process.kill()
    eventually(lambda: not driver.processes(), "no process is left", within_s=10)
