"""Every experiment and sweep on disk composes, and is built up to its first proposals."""

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

from nasrunner import config as skeleton
from nasrunner.composition import construct
from nasrunner.core import DataError, Searcher
from nasrunner.launch import build_space, build_trainer
from nasrunner.spaces.writing import written

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
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
        assert trainer.inspect(proposal.genotype).text


def test_some_experiments_and_sweeps_are_found() -> None:
    assert {"mlpnas", "nasbench_macro"} <= set(EXPERIMENTS)
    assert "searchers" in SWEEPS


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


def is_tabular(config: dict[str, Any]) -> bool:
    return str(config["trainer"]["_target_"]).endswith("TabularTrainer")


@pytest.mark.parametrize("sweep", SWEEPS)
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

    from nasrunner.__main__ import main

    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["nasrunner", "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    missing = [key for key in skeleton.StudyConfig.__dataclass_fields__ if key not in shown]
    assert missing == []
