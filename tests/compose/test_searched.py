"""Decisions on the command line and in YAML, as the configuration of a study has them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, ValidationError

from nasrunner.arguments import read_arguments
from nasrunner.children.settings.searched import applied
from nasrunner.command_line import one_sentence, sentence
from nasrunner.compose import config as skeleton
from nasrunner.compose import overrides as composing
from nasrunner.compose.launch import build_space
from nasrunner.compose.saved import save_config, saved_config
from nasrunner.compose.searched import resolved
from nasrunner.compose.upgrade import upgraded
from nasrunner.core import Address, NasRunnerError
from nasrunner.core.search_space import CHILD_GROUPS
from tests.spaces.enumeration import enumerate_genotypes

FILTERS = "space.concat.0.conv2d.filters"
SGD = "{_target_: torch.optim.SGD, lr: 0.1, nesterov: {oneof: [false, true]}}"


def composed(*overrides: str, own: Path | None = None) -> dict[str, Any]:
    return resolved(whole(*overrides, own=own))


def whole(*overrides: str, own: Path | None = None) -> DictConfig:
    skeleton.register()
    path = [f"hydra.searchpath=['file://{own}']"] if own else []
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        return compose("config", ["study=test", *overrides, *path])


def children(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration of every child of a space that has one network."""
    space = build_space({**config, "space": {**config["space"], "affine": {"units": 2}}})
    own = {group: config[group] for group in CHILD_GROUPS}
    frozen = [space.freeze(genotype) for genotype in enumerate_genotypes(space)]
    return [applied(own, each.hyperparameters) for each in frozen]


def searched(*overrides: str, own: Path | None = None) -> dict[str, Any]:
    """A configuration whose space has hyperparameters alone; its network is left to the test."""
    return composed("~space", "+space={}", *overrides, own=own)


@pytest.mark.parametrize(
    ("override", "key", "values"),
    [
        ("optimizer.lr={oneof: [1e-3, 1e-2]}", "optimizer.lr", [1e-3, 1e-2]),
        ("data.batch_size={oneof: [16, 32]}", "data.batch_size", [16, 32]),
        ("data.batch_size={logspace: [8, 32, 3]}", "data.batch_size", [8, 16, 32]),
        (
            "+optimizer.amsgrad={oneof: [false, true]}",
            "optimizer.amsgrad",
            [False, True],
        ),
        (
            "optimizer.weight_decay={loguniform: [1e-6, 1e-2], steps: 3}",
            "optimizer.weight_decay",
            [1e-6, 1e-4, 1e-2],
        ),
        ("optimizer.betas=[{oneof: [0.8, 0.9]}, 0.99]", "optimizer.betas.0", [0.8, 0.9]),
        ("trainer.max_epochs={range: [1, 3, 1]}", "trainer.max_epochs", [1, 2, 3]),
    ],
)
def test_a_decision_in_the_childs_configuration_is_one_of_the_space(
    override: str, key: str, values: list[object]
) -> None:
    config = searched(override)
    found = []
    for child in children(config):
        node: Any = child
        for name in key.split("."):
            node = node[int(name)] if isinstance(node, list) else node[name]
        found.append(node)
    assert found == values
    name, _, leaf = override.lstrip("+").partition("=")
    if "[{" not in leaf:
        by_hand = searched(f"+space.hyperparameters={{{name}: {leaf}}}")
        assert by_hand["space"] == config["space"]


@pytest.mark.parametrize(
    "override",
    [
        "+space.hyperparameters.optimizer.lr={oneof: [1, 2]}",
        "+space.hyperparameters={optimizer: {lr: {oneof: [1, 2]}}}",
        "+space.hyperparameters={optimizer.lr: {oneof: [1, 2]}}",
    ],
)
def test_hyperparameters_may_be_written_as_the_configuration_is(override: str) -> None:
    config = searched(override, "+space.hyperparameters.trainer.max_time={minutes: 3}")
    space = config["space"]["hyperparameters"]
    assert space == {"optimizer.lr": {"oneof": [1, 2]}, "trainer.max_time": {"minutes": 3}}
    assert [child["optimizer"]["lr"] for child in children(config)] == [1, 2]


def test_a_whole_part_of_the_childs_configuration_is_a_decision() -> None:
    config = searched(f"optimizer={{oneof: [{SGD}, {{_target_: torch.optim.Adam}}]}}")
    assert [child["optimizer"] for child in children(config)] == [
        {"_target_": "torch.optim.SGD", "lr": 0.1, "nesterov": False},
        {"_target_": "torch.optim.SGD", "lr": 0.1, "nesterov": True},
        {"_target_": "torch.optim.Adam"},
    ]


def test_a_decision_in_a_yaml_file_is_one_of_the_space(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    mine = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": {"uniform": [0, 1], "steps": 3}}
    (tmp_path / "optimizer" / "mine.yaml").write_text(yaml.safe_dump(mine))
    config = searched("optimizer=mine", own=tmp_path)
    assert [child["optimizer"]["lr"] for child in children(config)] == [0, 0.5, 1]


def test_what_refers_to_a_hyperparameter_is_resolved_in_the_child(tmp_path: Path) -> None:
    overrides = ("scheduler=cosine", "scheduler.T_max=${trainer.max_epochs}")
    beside = ("task.label_smoothing=${optimizer.lr}", "optimizer.eps=${trainer.max_time}")
    searches = "+space.hyperparameters={trainer.max_epochs: {oneof: [2, 8]}}"
    config = searched(*overrides, *beside, searches, "trainer.max_epochs=4")
    (tmp_path / "ledger.jsonl").touch()
    save_config(config, tmp_path)
    for each in (config, saved_config(tmp_path), upgraded(saved_config(tmp_path), CHILD_GROUPS)):
        found = children(each)
        assert [child["trainer"]["max_epochs"] for child in found] == [2, 8]
        assert [child["scheduler"]["T_max"] for child in found] == [2, 8]
        assert {child["task"]["label_smoothing"] for child in found} == {0.001}
        assert {child["optimizer"]["eps"] for child in found} == {None}


def test_what_refers_to_a_part_of_what_is_searched_follows_it() -> None:
    options = "{oneof: [{_target_: torch.optim.SGD, lr: 0.1}, {_target_: torch.optim.Adam, lr: 1}]}"
    config = searched(f"optimizer={options}", "task.label_smoothing=${optimizer.lr}")
    assert [child["task"]["label_smoothing"] for child in children(config)] == [0.1, 1]


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        ([f"{FILTERS}={{range: [4, 12, 4]}}"], (4, 8, 12)),
        ([f"{FILTERS}={{oneof: [8]}}"], (8,)),
        ([f"{FILTERS}.oneof=[8, 16]"], (8, 16)),
        ([f"{FILTERS}.range=[4, 12, 4]"], (4, 8, 12)),
        ([f"++{FILTERS}={{range: [4, 12, 4]}}"], (4, 8, 12)),
        ([f"{FILTERS}=8"], None),
        ([f"{FILTERS}=8", f"{FILTERS}={{oneof: [1, 2]}}"], (1, 2)),
        ([f"{FILTERS}={{schedule: {{start: 1, step: 1, end: 2, every: 3}}}}"], (1, 2)),
    ],
)
def test_a_decision_is_replaced_as_a_whole(
    overrides: list[str], options: tuple[int, ...] | None
) -> None:
    config = composed("space=figure1", "data=mnist", *overrides)
    found = {d.path: d.options for d in build_space(config).decisions(Address())}
    assert found.get("0/conv2d/filters") == options


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("loguniform: [1e-3, 1e-1], steps: 3", [1e-3, 1e-2, 1e-1]),
        ("range: [1, 3, 1]", [1, 2, 3]),
        ("oneof: [5, 6]", [5, 6]),
        ("randint: [1, 4]", [1, 2, 3, 4]),
        ("uniform: [3, 4], steps: 2", [3, 4]),
        ("steps: 3", [1, 1.5, 2]),  # of the other file's uniform
    ],
)
def test_a_decision_in_an_experiment_replaces_one_of_another_file(
    tmp_path: Path, written: str, values: list[float]
) -> None:
    for folder in ("optimizer", "experiment"):
        (tmp_path / folder).mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text(
        "_target_: torch.optim.SGD\n_partial_: true\nlr: {uniform: [1, 2], steps: 2}\n"
    )
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: mine\n"
        f"optimizer:\n  lr: {{{written}}}\n"
    )
    found = children(searched("optimizer=mine", own=tmp_path))
    assert [each["optimizer"]["lr"] for each in found] == [1, 2]
    found = children(searched("experiment=mine", own=tmp_path))
    assert [each["optimizer"]["lr"] for each in found] == values


def test_a_study_of_a_space_without_a_name_is_not_called_none() -> None:
    skeleton.register()
    given = read_arguments(["space={concat: [relu]}"]).overrides
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        whole = compose("config", overrides=list(given), return_hydra_config=True)
    assert dict(whole.hydra.runtime.choices)["space"] == "own"
    assert dict(whole.hydra.runtime.choices)["searcher"] == "smbo"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "space=mpl",
            "^there is no space=mpl, did you mean 'mlp'\\? Legal: cnn_.*, text_classifier$",
        ),
        (
            "scheduler=cosinus",
            "^there is no scheduler=cosinus, did you mean 'cosine'\\? Legal: cosi",
        ),
    ],
)
def test_what_hydra_does_not_know_is_named_with_the_nearest(override: str, message: str) -> None:
    with pytest.raises(HydraException) as raised:
        composed(override)
    assert re.search(message, sentence(raised.value))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed={oneof: [1, 2]}"], "seed: oneof is a decision, which only the space and the child"),
        (["searcher={oneof: [{a: 1}]}"], "searcher: oneof is a decision, which only the space"),
        (["tracker.tracking_uri={oneof: [a]}"], "tracker.tracking_uri: oneof is a decision"),
        (["executor.workers={range: [1, 2, 1]}"], "--multirun executor.workers=value1,value2"),
        (["+study_group={x: {oneof: [1]}}"], "study_group"),
        (["optimizer.lr={choice: [1, 2]}"], r"optimizer.lr: a decision 'choice' is written \{one"),
        (["optimizer.betas=[{one_of: [1]}, 1]"], "optimizer.betas.0: there is no decision 'one_o"),
        (["optimizer.lr={oneof: []}"], "optimizer.lr: oneof needs at least one option"),
        (
            ["+space.hyperparameters={optimizer.lr: 1, optimizer: {lr: 2}}"],
            "space.hyperparameters: optimizer.lr is written twice",
        ),
        (["optimizer.lr=interval(1e-5,1e-2)"], r"written optimizer.lr=\{uniform: \[low, high\]\}"),
        (["optimizer.lr=choice(1,2)"], r"written optimizer.lr=\{oneof: .*--multirun optimizer.lr="),
        (["optimizer.lr=range(1,2)"], r"written optimizer.lr=\{range: \[low, high, step\]\}; a st"),
        (["space=figure1", f"{FILTERS}=[8, 16]"], r"is a decision, .*\{oneof: \[8, 16\]\}"),
        (["space=figure1", f"{FILTERS}={{choice: [8]}}"], "a decision 'choice' is written"),
        (["optimizer.lr={type: float, low: 0.1, high: 1}"], r"is written \{uniform: \[low, high\]"),
        (
            ["optimizer.lr={distribution: log_uniform_values, min: 1e-5, max: 1e-1}"],
            r"'max': 0.1\} is written \{loguniform: \[low, high\]\}",
        ),
        (
            ["+trainer.callbacks=[{a: {distribution: int_uniform, min: 1, max: 3}}]"],
            r"trainer.callbacks.0.a: a decision .* is written \{randint: \[low, high\]\}",
        ),
        (
            ["space=figure1", f"{FILTERS}={{min: 8, max: 64}}"],
            r"is a decision, .* got .*; a decision is written \{randint: \[low, high\]\}",
        ),
        (["space=figure1", f"{FILTERS}={{a: 8}}"], "to be replaced by a value or another one"),
        (
            ["optimizer.lr={oneof: [1, 2]}", "+space.hyperparameters={optimizer.lr: 1}"],
            "optimizer.lr is searched twice: there, and in space.hyperparameters.optimizer.lr",
        ),
        (
            ["optimizer.lr={oneof: [1, 2]}", "study=x${optimizer.lr}"],
            r"study refers to x\$\{optimizer.lr\}, which is searched and differs from child",
        ),
        (
            ["data.num_outputs={oneof: [1, 2]}"],
            r"space.concat.3.affine.units refers to \$\{data.num_outputs\}, which is searched",
        ),
    ],
)
def test_a_decision_that_stands_where_it_cannot_is_named(
    overrides: list[str], message: str
) -> None:
    with pytest.raises((NasRunnerError, HydraException), match=message):
        composed(*overrides)


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_an_object_in_the_place_of_another_may_have_arguments_of_its_own(sign: str) -> None:
    config = composed(f"{sign}task.reward={{_target_: my_reward.Early, weight: 0.1}}")
    reward = config["task"]["reward"]
    assert reward["_target_"] == "my_reward.Early"
    assert reward["weight"] == 0.1
    assert reward["metric"] == "val_accuracy"  # what both have stays


@pytest.mark.parametrize(("encoding", "byte"), [("utf-16", "0xff"), ("latin-1", "0xf6")])
def test_a_file_in_another_encoding_is_named(tmp_path: Path, encoding: str, byte: str) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yaml").write_text("relu:  # ö\n", encoding=encoding)
    with pytest.raises(NasRunnerError, match=rf"space/mine.yaml must be text in UTF-8: .*{byte}"):
        composed("space=mine", own=tmp_path)


def test_a_configuration_that_is_nested_too_deeply_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space").mkdir()
    text = "{concat: [" * 100 + "relu" + "]}" * 100
    (tmp_path / "space" / "mine.yaml").write_text(text)
    with pytest.raises(SystemExit), one_sentence("nasrunner", "stopped"):
        composed("space=mine", own=tmp_path)
    said = capsys.readouterr().err
    assert said == (
        "nasrunner: the configuration is nested too deeply; 40 modules in one another are legal\n"
    )


def test_a_file_that_holds_a_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yaml").write_text("- relu\n- tanh\n")
    with pytest.raises(NasRunnerError, match=r"^space/mine.yaml must hold keys, got a list"):
        composed("space=mine", own=tmp_path)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    for units in (3, 4, 5):
        (tmp_path / "space" / "mine.yaml").write_text(f"affine: {{units: {units}}}")
        for given in (7, None):  # what changes one composition does not change the next
            override = [] if given is None else [f"space.affine.units={given}"]
            config = composed("space=mine", *override, own=tmp_path)
            assert config["space"] == {"affine": {"units": given or units}}


def test_what_is_kept_of_merged_files_is_what_they_are_merged_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yaml").write_text("affine: {units: {oneof: [3, 4]}, bias: false}")
    with monkeypatch.context() as patched:
        patched.setattr(composing, "_state", lambda *arguments: None)  # nothing is kept
        merged = whole("space=mine", "searcher=asha", own=tmp_path)
    for _ in range(3):
        kept = whole("space=mine", "searcher=asha", own=tmp_path)
        assert kept == merged
        assert list(kept) == list(merged)
        assert typed(kept) == typed(merged)
        assert OmegaConf.to_yaml(kept) == OmegaConf.to_yaml(merged)
        kept.seed, kept.space.affine.units.oneof[0] = 7, 5  # of which the next one knows nothing
        with pytest.raises(ValidationError):
            kept.seed = "none"  # the schema holds


def test_an_option_that_was_stored_anew_is_the_new_one() -> None:
    store = ConfigStore.instance()
    try:
        for units in (3, 4, 4, 5):
            store.store(group="space", name="stored", node={"affine": {"units": units}})
            assert composed("space=stored")["space"] == {"affine": {"units": units}}
    finally:
        store.repo["space"].pop("stored.yaml")


def typed(node: Any) -> Any:
    """What a node's metadata say of it and of all below it."""
    said = (type(node), node._metadata.ref_type, node._metadata.object_type, node._metadata.flags)
    if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation():
        return said
    return said, {name: typed(node._get_node(name)) for name in node}
