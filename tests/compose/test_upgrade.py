"""Studies saved by an earlier version: what their configuration lacks is filled in, and told."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.compose.upgrade import as_built
from nasrunner.compose.upgrade import upgraded as upgraded_of
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in

GROUPS = ("data", "task", "optimizer", "scheduler", "trainer", "searcher", "executor", "tracker")


def upgraded(config: dict[str, Any], tell: Callable[[str], object]) -> dict[str, Any]:
    return upgraded_of(config, GROUPS, tell)


def saved(*overrides: str) -> dict[str, Any]:
    """A configuration as a study saves it."""
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=[*overrides, "study=test"])
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    left = copy.deepcopy(config)
    for key in keys:
        group, name = key.split(".")
        del left[group][name]
    return left


def ignore(sentence: str) -> None:
    """Tells nobody."""


def test_a_configuration_that_lacks_nothing_stays_as_it_is() -> None:
    config = saved("trainer.max_epochs=3", "executor=slurm", "searcher=ppo")
    told: list[str] = []
    assert upgraded(config, told.append) == config
    assert told == []


def test_arguments_that_a_class_has_gained_are_taken_as_shipped_and_told() -> None:
    config = saved("trainer.max_epochs=3", "searcher=ppo")
    earlier = without(config, "trainer.fast_loop", "searcher.replicas", "executor.workers_per_gpu")
    told: list[str] = []
    assert upgraded(earlier, told.append) == config
    assert sorted(told) == [
        "its configuration lacks executor.workers_per_gpu: None is taken, as shipped",
        "its configuration lacks searcher.replicas: None is taken, as shipped",
        "its configuration lacks trainer.fast_loop: True is taken, as shipped",
    ]


@one_in(2, 0, "searcher", ["mcts", "mcts_bisection", "gp", "cmaes"])
def test_of_several_options_of_a_class_the_one_that_was_saved_is_filled_in(searcher: str) -> None:
    config = saved(f"searcher={searcher}")
    key = "sampler" if searcher in ("gp", "cmaes") else "exploration"
    other = next(name for name in config["searcher"] if name not in (key, "_target_", "_partial_"))
    assert upgraded(without(config, f"searcher.{key}"), ignore) == config
    assert config["searcher"][other] == upgraded(config, ignore)["searcher"][other]


def test_what_refers_to_other_keys_follows_those_that_were_saved() -> None:
    config = saved("data=ptb", "task=language_model", "data.unit=character")
    assert upgraded(without(config, "task.unit"), ignore)["task"]["unit"] == "character"


def test_an_argument_with_a_default_and_a_class_of_the_users_own_are_left_alone() -> None:
    config = saved("scheduler=step")
    earlier = without(config, "scheduler.gamma")  # torch's StepLR has a default
    assert upgraded(earlier, ignore) == earlier
    own = {**config, "tracker": {"_target_": "my_package.Tracker"}}
    assert upgraded(own, ignore) == own


def test_a_class_that_moved_is_found_under_its_present_name() -> None:
    config = saved("searcher=reinforce", "searcher.children_per_replica=4")
    left = {"replicas", "batches_per_update", "objective", "children_per_replica"}
    earlier = {name: value for name, value in config["searcher"].items() if name not in left}
    earlier |= {"_target_": "nasrunner.searchers.reinforce.Reinforce", "batch_size": 4}
    told: list[str] = []
    assert upgraded({**config, "searcher": earlier}, told.append) == config
    assert len(told) == 2


@pytest.mark.parametrize("ranks_by", ["score", "surrogate"])
def test_a_filter_that_was_told_what_to_rank_by_ranks_by_that(ranks_by: str) -> None:
    config = saved("searcher=filter", "surrogate@searcher.surrogate=gaussian_process")
    earlier = {**config, "searcher": {**config["searcher"], "ranks_by": ranks_by}}
    now = config if ranks_by == "surrogate" else saved("searcher=filter")
    assert upgraded(earlier, ignore) == now


def test_groups_that_nothing_is_built_from_are_left_alone() -> None:
    config = saved()
    earlier = without(config, "trainer.fast_loop", "searcher.num_random")
    assert upgraded_of(earlier, ["trainer"]) == without(config, "searcher.num_random")


def test_a_residual_of_an_earlier_study_is_still_padded() -> None:
    residual = {"residual": {"concat": ["relu", {"residual": {"body": "tanh"}}]}}
    earlier = {"limits": {"flops": None}, "space": {"repeat": {"times": 2, "body": residual}}}
    space = parse_space(as_built(earlier, may_import=True)["space"])
    assert space.freeze({}).text() == "2×[residual[pad](relu → residual[pad](tanh))]"
    saved_now = {**earlier, "limits": {"flops": None, "memory_gb": None}}
    assert as_built(saved_now, may_import=True) == saved_now


@pytest.mark.parametrize("name", ["wine_quality", "digits", "mnist", "cifar10"])
def test_an_earlier_study_keeps_its_split(name: str) -> None:
    config = saved(f"data={name}")
    assert as_built(config, may_import=True) == config
    earlier = as_built(without(config, "data.equal_inputs"), may_import=True)
    assert earlier["data"] == {**config["data"], "equal_inputs": "apart"}


@pytest.mark.parametrize("data", [{"_target_": "mine.Own", "split_seed": 0}, None])
def test_the_split_of_an_own_data_module_is_left_to_it(data: object) -> None:
    config = {**saved(), "data": data}
    assert as_built(config, may_import=True) == config


def test_texts_are_not_split_by_inputs() -> None:
    config = saved("data=ptb", "task=language_model")
    assert as_built(config, may_import=True) == config


def test_data_derived_from_ours_keep_the_split_of_an_earlier_study() -> None:
    config = saved()
    config["data"] = {"_target_": "tests.children.blobs.Blobs", "split_seed": 0}
    assert as_built(config, may_import=True) == config  # it has evaluation, and is of now
    del config["evaluation"]
    assert as_built(config, may_import=True)["data"]["equal_inputs"] == "apart"
    assert as_built(config, may_import=False) == config  # it may be a stranger's
