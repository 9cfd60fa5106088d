"""Inspects networks with code of a user's own where that code cannot take the study along."""

import atexit
import contextlib
import dataclasses
import functools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import Any

from nasrunner.children.blueprint import OutShape, Size, measure, measure_operation
from nasrunner.children.inputs import InDtype
from nasrunner.core import Blueprint, Genotype, InShape, SearchSpace, Shape, Space, SpaceError
from nasrunner.core.machine.stopping import how_it_ended
from nasrunner.core.space import living

_KNOWN = ("nasrunner", "torch")
"""Packages whose code ends no process."""

_POLL_S = 0.05


def measured(
    frozen: SearchSpace, in_shape: InShape, out_shape: OutShape, in_dtype: InDtype
) -> Size:
    """Counts what a network would need, as ``measure`` does.

    Where it has modules of a user's own, another process builds it: one that ends, by ``os._exit``
    or a segmentation fault, is a network that cannot be built. That process is started for the
    first such network, in seconds, and used for all.

    Raises:
        SpaceError: as of ``measure``; or the process has ended.
    """
    size: Size = _safely(measure, frozen, in_shape, out_shape, in_dtype)
    return size


def measured_operation(part: Space, in_shape: InShape, in_dtype: InDtype) -> tuple[Size, Shape]:
    """Counts what one module would need, as ``measure_operation`` does and as safe as ``measured``.

    Raises:
        SpaceError: it is impossible, or the process has ended.
    """
    found: tuple[Size, Shape] = _safely(measure_operation, part, in_shape, in_dtype)
    return found


def _safely(count: Callable[..., Any], part: Space, *others: Any) -> Any:
    """What a function finds out of a space; in another process if it runs code of a user's own."""
    if not runs_own_code(part):
        return count(part, *others)
    try:
        pickled = pickle.dumps((count, part, *others))
    except Exception:  # defined where no other process finds it, as in a function
        return count(part, *others)
    return _inspector().ask(pickled)


def draw_up(
    space: SearchSpace,
    genotype: Genotype,
    in_shape: InShape,
    out_shape: OutShape,
    draw: Callable[[Space], str],
    in_dtype: InDtype = "float32",
) -> Blueprint:
    """Finds out a child's size and cost before it is trained.

    Args:
        space: what is searched.
        genotype: the child's architecture.
        in_shape, out_shape, in_dtype: as of ``measure``.
        draw: draws a frozen space as SVG.

    Raises:
        SpaceError: as of ``measured``.
    """
    frozen = space.freeze(genotype)
    size = measured(frozen, in_shape, out_shape, in_dtype)
    shown = living(frozen)
    drawn = functools.partial(draw, shown)
    return Blueprint(shown.text(), space.values(genotype), size.trained, size.flops, drawn)


def runs_own_code(part: object) -> bool:
    """Tells whether a space, or part of one, names classes of neither this package nor torch."""
    if isinstance(part, type):
        return part.__module__.partition(".")[0] not in (*_KNOWN, "builtins")
    inside: Iterable[object] = ()
    if dataclasses.is_dataclass(part):
        if runs_own_code(type(part)):
            return True
        inside = [getattr(part, field.name) for field in dataclasses.fields(part)]
    elif isinstance(part, Mapping):
        inside = part.values()
    elif isinstance(part, list | tuple):
        inside = part
    return any(map(runs_own_code, inside))


class Inspector:
    """A process that inspects one network after the other, and is replaced when it has ended.

    It ends with this one: when nobody holds its standard input any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None

    def ask(self, pickled: bytes) -> Any:
        """Has a network measured.

        Args:
            pickled: a function and its arguments.

        Raises:
            SpaceError: as of that function, or the process has ended.
        """
        with self._lock:
            answer = self._answer(pickled)
        if isinstance(answer, str):
            raise SpaceError(answer)
        return answer

    def close(self) -> None:
        """Ends the process; the next question starts another."""
        if self._process is None or self._connection is None:
            return
        self._connection.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process = self._connection = None

    def _answer(self, pickled: bytes) -> Any:
        process, connection = self._running()
        with contextlib.suppress(OSError, EOFError):  # it has ended
            connection.send((sys.path, pickled))
            while not connection.poll(_POLL_S):
                if process.poll() is not None and not connection.poll():
                    break  # a copy of it may hold the other end
            else:
                return connection.recv()
        code = process.wait()
        self.close()
        return f"the process that inspected the network {how_it_ended(code)}"

    def _running(self) -> "tuple[subprocess.Popen[bytes], Connection[Any, Any]]":
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None or self._connection is None:
            self._connection, other = Pipe()
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(other.fileno())],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # training prints it again
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,  # Ctrl-C is the study's to handle
            )
            other.close()
        return self._process, self._connection


@functools.cache
def _inspector() -> Inspector:
    """The one of this process: what it has imported serves all."""
    inspector = Inspector()
    atexit.register(inspector.close)
    return inspector


def main() -> None:
    """Answers questions until the process that asks them has ended."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, OSError):
        while True:
            path, pickled = connection.recv()
            sys.path[:] = path
            connection.send(_measured(pickled))


def _measured(pickled: bytes) -> Any:
    try:
        count, *arguments = pickle.loads(pickled)
        return count(*arguments)
    except SpaceError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
