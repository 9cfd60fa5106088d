"""Arguments from a configuration, checked against the annotations of what takes them."""

import inspect
import math
import pickle
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from omegaconf import OmegaConf

from nasrunner.compose.config import rules_from, shipped_option
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, AtLeast, Within, fits, readable

WRONG: dict[str, list[tuple[str, object, str]]] = {
    "searcher/evolution": [
        ("tournament_size", 2.5, "int >= 1"),
        ("tournament_size", "two", "int >= 1"),
        ("tournament_size", 0, "int >= 1"),
        ("population_size", True, "int >= 1"),
        ("population_size", None, "int >= 1"),
    ],
    "searcher/smbo": [
        ("num_random", 0, "int >= 1"),
        ("max_history", 5.5, "int >= 3"),
        ("max_history", 2, "int >= 3"),
        ("refit_growth", -0.1, "float >= 0"),
        ("use_ranks", "maybe", "bool"),
        ("candidates.num_rollouts", 1e2, "int >= 0"),
        ("candidates.num_rollouts", -1, "int >= 0"),
        ("candidates.num_mutations", -1, "int >= 0"),
        ("candidates.num_parents", 0, "int >= 1"),
        ("candidates.more_changes", 1.0, "float in [0, 1)"),
        ("surrogate.decays", [1.0, 0], "list of float > 0"),
        ("surrogate.noises", 0.1, "list of float > 0"),
        ("acquisition", "improvement", "Acquisition"),
    ],
    "searcher/smbo_ngrams": [
        ("surrogate.max_length", 0, "int >= 1"),
        ("surrogate.min_occurrences", 0, "int >= 1"),
        ("surrogate.penalty", 0, "float > 0"),
        ("acquisition.exploration", 1.5, "float in [0, 1]"),
    ],
    "searcher/smbo_lstm": [
        ("surrogate.hidden_units", 0, "int >= 1"),
        ("surrogate.num_members", 1, "int >= 2"),
        ("surrogate.num_steps", 0, "int >= 1"),
        ("surrogate.batch_size", 2.5, "int >= 1"),
        ("surrogate.learning_rate", 0, "float > 0"),
    ],
    "searcher/pnas": [
        ("depth", 3, "str or null"),
        ("first_level", 0, "int >= 1"),
        ("num_trained", 0, "int >= 1"),
        ("num_kept", 0, "int >= 1 or null"),
        ("max_expansions", 0, "int >= 1"),
        ("ended_share", 0, "float in (0, 1]"),
        ("surrogate.share", "values", "one of kinds, labels"),
    ],
    "searcher/tpe": [
        ("max_history", 5.5, "int >= 4 or null"),
        ("max_history", 3, "int >= 4 or null"),
        ("sampler.n_startup_trials", "ten", "int"),
        ("sampler.multivariate", 1, "bool or null"),
    ],
    "searcher/mcts": [
        ("branching_factor", 2.5, "int >= 2 or null"),
        ("branching_factor", 1, "int >= 2 or null"),
        ("exploration", -0.1, "float >= 0"),
        ("exploration", math.nan, "float >= 0"),
    ],
    "searcher/local_search": [("improvement", "last", "one of first, best")],
    "searcher/ppo": [
        ("objective.num_steps", 1.5, "int >= 1"),
        ("objective.num_steps", 0, "int >= 1"),
        ("objective.clip", 0.0, "float > 0"),
        ("objective", 3, "PolicyObjective"),
        ("hidden_units", 0, "int >= 1"),
        ("num_layers", 0, "int >= 1"),
        ("init_range", 0.0, "float > 0"),
        ("learning_rate", -1.0, "float > 0"),
        ("learning_rate", math.inf, "float > 0"),
        ("replicas", 0, "int >= 1 or null"),
        ("children_per_replica", 0, "int >= 1"),
        ("batches_per_update", 0, "int >= 1"),
        ("baseline_decay", 1.0, "float in [0, 1)"),
        ("entropy_bonus", -0.1, "float >= 0"),
    ],
    "executor/serial": [
        ("threads", 1e9, "int in [1, 1024]"),
        ("threads", 10**9, "int in [1, 1024]"),
    ],
    "executor/local": [
        ("workers", 10**9, "int in [1, 4096] or null"),
        ("workers", -2, "int in [1, 4096] or null"),
        ("workers", "two", "int in [1, 4096] or null"),
        ("threads_per_worker", 10**9, "int in [1, 1024]"),
        ("threads_per_worker", 0, "int in [1, 1024]"),
        ("gpus_per_worker", 0, "int >= 1"),
        ("workers_per_gpu", 0, "int >= 1 or null"),
    ],
    "executor/simulated": [
        ("median_s", 0.0, "float > 0 or null"),
        ("failed_share", 1.0, "float in [0, 1)"),
        ("checkpoint_every_s", 0.0, "float > 0"),
        ("deaths_per_hour", -1.0, "float >= 0"),
    ],
    "tracker/mlflow": [("experiment", 1.5, "str or int or null")],
    "optimizer/adam": [
        ("lr", "abc", "float or Tensor"),
        ("betas", 0.9, "[float or Tensor, float or Tensor]"),
    ],
    "scheduler/plateau": [("patience", "ten", "int >= 0"), ("factor", 1, "float in (0, 1)")],
    "trainer/lightning": [
        ("stop_patience", "abc", "int >= 0 or null"),
        ("stop_patience", 1.5, "int >= 0 or null"),
        ("stop_patience", {"choice": [1, 2]}, "int >= 0 or null"),
        ("fast_loop", "maybe", "bool"),
        ("checkpoint_every_s", -1, "float >= 0 or null"),
        ("scale_learning_rate", "cubic", "one of none, linear, sqrt"),
    ],
}


def shipped(option: str) -> Any:
    """A shipped option, beside what it refers to."""
    node = shipped_option(*option.split("/"))
    return OmegaConf.create({"optimizer": {"lr": 0.1}, "option": node})


@pytest.mark.parametrize(
    ("option", "name", "value", "legal"),
    [(option, *row) for option, rows in WRONG.items() for row in rows],
)
def test_an_argument_of_a_wrong_type_or_range_is_named_before_anything_is_built(
    option: str, name: str, value: object, legal: str
) -> None:
    config, key = shipped(option), option.partition("/")[0]
    OmegaConf.update(config.option, name, value, merge=False)
    with pytest.raises(ConfigError) as refused:
        construct(config.option, key)
    assert str(refused.value) == f"{key}.{name} must be {legal}, got {value!r}"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"min": 1e-5, "max": 1e-2}, "{uniform: [low, high]}"),
        ({"distribution": "uniform", "min": 1e-5, "max": 1e-2}, "{uniform: [low, high]}"),
        ({"distribution": "uniform", "min": 0, "max": 1}, "{uniform: [low, high]}"),
        ({"low": 1e-5, "high": 1e-2, "log": True}, "{loguniform: [low, high]}"),
        ({"low": 1e-5, "high": 1e-2, "log": False}, "{uniform: [low, high]}"),
        ({"values": [1e-5, 1e-2]}, "{oneof: […]}"),
        ({"distribution": "normal", "mu": 0.1, "sigma": 0.01}, "{uniform: [low, high]}"),
        ({"min": 8, "max": 64}, "{randint: [low, high]}"),
        ({"low": 8, "high": 64, "step": 8}, "{range: [low, high, step]}"),
        ({"low": 8, "high": 64, "log": True}, "{logspace: [low, high, n]}"),
    ],
)
def test_a_decision_in_the_words_of_wandb_or_optuna_is_told_ours(value: object, form: str) -> None:
    config = shipped("optimizer/adam")
    OmegaConf.update(config.option, "lr", value, merge=False)
    with pytest.raises(ConfigError, match=re.escape(f"; a decision is written {form}")):
        construct(config.option, "optimizer")


def test_an_argument_without_a_default_that_is_not_given_is_named() -> None:
    config = {"_target_": "torch.optim.SGD", "_partial_": True}
    told = re.escape("optimizer: SGD needs 'params': +optimizer.params=… gives it")
    with pytest.raises(ConfigError, match=told):
        construct(config, "optimizer")


GROUPED = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 1}


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ({**GROUPED, "groups": 2}, "net.body"),
        ([{**GROUPED}, {**GROUPED, "groups": 2}], "net.body.1"),
        ({"first": [{**GROUPED, "groups": 2}]}, "net.body.first.0"),
    ],
)
def test_an_object_among_the_arguments_that_cannot_be_made_has_its_own_key(
    argument: object, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: in_channels must be divisible by groups$"):
        construct({"_target_": "builtins.dict", "body": argument}, "net")


def test_a_partial_among_the_arguments_knows_its_key_also_once_it_was_copied() -> None:
    rates = [{"_target_": "torch.optim.SGD", "_partial_": True, "lr": lr} for lr in (0.1, -1.0)]
    good, bad = construct({"_target_": "builtins.dict", "made": rates}, "net")["made"]
    weights = [torch.nn.Parameter(torch.zeros(1))]
    assert good(weights).param_groups[0]["lr"] == 0.1
    assert "momentum" in inspect.signature(good).parameters
    for partial in (bad, pickle.loads(pickle.dumps(bad))):
        with pytest.raises(ConfigError, match=r"^net.made.1: Invalid learning rate: -1.0$"):
            partial(weights)
    with pytest.raises(ConfigError, match=r"^net.made.0: SGD needs 'params'"):
        good()


RULES = {
    "seed": 0,
    "max_children": 10,
    "max_epochs_total": None,
    "max_hours": None,
    "target_reward": None,
    "max_failures": 20,
    "max_fruitless": 10000,
    "duplicates": "reuse",
    "failed_reward": "worst",
    "limits": {"parameters": None, "flops": None},
}


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("seed", 2**32, "int in [0, 4294967295]"),
        ("seed", -1, "int in [0, 4294967295]"),
        ("max_children", 0, "int >= 1 or null"),
        ("max_epochs_total", 0, "int >= 1 or null"),
        ("max_hours", math.nan, "float > 0 or null"),
        ("max_hours", -1.0, "float > 0 or null"),
        ("target_reward", math.nan, "float or null"),
        ("max_failures", -1, "int >= 0 or null"),
        ("max_fruitless", 0, "int >= 1 or null"),
        ("duplicates", "reus", "one of reuse, resample, retrain"),
        ("failed_reward", math.nan, "float or one of worst, ignore"),
        ("failed_reward", -math.inf, "float or one of worst, ignore"),
        ("failed_reward", "bad", "float or one of worst, ignore"),
        ("limits.parameters", 0, "int >= 1 or null"),
        ("limits.flops", 0, "int >= 1 or null"),
    ],
)
def test_a_rule_of_a_wrong_type_or_range_is_named(key: str, value: object, legal: str) -> None:
    config = OmegaConf.create(RULES)
    OmegaConf.update(config, key, value)
    plain: Any = OmegaConf.to_container(config)
    with pytest.raises(ConfigError) as refused:
        rules_from(plain)
    assert str(refused.value) == f"{key} must be {legal}, got {value!r}"
    assert rules_from(RULES).max_children == 10


@pytest.mark.parametrize(
    ("value", "annotation", "is_right"),
    [
        (1, float, True),
        (True, float, False),
        (math.nan, float, False),
        (math.inf, float, True),
        (1, Annotated[float, AtLeast(1)], True),
        (0.99, Annotated[float, AtLeast(1)], False),
        (0, Annotated[float, Above(0)], False),
        (math.inf, Annotated[float, Above(0)], False),
        (1.0, Annotated[float, Within("(0, 1]")], True),
        (0.0, Annotated[float, Within("(0, 1]")], False),
        (None, Annotated[int, AtLeast(1)] | None, True),
        (True, Literal["auto", 1], False),
        ("ab", Sequence[str], False),
        (["ab"], Sequence[str], True),
        ([1], Sequence[str], False),
        ({"a": 1}, Mapping[str, Any], True),
        ("x", Path, True),
        (3, Path, False),
        (len, Callable[..., Any], True),
        (3, Callable[..., Any], False),
        (3, typing.TypeVar("T"), True),  # cannot be told
    ],
)
def test_values_fit_annotations(value: object, annotation: Any, is_right: bool) -> None:
    assert fits(value, annotation) == is_right


def test_a_range_is_readable() -> None:
    assert readable(Annotated[int, AtLeast(1)] | None) == "int >= 1 or null"
    assert readable(Sequence[Annotated[float, Within("(0, 1]")]]) == "list of float in (0, 1]"


class Own:
    """A user's class, whose annotations leave its defaults out and import nothing at run time."""

    def __init__(
        self,
        size: int = None,  # type: ignore[assignment]  # noqa: RUF013 - people write so
        name: "NotThere" = "a",  # type: ignore[name-defined]  # noqa: F821
        **others: object,
    ) -> None:
        self.size = size


def test_what_a_users_annotations_do_not_tell_is_let_through() -> None:
    config = {"_target_": "tests.compose.test_construct.Own", "size": None, "name": 3, "other": 1}
    assert construct(config, "data").size is None
    with pytest.raises(ConfigError, match=r"data\.size must be int, got 'big'"):
        construct({**config, "size": "big"}, "data")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nasrunner.nowhere", "No module named 'nasrunner.nowhere'"),
        ("raise RuntimeError", r"RuntimeError\(\)"),
        (None, "Are you sure that module 'users_own_module' is installed\\?"),
    ],
)
def test_what_a_users_module_cannot_import_is_named(
    text: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "users_own_module.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = rf"^data\._target_: cannot import 'users_own_module\.Mine': {reason}$"
    with pytest.raises(ConfigError, match=expected):
        construct({"_target_": "users_own_module.Mine"}, "data")
