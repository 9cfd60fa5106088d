"""The tables that a benchmark makes of retrained studies, beside what their files say."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "mlpnas_tables.py"


def test_the_tables_of_mlpnas_say_what_the_search_and_the_tests_found(
    retrain: Callable[..., None], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", "top=1", "seeds=1", "start=child", "trainer.max_epochs=2")
    record = json.loads((study / "retrained" / "retrain.json").read_text())
    best, sklearn = record["architectures"]
    capsys.readouterr()
    runpy.run_path(str(BENCHMARK))["main"]([str(study)])
    rows = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    scores = [row["metrics"]["test_accuracy"]["mean"] for row in (best, sklearn)]
    (title,) = (line for line in rows.values() if line.startswith("Digits"))
    assert title.endswith("; 1 seeds")
    assert f"| {best['reward']:.4f} | {scores[0]:.4f} |" in rows["| best"]
    assert "(8) relu" in rows["| best"]
    assert "(4) relu" in rows["| fifth"]
    assert f"MLPClassifier | – | {scores[1]:.4f} |" in "".join(rows)
