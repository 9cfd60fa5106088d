"""kill -9 of the real command at random moments, again and again, then to its end."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

# MLflow's own, with the SQLAlchemy installed here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CHILDREN = 12
COMMAND = [sys.executable, "-m", "nasrunner"]


def start(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """The real command in a session of its own; what it says last is in errors.txt."""
    with (folder / "errors.txt").open("wb") as errors:
        return subprocess.Popen(
            [*COMMAND, *overrides],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            preexec_fn=_hear_signals,
        )


def _hear_signals() -> None:
    for signum in (signal.SIGINT, signal.SIGHUP):  # ignored below nohup, or behind a script's &
        signal.signal(signum, signal.SIG_DFL)


def assert_ends(process: subprocess.Popen[bytes], code: int, folder: Path, timeout_s: int) -> None:
    assert process.wait(timeout=timeout_s) == code, (folder / "errors.txt").read_text()


def wait_for(path: Path, process: subprocess.Popen[bytes], timeout_s: float = 120) -> list[Path]:
    """Waits until a file below the folder exists; the test fails if the command ends before."""
    deadline = time.monotonic() + timeout_s
    while not (found := sorted(path.parent.rglob(path.name))):
        assert process.poll() is None, (path.parent / "errors.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def events(ledger: Path) -> list[dict]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]


def assert_nothing_left(session: int) -> None:
    """The last of its processes may end a moment after the command."""
    deadline = time.monotonic() + 10
    while alive := processes_of(session):
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def processes_of(session: int) -> list[str]:
    """Processes of a session that still run."""
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if int(stat[3]) == session and stat[0] != "Z":
                alive.append(command)
    return alive


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", ["serial", "local"])
def test_a_study_killed_at_random_moments_ends_with_every_child_once(
    tmp_path: Path, executor: str
) -> None:
    randomness = random.Random(executor)
    overrides = [f"executor={executor}", f"max_children={CHILDREN}", "trainer.max_epochs=3"]
    process = start(
        tmp_path,
        *overrides,
        "searcher=evolution",
        "searcher.population_size=4",
        "searcher.tournament_size=2",
    )
    (ledger,) = wait_for(tmp_path / "ledger.jsonl", process)
    study = ledger.parent
    kills = 0
    while kills < 2:
        time.sleep(randomness.uniform(0.5, 4))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        process = start(tmp_path, f"resume={study}")
        time.sleep(4)
    assert kills >= 1
    assert_ends(process, 0, tmp_path, 300)

    found = events(ledger)
    proposed = [event["index"] for event in found if event["event"] == "proposed"]
    ended = [event["index"] for event in found if event["event"] == "outcome"]
    assert proposed == list(range(CHILDREN))
    assert sorted(ended) == list(range(CHILDREN))

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    indices = [
        int(run.data.tags["nasrunner.index"]) for run in runs if "nasrunner.index" in run.data.tags
    ]
    assert sorted(indices) == list(range(CHILDREN))
    assert all(run.info.status in ("FINISHED", "FAILED") for run in runs)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_once_finishes_running_children_and_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path, "tracker=none", "max_children=500", "trainer.max_epochs=20")
    wait_for(tmp_path / "outcome.json", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    assert_ends(process, 130, tmp_path, 60)
    assert_nothing_left(process.pid)
    (ledger,) = tmp_path.rglob("ledger.jsonl")
    found = events(ledger)
    proposed = {event["index"] for event in found if event["event"] == "proposed"}
    ended = {event["index"] for event in found if event["event"] == "outcome"}
    assert proposed == ended
    assert found[-1]["event"] == "ended"
    assert found[-1]["reason"] == "interrupted"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_twice_stops_at_once_and_the_study_can_be_resumed(tmp_path: Path) -> None:
    process = start(tmp_path, "tracker=none", "max_children=500", "trainer.max_epochs=2000")
    wait_for(tmp_path / "curves.jsonl", process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    assert_ends(process, 130, tmp_path, 20)
    assert_nothing_left(process.pid)
    (ledger,) = tmp_path.rglob("ledger.jsonl")
    assert events(ledger)[-1]["event"] != "ended"
    go_on = f"go on with: nasrunner resume={ledger.parent.relative_to(tmp_path)}\n"
    assert go_on in (tmp_path / "errors.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_a_multirun_says_how_all_of_its_studies_go_on(tmp_path: Path, times: int) -> None:
    quick = ["executor=serial", "tracker=none", "max_children=500", "trainer.max_epochs=200"]
    process = start(tmp_path, "--multirun", *quick, "seed=1,2,3", "hydra.sweep.dir=all")
    wait_for(tmp_path / "curves.jsonl", process)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
    assert_ends(process, 130, tmp_path, 60)
    error = (tmp_path / "errors.txt").read_text()
    assert re.search(r"go on with( all studies)?: nasrunner resume=all\n", error), error
    assert [path.parent.name for path in tmp_path.rglob("ledger.jsonl")] == ["0"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("executor", "signum"), [("serial", signal.SIGTERM), ("local", signal.SIGHUP)]
)
def test_a_signal_stops_at_once_and_resume_trains_what_was_in_flight(
    tmp_path: Path, executor: str, signum: signal.Signals
) -> None:
    long = ["tracker=none", f"executor={executor}", "max_children=1", "trainer.max_epochs=2000"]
    long += ["trainer.max_time={seconds: 4}"]
    process = start(tmp_path, *long)
    wait_for(tmp_path / "curves.jsonl", process)
    os.killpg(process.pid, signum)  # a terminal that closes: every process of the group
    assert_ends(process, 128 + signum, tmp_path, 20)
    assert_nothing_left(process.pid)
    (ledger,) = tmp_path.rglob("ledger.jsonl")
    go_on = f"go on with: nasrunner resume={ledger.parent.relative_to(tmp_path)}\n"
    told = f"nasrunner: {signum.name}: stopped at once; {go_on}"
    assert (tmp_path / "errors.txt").read_text() == told
    assert [event["event"] for event in events(ledger)] == ["study", "proposed"]
    process = start(tmp_path, f"resume={ledger.parent}")
    assert_ends(process, 0, tmp_path, 100)
    (outcome,) = [event for event in events(ledger) if event["event"] == "outcome"]
    assert outcome["status"] == "completed"


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with a disk of its own, of the size that a test's parameter says."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mounted", "checkpoint", "executor"),
    [
        pytest.param("size=400k", "none", "serial", id="ledger"),
        pytest.param("size=2m", "best", "local", id="checkpoints"),
        pytest.param("size=20m,nr_inodes=90", "best", "local", id="inodes"),
    ],
    indirect=["mounted"],
)
def test_a_full_disk_stops_a_study_with_a_sentence_and_loses_nothing(
    tmp_path: Path, mounted: Path, checkpoint: str, executor: str
) -> None:
    study = mounted / "study"
    options = [f"executor={executor}", "tracker=none", "trainer.max_epochs=1", "max_children=2000"]
    options += [f"trainer.checkpoint={checkpoint}", "max_failures=null", f"hydra.run.dir={study}"]
    process = start(tmp_path, *options)
    assert_ends(process, os.EX_TEMPFAIL, tmp_path, 200)
    error = (tmp_path / "errors.txt").read_text()
    assert "No space left on device" in error
    assert f"go on with: nasrunner resume={study.relative_to(tmp_path)}\n" in error
    assert error.count("\n") == 1
    before = events(study / "ledger.jsonl")
    outcomes = [event for event in before if event["event"] == "outcome"]
    assert len(outcomes) > 5
    assert {outcome["status"] for outcome in outcomes} == {"completed"}
    bigger = ["mount", "-o", "remount,size=40m,nr_inodes=10000", str(mounted)]
    subprocess.run(bigger, check=True)
    more = len(outcomes) + 3
    process = start(tmp_path, f"resume={study}", f"max_children={more}")
    assert_ends(process, 0, tmp_path, 100)
    after = events(study / "ledger.jsonl")
    assert after[: len(before)] == before
    ended = {event["index"] for event in after if event["event"] == "outcome"}
    assert ended == {event["index"] for event in after if event["event"] == "proposed"}
    assert all(event["status"] == "completed" for event in after if event["event"] == "outcome")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mounted", ["size=20m"], indirect=True)
def test_a_file_system_that_turns_read_only_stops_a_study_with_a_sentence(
    tmp_path: Path, mounted: Path
) -> None:
    study = mounted / "study"
    options = ["executor=serial", "tracker=none", "trainer.max_epochs=1", "max_children=2000"]
    process = start(tmp_path, *options, f"hydra.run.dir={study}")
    wait_for(study / "outcome.json", process)
    try:
        subprocess.run(["mount", "--bind", str(study), str(study)], check=True)
        read_only = ["mount", "-o", "remount,bind,ro", str(study)]
        while subprocess.run(read_only, check=False, capture_output=True).returncode:
            assert process.poll() is None  # a file of the study is open for writing: once more
        assert_ends(process, os.EX_TEMPFAIL, tmp_path, 100)
    finally:
        subprocess.run(["umount", str(study)], check=False)
    error = (tmp_path / "errors.txt").read_text()
    assert "Read-only file system" in error
    assert f"go on with: nasrunner resume={study.relative_to(tmp_path)}\n" in error
    assert error.count("\n") == 1
    found = events(study / "ledger.jsonl")
    assert all(event["status"] == "completed" for event in found if event["event"] == "outcome")
