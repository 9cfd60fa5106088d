"""The tables that a benchmark makes of retrained studies, beside what their files say."""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from nasrunner.compose.config import shipped_option

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "mlpnas_tables.py"


def test_the_tables_of_mlpnas_say_what_the_search_and_the_tests_found(
    retrain: Callable[..., None], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", "top=1", "seeds=1", "start=child", "trainer.max_epochs=2")
    record = json.loads((study / "retrained" / "retrain.json").read_text())
    best, sklearn = record["architectures"]
    capsys.readouterr()
    runpy.run_path(str(BENCHMARK))["main"]([str(study)])
    rows = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    scores = [row["metrics"]["test_accuracy"]["mean"] for row in (best, sklearn)]
    (title,) = (line for line in rows.values() if line.startswith("Digits"))
    assert title.endswith("; 1 seed")
    assert f"| {best['reward']:.4f} | {scores[0]:.4f} |" in rows["| best"]
    assert "(8) relu" in rows["| best"]
    assert "(4) relu" in rows["| last of 2"]  # the study has no five
    assert f"MLPClassifier | – | {scores[1]:.4f} |" in "".join(rows)


def searcher(name: str, **settings: Any) -> dict[str, Any]:
    """A searcher as a study keeps it."""
    option = OmegaConf.create({"searcher": shipped_option("searcher", name)})
    plain: Any = OmegaConf.to_container(option, resolve=True)
    return {**plain["searcher"], **settings}


def made_of(study: Path, to: Path, **changes: Any) -> None:
    """A study like another, with some other settings and a ledger that is no copy of its."""
    shutil.copytree(study, to)
    ledger, spaces = to / "ledger.jsonl", " " * len(list(to.parent.iterdir()))
    ledger.write_text(ledger.read_text().replace("{", "{" + spaces, 1))
    config = yaml.safe_load((to / "config.yaml").read_text())
    (to / "config.yaml").write_text(yaml.safe_dump({**config, **changes}))


CONTROLLERS = {
    "plain": searcher("reinforce"),
    "fixed": searcher("reinforce", fixed_baseline=0.5),
    "all": searcher("reinforce", learns_from="all"),
    "bigrams": searcher("inheriting", searcher=searcher("reinforce", hidden_units=128)),
    "both": searcher("inheriting", searcher=searcher("reinforce", predictor_weight=1)),
    "discounted": searcher("inheriting", searcher=searcher("reinforce", discount=0.9)),
}


def test_studies_of_other_settings_of_any_searcher_have_tables_of_their_own(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    for name, given in CONTROLLERS.items():
        made_of(study, sweep / name, searcher=given)
    made_of(study, sweep / "fewer", searcher=CONTROLLERS["plain"], max_children=7)
    runpy.run_path(str(BENCHMARK))["main"]([str(sweep)])
    found = capsys.readouterr().out
    titles = [line for line in found.splitlines() if line.startswith("Digits")]
    assert len(titles) == len(set(titles)) == len(CONTROLLERS) + 1
    assert all(title.endswith("; 1 seed") for title in titles)
    around = "Digits: inheriting around reinforce"
    assert sum(title.startswith(f"{around}, no predictor, LSTM of 128") for title in titles) == 1
    assert sum(title.startswith(f"{around}, predictor, LSTM of 35") for title in titles) == 1
    assert sum("fixed_baseline=0.5" in title for title in titles) == 1
    assert sum("learns_from=all" in title for title in titles) == 1
    assert sum(", 7 children in batches of 8;" in title for title in titles) == 1


def test_two_studies_of_one_setting_and_seed_are_refused(study: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        made_of(study, tmp_path / "sweep" / name, searcher=CONTROLLERS["both"])
    with pytest.raises(SystemExit, match=r"one and .*other have the same settings and seed=0: "):
        runpy.run_path(str(BENCHMARK))["main"]([str(tmp_path / "sweep")])
