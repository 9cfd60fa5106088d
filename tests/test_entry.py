"""The commands as a shell starts them."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPTS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
    "scripts"
]
# Ctrl-C in the middle of an import, where Python would make a traceback of it.
STOPPED = """
import signal, sys
from nasrunner import entry

class Stops:
    def find_spec(self, name, path, target=None):
        if name == "omegaconf":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Stops())
entry.{function}()
"""


@pytest.mark.parametrize("program", sorted(SCRIPTS))
def test_ctrl_c_while_a_command_imports_is_one_sentence(program: str) -> None:
    module, _, function = SCRIPTS[program].partition(":")
    assert module == "nasrunner.entry"
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED.format(function=function), "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == f"\n{program}: stopped before it began\n"


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    """As of what a script starts with &."""
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED.format(function="search"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        preexec_fn=lambda: __import__("signal").signal(2, 1),
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "nasrunner 0.1.0\n", "")


def test_the_package_is_a_command_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "nasrunner", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "nasrunner 0.1.0\n", "")
