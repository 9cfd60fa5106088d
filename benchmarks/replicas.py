"""What replicas of a controller cost in waiting and staleness, on a cluster with a virtual clock.

K replicas draw m children each, on K m workers; see ``nasrunner/searchers/policy/replicas.py``.
Children
are looked up in NAS-Bench-Macro, and hold a worker for a log-normal time. Prints, for each K and
each spread of the times (standard deviation of their logarithm; 1 is heavy-tailed): how busy the
workers were until the last child started, how many updates the weights had got since a child was
drawn when its reward came, and the rewards. Beside each K the same workers without replicas, where
a batch is the rewards that arrived last.

    NASRUNNER_DATA=../shared/data python benchmarks/replicas.py
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean

from cluster_simulation import composed

from nasrunner.compose.config import rules_from
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space, build_trainer
from nasrunner.core import Blueprint, Outcome, Proposal, StudyInfo
from nasrunner.executors.simulated import SimulatedExecutor
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.trackers.none import NoTracker

LABELS = (
    "replicas, spread, workers, children, busy %, updates, staleness, best reward, "
    "mean of last 10 %"
)


class Staleness(NoTracker):
    """Notes how many updates the weights had since a child was drawn when its reward comes.

    And how busy the workers were until the last child started: after that nobody could be.
    """

    def __init__(self, searcher: PolicyGradient, executor: SimulatedExecutor) -> None:
        self.searcher = searcher
        self.executor = executor
        self.busy_share = 0.0
        self.updates: list[float] = []
        self.rewards: list[float] = []

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        self.busy_share = self.executor.utilisation().busy_share

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self.updates.append(self.searcher.num_updates - outcome.proposal.notes["update"])
        if outcome.reward is not None:
            self.rewards.append(outcome.reward)


def simulate(
    replicas: int | None, workers: int, children: int, spread: float, learning_rate: float
) -> str:
    """One study; returns its line of the table."""
    config = composed("reinforce", workers, children, median_s=1200)
    config["executor"] |= {"spread": spread, "driver_speed": 0.0}
    config["searcher"] |= {"replicas": replicas, "learning_rate": learning_rate}
    space = build_space(config)
    executor: SimulatedExecutor = construct(config["executor"], "executor")
    searcher: PolicyGradient = construct(config["searcher"], "searcher", space=space, seed=0)
    staleness = Staleness(searcher, executor)
    with tempfile.TemporaryDirectory() as name, Ledger(Path(name) / "ledger.jsonl") as ledger:
        Study(
            space=space,
            searcher=searcher,
            trainer=build_trainer(config, space),
            executor=executor,
            trackers=[staleness],
            ledger=ledger,
            rules=rules_from(config),
            info=StudyInfo("simulation", Path(name), config, children),
        ).run()
    used, rewards = executor.utilisation(), staleness.rewards
    cells = [
        "none" if replicas is None else f"{replicas}",
        *(
            f"{spread:g}",
            f"{workers:,}",
            f"{used.num_ended:,}",
            f"{100 * staleness.busy_share:.1f}",
        ),
        *(f"{searcher.num_updates:,}", f"{mean(staleness.updates):.1f}", f"{max(rewards):.4f}"),
        f"{mean(rewards[-len(rewards) // 10 :]):.4f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", nargs="+", type=int, default=[1, 10, 100, 400])
    parser.add_argument("--children-per-replica", type=int, default=8, help="m")
    parser.add_argument("--spreads", nargs="+", type=float, default=[0.3, 1.0])
    parser.add_argument("--batches", type=int, default=5, help="of each replica, at least")
    parser.add_argument("--learning-rate", type=float, default=0.0006)
    arguments = parser.parse_args()
    names = LABELS.split(", ")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for spread in arguments.spreads:
        for replicas in arguments.replicas:
            workers = replicas * arguments.children_per_replica
            children = max(2000, arguments.batches * workers)
            for number in (replicas, None):
                line = simulate(number, workers, children, spread, arguments.learning_rate)
                print(line, flush=True)


if __name__ == "__main__":
    main()
