"""The local executor on real worker processes: deaths, warmth, what crosses."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nasrunner.children.files import ChildFiles
from nasrunner.core import NasRunnerError, OneByOne, Outcome, Proposal, child_folder
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.executors.dask.job import Job
from nasrunner.executors.local import LocalExecutor
from tests.executors import trains
from tests.executors.test_signals import eventually
from tests.executors.trains import Epochs, Listener, submit, submit_together


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    arguments: dict[str, Any] = {"memory_limit_gb": None, "gpus": [], "workers_per_gpu": None}
    arguments |= {"gpus_per_worker": 1}
    built = LocalExecutor(workers=2, threads_per_worker=1, retries=1, preload=[], **arguments)
    with contextlib.closing(built):
        yield built


def wait_for_all(executor: LocalExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def test_a_child_whose_worker_is_killed_from_outside_is_retried_and_completes(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    submit(executor, trains.Barrier(tmp_path), Proposal(0, {}), trains.FOLDER)
    started = tmp_path / "0.started"
    while not (started.exists() and started.read_text()):
        time.sleep(0.001)
    victim = int(started.read_text())
    started.unlink()
    os.kill(victim, signal.SIGKILL)
    (tmp_path / "go").touch()
    (outcome,) = executor.wait()
    assert outcome.status == "completed"
    assert outcome.metrics["pid"] != victim
    assert started.exists()


def test_a_child_that_kills_every_worker_fails_and_no_other_child_does(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    for index in range(8):
        notes = {"dies": 2.0} if index in (0, 3) else {"dies": 1.0} if index == 5 else {}
        submit(executor, trains.Dies(tmp_path), Proposal(index, {}, notes=notes), trains.FOLDER)
    outcomes = wait_for_all(executor, 8)
    assert {i for i, o in outcomes.items() if o.status == "failed"} == {0, 3}
    starts = {i: len((tmp_path / f"{i}.starts").read_text()) for i in range(8)}
    assert starts == {0: 2, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1, 7: 1}
    assert re.fullmatch(
        r"the worker process died 2 times while it trained this child, the last time: "
        r"it was killed(?: by SIGKILL, as the system does when memory runs out| or crashed) "
        r"\(executor\.retries=1\)",
        outcomes[0].error or "",
    )


def test_a_child_whose_worker_dies_after_it_wrote_its_outcome_is_not_trained_again(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    for index in range(2):  # the second worker of child 1 would be the last
        proposal = Proposal(index, {"a": index}, notes={"dies": float(index)})
        submit(executor, trains.EndsThenDies(tmp_path), proposal, child_folder(tmp_path, index))
    outcomes = wait_for_all(executor, 2)
    for index, outcome in outcomes.items():
        left = json.loads((child_folder(tmp_path, index) / "outcome.json").read_text())
        assert outcome.to_json() == left
        assert outcome.status == "completed"
        assert len((tmp_path / f"{index}.starts").read_text()) == index + 1


def test_what_ended_before_a_worker_was_killed_is_kept_and_the_rest_trained_again(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    proposals = [Proposal(index, {"a": index}) for index in range(5)]
    train = OneByOne(trains.WaitsAt(tmp_path, 2))
    submit_together(executor, train, proposals, tmp_path)
    outcomes = wait_for_all(executor, 2)
    assert sorted(outcomes) == [0, 1]
    started = tmp_path / "2.started"
    eventually(lambda: started.exists() and bool(started.read_text()), "child 2 trains")
    victim = int(started.read_text())
    (tmp_path / "go").touch()
    os.kill(victim, signal.SIGKILL)
    outcomes = wait_for_all(executor, 3)
    assert sorted(outcomes) == [2, 3, 4]
    for index, outcome in outcomes.items():
        assert outcome.proposal is proposals[index]
        assert (outcome.status, outcome.metrics["pid"] != victim) == ("completed", True)
    assert executor.free_slots() == 2


def test_what_ended_unheard_before_its_worker_died_counts_as_progress(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    """Each of them ends, and its worker dies before it has told so: two more than retries."""
    proposals = [Proposal(index, {"a": index}) for index in range(3)]
    submit_together(executor, OneByOne(trains.EndsThenDies(tmp_path)), proposals, tmp_path)
    outcomes = wait_for_all(executor, 3)
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    assert [len((tmp_path / f"{index}.starts").read_text()) for index in range(3)] == [1, 1, 1]
    assert executor.free_slots() == 2


def test_a_batch_whose_workers_die_goes_on_as_long_as_some_child_ends_between(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    proposals = [Proposal(index, {}, notes={"dies": 1.0}) for index in range(4)]
    submit_together(executor, OneByOne(trains.DiesOnceTaken(tmp_path)), proposals, tmp_path)
    for index in range(4):
        (outcome,) = executor.wait()
        assert (outcome.proposal.index, outcome.status) == (index, "completed")
        (tmp_path / f"{index}.taken").touch()
    assert [len((tmp_path / f"{index}.starts").read_text()) for index in range(4)] == [2] * 4


def test_a_child_that_kills_every_worker_fails_with_those_after_it(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    proposals = [Proposal(index, {}, notes={"dies": 2.0 * (index == 0)}) for index in range(2)]
    submit_together(executor, OneByOne(trains.Dies(tmp_path)), proposals, tmp_path)
    outcomes = wait_for_all(executor, 2)
    for outcome in outcomes.values():
        assert outcome.status == "failed"
        told = "the worker process died 2 times while it trained these children, the last time: "
        assert (outcome.error or "").startswith(told)


def test_an_outcome_that_cannot_be_pickled_is_no_other_childs_failure(
    executor: LocalExecutor,
) -> None:
    def train(proposal: Proposal) -> Outcome:
        return trains.unpicklable(proposal) if proposal.index == 0 else trains.completed(proposal)

    proposals = [Proposal(index, {}) for index in range(2)]
    submit_together(executor, OneByOne(train), proposals, trains.FOLDER)
    outcomes = wait_for_all(executor, 2)
    assert [outcomes[index].status for index in (0, 1)] == ["failed", "completed"]


def test_reports_are_heard_although_outcomes_never_pause(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    listener = Listener(tmp_path)
    long = Proposal(1000, {}, notes={"epochs": 500.0, "sleep_s": 0.02})
    submit_together(executor, Epochs(tmp_path), [long], tmp_path, listener)
    index = 0
    while not listener.heard:
        submit(executor, trains.by_notes, Proposal(index, {}), trains.FOLDER)
        assert [outcome.proposal.index for outcome in executor.wait()] == [index]
        index += 1
    StopFile(child_folder(tmp_path, 1000)).write(1)
    (outcome,) = executor.wait()
    assert outcome.status == "stopped"
    assert listener.epochs(1000) == list(range(1, int(outcome.metrics["epochs"]) + 1))


@pytest.mark.parametrize("units", [0, 1], ids=["an earlier submission", "another architecture"])
def test_the_outcome_of_another_child_in_the_folder_is_not_the_one_of_a_worker_that_died(
    executor: LocalExecutor, tmp_path: Path, units: int
) -> None:
    files = ChildFiles(child_folder(tmp_path, 0))
    other = Proposal(0, {"a": units})
    files.write_proposal(other)
    files.write_outcome(Outcome(other, "completed", reward=0.125))
    written_s = time.time() + (60 if units else -60)
    os.utime(files.folder / "outcome.json", (written_s, written_s))
    proposal = Proposal(0, {"a": 0}, notes={"dies": 1.0})
    submit(executor, trains.Dies(tmp_path), proposal, files.folder)
    (outcome,) = executor.wait()
    assert (outcome.status, outcome.reward) == ("completed", 0.0)
    assert len((tmp_path / "0.starts").read_text()) == 2


def test_other_children_do_not_wait_while_a_lost_ones_folder_is_looked_at(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def look(job: Job) -> list[Outcome]:
        answers.wait(100)
        return []

    monkeypatch.setattr(Job, "outcomes_left", look)
    submit(executor, trains.Dies(tmp_path), Proposal(0, {}, notes={"dies": 1.0}), trains.FOLDER)
    submit(executor, trains.by_notes, Proposal(1, {}), trains.FOLDER)
    submit(executor, trains.by_notes, Proposal(2, {}), trains.FOLDER)
    assert set(wait_for_all(executor, 2)) == {1, 2}
    answers.set()
    (outcome,) = executor.wait()
    assert (outcome.proposal.index, outcome.status) == (0, "completed")


def test_a_worker_that_dies_idle_is_replaced(executor: LocalExecutor) -> None:
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    pid = int(executor.wait()[0].metrics["pid"])
    victim = psutil.Process(pid)
    victim.kill()
    victim.wait(timeout=30)
    for index in range(6):
        submit(
            executor, trains.by_notes, Proposal(index, {}, notes={"sleep_s": 0.02}), trains.FOLDER
        )
    outcomes = wait_for_all(executor, 6)
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    assert pid not in {outcome.metrics["pid"] for outcome in outcomes.values()}


def test_an_outcome_that_cannot_be_pickled_is_a_failed_outcome(executor: LocalExecutor) -> None:
    submit(executor, trains.unpicklable, Proposal(0, {}), trains.FOLDER)
    (outcome,) = executor.wait()
    assert outcome.status == "failed"
    assert "TypeError: CannotCross stays where it is" in (outcome.error or "")


def test_what_trains_children_must_be_picklable(executor: LocalExecutor) -> None:
    stays = trains.CannotCross()
    with pytest.raises(NasRunnerError, match="must be picklable to be sent to workers: CannotCros"):
        submit(executor, lambda proposal: stays, Proposal(0, {}), trains.FOLDER)  # type: ignore[arg-type, return-value]


def test_what_trains_children_may_be_defined_anywhere(executor: LocalExecutor) -> None:
    submit(
        executor,
        lambda proposal: Outcome(proposal, "completed", 2.5),
        Proposal(0, {}),
        trains.FOLDER,
    )
    assert executor.wait() == [Outcome(Proposal(0, {}), "completed", 2.5)]


def test_workers_stay_while_children_come_and_go(executor: LocalExecutor) -> None:
    for index in range(10):
        submit(executor, trains.by_notes, Proposal(index, {}), trains.FOLDER)
    pids = {outcome.metrics["pid"] for outcome in wait_for_all(executor, 10).values()}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_no_port_is_open_beyond_the_loopback_device(executor: LocalExecutor) -> None:
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    pids = [os.getpid(), int(executor.wait()[0].metrics["pid"])]
    listening = [
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def addresses_of(executor: LocalExecutor) -> list[str]:
    """Where scheduler, nannies and workers listen."""
    client = executor._dispatcher._client
    nannies = [nanny.address for nanny in client.cluster.workers.values()]
    return [client.cluster.scheduler_address, *nannies, *client.nthreads()]


def test_nothing_listens_without_tls(executor: LocalExecutor) -> None:
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    executor.wait()
    executor._dispatcher._client.wait_for_workers(2, timeout=60)  # one may still be starting
    addresses = addresses_of(executor)
    assert len(addresses) == 1 + 2 + 2
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    known = {int(address.rpartition(":")[2]) for address in addresses}
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {
        connection.laddr.port
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert known == listening


ATTACK = """
import asyncio, sys
from distributed.core import connect
from distributed.protocol.pickle import dumps
from distributed.security import Security

def attack(path):
    open(path, "w").close()

async def ask(address, path, security):
    arguments = security.get_connection_args("client") if security else {}
    comm = await connect(address, timeout=3, **arguments)
    function, args = dumps(attack), dumps((path,))
    for op in ("run", "run_function"):
        await comm.write({"op": op, "function": function, "args": args, "reply": True})
        print(await asyncio.wait_for(comm.read(), 3))

for address in sys.argv[2:]:
    for tried, security in ((address, Security.temporary()), (address.replace("tls", "tcp"), None)):
        try:
            asyncio.run(ask(tried, sys.argv[1], security))
        except Exception as error:
            print("refused", tried, type(error).__name__)
"""


@pytest.mark.slow
def test_another_user_of_the_machine_runs_no_code_as_this_one(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    if os.geteuid():
        pytest.skip("only root may start a process of another user")
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    executor.wait()
    tmp_path.chmod(0o755)
    mark = tmp_path / "ran"
    # As the other user from the first line on that uses the network; its Python may lie in a
    # folder of root's that nobody else can enter.
    script = "import distributed, cryptography, os; os.setgid(65534); os.setuid(65534)\n" + ATTACK
    attack = subprocess.run(
        [sys.executable, "-c", script, str(mark), *addresses_of(executor)],
        capture_output=True,
        text=True,
        cwd="/",
        check=True,
    )
    assert attack.stdout.count("refused") == 2 * 5
    assert not mark.exists()
    submit(executor, trains.by_notes, Proposal(1, {}), trains.FOLDER)
    assert executor.wait()[0].proposal.index == 1
