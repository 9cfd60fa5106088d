"""Classes are found by the paths that studies of earlier versions have for them."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object

from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space
from nasrunner.compose.saved import differences, saved_config
from nasrunner.core.language.moved import present, with_present_targets
from nasrunner.recorded import retrain_settings
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.beginning import beginning, check_same
from tests.children.studies import make_study
from tests.searchers.worlds import load_space

SEARCHERS = "nasrunner.searchers"

FORMER = [
    f"{SEARCHERS}.tpe.Tpe",
    f"{SEARCHERS}.smbo.Smbo",
    f"{SEARCHERS}.policy_gradient.PolicyGradient",
    f"{SEARCHERS}.mcts.MonteCarloTreeSearch",
    f"{SEARCHERS}.candidates.Candidates",
    f"{SEARCHERS}.random.RandomSearch",
    f"{SEARCHERS}.objectives.Reinforce",
    f"{SEARCHERS}.objectives.Ppo",
    f"{SEARCHERS}.ngrams.NgramRidge",
    f"{SEARCHERS}.local_search.LocalSearch",
    f"{SEARCHERS}.gaussian_process.GaussianProcess",
    f"{SEARCHERS}.forest.Forest",
    f"{SEARCHERS}.exhaustive.ExhaustiveSearch",
    f"{SEARCHERS}.evolution.RegularizedEvolution",
    f"{SEARCHERS}.acquisition.ThompsonSampling",
    f"{SEARCHERS}.acquisition.Portfolio",
    f"{SEARCHERS}.acquisition.ExploreGreedy",
    f"{SEARCHERS}.acquisition.ExpectedImprovement",
    "nasrunner.trackers.mlflow.MlflowTracker",
    "nasrunner.children.tasks.Classification",
    "nasrunner.children.tasks.Regression",
    "nasrunner.children.reward.Reward",
    "nasrunner.children.language_model.LanguageModel",
    "nasrunner.children.tabular.TabularTrainer",
    "nasrunner.children.cost.LinearCost",
    "nasrunner.children.schedulers.Plateau",
    "nasrunner.spaces.language_model.LanguageModel",
    "nasrunner.spaces.recurrent.Recurrent",
    "nasrunner.spaces.recurrent_baselines.GruCell",
    "nasrunner.spaces.recurrent_cell.TreeCell",
    f"{SEARCHERS}.encoding.Encoding",
    "nasrunner.executors.dask_address.AddressExecutor",
    "nasrunner.executors.dask_jobs.JobQueueExecutor",
    "nasrunner.executors.slurm.SlurmExecutor",
]
"""What studies named before these had rooms."""


@pytest.mark.parametrize("target", FORMER)
def test_a_class_is_found_by_its_former_path(target: str) -> None:
    found = get_object(present(target))
    assert found.__name__ == target.rpartition(".")[2]
    assert present(target) != target
    assert present(present(target)) == present(target)


RELEASED = (Path(__file__).parent / "golden" / "former_paths.txt").read_text().split()
"""The public spaces, searchers, tasks, data modules, trackers and executors of a8cdab8, by module,
and what its configurations name as ``_target_``."""


@pytest.mark.parametrize("target", RELEASED)
def test_what_users_could_name_is_found_by_the_same_path(target: str) -> None:
    found = []
    for path in (target, present(target)):
        module, _, name = path.rpartition(".")
        found.append(getattr(importlib.import_module(module), name))
    assert found[0] is found[1]


def test_other_paths_stay_as_they_are() -> None:
    for target in ("mine.searchers.smbo.Smbo", "torch.optim.Adam", f"{SEARCHERS}.smbo2.Smbo"):
        assert present(target) == target


def test_every_target_of_a_configuration_is_looked_at() -> None:
    node = {"a": [{"_target_": FORMER[0], "b": {"_target_": "torch.optim.Adam"}}], "c._target_": 1}
    expected = {**node, "a": [{"_target_": present(FORMER[0]), "b": node["a"][0]["b"]}]}
    assert with_present_targets(node) == expected
    assert with_present_targets({"x._target_": FORMER[1]}) == {"x._target_": present(FORMER[1])}


def test_a_study_that_was_saved_with_former_paths_is_read_with_the_present_ones(
    tmp_path: Path,
) -> None:
    study = make_study(tmp_path / "study", "searcher=smbo")
    expected = saved_config(study)
    path = study / "config.yaml"
    text = path.read_text()
    former = text.replace(f"{SEARCHERS}.surrogates.", f"{SEARCHERS}.")
    assert former.count(f"{SEARCHERS}.smbo.Smbo") == 1
    shutil.copytree(study, tmp_path / "former")
    (tmp_path / "former" / "config.yaml").write_text(former)
    assert saved_config(tmp_path / "former", trust=True) == expected
    assert saved_config(tmp_path / "former") == expected  # a stranger's: it is signed no more


def test_a_users_own_file_may_name_a_former_path() -> None:
    config = {"_target_": f"{SEARCHERS}.random.RandomSearch"}
    searcher = construct(config, "searcher", space=load_space("figure1"), seed=0)
    assert isinstance(searcher, RandomSearch)


def test_modules_that_workers_preload_are_those_of_now() -> None:
    former = ["torch", "nasrunner.children.checks", "nasrunner.children.training"]
    config = {"_target_": "nasrunner.executors.local.LocalExecutor", "preload": former}
    found = with_present_targets(config)["preload"]
    assert found[0] == "torch"
    for name in found:
        importlib.import_module(name)
    assert with_present_targets({"preload": found}) == {"preload": found}


PLATEAU = {
    "scheduler": {
        "oneof": [
            {"_target_": "nasrunner.children.schedulers.Plateau", "patience": 2},
            {"_target_": "torch.optim.lr_scheduler.ConstantLR"},
        ]
    }
}


def test_a_ledger_may_have_options_that_name_a_class_by_its_former_path() -> None:
    """The space was searched for the same options, wherever the class lies now."""
    space = build_space({"space": {"hyperparameters": PLATEAU, "concat": ["flatten"]}})
    current = beginning(space, 0, {})
    kind = "hyperparameters/scheduler"
    assert current.space[kind][0]["_target_"] == present(FORMER[25])
    space_then = {**current.space, kind: PLATEAU["scheduler"]["oneof"]}
    recorded = replace(current, space=space_then)
    check_same(recorded, current, Path("ledger.jsonl"))


def test_a_users_space_may_name_a_former_path() -> None:
    node: dict[str, Any] = {"_target_": "nasrunner.spaces.images.MaxPool", "kernel_size": 2}
    assert build_space({"space": node}) == build_space({"space": {"max_pool": {"kernel_size": 2}}})
    node = {"_target_": "nasrunner.spaces.recurrent.Embedding", "vocabulary": 5, "units": 3}
    assert build_space({"space": node}).size() == 1


def test_retrained_networks_are_found_by_the_settings_of_then(tmp_path: Path) -> None:
    path = tmp_path / "retrain.yaml"
    path.write_text("task: {_target_: nasrunner.children.tasks.Classification}\n")
    found = retrain_settings(path)
    assert found == {"task": {"_target_": "nasrunner.children.tasks.tasks.Classification"}}


def test_a_study_that_names_a_former_path_is_the_one_that_it_saved(tmp_path: Path) -> None:
    """A job that SLURM queues again composes its configuration from the user's files again."""
    folder = make_study(tmp_path / "study", "searcher=random")
    saved = saved_config(folder)
    composed = {**saved, "searcher": {**saved["searcher"], "_target_": FORMER[5]}}
    assert differences(saved, composed) == {}


IMPORTED = sorted({target for target in FORMER if not target.endswith("check_child")})


@pytest.mark.parametrize("target", IMPORTED)
def test_a_users_module_imports_a_class_from_where_it_lay(target: str) -> None:
    module, _, name = target.rpartition(".")
    code = f"from {module} import {name} as former\n"
    present_module, _, _ = present(target).rpartition(".")
    code += f"import {present_module} as there\n"
    code += f"assert former is there.{name}\n"
    code += f"assert there.__spec__.name == {present_module!r}"
    exec(code, {})  # as a module of the user's own would


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ImportError, match=r"No module named 'nasrunner\.searchers\.never'"):
        importlib.import_module("nasrunner.searchers.never")
    for package in (
        "children.tasks",
        "executors.slurm",
        "searchers.evolution",
        "spaces.recurrent",
        "trackers.mlflow",
    ):
        found = importlib.import_module(f"nasrunner.{package}")
        assert not hasattr(found, "never")
        assert not hasattr(found, "Never")
