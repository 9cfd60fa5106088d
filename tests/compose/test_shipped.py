"""Every experiment and sweep on disk composes, and is built up to its first proposals."""

import functools
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nasrunner.children.lightning import LightningTrainer
from nasrunner.compose import config as skeleton
from nasrunner.compose.config import shipped_option
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space, build_trainer
from nasrunner.core import ConfigError, DataError, Searcher
from nasrunner.spaces.language.writing import written
from tests.sampling import spread

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SEARCHERS = sorted(path.stem for path in (ROOT / "conf" / "searcher").glob("*.yaml"))
FEWEST = {
    **dict.fromkeys(("asha", "asha_stopping", "hyperband", "successive_halving"), 3),
    "extrapolation": 6,
    "pbt": 2,
}
"""Epochs that searchers need which count them."""

UNSCHEDULED = ("darts", "enas", "gdas", "petridish")
"""Searchers that refuse a space with a schedule."""

GROWING = ("mlpnas", "pnas_cifar10")
"""Experiments whose spaces have a depth."""

SWEEPS = sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml"))
DATA = (ROOT / os.environ.get("NASRUNNER_DATA", "../shared/data")).resolve()


def composed(
    overrides: list[str], sweep: str | None = None, own: Path | None = None
) -> dict[str, Any]:
    skeleton.register()
    folders = [f"'file://{folder}'" for folder in (ROOT / "conf", own) if folder]
    search_path = f"hydra.searchpath=[{','.join(folders)}]"
    with initialize_config_dir(str(ROOT / ("sweeps" if sweep else "conf")), version_base="1.3"):
        config = compose(sweep or "config", overrides=[*overrides, search_path, "study=test"])
    return {str(k): v for k, v in OmegaConf.to_container(config, resolve=True).items()}


def build(config: dict[str, Any]) -> None:
    """Everything a study is made of but its workers and records; makes two proposals."""
    skeleton.rules_from(config)
    space = build_space(config)
    searcher: Searcher = construct(config["searcher"], "searcher", space=space, seed=0)
    try:
        trainer = build_trainer(config, space)
    except DataError as error:
        if DATA.is_dir():
            raise
        pytest.skip(f"no data in {DATA}: {error}")
    for _ in range(min(2, space.size())):
        proposal = searcher.propose()
        assert proposal is not None
        if proposal.kind == "supernet":  # no child: what it finds is proposed once it is trained
            trainer.check(proposal)
            return
        assert trainer.inspect(proposal.genotype).text


def test_some_experiments_and_sweeps_are_found() -> None:
    assert {"mlpnas", "nasbench_macro"} <= set(EXPERIMENTS)
    assert "searchers" in SWEEPS


def test_a_limit_of_memory_reaches_who_trains_supernets() -> None:
    limits = []
    for overrides in ([], ["limits.memory_gb=3"]):
        config = composed(overrides)
        trainer = build_trainer(config, build_space(config))
        assert isinstance(trainer, LightningTrainer)
        limits.append(trainer.max_memory_gb)
    assert limits == [None, 3]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_changes_the_configuration_and_is_built(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASRUNNER_DATA", str(DATA))
    config = composed([f"experiment={experiment}"])
    assert config != composed([])
    if config["data"]["_target_"].endswith("Cifar10") and not is_tabular(config):
        pytest.skip("CIFAR-10's standard files are not shipped with the tests' data")
    build(config)


@pytest.mark.parametrize(
    ("experiment", "searcher"), spread(itertools.product(EXPERIMENTS, SEARCHERS))
)
def test_an_experiment_is_searched_by_any_searcher(experiment: str, searcher: str) -> None:
    config = composed([f"experiment={experiment}", f"searcher={searcher}"])
    if searcher != own_searcher(experiment):
        option = {**config, "searcher": shipped_option("searcher", searcher)}
        whole: Any = OmegaConf.to_container(OmegaConf.create(option), resolve=True)
        assert config["searcher"] == whole["searcher"]
    space = build_space(config)

    def build() -> Searcher:
        built: Searcher = construct(config["searcher"], "searcher", space=space, seed=0)
        return built

    if searcher in FEWEST and (config["trainer"].get("max_epochs") or 0) < FEWEST[searcher]:
        with pytest.raises(ConfigError, match=r"searcher(: |\.)max_epochs must be"):
            build()
    elif searcher == "successive_halving" and config["trainer"].get("max_epochs", 0) >= 81:
        with pytest.raises(ConfigError, match=r"num_children must be at least eta\^\d = \d+, or"):
            build()
    elif searcher == "pnas" and experiment not in GROWING:
        with pytest.raises(ConfigError, match=r"searcher: space must have (a depth|no schedule)"):
            build()
    elif searcher in UNSCHEDULED and any(space.schedules()):
        with pytest.raises(ConfigError, match=r"searcher: space must have no schedule"):
            build()
    elif searcher == "pbt" and not getattr(space, "hyperparameters", ()):
        with pytest.raises(ConfigError, match=r"searcher: space.hyperparameters must have"):
            build()
    else:
        assert build().propose() is not None


@functools.cache
def own_searcher(experiment: str) -> str:
    """The searcher that an experiment selects."""
    defaults = OmegaConf.load(ROOT / f"conf/experiment/{experiment}.yaml").get("defaults", [])
    return next((d["override /searcher"] for d in defaults if "override /searcher" in d), "smbo")


@pytest.mark.parametrize(
    ("experiment", "settings"),
    [
        ("mlpnas", {"hidden_units": 128, "learning_rate": 0.01, "children_per_replica": 10}),
        ("nasrl_cifar10", {"learning_rate": 0.0006, "replicas": 100, "children_per_replica": 8}),
        ("nasrl_ptb", {"learning_rate": 0.0005, "replicas": 400, "batches_per_update": 10}),
        ("nasrl_ptb_small", {"learning_rate": 0.02, "children_per_replica": 4}),
        ("nasrl_mnist_small", {"learning_rate": 0.03, "baseline_decay": 0.9}),
    ],
)
def test_an_experiment_has_settings_of_its_own_searcher(
    experiment: str, settings: dict[str, float]
) -> None:
    config = composed([f"experiment={experiment}", "searcher=reinforce"])
    assert config == composed([f"experiment={experiment}"])
    assert config["searcher"].items() >= settings.items()


INHERITING = ("searcher=inheriting", "searcher@searcher.searcher=reinforce")


@pytest.mark.parametrize("predictor_weight", [0, 1])
@pytest.mark.parametrize("sweep", [None, "mlpnas"])
def test_bigrams_are_handed_on_by_the_very_same_controller(
    sweep: str | None, predictor_weight: int
) -> None:
    experiment = [] if sweep else ["experiment=mlpnas"]
    given = f"predictor_weight={predictor_weight}"
    plain = composed([*experiment, f"searcher.{given}"], sweep)
    bigrams = composed([*experiment, *INHERITING, f"searcher.searcher.{given}"], sweep)
    assert plain["searcher"]["learning_rate_decay"] == 0.1
    assert plain["searcher"]["predictor_weight"] == predictor_weight
    outer = bigrams.pop("searcher")
    assert outer.pop("searcher") == plain.pop("searcher")
    assert outer["_target_"].endswith(".Inheriting")
    assert outer.keys() == {"_target_", "bank", "max_sources", "morphism_share"}
    assert bigrams == plain


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiments_searcher_has_its_settings_inside_another_one(experiment: str) -> None:
    own = own_searcher(experiment)
    around = ["searcher=asha", "searcher@searcher.searcher=predicted"]
    inside = f"searcher@searcher.searcher.searcher={own}"
    config = composed([f"experiment={experiment}", *around, inside])
    inner = config["searcher"]["searcher"]["searcher"]
    assert {"_partial_": True, **composed([f"experiment={experiment}"])["searcher"]} == inner


WRAPPERS = [
    name
    for name in SEARCHERS
    if "/searcher@searcher" in (ROOT / "conf" / "searcher" / f"{name}.yaml").read_text()
]
EPOCHS = ("space=figure1", "trainer.max_epochs=27", "max_children=10")
SMALL_POPULATION = "tournament_size must be at most population_size (2), got 25"


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_an_inner_searcher_refuses_stands_under_its_own_key(wrapper: str) -> None:
    for num_around in (1, 2):
        at, overrides = "searcher", [*EPOCHS]
        for name in (wrapper, "predicted")[:num_around]:
            overrides.append(f"{'searcher' if at == 'searcher' else f'searcher@{at}'}={name}")
            at += ".searcher"
        config = composed([*overrides, f"searcher@{at}=evolution", f"{at}.population_size=2"])
        with pytest.raises(ConfigError) as refused:
            construct(config["searcher"], "searcher", space=build_space(config), seed=0)
        assert str(refused.value) == f"{at}: {SMALL_POPULATION}"


def test_some_searchers_around_others_are_found() -> None:
    assert {"asha", "hyperband", "inheriting", "spos", "filter", "predicted"} <= {*WRAPPERS}


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        (["experiment=mine"], 0.5),
        (["experiment=mine", "searcher=reinforce"], 0.5),
        (["experiment=mine", "searcher=ppo"], 0.0006),
        (["experiment=mine", "searcher=ppo", "searcher.learning_rate=0.1"], 0.1),
        (["experiment=[mine,nasbench201]"], 0.5),
        (["experiment=mine", "searcher=random"], None),
    ],
)
def test_a_users_experiment_sets_its_searcher_alone(
    overrides: list[str], rate: float | None, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [{override /searcher: reinforce}]\n"
        "searcher: {learning_rate: 0.5}\n"
    )
    assert composed(overrides, own=tmp_path)["searcher"].get("learning_rate") == rate


@pytest.mark.parametrize(
    ("overrides", "size"),
    [([], 7), (["searcher=evolution"], 7), (["searcher=asha"], 7), (["searcher=pnas"], None)],
)
def test_a_users_experiment_sets_a_searcher_that_has_parts(
    overrides: list[str], size: int | None, tmp_path: Path
) -> None:
    searcher = next((each.partition("=")[2] for each in overrides), "smbo")
    selected = searcher if size is not None else "smbo"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        f"defaults: [{{override /searcher: {selected}}}]\n"
        "searcher: {a_setting: 7}\n"
    )
    found = composed(["experiment=mine", *overrides], own=tmp_path)["searcher"]
    assert found.get("a_setting") == size


def is_tabular(config: dict[str, Any]) -> bool:
    return str(config["trainer"]["_target_"]).endswith("TabularTrainer")


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.slow
def test_every_study_of_a_sweep_composes_and_is_built(
    sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASRUNNER_DATA", str(DATA))
    found = build_space(composed(["space=nasrl_cell_small", "data=ptb"]))
    frozen = found.freeze(found.walk(lambda decision: 1))
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "found.yaml").write_text(yaml.safe_dump(written(frozen, 10000)))
    params = OmegaConf.load(ROOT / "sweeps" / f"{sweep}.yaml").hydra.sweeper.params
    overrides = [f"{key}={value}" for key, value in params.items()]
    choices = {
        override.key_or_group: list(override.sweep_string_iterator())
        for override in OverridesParser.create().parse_overrides(overrides)
    }
    seed = choices.pop("seed")[-1]
    keys, configs = list(choices), []
    for values in itertools.product(*choices.values()):
        chosen = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
        config = composed([*chosen, f"seed={seed}"], sweep, tmp_path)
        assert config["seed"] == int(seed)
        assert config not in configs
        configs.append(config)
        build(config)
    assert configs


def test_help_names_every_top_level_key_and_group(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra.core.global_hydra import GlobalHydra

    from nasrunner.command import main

    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["nasrunner", "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    missing = [key for key in skeleton.StudyConfig.__dataclass_fields__ if key not in shown]
    assert missing == []


def test_goals_are_replaced_as_a_whole_and_changed_by_their_keys() -> None:
    whole = composed(["experiment=monas", "scalarization={limit:{beyond:0}}", "objectives={a:min}"])
    assert whole["scalarization"] == {"limit": {"beyond": 0}}
    assert whole["objectives"] == {"a": "min"}
    part = composed(["experiment=monas", "objectives.flops={goal:min,limit:1e8}"])
    assert part["objectives"] == {"reward": "max", "flops": {"goal": "min", "limit": 1e8}}
