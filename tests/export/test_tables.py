"""Networks of tables of which some numbers are missing, without nasrunner."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it has no stubs
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main as search
from nasrunner.export.command import main
from tests.export.test_command import QUICK

FEATURES = ["height", "height is missing", "when", "hair=brown", "hair=red", "hair is missing"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a network of 80 people, a quarter of them of unknown height."""
    folder = tmp_path_factory.mktemp("table")
    number = np.arange(80)
    table = pd.DataFrame({"height": 150 + 7 * number % 50, "when": 1.7e9 + number % 9})
    table["hair"] = np.where(number % 3, "brown", "red")
    table["taller"] = np.where(table["height"] > 175, "yes", "no")
    table.loc[number % 4 == 0, "height"] = np.nan
    table.loc[number % 10 == 1, "hair"] = None
    table.to_csv(folder / "people.csv", index=False)
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        data = ("data=csv", f"data.path={folder / 'people.csv'}", "data.target=taller")
        quick = [each for each in QUICK if not each.startswith("space")]
        arguments = [*quick, *data, f"hydra.run.dir={folder / 'study'}", "space=mlp"]
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["nasrunner", *arguments, "max_children=1"])
        search()
        patch.setattr(sys, "argv", ["nasrunner-export", f"from={folder / 'study'}"])
        main()
    (found,) = folder.rglob("network.onnx")
    return found.parent


def test_a_missing_number_is_the_mean_of_training_in_every_file(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = onnxruntime.InferenceSession(exported / "network.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["features"]) == FEATURES
    assert json.loads(told["classes"]) == ["no", "yes"]
    assert json.loads(told["reading"])["columns"][2]["levels"] == ["brown", "red"]
    assert told["inputs"].startswith("x: encoded features of a table, in the order of features, as")
    mean = json.loads(told["mean"])
    x = np.array([[163, 0, 1.7e9, 1, 0, 0], [np.nan, 1, 1.7e9, 0, 1, 0]], np.float32)
    filled = x.copy()
    filled[1, 0] = mean[0]
    (y,) = session.run(["y"], {"x": x})
    (expected,) = session.run(["y"], {"x": filled})
    assert np.isfinite(y).all()
    assert y == pytest.approx(expected, abs=1e-5)

    monkeypatch.syspath_prepend(exported)
    from network import load, normalize  # type: ignore[import-not-found]  # it was just written

    monkeypatch.delitem(sys.modules, "network")
    found = load(str(exported / "network.safetensors"))(normalize(torch.from_numpy(x)))
    assert found.detach().numpy() == pytest.approx(y, abs=1e-4)
    assert ", ".join(FEATURES[:3]) in (exported / "network.py").read_text()


def test_numbers_that_float32_cannot_tell_apart_are_noted(exported: Path) -> None:
    notes = json.loads((exported / "export.json").read_text())["notes"]
    assert any(note.startswith("when: float32 cannot tell") for note in notes)
