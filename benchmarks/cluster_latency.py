"""What executor=dask_slurm costs beside executor=local: pauses between children, idle workers.

``SLURM_CONF=... python benchmarks/cluster_latency.py [--children 200] [--long 24]``. Runs against
whatever SLURM the environment leads to; without one, against executor=local only.

* pause: from the end of a child to the start of the next one in the same worker, 2 workers and
  children that sleep for some 20 ms. The study's loop is here: wait, then submit.
* idle: the share of their time, from the first child's start to the last one's end, in which 4
  workers had no child; children sleep for 10 s, so that the number of cores does not matter.
"""

import argparse
import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.compose.construct import construct
from nasrunner.core import Executor, OneByOne, Outcome, Proposal

SHORT_S = 0.02
LONG_S = 10.0
MOST_MS = {"local": 20.0, "dask_slurm": 100.0}
MOST_IDLE = 0.02
CONFIGS = Path(__file__).parents[1] / "conf" / "executor"
FOLDER = Path("unused")


def sleeps(proposal: Proposal) -> Outcome:
    """Sleeps as its notes say; tells in which process, and when: the clock is the machine's."""
    start = time.time()
    time.sleep(proposal.notes["sleep_s"])
    metrics = {"pid": os.getpid(), "start": start, "end": time.time()}
    return Outcome(proposal, "completed", 0.0, metrics)


SLEEPS = OneByOne(sleeps)


@contextlib.contextmanager
def opened(name: str, workers: int) -> Iterator[Executor]:
    """The executor as shipped but for its size."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    with tempfile.TemporaryDirectory() as logs:
        if name == "local":
            config |= {"workers": workers, "gpus": [], "preload": []}
        else:
            config |= {"minimum": workers, "maximum": workers, "preload": [], "log_folder": logs}
            config["job"] |= {"memory": "500MB"}
        with contextlib.closing(construct(config, "executor")) as executor:
            yield executor


def run(executor: Executor, workers: int, sleeps_s: list[float]) -> list[Outcome]:
    """Runs children as a study does, after every worker has had one."""
    proposals = (
        Proposal(index, {"a": index}, notes={"sleep_s": s}) for index, s in enumerate(sleeps_s)
    )
    for proposal in itertools.islice(proposals, workers):
        executor.submit(SLEEPS, [proposal], [FOLDER])
    outcomes: list[Outcome] = []
    while len(outcomes) < len(sleeps_s):
        ended = executor.wait()
        outcomes += ended
        for proposal in itertools.islice(proposals, len(ended)):
            executor.submit(SLEEPS, [proposal], [FOLDER])
    return outcomes


def warm_up(executor: Executor, workers: int) -> None:
    """Returns when all workers are there and have had a child."""
    seen: set[float] = set()
    while len(seen) < workers:
        seen |= {o.metrics["pid"] for o in run(executor, workers, [0.2] * workers)}


def by_worker(outcomes: list[Outcome]) -> list[list[tuple[float, float]]]:
    """The (start, end) of each worker's children, in order."""
    pids = {outcome.metrics["pid"] for outcome in outcomes}
    return [
        sorted((o.metrics["start"], o.metrics["end"]) for o in outcomes if o.metrics["pid"] == pid)
        for pid in pids
    ]


def pauses_ms(outcomes: list[Outcome]) -> list[float]:
    """Milliseconds in which a worker stood still between two children, sorted."""
    spans = by_worker(outcomes)
    gaps = [(b[0] - a[1]) * 1e3 for each in spans for a, b in itertools.pairwise(each)]
    return sorted(gaps)


def idle_share(outcomes: list[Outcome]) -> float:
    """Of the time from the first start to a worker's last end, averaged over workers."""
    spans = by_worker(outcomes)
    first = min(each[0][0] for each in spans)
    busy_s = sum(end - start for each in spans for start, end in each)
    there_s = sum(each[-1][1] - first for each in spans)
    return 1 - busy_s / there_s


def measure(name: str, children: int, num_long: int) -> None:
    """Prints the figures of one executor."""
    with opened(name, 2) as executor:
        warm_up(executor, 2)
        short = [SHORT_S * (0.5 + index % 7 / 7) for index in range(children)]
        pauses = pauses_ms(run(executor, 2, short))
    median_ms, p95_ms = statistics.median(pauses), pauses[int(0.95 * len(pauses))]
    with opened(name, 4) as executor:
        warm_up(executor, 4)
        idle = idle_share(run(executor, 4, [LONG_S] * num_long))
    is_met = median_ms <= MOST_MS[name] and idle <= MOST_IDLE
    print(
        f"{name:12s} pause {median_ms:6.2f} ms, 95 % {p95_ms:6.2f} (at most {MOST_MS[name]:.0f})   "
        f"idle {idle:6.2%} (at most {MOST_IDLE:.0%})   {'met' if is_met else 'MISSED'}"
    )


def is_slurm_there() -> bool:
    """Whether there is a cluster, not only SLURM's commands."""
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0


def main() -> None:
    """Measures and prints everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--children", type=int, default=200, help="short ones")
    parser.add_argument("--long", type=int, default=24, help="children of 10 s, on 4 workers")
    arguments = parser.parse_args()
    for name in ("local", "dask_slurm"):
        if name == "local" or is_slurm_there():
            measure(name, arguments.children, arguments.long)
        else:
            print(f"{name:12s} skipped: sinfo finds no cluster")


if __name__ == "__main__":
    main()
