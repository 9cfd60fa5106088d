"""What the study loop itself costs per child, with training that does nothing.

Prints milliseconds per child while a ledger grows, next to Optuna's own loop on a SQLite
file (and, with --mlflow, next to MLflow's fluent calls), and how long a resume takes. Other work on
the machine changes the seconds of --processor-time least; those of the disk are not among them.

    python benchmarks/loop_overhead.py --children 10000 --searchers random evolution reinforce
    python benchmarks/loop_overhead.py --children 1000 --searchers random --mlflow
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf

from nasrunner.compose.config import shipped_option
from nasrunner.compose.construct import construct
from nasrunner.core import (
    Blueprint,
    Genotype,
    Kind,
    OneByOne,
    Outcome,
    Proposal,
    Searcher,
    SearchSpace,
    StudyInfo,
    Summary,
    Tracker,
    Train,
)
from nasrunner.core.ports import Check
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules


def pretend(proposal: Proposal) -> Outcome:
    """Trains nothing; a reward that differs from child to child."""
    reward = sum(proposal.genotype.values()) % 97 / 97
    return Outcome(proposal, "completed", reward, {"val_accuracy": reward})


def no_mistake() -> Sequence[str]:
    """A rehearsal that finds nothing."""
    return ()


@dataclass
class NoTraining:
    """A child trainer whose children cost nothing."""

    space: SearchSpace

    def inspect(self, genotype: Genotype) -> Blueprint:
        values = self.space.values(genotype)
        return Blueprint(str(values), values, None, None)

    def rehearsal(self) -> Check:
        return no_mistake

    @property
    def reports(self) -> bool:
        return False

    @property
    def estimates(self) -> Collection[str]:
        return ()

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        pass

    def check(self, proposal: Proposal) -> None:
        pass

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}

    @property
    def trains_networks(self) -> bool:
        return False

    def plainest(self, proposal: Proposal) -> Proposal:
        return proposal

    def most_epochs(self, proposal: Proposal) -> None:
        pass

    def num_at_once(self, kind: Kind) -> int:
        return 1

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return OneByOne(pretend)


class Clock:
    """A tracker that notes when each outcome was recorded."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.times = [now()]

    def open(self, info: StudyInfo, recorded: object, inspect: object) -> None:
        self.times = [self.now()]

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None: ...

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self.times.append(self.now())

    def close(self, summary: Summary) -> None: ...


def load(group: str, option: str) -> dict[str, Any]:
    """One option of a config group, for data with ten outputs."""
    config = {
        "data": {"num_outputs": 10},
        "it": shipped_option(group, option),
    }
    plain: Any = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    found: dict[str, Any] = plain["it"]
    return found


def run(folder: Path, searcher: str, children: int, trackers: list[Tracker]) -> None:
    """A study in its folder, new or resumed."""
    space = parse_space(load("space", "mlp"))
    rules = Rules(0, children, None, None, None, None, "retrain", "worst", None, None)
    chosen: Searcher = construct(load("searcher", searcher), "searcher", space=space, seed=0)
    config = {"searcher": {"_target_": searcher}, "study": "loop"}
    with Ledger(folder / "ledger.jsonl") as ledger:
        study = Study(
            space=space,
            searcher=chosen,
            trainer=NoTraining(space),
            executor=construct(load("executor", "serial"), "executor"),
            trackers=trackers,
            ledger=ledger,
            rules=rules,
            info=StudyInfo("loop", folder, config, children),
        )
        study.run()


def per_child_ms(times: list[float], part: slice) -> float:
    """Mean milliseconds between two outcomes in a part of a study."""
    chosen = times[part]
    return 1e3 * (chosen[-1] - chosen[0]) / (len(chosen) - 1)


def optuna_loop_ms(folder: Path, now: Callable[[], float], children: int) -> float:
    """Optuna's random sampler over as many categorical parameters, on a SQLite file."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'optuna.db'}",
        sampler=optuna.samplers.RandomSampler(0),
        direction="maximize",
    )

    def objective(trial: optuna.Trial) -> float:
        return sum(trial.suggest_categorical(f"x{i}", [0, 1, 2, 3]) for i in range(14)) / 42

    start = now()
    study.optimize(objective, n_trials=children)
    return 1e3 * (now() - start) / children


def mlflow_fluent_ms(folder: Path, now: Callable[[], float], children: int) -> float:
    """A nested run per child through mlflow's fluent calls, on a SQLite file of its own."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'fluent.db'}")
    mlflow.set_experiment("fluent")
    start = now()
    with mlflow.start_run():
        for index in range(children):
            with mlflow.start_run(run_name=f"{index:04d}", nested=True):
                mlflow.log_params({f"x{i}": i for i in range(14)})
                mlflow.log_metrics({"reward": 0.5, "val_accuracy": 0.5})
                mlflow.set_tags({"study": "loop", "index": index})
    return 1e3 * (now() - start) / children


def main() -> None:
    """Prints one line for each searcher."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--searchers", nargs="+", default=["random", "evolution", "reinforce"])
    parser.add_argument("--mlflow", action="store_true", help="track in a SQLite file as well")
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock's")
    arguments = parser.parse_args()
    now = time.process_time if arguments.processor_time else time.perf_counter
    children, block = arguments.children, max(2, arguments.children // 10)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        alternative = partial(mlflow_fluent_ms if arguments.mlflow else optuna_loop_ms, root, now)
        other_ms = alternative(min(children, 300))
        label = "mlflow fluent calls" if arguments.mlflow else "Optuna on SQLite"
        print(f"{label}: {other_ms:.2f} ms a child")
        for searcher in arguments.searchers:
            folder = root / searcher
            folder.mkdir()
            clock = Clock(now)
            trackers: list[Tracker] = [clock]
            if arguments.mlflow:
                tracker = {
                    **load("tracker", "mlflow"),
                    "tracking_uri": f"sqlite:///{root / 'mlflow.db'}",
                }
                trackers.append(construct(tracker, "tracker"))
            start = now()
            run(folder, searcher, children, trackers)
            whole_ms = 1e3 * (now() - start) / children
            first = per_child_ms(clock.times, slice(0, block))
            last = per_child_ms(clock.times, slice(-block, None))
            median = 1e3 * statistics.median(
                b - a for a, b in zip(clock.times, clock.times[1:], strict=False)
            )
            start = now()
            run(folder, searcher, children, [])
            resume_s = now() - start
            print(
                f"{searcher}: {whole_ms:.2f} ms a child with start and end "
                f"({whole_ms / other_ms:.2f} of {label}), median {median:.2f}"
            )
            print(
                f"  first tenth {first:.2f}, last tenth {last:.2f} (ratio {last / first:.2f}); "
                f"resuming {children} children {resume_s:.2f} s"
            )


if __name__ == "__main__":
    main()
