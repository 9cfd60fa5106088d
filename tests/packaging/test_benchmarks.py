"""Every script in benchmarks/ can be started: what it imports is still there.

CI measures nothing, so that a name that moved would be noticed by the next who measures.
"""

import runpy
import sys
from pathlib import Path

import pytest

from tests.sampling import one_in

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS, SHARED = [], []
for _path in sorted(BENCHMARKS.glob("*.py")):
    _is_script = '__name__ == "__main__"' in _path.read_text(encoding="utf-8")
    (SCRIPTS if _is_script else SHARED).append(_path.stem)


def test_the_others_are_imported_by_scripts() -> None:
    assert SHARED == ["children", "images", "regrets"]
    assert len(SCRIPTS) >= 30


@pytest.mark.slow
@one_in(4, 0, "name", SCRIPTS, rest=pytest.mark.matrix)
def test_a_script_says_what_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = BENCHMARKS / f"{name}.py"
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {name}.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED)
def test_what_scripts_share_is_imported(name: str) -> None:
    runpy.run_path(str(BENCHMARKS / f"{name}.py"))
