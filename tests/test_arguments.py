"""The command line before Hydra reads it."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nasrunner.arguments import checked_without_job, read_arguments
from nasrunner.compose.config import config_dir, quoted
from nasrunner.core.errors import ConfigError

GROUPS = sorted(path.name for path in config_dir().iterdir() if path.is_dir())


def test_flags_may_stand_between_overrides() -> None:
    read = read_arguments(["seed=1", "--multirun", "searcher=tpe,random", "-cn", "x", "study=a"])
    assert read.flags == ("--multirun", "-cn", "x")
    assert read.overrides == ("seed=1", "searcher=tpe,random", "study=a")
    assert read.is_multirun


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("searcher=null", "searcher=null is no option of the group searcher, legal: .*tpe"),
        ("space=null", "space=null is no option"),
        ("data=null,digits", "data=null is no option of the group data"),
        ("searcher=1", "searcher=1 is no option of the group searcher, legal: .*tpe"),
        ("searcher=random,1.5", "searcher=1.5 is no option"),
        ("space={concat:[relu]},mlp", "is no option of the group space"),
        ("optimizer.lr=", "optimizer.lr= has no value; optimizer.lr=null is none"),
        ("+trainer.max_steps=", r"\+trainer.max_steps= has no value"),
        ("-m --cfg job", "--multirun and --cfg cannot be given together"),
        (
            "data={oneof:[digits,mnist]}",
            "one data set for all children, .* --multirun data=option1",
        ),
        ("--searcher=random", "unrecognized arguments: --searcher=random; .*key=value, without da"),
        ("-max_children=3", "ignored explicit argument 'ax_children=3'; overrides are written key"),
        ("resume=", "resume= has no value; resume=null is none"),
        ("max_children 3", "'max_children' has no value; overrides are written key=value"),
        ("searcher=[random,mcts]", "takes one option, .* --multirun searcher=random,mcts$"),
        ("-m searcher=[random,mcts],tpe", "takes one option, .* --multirun searcher=random,mcts$"),
        ("=3", "=3 has no key; overrides are written key=value"),
        ("hydra/launcher=1", "hydra/launcher=1 is no option of the group hydra/launcher, legal"),
        ("--resolve seed=1", "--resolve is for --cfg"),
        ("--cfg job seed=1 --info config", "--cfg and --info cannot be given together"),
    ],
)
def test_what_can_have_no_meaning_is_one_sentence(typed: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_arguments(typed.split())


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("baseline=null", ["baseline=none"]),
        ("scheduler=null", ["scheduler=none"]),
        ("baseline=null,random", ["baseline=none,random"]),
        ("experiment=null", []),
        ("experiment=[a,b]", ["experiment=[a,b]"]),
        ("resume=null", ["resume=null"]),
        ("searcher='random'", ["searcher='random'"]),
        ("searcher=glob(*)", ["searcher=glob(*)"]),
        ("seed=range(0,5)", ["seed=range(0,5)"]),
        ("~space", ["~space"]),
        ("study=''", ["study=''"]),
        ("space={concat:[relu]}", ["~space", "+space={concat:[relu]}"]),
        ("+space={concat:[relu]}", ["+space={concat:[relu]}"]),
    ],
)
def test_null_is_the_option_none_of_a_group_that_has_one(typed: str, read: list[str]) -> None:
    assert list(read_arguments([typed]).overrides) == read


def test_every_group_refuses_a_number() -> None:
    assert len(GROUPS) > 10
    for group in GROUPS:
        with pytest.raises(ConfigError, match=f"{group}=7 is no option"):
            read_arguments([f"{group}=7"])


def test_a_group_of_the_users_own_options_names_them(tmp_path: Path) -> None:
    (tmp_path / "searcher").mkdir()
    (tmp_path / "searcher" / "mine.yaml").touch()
    with pytest.raises(ConfigError, match=r"legal: .*mcts.*mine.*tpe"):
        read_arguments(["--config-dir", str(tmp_path), "searcher=1"])


@pytest.mark.parametrize("name", ["2024", "1e3", "inf", "null", "true"])
def test_an_option_may_be_named_as_another_value_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / f"{name}.yaml").touch()
    read = read_arguments(["--config-dir", str(tmp_path), f"space={name}"])
    assert read.overrides == (f"space='{name}'",)


def test_a_file_that_does_not_end_in_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yml").touch()
    with pytest.raises(
        ConfigError, match=r"space=mine: \S+/space/mine.yml must be named mine.yaml"
    ):
        read_arguments(["--config-dir", str(tmp_path), "space=mine"])


def test_the_shipped_sweeps_are_found_where_there_is_no_such_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["--multirun", "--config-dir", "sweeps", "--config-name", "searchers"]
    read = read_arguments(typed)
    assert read.own_dir is not None
    assert (read.own_dir / "searchers.yaml").is_file()
    assert str(read.own_dir) in read.flags
    (tmp_path / "sweeps").mkdir()
    assert read_arguments(typed).own_dir == Path("sweeps")


@pytest.mark.parametrize(
    "name",
    ["a b", "a=b", "a,b", "a(b", "it's", "ö", "${x}", "a\\", "\\'", 'a"b', "[a", "a:b", "#a"],
)
def test_any_text_can_be_quoted_for_hydra(name: str) -> None:
    override = OverridesParser.create().parse_override(f"key={quoted(name)}")
    assert override.value() == name.replace("${", "\\${")  # which OmegaConf reads as the text


@pytest.mark.parametrize("typed", ["hydra.run.dir=x", "+hydra.job.name=x", "hydra/launcher=here"])
def test_settings_of_hydras_jobs_are_refused_where_there_is_no_job(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"nasrunner-x is no job .* legal .* is hydra.searchpath"):
        checked_without_job([typed], None, "nasrunner-x")


def test_where_hydra_searches_is_heard_where_there_is_no_job() -> None:
    given = ("hydra.searchpath=[file://x]", "seed=1")
    assert checked_without_job(given, None, "nasrunner-x") == given
