"""Two real commands at the same moment, in a folder where nothing was tracked before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, with the SQLAlchemy installed here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def test_two_studies_of_one_name_started_at_once_have_their_own_folders_and_one_experiment(
    tmp_path: Path,
) -> None:
    options = ["study=same", "space=figure1", "space.concat.0.conv2d.filters.oneof=[2,4]"]
    options += ["executor=serial", "trainer.max_epochs=1", "max_children=3"]
    command = [sys.executable, "-m", "nasrunner", *options]
    studies = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    for study in studies:
        _, said = study.communicate(timeout=250)
        assert study.returncode == 0, said.decode()
    folders = sorted((tmp_path / "outputs" / "same").iterdir())
    assert len(folders) == 2
    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    names = [experiment.name for experiment in client.search_experiments()]
    assert sorted(names) == ["Default", "nasrunner"]
    experiment = client.get_experiment_by_name("nasrunner").experiment_id
    for folder in folders:
        study = json.loads((folder / "mlflow.json").read_text())["study"]
        runs = client.search_runs([experiment], f"tags.`nasrunner.study` = '{study}'")
        assert len(runs) == 1 + 3
        assert {run.info.status for run in runs} == {"FINISHED"}
