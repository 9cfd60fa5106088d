"""Text files are UTF-8, whatever the locale of the machine that reads or writes them."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nasrunner

SOURCES = sorted(Path(nasrunner.__file__).parent.rglob("*.py"))
TEXT_MODE = re.compile(r"[rwax]\+?t?")
"""What ``open`` is given for a text file."""


def without_encoding(source: str) -> Iterator[str]:
    """The calls that read or write text as the locale has it; ruff knows too few types for it."""
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        is_builtin = isinstance(call.func, ast.Name) and call.func.id == "open"
        modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        modes += [k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)]
        is_text = any(isinstance(mode, str) and TEXT_MODE.fullmatch(mode) for mode in modes)
        is_plain_open = is_builtin and not any(isinstance(mode, str) for mode in modes)
        opens = (is_builtin or name in ("open", "fdopen", "TemporaryFile")) and is_text
        if (opens or is_plain_open or name in ("read_text", "write_text")) and not any(
            keyword.arg == "encoding" for keyword in call.keywords
        ):
            yield ast.unparse(call)


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("path.open('a')", True),
        ("path.open(mode='r+')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("open(path, 'w', encoding='utf-8')", False),
        ("open(path, 'wb')", False),
        ("path.open('rb')", False),
        ("tracker.open(info, recorded)", False),
    ],
)
def test_a_call_without_encoding_is_found(source: str, is_found: bool) -> None:
    assert bool(list(without_encoding(source))) is is_found


def test_every_text_file_names_its_encoding() -> None:
    assert len(SOURCES) > 200
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    may_open = {path: text for path, text in texts.items() if re.search(r"open|_text", text)}
    found = {str(path): list(without_encoding(text)) for path, text in may_open.items()}
    found = {path: calls for path, calls in found.items() if calls}
    assert found == {}


LATIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C", "LC_ALL": "C"}
"""What some clusters' nodes have."""


@pytest.mark.slow
def test_a_study_in_a_locale_without_utf8_ends_as_any_other(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    command = [sys.executable, "-m", "nasrunner", "executor=serial", "tracker=none", "space=mlp"]
    command += ["max_children=2", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/study"]
    ended = subprocess.run(command, env={**environ, **LATIN}, cwd=tmp_path, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"affine(units=" in ended.stdout
    assert b" -> " in ended.stdout
    summary = json.loads((tmp_path / "study" / "summary.json").read_text(encoding="utf-8"))
    assert " → " in summary["best"][0]["architecture"]


@pytest.mark.slow
def test_a_space_is_shown_where_output_is_ascii(tmp_path: Path) -> None:
    code = "from nasrunner.show_space import main; main()"
    command = [sys.executable, "-c", code, "space=mlp"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b" -> " in ended.stdout
