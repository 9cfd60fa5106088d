"""Studies that are killed and go on: python -m tests.contracts.killing forks each from itself.

It has imported all that a study needs, so that a study begins within milliseconds of its fork.
It takes requests and answers them, a line of JSON each, see ``Sessions``.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nasrunner.arguments import read_arguments
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_networks, build_trainer, run_study
from nasrunner.core import Searcher
from nasrunner.core.ledger.state import StudyState
from nasrunner.resuming import resume
from nasrunner.study.beginning import beginning
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.replaying import replay
from nasrunner.study.searching import Searching

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Session:
    """What became of a study's process.

    Attributes:
        code: it exited with; -9: it was killed.
        loop_s: seconds from when its loop began to its end.
    """

    code: int
    loop_s: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Sessions:
    """A process that studies are forked from; use it as a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.contracts.killing"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with self._process:  # waits, and closes the pipes
            self._process.stdin.close()

    def run(self, config: Mapping[str, Any], folder: Path, after_s: float | None = None) -> Session:
        """Begins a study or goes on with it, in a process of its own.

        Args:
            config: the whole configuration; one that goes on reads its own.
            folder: the study's.
            after_s: how long after the beginning of its loop the process and all that it has
                started are killed; None: they are not.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        request = {"config": config, "folder": str(folder), "after_s": after_s}
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return Session(**json.loads(stdout.readline()))


def serve() -> None:
    """Answers requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        code, loop_s = _session(request["config"], Path(request["folder"]), request["after_s"])
        sys.stdout.write(json.dumps({"code": code, "loop_s": loop_s}) + "\n")
        sys.stdout.flush()


def _session(config: dict[str, Any], folder: Path, after_s: float | None) -> tuple[int, float]:
    begins, began = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(begins)
        _tell_beginning(began)
        _fork_the_fork_server()
        _become(config, folder, began)
    os.close(began)
    os.read(begins, 1)  # nothing where it ends before
    begun_s = time.monotonic()
    has_ended = bool(select.select([begins], [], [], after_s)[0])
    loop_s = time.monotonic() - begun_s
    if not has_ended:
        os.killpg(process, signal.SIGKILL)
    os.close(begins)
    _, status = os.waitpid(process, 0)
    _wait_for_group(process)
    return os.waitstatus_to_exitcode(status), loop_s


_OPENED: list[Study] = []
"""The study of this process, and its baseline, if it has one."""


def _tell_beginning(pipe: int) -> None:
    """Has a study's loop tell when it begins, before it notes down its first event."""
    opens = Study.open

    def opens_and_tells(study: Study) -> None:
        if not _OPENED:
            os.write(pipe, b".")
        _OPENED.append(study)
        opens(study)

    Study.open = opens_and_tells  # type: ignore[method-assign]


def _fork_the_fork_server() -> None:
    """Has the process that workers are forked from be a fork, too, which need not import anything.

    It is told from what multiprocessing would run, and has of what is open what that would have.
    """
    spawn = util.spawnv_passfds

    def fork(path: bytes, arguments: Sequence[Any], kept: Sequence[int]) -> int:
        command = str(arguments[-1])
        if "multiprocessing.forkserver" not in command:
            return spawn(path, arguments, kept)
        process = os.fork()
        if process == 0:
            try:
                for each in os.listdir("/proc/self/fd"):
                    if int(each) > 2 and int(each) not in kept:
                        with contextlib.suppress(OSError):  # that of the listing itself
                            os.close(int(each))
                exec(command, {})
            finally:
                os._exit(1)
        return process

    util.spawnv_passfds = fork  # type: ignore[assignment]


def _check_replay(config: dict[str, Any], folder: Path) -> None:
    """Checks that the ledger alone makes the state and the searcher that this process has."""
    study = _OPENED[0]
    seed = config["seed"]
    searcher: Searcher = construct(config["searcher"], "searcher", space=study.space, seed=seed)
    trainer = build_trainer(config, study.space)
    networks = build_networks(config, study.space, trainer)
    if study.goals is not None:
        searcher.compare(study.goals.objectives)
    searching = Searching(searcher, study.rules, networks, None)
    state = StudyState()
    with Ledger(folder / "ledger.jsonl") as ledger:
        replay(ledger, beginning(study.space, seed, {}), state, searching)
    live = study.state
    for name in ("proposals", "in_flight", "outcomes", "heard", "stopping", "num_epochs"):
        assert getattr(state, name) == getattr(live, name), name
    assert (state.reason, state.num_events) == (live.reason, live.num_events)
    assert state.history.outcomes == live.history.outcomes
    assert state.history.counts == live.history.counts
    assert set(searcher.needs()) == set(study.searcher.needs())
    for _ in range(3):
        assert searcher.is_ready == study.searcher.is_ready
        if searcher.is_ready:
            assert searcher.propose() == study.searcher.propose()


def _wait_for_group(group: int) -> None:
    """Waits until nothing of a group runs any more."""
    until_s = time.monotonic() + _PATIENCE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until_s:
            os.killpg(group, 0)
            time.sleep(0.002)
        raise AssertionError(f"processes of group {group} do not end")


def _become(config: dict[str, Any], folder: Path, pipe: int) -> None:
    """Makes a forked process one of a study, and ends it; the pipe is closed after the loop."""
    code = 1
    try:
        os.setsid()
        folder.parent.mkdir(parents=True, exist_ok=True)
        said = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(said, stream)
        if _has_begun(folder):
            resumed = resume(read_arguments([f"resume={folder}"]))
            assert resumed.config is not None
            config = resumed.config
        summary = run_study(config, folder)
        os.close(pipe)
        assert summary.failure is None, summary.failure
        _check_replay(config, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _has_begun(folder: Path) -> bool:
    ledger = folder / "ledger.jsonl"
    return ledger.is_file() and b"\n" in ledger.read_bytes()


if __name__ == "__main__":
    import nasrunner.children.fit.training
    import nasrunner.children.proxies.scoring
    import nasrunner.children.rehearsal.checks
    import nasrunner.data.digits
    import nasrunner.data.tensors
    import nasrunner.executors.dask.processes  # noqa: F401 - what a study and its workers import

    serve()
