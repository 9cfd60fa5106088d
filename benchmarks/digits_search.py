"""A whole search against the script people write instead: same children, whole processes.

Runs nasrunner once to find 20 children, then in turn: the script (benchmarks/script_baseline.py)
with those children, nasrunner in one process, and nasrunner with two workers; each on a fresh
MLflow database that exists already. Prints wall-clock seconds and ratios to the script.

    python benchmarks/digits_search.py --rounds 3
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nasrunner.compose.launch import build_space
from nasrunner.compose.saved import saved_config

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a whole process; its output is shown only when it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


def nasrunner(children: int, epochs: int, *overrides: str) -> list[str]:
    """The command of a search that differs from the default only in size."""
    return [
        *(sys.executable, "-m", "nasrunner", "duplicates=retrain"),
        *(f"max_children={children}", f"trainer.max_epochs={epochs}", *overrides),
    ]


def children_of(folder: Path) -> list[list[list[object]]]:
    """The layers of every proposed child, read from the only study below a folder."""
    (study,) = folder.glob("outputs/*/*/ledger.jsonl")
    space = build_space(saved_config(study.parent))
    events = [json.loads(line) for line in study.read_text().splitlines()]
    genotypes = [event["genotype"] for event in events if event["event"] == "proposed"]
    return [layers_of(space.values(genotype)) for genotype in genotypes]


def layers_of(values: dict[str, object]) -> list[list[object]]:
    """One architecture of conf/space/mlp.yaml as [units, activation] or ["dropout"] layers."""
    layers: list[list[object]] = [[values["0/affine/units"], values["1/or"]]]
    for position in range(int(str(values["2/repeat/times"]))):
        path = f"2/repeat/{position}/or"
        if values[path] == "dropout":
            layers.append(["dropout"])
        else:
            layers.append([values[f"{path}/0/0/affine/units"], values[f"{path}/0/1/or"]])
    return layers


def main() -> None:
    """Prints seconds of each contender and the ratios to the script."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--children", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = (arguments.children, arguments.epochs)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        seconds(nasrunner(*size, "executor=serial"), root)
        (root / "children.json").write_text(json.dumps(children_of(root)))
        script = [sys.executable, str(HERE / "script_baseline.py"), "children.json"]
        script += ["--epochs", str(arguments.epochs), "--database", str(root / "script.db")]
        seconds(script, root)  # makes its database
        contenders = {
            "script": script,
            "nasrunner, one process": nasrunner(*size, "executor=serial"),
            "nasrunner, two workers": nasrunner(*size, "executor.workers=2"),
        }
        taken: dict[str, list[float]] = {label: [] for label in contenders}
        for _ in range(arguments.rounds):
            for label, command in contenders.items():
                taken[label].append(seconds(command, root))
    for label, times in taken.items():
        ratios = [mine / other for mine, other in zip(times, taken["script"], strict=True)]
        print(
            f"{label}: median {statistics.median(times):.1f} s "
            f"({min(times):.1f} to {max(times):.1f}), "
            f"{statistics.median(ratios):.2f} of the script "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
