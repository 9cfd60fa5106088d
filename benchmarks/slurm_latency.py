"""Seconds from a child's end to the next one's start, beside a bare sbatch of the same job.

``python benchmarks/slurm_latency.py`` needs a SLURM cluster: SLURM_CONF leads to it, or
``--lab`` starts one on this machine. A start is the first line of a job's script; an end is the
moment a child returns. Between the two are the result's way to the driver, the study's work of
which there is none here, sbatch, and SLURM's own scheduling.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for the cluster of the tests

from nasrunner.compose.construct import construct  # noqa: E402
from nasrunner.core import OneByOne, Outcome, Proposal, child_folder  # noqa: E402
from tests.slurm.cluster import Cluster  # noqa: E402
from tests.slurm.machines.configuration import Lab  # noqa: E402
from tests.slurm.machines.ports import reserve_ports  # noqa: E402


@dataclass(frozen=True)
class TellEnd:
    """A child that does nothing but say when it ended."""

    def __call__(self, proposal: Proposal) -> Outcome:
        return Outcome(proposal, "completed", 1.0, metrics={"end": time.time()})


def of_executor(folder: Path, children: int) -> list[float]:
    """Seconds from each child's end to the next one's start, one at a time."""
    config = yaml.safe_load((ROOT / "conf" / "executor" / "slurm.yaml").read_text())
    config |= {"nodes": 1, "tasks_per_node": 1, "accelerator": "cpu", "max_parallel": 1}
    config |= {"setup": [f"date +%s.%N >> {folder}/starts"]}
    train, ends = OneByOne(TellEnd()), []
    with contextlib.closing(construct(config, "executor")) as executor:
        for index in range(children):
            child = Proposal(index, {"a": index})
            executor.submit(train, [child], [child_folder(folder, index)])
            (outcome,) = executor.wait()
            assert outcome.status == "completed", outcome.error
            ends.append(outcome.metrics["end"])
    starts = [float(line) for line in (folder / "starts").read_text().split()]
    return [start - end for end, start in zip(ends, starts[1:], strict=False)]


def of_sbatch(folder: Path, jobs: int) -> list[float]:
    """Seconds from calling sbatch to a job's first line, one at a time."""
    script, output = folder / "bare.sh", folder / "bare"
    lines = ["#!/bin/bash", f"date +%s.%N > {output}.tmp", f"mv {output}.tmp {output}"]
    script.write_text("\n".join(lines) + "\n")
    options = ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1", "--time=60"]
    seconds = []
    for _ in range(jobs):
        start_s = time.time()
        command = ["sbatch", *options, "--output=/dev/null", str(script)]
        subprocess.run(command, check=True, capture_output=True)
        while not output.exists():
            time.sleep(0.005)
        seconds.append(float(output.read_text()) - start_s)
        output.unlink()
    return seconds


@contextlib.contextmanager
def cluster(is_own: bool) -> Iterator[None]:
    """The cluster that is there, or one of the tests' own for the block."""
    if not is_own:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        lab = Cluster(Lab(Path(folder), reserve_ports()))
        os.environ |= {name: lab.environment[name] for name in ("PATH", "SLURM_CONF")}
        lab.start()
        try:
            yield
        finally:
            lab.stop()


def main() -> None:
    """Prints both rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--children", type=int, default=21)
    parser.add_argument("--lab", action="store_true", help="start a cluster of the tests' own")
    given = parser.parse_args()
    with cluster(given.lab), tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        command = ["sbatch", "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = {
            "bare sbatch": of_sbatch(Path(folder), given.children),
            "executor=slurm": of_executor(Path(folder), given.children),
        }
    print(version.strip())
    for name, seconds in rows.items():
        median, slowest = statistics.median(seconds), max(seconds)
        print(f"{name:16} median {median:.2f} s, slowest {slowest:.2f} s, {len(seconds)} times")


if __name__ == "__main__":
    main()
