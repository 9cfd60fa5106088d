from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from nasrunner.core import ConfigError, OneOf
from nasrunner.recorded import RecordedStudy
from nasrunner.retrain.request import RetrainRequest, changed, parse

ROOT = Path(__file__).parents[2]


def shipped(group: str, name: str) -> dict[str, Any]:
    config = OmegaConf.create({"trainer": {"max_epochs": 1}})
    config[group] = OmegaConf.load(ROOT / "conf" / group / f"{name}.yaml")
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return resolved[group]  # type: ignore[no-any-return]


def test_a_grid_is_taken_as_it_is_written() -> None:
    grid = "{optimizer.lr: [0.1, 0.2], scheduler: [{a: 'b'}]}"
    assert parse(["from=study", f"grid={grid}"]).grid == grid
    assert parse(["from=study", "grid='nasrl'"]).grid == "nasrl"
    assert parse(["from=study"]).grid is None


def test_own_keys_and_changes_of_the_configuration_are_told_apart() -> None:
    given = ["from=a b", "trainer.max_epochs=50", "top=2", "on=train", "seeds=4", "folder='x'"]
    assert parse(given) == RetrainRequest(
        "a b", 2, 4, "train", Path("x"), overrides=("trainer.max_epochs=50",)
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("top=0", "top must be a whole number >= 1, got '0'"),
        ("seeds=1.5", "seeds must be a whole number >= 1, got '1.5'"),
        ("on=test", "on=test is no choice, legal: train, train_and_validation"),
        ("mlp_classifier=yes", "mlp_classifier=yes is no choice, legal: false, true"),
        ("top", "arguments are written key=value, got 'top'"),
        ("optimizer=1", "optimizer=1 is no option of the group optimizer, legal: adam"),
        ("trainer.max_epochs=", "trainer.max_epochs= has no value"),
        ("--multirun", "--multirun is not needed: data=a,b trains on each"),
        ("from=", "from= is missing: a study's folder, or runs:/<id>"),
    ],
)
def test_what_is_no_request_is_refused(argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(["from=study", argument])


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigError, match=r"^folder=.*mine is a file; it must be a folder, or"):
        parse(["from=study", f"folder={tmp_path / 'mine'}"])
    assert parse(["from=study", f"folder={tmp_path}"]).folder == tmp_path


def test_changes_are_made_and_everything_else_stays(recorded: RecordedStudy) -> None:
    overrides = ["trainer.max_epochs=7", "optimizer.betas=[0.5,0.9]", "+trainer.max_steps=9"]
    config = changed(recorded.config, overrides, recorded.space)
    assert config["trainer"] == {**recorded.config["trainer"], "max_epochs": 7, "max_steps": 9}
    assert config["optimizer"] == {**recorded.config["optimizer"], "betas": [0.5, 0.9]}
    same = set(config) - {"trainer", "optimizer"}
    assert {key: config[key] for key in same} == {key: recorded.config[key] for key in same}


def test_another_option_of_a_group_refers_to_the_studys_values(recorded: RecordedStudy) -> None:
    overrides = ["scheduler.eta_min=0.1", "scheduler=cosine", "trainer.max_epochs=33"]
    assert changed(recorded.config, overrides, recorded.space)["scheduler"] == {
        "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "_partial_": True,
        "T_max": "auto",
        "eta_min": 0.1,
        "interval": "epoch",
    }


@pytest.mark.parametrize(
    ("overrides", "last"),
    [
        (["trainer.max_epochs=33"], 33),
        (["trainer.max_epochs=33", "scheduler.T_max=5"], 5),
        ([], 1),
    ],
)
def test_a_cosine_schedule_ends_with_the_epochs_as_in_the_search(
    recorded: RecordedStudy, overrides: list[str], last: int
) -> None:
    # as an earlier version saved it
    scheduler = {
        **shipped("scheduler", "cosine"),
        "T_max": recorded.config["trainer"]["max_epochs"],
    }
    config = {**recorded.config, "scheduler": scheduler}
    assert scheduler["T_max"] == 1
    assert changed(config, overrides, recorded.space)["scheduler"]["T_max"] == last


def test_a_cosine_schedule_that_did_not_end_with_the_epochs_stays(recorded: RecordedStudy) -> None:
    scheduler = {**shipped("scheduler", "cosine"), "T_max": 5}
    config = {**recorded.config, "scheduler": scheduler}
    overrides = ["trainer.max_epochs=33"]
    assert changed(config, overrides, recorded.space)["scheduler"]["T_max"] == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=3", "seed cannot change when a network is retrained, did you mean 'seeds'"),
        ("space=mlp", "space cannot change when a network is retrained"),
        ("data.split_seed=1", "data.split_seed cannot change .* with data=option, of another"),
        ("data.test_examples=9", "data.test_examples cannot change"),
        ("task.label_smoothing=0.1", "task.label_smoothing cannot change"),
        ("optimizer.lrr=3", "there is no key 'optimizer.lrr', did you mean 'lr'"),
        ("optimizer.lr.x=3", "no key 'optimizer.lr.x': optimizer.lr holds no keys"),
        ("~trainer", "legal are key=value and"),
        ("optimizer.lr=1,2", "legal are key=value and"),
        (
            "optimizer.lr={oneof: [1]}",
            r"optimizer.lr is a decision, .* with 'grid=\{optimizer.lr: ",
        ),
    ],
)
def test_a_key_that_may_not_change_is_named(
    recorded: RecordedStudy, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(recorded.config, [override], recorded.space)


def test_an_option_that_does_not_exist_is_named(recorded: RecordedStudy) -> None:
    with pytest.raises(HydraException, match="Could not find 'optimizer/sdg'"):
        changed(recorded.config, ["optimizer=sdg"], recorded.space)


@pytest.mark.parametrize("override", ["optimizer.lr=1", "optimizer=sgd"])
def test_what_the_space_searches_cannot_be_given_to_all(
    recorded: RecordedStudy, override: str
) -> None:
    space = replace(recorded.space, hyperparameters=(("optimizer.lr", OneOf((0.1, 0.2))),))
    with pytest.raises(ConfigError, match=r"cannot change: the space searches optimizer\.lr"):
        changed(recorded.config, [override], space)
    changed(recorded.config, ["trainer.max_epochs=2"], space)


def test_another_reward_begins_no_training_with_weights_of_the_searchs() -> None:
    request = parse(["from=a", "reward=val_loss", "reward.mode=min"])
    assert request.rescoring is not None
    assert request.rescoring.reward == {"metric": "val_loss", "mode": "min"}
    assert request.overrides == ()
    with pytest.raises(ConfigError, match="start=child goes on with the weights of the epoch that"):
        parse(["from=a", "reward=val_loss", "start=child"])
