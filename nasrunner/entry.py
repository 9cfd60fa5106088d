"""The commands as a shell starts them: Ctrl-C is no traceback while they import, for a second."""

import importlib
import os
import signal
import sys
import types
from typing import NoReturn


def search() -> None:
    """Runs ``nasrunner``."""
    _run("nasrunner", "nasrunner.command")


def space() -> None:
    """Runs ``nasrunner-space``."""
    _run("nasrunner-space", "nasrunner.show_space")


def data() -> None:
    """Runs ``nasrunner-data``."""
    _run("nasrunner-data", "nasrunner.show_data.command")


def report() -> None:
    """Runs ``nasrunner-report``."""
    _run("nasrunner-report", "nasrunner.report.command")


def retrain() -> None:
    """Runs ``nasrunner-retrain``."""
    _run("nasrunner-retrain", "nasrunner.retrain.command")


def calibrate() -> None:
    """Runs ``nasrunner-calibrate``."""
    _run("nasrunner-calibrate", "nasrunner.calibrate.command")


def export() -> None:
    """Runs ``nasrunner-export``."""
    _run("nasrunner-export", "nasrunner.export.command")


def predict() -> None:
    """Runs ``nasrunner-predict``."""
    _run("nasrunner-predict", "nasrunner.predict.command")


def _run(program: str, module: str) -> None:
    """Imports a command and runs it.

    An exception in the middle of an import may get lost, or come out as another one: Ctrl-C ends
    the process from its handler.
    """

    def stop(signum: int, frame: types.FrameType | None) -> NoReturn:
        os.write(sys.__stderr__.fileno(), f"\n{program}: stopped before it began\n".encode())  # type: ignore[union-attr]  # where there is none, os.write fails, too
        os._exit(128 + signum)

    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, stop)
    main = importlib.import_module(module).main
    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
