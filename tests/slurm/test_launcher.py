"""The launcher of a multirun, as far as it needs no SLURM."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf import OmegaConf

from nasrunner import multirun
from nasrunner.command import main
from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow.stores import sqlite as mlflow_sqlite

LAUNCHER = Path(__file__).parents[2] / "conf" / "hydra" / "launcher" / "submitit_slurm.yaml"
QUICK = ("executor=serial", "trainer.max_epochs=1", "max_children=1")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs nasrunner in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")

    def run(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["nasrunner", "-m", *QUICK, *arguments])
        main()

    return run


def test_the_shipped_launcher_names_every_setting_of_submitits():
    settings = {str(key) for key in OmegaConf.load(LAUNCHER)}
    assert settings == {field.name for field in dataclasses.fields(SlurmQueueConf)}


def test_without_slurm_the_way_without_it_is_named(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command("hydra/launcher=submitit_slurm", "seed=0,1")
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("nasrunner: hydra/launcher=submitit_slurm needs SLURM's sbatch and srun")
    assert last.endswith("the studies of a multirun run one after the other")


def test_sqlite_on_a_network_file_system_is_refused_before_a_job_waits(
    command, tmp_path, monkeypatch, capsys
):
    (tmp_path / "mounts").write_text(f"nas:/ {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(mlflow_sqlite, "MOUNTS", tmp_path / "mounts")
    with pytest.raises(SystemExit):
        command("hydra/launcher=submitit_slurm", "seed=0,1")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"nasrunner: tracker.tracking_uri: sqlite:///{tmp_path}/outputs/mlflow")
    assert "network file system (nfs)" in last


def test_without_submitit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_submitit_launcher", None)
    try:
        without = importlib.reload(multirun)
        with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[slurm\]'"):
            without.StudiesOnSlurm(timeout_min=60)
    finally:
        monkeypatch.undo()
        importlib.reload(multirun)


@pytest.mark.parametrize("is_requeued", [True, False])
def test_what_fails_while_a_requeued_study_stops_is_no_result(monkeypatch, is_requeued):
    """Cleaning up may raise in place of the exit that submitit asks for."""
    launcher = multirun.StudiesOnSlurm(submitit_folder="x")
    failed = JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError("while it stopped"))

    def work(self, *_):
        if is_requeued:
            self.checkpoint([], "hydra.sweep.dir", 0, "0", {})
        return failed

    monkeypatch.setattr(multirun._Engine, "__call__", work)
    if is_requeued:
        with pytest.raises(SystemExit):
            launcher([], "hydra.sweep.dir", 0, "0", {})
    else:
        assert launcher([], "hydra.sweep.dir", 0, "0", {}) is failed


def test_a_study_that_fails_does_not_keep_the_next_from_running_without_slurm(
    command, tmp_path, capsys
):
    with pytest.raises(SystemExit) as ended:
        command("seed=-1,0", "hydra.sweep.dir=sweep", "tracker=none")
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()
    of_it = f"nasrunner: {tmp_path}/sweep/0: seed must be int in [0, 4294967295], got -1"
    assert told.count(of_it) == 1
    assert told[-1] == (
        "nasrunner: 1 of 2 studies failed: #0; their reasons stand above, the others are complete. "
        "Without a child, to be started anew: #0"
    )
    assert not any("Error executing job" in line for line in told)
    lines = (tmp_path / "sweep" / "1" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "ended"
