from typing import Any

import numpy as np
import pytest

from nasrunner.core import Outcome, Proposal
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
