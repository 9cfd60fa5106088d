"""``nasrunner.search``, ``resume`` and ``load``: the same studies as the command's, from Python."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import nasrunner
from nasrunner.api.results import StudyResult
from nasrunner.command import main
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, NasRunnerError

SPACE = {"concat": [{"affine": {"units": {"oneof": [16, 32]}}}, "relu", {"affine": {"units": 10}}]}
SETTINGS: dict[str, Any] = {
    "data": "digits",
    "searcher": "exhaustive",
    "max_children": 2,
    "trainer": {"max_epochs": 2},
    "executor": "serial",
    "tracker": "csv",
}
OVERRIDES = [
    *("searcher=exhaustive", "max_children=2", "trainer.max_epochs=2", "executor=serial"),
    "tracker=csv",
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("found"))
        return nasrunner.search(space=SPACE, **SETTINGS)


def test_a_study_is_the_one_of_the_command(
    found: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "space").mkdir(parents=True)
    (tmp_path / "conf" / "space" / "own.yaml").write_text(yaml.safe_dump(SPACE))
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    here = f"hydra.run.dir={tmp_path / 'study'}"
    monkeypatch.setattr(
        sys, "argv", ["nasrunner", "--config-dir", "conf", "space=own", *OVERRIDES, here]
    )
    main()
    by_command = nasrunner.load(tmp_path / "study")
    assert by_command.config == found.config
    assert [each.reward for each in by_command] == [each.reward for each in found]
    assert {p.name for p in (tmp_path / "study").iterdir()} == {
        p.name for p in found.folder.iterdir()
    }
    overrides = yaml.safe_load((found.folder / ".hydra" / "overrides.yaml").read_text())
    assert "++trainer.max_epochs=2" in overrides


def test_a_study_goes_where_the_commands_do(found: StudyResult) -> None:
    assert found.folder.parts[-3:-1] == ("outputs", "exhaustive-own")
    assert found.name == "exhaustive-own"
    assert found.reason is not None
    assert len(found) == 2


def test_the_best_network_measures_what_was_recorded(found: StudyResult) -> None:
    best = found.best
    assert best.reward == max(each.reward or 0 for each in found)
    network = best.network()
    assert not network.training
    data = construct(found.config["data"], "data")
    data.setup("validate")
    right = total = 0
    with torch.inference_mode():
        for inputs, targets in data.val_dataloader():
            right += int((network(inputs).argmax(1) == targets).sum())
            total += len(targets)
    assert right / total == pytest.approx(best.reward)
    assert best.metrics["parameters"] == sum(p.numel() for p in network.parameters())
    assert list(best.values.values()) in ([16], [32])
    assert best.architecture.startswith("affine(units=")


def test_a_table_has_what_the_tables_tracker_wrote(found: StudyResult) -> None:
    frame = found.frame()
    with (found.folder / "children.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(frame.index) == [int(row["index"]) for row in rows]
    shared = [
        name for name in frame.columns if name in rows[0] and name not in ("status", "cost_s")
    ]
    assert {"reward", "metrics/val_accuracy", "values/0/affine/units"} <= set(shared)
    for name in shared:
        assert list(frame[name]) == pytest.approx([float(row[name]) for row in rows])


@pytest.mark.slow
def test_a_page_is_written(found: StudyResult, tmp_path: Path) -> None:
    page = found.report(tmp_path / "page")
    assert page == tmp_path / "page" / "report.html"
    assert found.name in page.read_text(encoding="utf-8")
    assert found.name in found._repr_html_()


def test_the_latest_of_several_studies_is_loaded(found: StudyResult) -> None:
    assert nasrunner.load(found.folder.parent).folder == found.folder


def test_a_study_goes_on(tmp_path: Path) -> None:
    first = nasrunner.search(
        SPACE, **{**SETTINGS, "max_children": 1}, folder=tmp_path / "study", seed=3
    )
    assert (first.folder, len(first)) == (tmp_path / "study", 1)
    more = nasrunner.resume(first.folder, ["max_children=2"])
    assert len(more) == 2
    assert [each.reward for each in more][:1] == [each.reward for each in first]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spice": "mlp"}, "there is no key 'spice', did you mean 'space'"),
        ({"space": "mpl"}, "there is no space=mpl"),
        ({"max_children": "many"}, "max_children must be a whole number in digits alone"),
        ({"optimizer": {"lrr": 0.1}}, "takes no 'lrr'"),
        ({"trainer.max_epochs": 0}, "trainer.max_epochs must be"),
        ({"limits": {"flop": 3}}, "there is no key 'limits.flop'"),
        ({"overrides": ["trainer.max_epoch=3"]}, "max_epoch"),
        ({"overrides": ["hydra.sweep.dir=x"]}, "nasrunner.search is no job of Hydra's"),
        ({"overrides": ["resume=outputs/x"]}, r"nasrunner.resume\(folder\) goes on with one"),
        ({"overrides": ["trust=true"]}, "of which trust says nothing"),
        ({"overrides": ["max_children=[1"]}, r"max_children=\[1 cannot be read"),
        ({"overrides": ["hydra.searchpath=conf"]}, "hydra.searchpath=conf is no list"),
    ],
    ids=str,
)
def test_what_is_not_legal_is_one_sentence_and_leaves_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as raised:
        nasrunner.search(**{"space": SPACE, **SETTINGS, **changes})
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.run.dir=x", "hydra.run.dir=x is no override of a study that goes on"),
        ("--cfg", "--cfg is no override"),
        ("max_children=[1", r"max_children=\[1 cannot be read"),
        ("max_children=abc", "max_children must be a whole number"),
        ("seed=2", "seed cannot change when a study is resumed"),
    ],
)
def test_a_study_does_not_go_on_with_what_is_not_legal(
    found: StudyResult, override: str, message: str
) -> None:
    before = (found.folder / "ledger.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=message):
        nasrunner.resume(found.folder, [override])
    assert (found.folder / "ledger.jsonl").read_bytes() == before


def test_a_hydra_application_keeps_its_configuration(tmp_path: Path) -> None:
    own = OmegaConf.create({"hydra": {"job": {"name": "mine"}}})
    config = HydraConfig.instance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "cfg", own)
        nasrunner.search(SPACE, **{**SETTINGS, "max_children": 1}, folder=tmp_path / "study")
        assert config.cfg is own
    assert logging.getLogger("nasrunner").level == logging.NOTSET


def test_options_of_ones_own_are_found_beside_an_own_space(tmp_path: Path) -> None:
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer" / "slow.yaml").write_text(
        "_target_: torch.optim.SGD\nlr: 0.01"
    )
    path = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
    study = nasrunner.search(
        SPACE,
        **{**SETTINGS, "max_children": 1},
        folder=tmp_path / "study",
        overrides=[path, "optimizer=slow"],
    )
    assert study.config["optimizer"] == {"_target_": "torch.optim.SGD", "lr": 0.01}


def test_one_of_several_studies_has_to_be_chosen(found: StudyResult, tmp_path: Path) -> None:
    for name in ("2", "10"):
        shutil.copytree(found.folder, tmp_path / name)
    with pytest.raises(ConfigError, match="holds 2 studies, choose one: "):
        nasrunner.load(tmp_path)


def test_the_folder_of_another_study_is_not_taken(found: StudyResult) -> None:
    before = (found.folder / "ledger.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="holds a study already"):
        nasrunner.search(SPACE, **SETTINGS, folder=found.folder)
    assert (found.folder / "ledger.jsonl").read_bytes() == before


def test_a_study_without_a_child_says_why(tmp_path: Path) -> None:
    diverging = {
        "optimizer": "sgd",
        "overrides": ["optimizer.lr=1e30", "task.reward.diverged=failed"],
    }
    with pytest.raises(NasRunnerError, match=r"no child was completed.*its folder is .*study"):
        nasrunner.search(SPACE, **SETTINGS, **diverging, folder=tmp_path / "study")
    assert nasrunner.load(tmp_path / "study").top(1) == []


def test_another_thread_is_refused(tmp_path: Path) -> None:
    caught: list[Exception] = []

    def search() -> None:
        try:
            nasrunner.search(SPACE, **SETTINGS, folder=tmp_path / "study")
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


@pytest.mark.slow
def test_workers_do_not_run_the_callers_script(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    settings = {**SETTINGS, "space": SPACE, "executor": {"workers": 1}, "folder": "study"}
    settings["max_children"] = 1
    script.write_text(
        "import os, nasrunner\n"
        "open('started', 'a').write('x')\n"
        f"study = nasrunner.search(**{settings!r})\n"
        "print('best', study.best.index, os.path.basename(__file__))\n"
    )
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.endswith("best 0 mine.py\n"), done.stderr
    assert (tmp_path / "started").read_text() == "x"


def test_importing_the_package_imports_no_library() -> None:
    code = (
        "import sys, nasrunner; print(nasrunner.__version__, dir(nasrunner));"
        "assert not {'torch', 'hydra', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'load'" in done.stdout
    assert json.dumps(nasrunner.__all__) == '["load", "resume", "search"]'


@pytest.mark.slow
def test_the_lines_of_the_page_run(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "pages" / "python.md"
    (code,) = page.read_text(encoding="utf-8").split("```python\n")[1:]
    (tmp_path / "lines.py").write_text(
        code.split("```")[0] + "print(len(study), len(nasrunner.load(study.folder)))\n"
    )
    done = subprocess.run(
        [sys.executable, "lines.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.endswith("10 20\n"), done.stderr
