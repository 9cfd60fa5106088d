"""The real study loop, searcher and ledger against a cluster on a virtual clock.

Children are looked up in NAS-Bench-Macro, and hold a worker for a log-normal time. Prints how busy
the workers were, what the driver took for a child, and how ledger and memory grew; and, with
``--saturate``, how short children may get before the driver cannot keep the workers busy.

    NASRUNNER_DATA=../shared/data python benchmarks/cluster_simulation.py --children 100000
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space, build_trainer
from nasrunner.core import StudyInfo
from nasrunner.executors.simulated import SimulatedExecutor
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study

LABELS = (
    "searcher, workers, children, seconds a child, busy %, driver ms a child, children/s, "
    "ledger MB, memory MB, wall s"
)


def composed(searcher: str, workers: int, children: int, median_s: float) -> dict[str, Any]:
    """The configuration of one simulated study."""
    skeleton.register()
    overrides = [
        *("space=nasbench_macro", "trainer=nasbench_macro", "data=cifar10", "executor=simulated"),
        f"executor.workers={workers}",
        f"executor.median_s={median_s}",
        f"max_children={children}",
        "duplicates=retrain",
        "study=simulation",
    ]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=[*overrides, f"searcher={searcher}"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in plain.items()}


def simulate(searcher: str, workers: int, children: int, median_s: float) -> str:
    """One study; returns its line of the table."""
    config = composed(searcher, workers, children, median_s)
    space = build_space(config)
    executor: SimulatedExecutor = construct(config["executor"], "executor")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, Ledger(Path(name) / "ledger.jsonl") as ledger:
        Study(
            space=space,
            searcher=construct(config["searcher"], "searcher", space=space, seed=0),
            trainer=build_trainer(config, space),
            executor=executor,
            trackers=[],
            ledger=ledger,
            rules=skeleton.rules_from(config),
            info=StudyInfo("simulation", Path(name), config, children),
        ).run()
        ledger_mb = ledger.path.stat().st_size / 1e6
    wall_s = time.perf_counter() - start
    used = executor.utilisation()
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    driver_ms = 1e3 * used.driver_s / used.num_ended
    cells = [
        *(searcher, f"{workers:,}", f"{used.num_ended:,}", f"{median_s:g}"),
        *(f"{100 * used.busy_share:.1f}", f"{driver_ms:.2f}", f"{1e3 / driver_ms:.0f}"),
        *(f"{ledger_mb:.1f}", f"{memory_mb:.0f}", f"{wall_s:.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--searchers", nargs="+", default=["random", "reinforce"])
    parser.add_argument("--workers", type=int, default=800)
    parser.add_argument("--children", type=int, default=100_000)
    parser.add_argument("--median-s", type=float, default=1200.0)
    parser.add_argument("--saturate", action="store_true", help="with ever shorter children")
    arguments = parser.parse_args()
    names = LABELS.split(", ")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    medians = [arguments.median_s]
    if arguments.saturate:
        medians += [60.0, 10.0, 3.0, 1.0, 0.3]
    for searcher in arguments.searchers:
        for median_s in medians:
            print(simulate(searcher, arguments.workers, arguments.children, median_s), flush=True)


if __name__ == "__main__":
    main()
