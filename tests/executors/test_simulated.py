from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nasrunner.core import Hear, Outcome, Proposal, Report, Status
from nasrunner.executors.simulated import SimulatedExecutor
from tests.executors.trains import FOLDER, submit

PLAIN: dict[str, Any] = {
    "workers": 2,
    "median_s": 10.0,
    "spread": 0.0,
    "failed_share": 0.0,
    "deaths_per_hour": 0.0,
    "checkpoint_every_s": 60.0,
    "restart_s": 30.0,
    "retries": 3,
    "driver_speed": 0.0,
    "seed": 0,
}


def train(proposal: Proposal) -> Outcome:
    return Outcome(proposal, "completed", 0.5, cost_s=float(proposal.notes.get("s", 0.0)))


def run(executor: SimulatedExecutor, num_children: int, **notes: float) -> list[Outcome]:
    waiting = [Proposal(index, {}, notes=notes) for index in reversed(range(num_children))]
    ended: list[Outcome] = []
    while len(ended) < num_children:
        while waiting and executor.free_slots():
            submit(executor, train, waiting.pop(), FOLDER)
        ended += executor.wait()
    return ended


def test_children_end_when_the_virtual_clock_says():
    executor = SimulatedExecutor(**{**PLAIN, "median_s": None})
    for index, seconds in enumerate([30.0, 10.0, 5.0, 100.0]):
        submit(executor, train, Proposal(index, {}, notes={"s": seconds}), FOLDER)
    order = [outcome.proposal.index for _ in range(4) for outcome in executor.wait()]
    # Two workers: 0 until 30, 1 until 10, then 2 until 15, then 3 until 115.
    assert order == [1, 2, 0, 3]
    assert executor.clock_s == 115.0
    assert executor.utilisation().busy_share == pytest.approx(145 / 230)


def test_children_that_end_at_the_same_moment_come_together():
    executor = SimulatedExecutor(**PLAIN)
    submit(executor, train, Proposal(0, {}), FOLDER)
    submit(executor, train, Proposal(1, {}), FOLDER)
    assert [outcome.proposal.index for outcome in executor.wait()] == [0, 1]


def test_equal_children_keep_all_workers_busy():
    executor = SimulatedExecutor(**{**PLAIN, "workers": 4})
    run(executor, 40)
    used = executor.utilisation()
    assert (used.clock_s, used.busy_share, used.num_ended) == (100.0, 1.0, 40)


def test_a_driver_that_does_not_keep_up_leaves_workers_idle(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("nasrunner.executors.simulated.time.perf_counter", lambda: now[0])
    executor = SimulatedExecutor(**{**PLAIN, "driver_speed": 1.0})
    for index in range(2):
        submit(executor, train, Proposal(index, {}), FOLDER)
    executor.wait()
    now[0] += 5.0  # the study thinks; both workers are idle
    submit(executor, train, Proposal(2, {}), FOLDER)
    assert executor.clock_s == 15.0
    executor.wait()
    used = executor.utilisation()
    assert (used.clock_s, used.driver_s) == (25.0, 5.0)
    assert used.busy_share == pytest.approx(30 / 50)


def test_durations_are_log_normal_around_their_median():
    executor = SimulatedExecutor(**{**PLAIN, "workers": 1000, "spread": 0.5})
    logs = np.log([outcome.cost_s / 10 for outcome in run(executor, 1000)])
    assert np.median(logs) == pytest.approx(0.0, abs=0.06)  # 4 standard errors
    assert np.std(logs) == pytest.approx(0.5, abs=0.045)


def test_the_share_of_children_that_break_is_the_one_asked_for():
    executor = SimulatedExecutor(**{**PLAIN, "workers": 1000, "failed_share": 0.2})
    ended = run(executor, 1000)
    failed = [outcome for outcome in ended if outcome.status == "failed"]
    assert 150 < len(failed) < 250  # 4 standard deviations
    assert all(outcome.cost_s < 10 for outcome in failed)


def test_a_dead_worker_costs_what_was_not_in_a_checkpoint():
    """With a checkpoint a second, a death costs half a second in the mean."""
    often = {**PLAIN, "workers": 500, "deaths_per_hour": 360.0, "retries": 10**6, "restart_s": 0.0}
    executor = SimulatedExecutor(**{**often, "checkpoint_every_s": 1.0})
    ended = run(executor, 500)
    assert all(outcome.status == "completed" for outcome in ended)
    num_deaths = executor.utilisation().num_deaths
    assert 400 < num_deaths < 650  # one in 10 s of training
    lost_s = sum(outcome.cost_s - 10.0 for outcome in ended)
    assert 0.4 < lost_s / num_deaths < 0.6


def test_a_child_whose_workers_keep_dying_fails():
    executor = SimulatedExecutor(**{**PLAIN, "deaths_per_hour": 1e6, "retries": 2})
    (first, *_) = run(executor, 4)
    assert first.status == "failed"
    assert first.error == "simulated: its worker died 3 times"


def test_a_run_is_repeatable_where_the_driver_takes_no_time():
    runs = []
    for _ in range(2):
        executor = SimulatedExecutor(**{**PLAIN, "spread": 0.7, "deaths_per_hour": 30.0})
        runs.append([(o.proposal.index, o.cost_s) for o in run(executor, 50)])
    assert runs[0] == runs[1]


def test_the_end_says_how_the_cluster_was_used(capsys):
    executor = SimulatedExecutor(**{**PLAIN, "workers": 4})
    run(executor, 40)
    executor.close()
    told = "Simulated: 40 children on 4 workers in 100 s, workers busy 100.0 %, "
    assert capsys.readouterr().out.startswith(told)


@dataclass(frozen=True)
class Curve:
    """A child of 10 epochs, an accuracy of 0.1 an epoch, that can be paused."""

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            num_epochs = min(proposal.until or 10, 10)
            curve = {"accuracy": [epoch / 10 for epoch in range(1, num_epochs + 1)]}
            status: Status = "completed" if num_epochs == 10 else "paused"
            yield Outcome(proposal, status, num_epochs / 10, cost_s=10.0, curve=curve)


@dataclass
class Clocked:
    """Notes when an executor's children report, and tells some to stop.

    Attributes:
        executor: whose clock it is.
        stops: after which epoch each child is told to stop, by index.
        heard: (virtual seconds, index, epoch).
    """

    executor: SimulatedExecutor
    stops: Mapping[int, int] = field(default_factory=dict)
    heard: list[tuple[float, int, int]] = field(default_factory=list)

    def __call__(self, report: Report) -> bool:
        self.heard.append((self.executor.clock_s, report.index, report.epoch))
        return report.epoch >= self.stops.get(report.index, report.epoch + 1)


def send(executor: SimulatedExecutor, hear: Hear, *indices: int) -> None:
    executor.submit(Curve(), [Proposal(i, {}) for i in indices], [FOLDER] * len(indices), hear)


def test_children_report_at_equal_distances_of_their_time():
    executor = SimulatedExecutor(**{**PLAIN, "median_s": 20.0})
    listener = Clocked(executor)
    send(executor, listener, 0)
    executor.clock_s = 1.0
    send(executor, listener, 1)
    assert [outcome.proposal.index for outcome in executor.wait()] == [0]
    assert listener.heard[:4] == [(2.0, 0, 1), (3.0, 1, 1), (4.0, 0, 2), (5.0, 1, 2)]
    assert listener.heard[-1] == (20.0, 0, 10)
    executor.wait()
    assert listener.heard[-1] == (21.0, 1, 10)


def test_a_child_that_is_stopped_gives_its_worker_to_the_next():
    executor = SimulatedExecutor(**{**PLAIN, "workers": 1})
    listener = Clocked(executor, stops={0: 3, 1: 10})
    send(executor, listener, 0, 1)
    send(executor, listener, 2)
    (stopped,) = executor.wait()
    assert (stopped.status, stopped.reward, stopped.cost_s) == ("stopped", 0.3, 3.0)
    assert stopped.proposal.until is None
    (completed,) = executor.wait()  # it ended with the epoch after which it was to stop
    assert (completed.status, executor.clock_s) == ("completed", 13.0)
    executor.wait()
    assert next(heard for heard in listener.heard if heard[1] == 2) == (14.0, 2, 1)
    assert executor.utilisation().busy_share == 1.0
    assert executor.clock_s == 23.0


def test_a_child_that_is_told_late_stops_after_the_epoch_that_it_is_in(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("nasrunner.executors.simulated.time.perf_counter", lambda: now[0])
    executor = SimulatedExecutor(**{**PLAIN, "workers": 1, "driver_speed": 1.0})
    listener = Clocked(executor, stops={0: 2})
    send(executor, listener, 0)
    now[0] = 5.5  # the study is busy meanwhile
    (outcome,) = executor.wait()
    assert (outcome.status, outcome.reward, outcome.cost_s) == ("stopped", 0.6, 6.0)
    assert [epoch for _, _, epoch in listener.heard] == [1, 2, 3, 4, 5, 6]
    assert executor.clock_s == 6.0


def test_a_child_that_breaks_reports_the_epochs_before():
    executor = SimulatedExecutor(**{**PLAIN, "workers": 100, "failed_share": 0.5})
    listener = Clocked(executor)
    for index in range(100):
        send(executor, listener, index)
    ended: list[Outcome] = []
    while len(ended) < 100:
        ended += executor.wait()
    failed = [outcome for outcome in ended if outcome.status == "failed"]
    assert 30 < len(failed) < 70  # 4 standard deviations
    for outcome in failed:
        told = [epoch for _, index, epoch in listener.heard if index == outcome.proposal.index]
        assert told == list(range(1, int(outcome.cost_s) + 1))  # an epoch is a second
