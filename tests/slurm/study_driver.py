"""A small study in a process of its own, for what happens to it and its jobs.

``python -m tests.slurm.study_driver <folder> <children> <ticks> <changes of executor as JSON>
[<children of a job>]`` starts a study, or goes on with the one in the folder.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from nasrunner.compose.construct import construct
from nasrunner.compose.launch import graceful_stop
from nasrunner.core import NasRunnerError, StudyInfo
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.slurm.machines.daemons import happens
from tests.slurm.recorded import outcomes_of, tracker
from tests.slurm.ticks import TicksTrainer, count, starts
from tests.toys import RULES

_WITHIN_S = 250.0
_CONF = Path(__file__).parents[2] / "conf"


def configuration(**changes: Any) -> dict[str, Any]:
    """What is shipped, for a trainer that says nothing, with shorter intervals."""
    described: dict[str, Any] = yaml.safe_load((_CONF / "executor" / "slurm.yaml").read_text())
    described |= {"nodes": 1, "tasks_per_node": 1, "accelerator": "cpu", "max_parallel": 4}
    return described | {"squeue_interval_s": 0.5, "grace_s": 1, **changes}


class StudyProcess:
    """A study's process, as a user would look at it.

    Args:
        folder: the study's.
        children: how many it trains.
        ticks: of each child, 0.05 s each.
        at_once: how many of them one job is given.
        changes: of ``conf/executor/slurm.yaml``.
    """

    def __init__(
        self, folder: Path, children: int, ticks: int, at_once: int = 1, **changes: Any
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        arguments = [str(folder), str(children), str(ticks), json.dumps(changes), str(at_once)]
        self._stderr = folder / "stderr"
        with self._stderr.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.slurm.study_driver", *arguments],
                stderr=file,
                start_new_session=True,
            )

    def wait_for_start(self, *indices: int, ticks: int = 3, times: int = 1) -> None:
        """Until each of these children has been started so often, and counts."""

        def are_counting() -> bool:
            self._check_alive()
            return all(
                len(starts(self.folder, index)) >= times and count(self.folder, index) >= ticks
                for index in indices
            )

        assert happens(are_counting, _WITHIN_S), self.describe()

    def wait_for_outcomes(self, number: int) -> None:
        """Until the ledger has so many."""
        assert happens(lambda: len(self.outcomes()) >= number, _WITHIN_S), self.describe()

    def interrupt(self, answer: str) -> None:
        """Ctrl-C, and waits until it is answered."""
        os.kill(self.process.pid, signal.SIGINT)
        told = self._stderr.read_text
        assert happens(lambda: answer in told(), _WITHIN_S), told()

    def kill(self) -> None:
        """As by ``kill -9``."""
        self.process.kill()
        self.process.wait()

    def end(self, within_s: float = _WITHIN_S) -> str:
        """What it wrote to stderr, when it has ended."""
        self.process.wait(timeout=within_s)
        return self._stderr.read_text()

    def outcomes(self) -> dict[int, dict[str, Any]]:
        return outcomes_of(self.folder)

    def describe(self) -> str:
        logs = [path.read_text() for path in self.folder.glob("slurm/*/*.out")]
        queue = subprocess.run(["squeue", "-a", "-t", "all"], capture_output=True, text=True)
        return "\n".join([*logs, queue.stdout, json.dumps(self.outcomes())])

    def _check_alive(self) -> None:
        assert self.process.poll() is None, self._stderr.read_text()


def main(
    folder: Path, children: int, ticks: int, changes: dict[str, Any], at_once: int = 1
) -> None:
    folder.mkdir(exist_ok=True)
    trainer = TicksTrainer(ticks, at_once)
    executor = construct(configuration(**changes), "executor")
    try:
        with Ledger(folder / "ledger.jsonl") as ledger:
            study = Study(
                space=trainer.space,
                searcher=ExhaustiveSearch(space=trainer.space, seed=0),
                trainer=trainer,
                executor=executor,
                trackers=[construct(tracker(), "tracker")],
                ledger=ledger,
                rules=dataclasses.replace(RULES, max_children=children),
                info=StudyInfo("ticks", folder, {}, children),
            )
            with graceful_stop(study):
                study.run()
    finally:
        start_s = time.monotonic()
        executor.close()
        sys.stderr.write(f"closed in {time.monotonic() - start_s:.1f} s\n")


if __name__ == "__main__":
    try:
        numbers = map(int, (*sys.argv[2:4], *sys.argv[5:]))
        main(Path(sys.argv[1]), next(numbers), next(numbers), json.loads(sys.argv[4]), *numbers)
    except NasRunnerError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
