"""A multirun on a real SLURM: studies as one array, each in its own folder and resumable alone."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens
from tests.slurm.machines.disks import full_disk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    # MLflow's own, with the SQLAlchemy installed here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

COMMAND = [sys.executable, "-m", "nasrunner"]
QUICK = (
    "space=figure1",
    "space.concat.0.conv2d.filters.oneof=[2,4]",
    "trainer.max_epochs=1",
    "max_children=4",
    "tracker.close_timeout_s=300",  # of a busy machine
)
JOB = (
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.timeout_min=30",
    "hydra.sweep.dir=sweep",
)


def events(study: Path, kind: str) -> list[dict[str, object]]:
    lines = (study / "ledger.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def runs_of(folder: Path, kind: str) -> list[Any]:
    """What the one experiment of a command's database holds."""
    from mlflow import MlflowClient  # seconds that other processes of these tests need not spend

    client = MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("nasrunner")
    condition = f"tags.`nasrunner.kind` = '{kind}'"
    return list(client.search_runs([experiment.experiment_id], condition))


@pytest.fixture(scope="module")
def swept(slurm: Cluster, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two searchers by two seeds, one of which is not legal; and what the command said."""
    folder = tmp_path_factory.mktemp("swept")
    studies = ("searcher=random,evolution", "seed=0,-3", "executor=serial")
    done = subprocess.run(
        [*COMMAND, "-m", *JOB, *QUICK, *studies], cwd=folder, capture_output=True, text=True
    )
    return folder, done


def test_each_study_of_an_array_has_its_own_folder_and_all_are_in_one_experiment(swept):
    folder, done = swept
    for number in (0, 2):
        study = folder / "sweep" / str(number)
        assert [event["index"] for event in events(study, "outcome")] == [0, 1, 2, 3], done.stdout
        assert (study / "summary.json").is_file()
    assert list((folder / "sweep" / "slurm").glob("*_2/*_log.out")), "submitit's files lie there"
    runs = runs_of(folder, "study")
    assert sorted(run.info.run_name for run in runs) == [
        "evolution-figure1 2",
        "random-figure1 0",
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_studies_that_fail_do_not_lose_the_others_and_are_told_with_their_reason(swept):
    _, done = swept
    assert done.returncode == 2
    assert "#1 failed: " in done.stdout
    assert "seed must be int in [0, 4294967295], got -3" in done.stdout
    assert "#2 ended, best reward 0." in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nasrunner: 2 of 4 studies failed: #1, #3; their reasons stand above")
    assert last.endswith("Without a child, to be started anew: #1, #3")
    assert "Traceback" not in done.stdout + done.stderr
    assert "UserWarning" not in done.stdout + done.stderr


def test_one_study_of_an_array_is_resumed_alone(swept):
    folder, _ = swept
    before = (folder / "sweep" / "0" / "ledger.jsonl").read_text()
    resume = ["resume=sweep/2", "max_children=6"]
    subprocess.run([*COMMAND, *resume], cwd=folder, check=True, capture_output=True)
    assert len(events(folder / "sweep" / "2", "outcome")) == 6
    assert (folder / "sweep" / "0" / "ledger.jsonl").read_text() == before


def test_a_report_compares_the_studies_of_an_array(swept):
    folder, _ = swept
    report = [str(Path(sys.executable).parent / "nasrunner-report"), "from=sweep"]
    done = subprocess.run(report, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (page,) = folder.rglob("report.html")
    text = page.read_text()
    assert "evolution" in text
    assert "random" in text


def test_a_requeued_study_goes_on_and_a_cancelled_one_is_told_with_how_it_goes_on(slurm, tmp_path):
    """USR2 is what SLURM sends before a job's time limit, and where it preempts one."""
    with (tmp_path / "out").open("w") as out:
        studies = ("searcher=random", "seed=0,1", "executor=local", "executor.workers=1")
        longer = ("trainer.max_epochs=40", "max_children=6")
        sweep = subprocess.Popen(
            [*COMMAND, "-m", *JOB, *QUICK, *studies, *longer], cwd=tmp_path, stdout=out, stderr=out
        )
        first, second = (tmp_path / "sweep" / name for name in "01")

        def have_begun():
            return all(list(s.glob("children/*/outcome.json")) for s in (first, second))

        assert happens(have_begun, 300), (tmp_path / "out").read_text()
        array = slurm.run("squeue", "-h", "-r", "-o", "%i").split("_")[0]
        slurm.run("scancel", "--signal=USR2", f"{array}_0")
        slurm.run("scancel", f"{array}_1")
        assert sweep.wait(300) == 2, (tmp_path / "out").read_text()
    told = (tmp_path / "out").read_text()
    assert len(events(first, "resumed")) == 1
    assert sorted(e["index"] for e in events(first, "outcome")) == list(range(6))
    assert {e["status"] for e in events(first, "outcome")} == {"completed"}
    assert "#0 ended" in told
    assert f"#1 failed: job {array}_1 was cancelled" in told
    assert "1 of 2 studies failed: #1;" in told
    assert told.rstrip().endswith("Each goes on alone: nasrunner resume=sweep/1.")
    subprocess.run([*COMMAND, "resume=sweep/1"], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(e["index"] for e in events(second, "outcome")) == list(range(6))
    runs = runs_of(tmp_path, "child")
    assert len(runs) == 12
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_studies_that_a_node_could_not_launch_start_elsewhere(slurm, tmp_path):
    """SLURM drains a node whose disk is full, and holds its jobs. The studies themselves fail."""
    try:
        with full_disk(slurm.lab.folder / "spool" / slurm.next_node()):
            done = subprocess.run(
                [*COMMAND, "-m", *JOB, *QUICK, "seed=-1,-2"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
    finally:
        slurm.heal()
    assert done.returncode == 2
    for number in (0, 1):
        assert f"#{number} starts again: a node could not launch job " in done.stdout
        assert f"seed must be int in [0, 4294967295], got {-1 - number}" in done.stdout


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("hydra.launcher.partition=none", "invalid partition specified: none"),
        ("hydra.launcher.gpus_per_node=9", "Requested node configuration is not available"),
    ],
)
def test_what_slurm_refuses_is_one_sentence(slurm, tmp_path, given, reason):
    done = subprocess.run(
        [*COMMAND, "-m", *JOB, *QUICK, "seed=0,1", given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(f"nasrunner: hydra.launcher: SLURM refuses the job: .*{reason}", last)
    assert "Traceback" not in done.stderr
