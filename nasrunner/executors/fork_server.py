"""The process that imports what every worker needs, once; workers are forked from it in no time.

It is multiprocessing's fork server. Importing Lightning costs seconds of CPU, so importing it in
each of several workers at once is most of a short study's time.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.executors import preload

# What every worker of ours imports, whatever its children are.
_WORKER_MODULES = ("nasrunner.executors.dask.processes",)


class ForkServer:
    """Starts the fork server with modules imported, and stops it.

    A process has one fork server, so there can be one of these at a time.

    Args:
        modules: to import before the first worker is forked.
        environ: environment variables that must be set before those imports.

    Raises:
        ConfigError: one of ``modules`` does not exist.
    """

    def __init__(self, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        for module in modules:
            if not _exists(module):
                raise ConfigError(
                    f"executor.preload: there is no module {module!r}; legal are modules that "
                    "this Python can import"
                )
        self._preload = list(modules)
        self._environ = environ
        self._lock = threading.Lock()
        self._is_started = False
        self._is_ready = False
        self._is_aborted = False

    def start(self) -> None:
        """Starts it and returns at once; the imports go on.

        Raises:
            NasRunnerError: the process has a fork server already.
        """
        if self._pid() is not None:
            raise NasRunnerError(
                "executor=local needs multiprocessing's fork server, of which a process has one, "
                "and it is in use; legal is one open executor=local at a time"
            )
        forkserver.set_forkserver_preload([preload.__name__])
        modules = {preload.VARIABLE: ",".join([*_WORKER_MODULES, *self._preload])}
        with terminal_blocked():
            resource_tracker.ensure_running()  # of its own: it unblocks SIGINT
        with environment({**self._environ, **modules}), terminal_blocked():
            forkserver.ensure_running()
        self._is_started = True

    def wait(self) -> None:
        """Blocks until the imports are done.

        Raises:
            NasRunnerError: an import ended the process, the main module cannot be imported a
                second time, or ``abort`` was called.
        """
        with self._lock:
            self._check_not_aborted()
        # The first process forked, with nothing to do, shows that the server answers.
        probe = multiprocessing.get_context("forkserver").Process(target=os.getpid, daemon=True)
        ended: Exception | None = None
        try:
            probe.start()
            probe.join()
        except (EOFError, OSError) as error:
            ended = error
        with self._lock:
            self._check_not_aborted()
            self._is_ready = ended is None
        if ended is not None:
            raise NasRunnerError(
                "no worker can start: the process that imports executor.preload="
                f"{self._preload} for them ended; its message stands above"
            ) from ended
        if probe.exitcode != 0:
            raise NasRunnerError(
                "no worker can start: a new process cannot import the program that started it "
                f"(exit code {probe.exitcode}; its message stands above)"
            )

    def abort(self) -> None:
        """Ends the imports if they are still under way, so that ``wait`` returns soon.

        To be repeated until it has: multiprocessing may just be starting the server again.
        """
        with self._lock:
            self._is_aborted = True
            if self._is_started and not self._is_ready:
                self._kill()

    def memory_gb(self) -> float:
        """Returns what the imports take, in 10^9 bytes: every worker starts with it."""
        import psutil  # type: ignore[import-untyped]  # a dependency of distributed, no types

        return float(psutil.Process(self._pid()).memory_info().rss) / 1e9

    def stop(self) -> None:
        """Ends the process. Safe to call twice."""
        if not self._is_started:
            return
        self._is_started = False
        self._kill()
        # Private, but the only way to reap it; CPython's own tests stop it like this.
        server = forkserver._forkserver
        with suppress(ChildProcessError, FileNotFoundError):
            server._stop()  # type: ignore[attr-defined]

    def _check_not_aborted(self) -> None:
        if self._is_aborted:
            raise NasRunnerError("the executor was closed while its workers started")

    def _kill(self) -> None:
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _pid() -> int | None:
        pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        return pid


@contextmanager
def terminal_blocked() -> Iterator[None]:
    """Threads and processes started within the block never see Ctrl-C, nor that a terminal closed.

    They inherit the mask. A terminal sends its signals to every process of the foreground group: a
    study must be able to let its running children finish, and to end its workers itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _exists(module: str) -> bool:
    """Looks for a module without importing it or the packages it lies in."""
    found: Sequence[str] | None = None
    parts = module.split(".")
    for count, part in enumerate(parts, 1):
        name = ".".join(parts[:count])
        try:
            spec = find_spec(part) if count == 1 else PathFinder.find_spec(name, found)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return module in sys.modules
        found = spec.submodule_search_locations
        if found is None:  # what a plain module makes below itself, as os.path, cannot be told
            return True
    return True
