"""How long searches take to the reward of 64 random children that are trained through.

    NASRUNNER_DATA=… python benchmarks/time_to_reward.py --world mlp --seeds 8
    NASRUNNER_DATA=… python benchmarks/time_to_reward.py --world cnn --seeds 5

On 2,002 images of MNIST, with real training, one child at a time. First each seed trains so many
random architectures of the space through; the goal is the median of the seeds' best rewards, and
the unit what such a search takes on average. Then every searcher, random search among them,
searches with seeds of its own until a child that was trained to its end reaches the goal, or until
it has trained four times as many epochs as the random searches. A search that did not reach it
counts with what it has spent, so that its row is a lower bound; the last column says how many did.

A cell is the mean over seeds with a 95 % interval (Student's t), as a share of the unit: of the
seconds of processor time of the whole command, from its start to its summary, and of the epochs.
With --folder, what each random search took is kept there and read by later commands, whose
searchers must then run on the same machine under the same load.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # ships no types

from nasrunner.core.machine.files import replace_file

# S = seeds

WORLDS = {
    "mlp": ("space=mlp", "trainer.max_epochs=27"),
    "cnn": (
        "space=small_cnn",
        "data.resolution=14",
        "trainer.limit_val_batches=8",  # 2,048 images
        "trainer.max_epochs=9",
    ),
}
ON_MNIST = (
    "data=mnist",
    "data.train_share=0.0364",  # 2,002 of 55,000 images; 5,000 others for validation
    "executor=serial",
    "tracker=none",
    "max_failures=null",
)
SEARCHERS = {
    "random": ("searcher=random",),
    "smbo": ("searcher=smbo",),
    "asha": ("searcher=asha",),
    "asha around smbo": ("searcher=asha", "searcher@searcher.searcher=smbo"),
    "asha around evolution": (
        "searcher=asha",
        "searcher@searcher.searcher=evolution",
        "searcher.searcher.population_size=20",
        "searcher.searcher.tournament_size=5",
    ),
    "hyperband": ("searcher=hyperband",),
    "asha_stopping around smbo": ("searcher=asha_stopping", "searcher@searcher.searcher=smbo"),
    "median_stopping around smbo": ("searcher=median_stopping", "searcher@searcher.searcher=smbo"),
}


@dataclass(frozen=True)
class Spent:
    """What a search took.

    Attributes:
        processor_s: seconds of processor time of the command and all its processes.
        epochs: that it trained.
        best: the best reward of a child that was trained to its end; None: there is none.
        is_there: whether it reached the goal.
    """

    processor_s: float
    epochs: float
    best: float | None
    is_there: bool


def searched(world: str, arguments: tuple[str, ...], seed: int) -> Spent:
    """Runs one search in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nasrunner", *WORLDS[world], *ON_MNIST, *arguments]
        command += [f"seed={seed}", f"hydra.run.dir={folder}/study"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processor_s = processor_seconds(command, environment)
        summary = json.loads((Path(folder) / "study" / "summary.json").read_text())
        lines = (Path(folder) / "study" / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    trained = {
        e["index"]: e["metrics"].get("epochs", 0.0) for e in events if e["event"] == "outcome"
    }
    reused = {
        e["index"] for e in events if e["event"] == "outcome" and e["reused_from"] is not None
    }
    before = {
        e["index"]: sum(trained[s["child"]] for s in e.get("sources", ()))
        for e in events
        if e["event"] == "proposed"
    }
    epochs = sum(n - before[index] for index, n in trained.items() if index not in reused)
    best = max((each["reward"] for each in summary["best"] if "epochs" not in each), default=None)
    return Spent(processor_s, epochs, best, summary["reason"].startswith("target_reward"))


def unit(world: str, folder: Path | None, num_children: int, seed: int) -> Spent:
    """Trains random children through, unless a file in ``folder`` says what that took."""
    arguments = ("searcher=random", f"max_children={num_children}")
    if folder is None:
        return searched(world, arguments, seed)
    settings = [*WORLDS[world], *ON_MNIST, *arguments]
    kept = folder / f"{world}_{num_children}_{seed}.json"
    if not kept.exists():
        spent = searched(world, arguments, seed)
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(kept, json.dumps({"settings": settings, **asdict(spent)}))
    found = json.loads(kept.read_text())
    if (before := found.pop("settings")) != settings:
        sys.exit(f"{kept} is of a search with {before}, this one has {settings}; remove it")
    return Spent(**found)


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    """Runs a command and returns what it and all processes it waited for took, in seconds."""
    with tempfile.TemporaryFile("w+") as said:
        running = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=said, text=True
        )
        _, status, usage = os.wait4(running.pid, 0)
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)}\n{said.read()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def shown(shares_S: np.ndarray) -> str:
    """The mean and its interval by Student's t; of one seed there is none."""
    if len(shares_S) < 2:
        return f"{shares_S.mean():.2f}"
    low, high = stats.t.interval(0.95, len(shares_S) - 1, shares_S.mean(), stats.sem(shares_S))
    return f"{shares_S.mean():.2f} [{max(0, low):.2f}, {high:.2f}]"


def main() -> None:
    """Searches, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", choices=WORLDS, default="mlp")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=1000, help="seed of the searches")
    parser.add_argument("--children", type=int, default=64, help="of the random searches")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=list(SEARCHERS))
    parser.add_argument("--folder", type=Path, help="keeps what the random searches took")
    given = parser.parse_args()
    epochs = int(WORLDS[given.world][-1].partition("=")[2])
    seeds = range(given.seeds)
    with ThreadPoolExecutor(given.processes) as pool:
        units = list(pool.map(partial(unit, given.world, given.folder, given.children), seeds))
        goal = float(np.median([each.best for each in units if each.best is not None]))
        unit_s = float(np.mean([each.processor_s for each in units]))
        unit_epochs = given.children * epochs
        print(
            f"{given.world}: the best of {given.children} random children is {100 * goal:.2f} % "
            f"(median of {given.seeds} seeds), which took {unit_s:.1f} s of processor time\n\n"
            f"| searcher | processor time | epochs | reached by |\n|---|---|---|---|",
            flush=True,
        )
        for name in given.searchers:
            most = (
                "max_children=null",
                f"max_epochs_total={4 * unit_epochs}",
                f"target_reward={goal}",
                *SEARCHERS[name],
            )
            others = range(given.first, given.first + given.seeds)
            found = list(pool.map(partial(searched, given.world, most), others))
            seconds_S = np.array([each.processor_s for each in found]) / unit_s
            epochs_S = np.array([each.epochs for each in found]) / unit_epochs
            there = sum(each.is_there for each in found)
            print(
                f"| {name} | {shown(seconds_S)} | {shown(epochs_S)} | {there} of {given.seeds} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
