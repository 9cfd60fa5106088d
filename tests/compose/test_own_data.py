"""What own data say of themselves when a configuration is composed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import run_study
from nasrunner.compose.searched import resolved
from nasrunner.core import ConfigError
from nasrunner.data.own.reading import Reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    x, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 4
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    return tmp_path / "mine.npz"


def composed(*overrides: str) -> tuple[dict[str, Any], str | None]:
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=["data=arrays", "study=x", *overrides])
    told = skeleton.complete_data(config)
    return resolved(config, ("data", "space", "task")), told


def test_spaces_and_the_saved_configuration_have_what_was_guessed(path: Path) -> None:
    config, told = composed(f"data.path={path}", "space=figure1", "data.channels=none")
    assert config["data"]["num_outputs"] == 4
    assert config["data"]["in_shape"] == [1, 2]
    assert config["space"]["concat"][-1] == {"affine": {"units": 4}}
    assert told is not None
    assert "classes 0 25%, 1 25%" in told


@pytest.mark.parametrize("tokens", [[], ["data.in_dtype=int64", "space=text_classifier"]])
def test_networks_are_kept_with_how_their_data_are_read(
    path: Path, tmp_path: Path, tokens: list[str]
) -> None:
    if tokens:
        np.savez(path, x=np.arange(80).reshape(40, 2), y=np.arange(40) % 4)
    overrides = [
        f"data.path={path}",
        *tokens,
        *("executor=serial", "tracker=none", "searcher=random", "max_children=1"),
        *(
            "trainer.max_epochs=1",
            "trainer.checkpoint=all",
            "data.batch_size=8",
            "data.equal_inputs=apart",
        ),
    ]
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=["data=arrays", "study=x", *overrides])
    skeleton.complete_data(config)
    OmegaConf.update(config, "hydra", None, force_add=True)
    plain = resolved(config, [key for key in config if key != "hydra"])
    run_study({**plain, "baseline": None}, tmp_path / "study")
    folder = tmp_path / "study" / "children" / "0000"
    best = torch.load(folder / "best.ckpt", weights_only=True)
    last = torch.load(folder / "last.ckpt", weights_only=True)
    reading = Reading.from_json(best["reading"])
    assert reading.classes == (0, 1, 2, 3)
    assert reading.kind == "arrays"
    assert last["LoadedData"]["reading"] == best["reading"]


def test_a_study_does_not_go_on_with_a_file_that_changed(path: Path, tmp_path: Path) -> None:
    fast = ["executor=serial", "tracker=none", "searcher=random", "trainer.max_epochs=1"]
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=["data=arrays", "study=x", f"data.path={path}", *fast])
    skeleton.complete_data(config)
    plain = {**resolved(config), "baseline": None, "max_children": 1}
    plain["data"]["batch_size"] = 8
    run_study(plain, tmp_path / "study")
    np.savez(path, x=np.arange(80.0).reshape(40, 2) + 1, y=np.arange(40) % 4)
    with pytest.raises(ConfigError, match=r"mine.npz has changed: its digest is .* legal are"):
        run_study({**plain, "max_children": 2}, tmp_path / "study")
    assert not (tmp_path / "study" / "children" / "0001").exists()


def test_the_task_says_what_targets_are(path: Path) -> None:
    config, _ = composed(f"data.path={path}", "task=regression")
    assert config["data"]["num_outputs"] == 1
    assert config["data"]["target_kind"] == "numbers"


@pytest.mark.parametrize("given", [[], ["data.in_shape=[2]", "data.num_outputs=4"]])
def test_a_space_of_texts_knows_the_tokens_of_the_file(path: Path, given: list[str]) -> None:
    np.savez(path, x=np.arange(80).reshape(40, 2), y=np.arange(40) % 4)
    tokens = ["data.in_dtype=int64", "space=text_classifier"]
    config, _ = composed(f"data.path={path}", *tokens, *given)
    assert config["space"]["concat"][0]["embedding"]["vocabulary"] == 80


def test_one_label_is_enough_for_several(path: Path) -> None:
    np.savez(path, x=np.arange(80.0).reshape(40, 2), y=np.arange(40)[:, None] % 2)
    config, _ = composed(f"data.path={path}", "task=multi_label")
    assert config["data"]["num_outputs"] == 1
    assert config["data"]["target_kind"] == "numbers"


def test_a_guess_that_is_contradicted_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.num_outputs is 5, but .* 40 examples, .*=4"):
        composed(f"data.path={path}", "data.num_outputs=5")


def test_what_is_set_whole_is_left_to_the_data_set(path: Path) -> None:
    config, told = composed(f"data.path={path}", "data.num_outputs=4", "data.in_shape=[2]")
    assert told is None
    assert config["data"]["in_shape"] == [2]


def test_batches_may_be_searched_and_the_file_may_not(path: Path) -> None:
    config, _ = composed(f"data.path={path}", "data.batch_size={oneof: [4, 8]}")
    assert config["data"]["in_shape"] == [2]
    assert list(config["space"]["hyperparameters"]) == ["data.batch_size"]
    with pytest.raises(ConfigError, match=r"data.path is the same for all children"):
        composed("data.path={oneof: [" + f"'{path}', other" + "]}")


def test_a_path_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"^data.path must be given: data.path=…$"):
        composed()


def test_other_data_sets_say_nothing() -> None:
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=["data=digits", "study=x"])
    before = OmegaConf.to_yaml(config.data)
    assert skeleton.complete_data(config) is None
    assert OmegaConf.to_yaml(config.data) == before
