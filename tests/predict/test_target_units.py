"""Numbers far from 0, or of different units, are learnt, predicted and exported in their own."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it has no stubs
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

import nasrunner
from nasrunner.api.results import ChildResult
from nasrunner.export.command import main as export
from nasrunner.retrain.command import main as retrain
from tests.predict.studies import run_search

NUM_EXAMPLES = 120
RNG = np.random.default_rng(0)
X_NF = RNG.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32)
Y_NK = np.stack(
    [2e6 + 3e5 * X_NF[:, 0], 1e-4 * X_NF[:, 1] * X_NF[:, 2], np.full(NUM_EXAMPLES, -40.0)], axis=1
).astype(np.float32)
"""Targets around two million, of a ten-thousandth, and the same but in the test."""

IS_TEST_N = np.arange(NUM_EXAMPLES) >= 100
Y_NK[IS_TEST_N, 2] = -41.0

REGRESSION = ("task=regression", "space=mlp", "trainer.max_epochs=3")


def searched(folder: Path, y_NK: np.ndarray, *overrides: str) -> ChildResult:
    """The best child of a study of targets."""
    folder.mkdir()
    arrays = {"x": X_NF[~IS_TEST_N], "y": y_NK[~IS_TEST_N]}
    np.savez(folder / "own.npz", **arrays, x_test=X_NF[IS_TEST_N], y_test=y_NK[IS_TEST_N])
    data = ("data=arrays", f"data.path={folder / 'own.npz'}")
    found = run_search(folder / "study", *data, *REGRESSION, *overrides)
    best = nasrunner.load(found).best
    assert best is not None
    return best


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> ChildResult:
    return searched(tmp_path_factory.mktemp("units") / "own", Y_NK)


def parts(child: ChildResult) -> Any:
    """The data of a child, as they are loaded for its training."""
    return child._trained.load_data()


def test_a_network_is_that_of_targets_standardized_by_hand(
    best: ChildResult, tmp_path: Path
) -> None:
    trained = parts(best).training_targets().double().numpy()
    mean, std = trained.mean(0), trained.std(0)
    std[2] = 1.0
    by_hand = ((Y_NK - mean) / std).astype(np.float32)
    other = searched(tmp_path / "other", by_hand, "task.normalize_targets=false")
    assert other.architecture == best.architecture
    assert best.curve["val_loss"] == pytest.approx(other.curve["val_loss"], rel=1e-4)
    found = other.predict(X_NF).values * std + mean
    np.testing.assert_allclose(best.predict(X_NF).values / std, found / std, rtol=1e-5, atol=1e-4)
    assert best.reward == pytest.approx(other.reward, rel=1e-4)
    for name in ("val_mean_absolute_error", "val_r2_score"):
        assert name in other.metrics


def test_metrics_are_in_the_units_of_the_targets(best: ChildResult) -> None:
    loader = parts(best).val_dataloader()
    with torch.no_grad():
        predicted = best.network()(loader.x).numpy()
    error = mean_absolute_error(loader.y.numpy(), predicted)
    assert error > 1e3  # a standardized one would be about 1
    assert best.metrics["val_mean_absolute_error"] == pytest.approx(error, rel=1e-4)


def test_predictions_are_the_networks_outputs_scaled_back(best: ChildResult) -> None:
    kept = torch.load(best.folder / "best.ckpt", weights_only=True)
    trained = parts(best).training_targets().double()
    mean, std = trained.mean(0), trained.std(0, correction=0)
    std[2] = 1.0
    assert kept["target_scale"]["mean"] == pytest.approx(mean.tolist(), rel=1e-6)
    assert kept["target_scale"]["std"] == pytest.approx(std.tolist(), rel=1e-6)
    plain = best._trained.network(best._weights)
    x = parts(best).preparation.apply(X_NF, torch.device("cpu"))
    with torch.no_grad():
        outputs = plain(x)
        whole = best.network()(x)
    found = best.predict(X_NF, Y_NK)
    torch.testing.assert_close(
        torch.from_numpy(found.values).double(), outputs.double() * std + mean, rtol=1e-6, atol=1e-8
    )
    np.testing.assert_allclose(whole.numpy(), found.values, rtol=1e-6)
    learnt = (torch.from_numpy(Y_NK).double() - mean) / std
    assert found.metrics["loss"] == pytest.approx(
        mean_squared_error(learnt, outputs.double()), rel=1e-4
    )
    assert found.metrics["mean_absolute_error"] == pytest.approx(
        mean_absolute_error(Y_NK, found.values), rel=1e-5
    )


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_units", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_exported_file_gives_what_is_predicted(
    best: ChildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [f"from={best.folder}", f"to={tmp_path / 'files'}", "format=py,onnx,pt2"]
    monkeypatch.setattr("sys.argv", ["nasrunner-export", *given])
    export()
    folder = tmp_path / "files"
    expected = best.predict(X_NF).values
    std = np.array([3e5, 1e-4, 1.0])
    x = torch.from_numpy(X_NF)
    module = module_at(folder / "network.py")
    with torch.no_grad():
        of_code = module.load(str(folder / "network.safetensors"))(module.normalize(x)).numpy()
        of_pt2 = torch.export.load(folder / "network.pt2").module()(x).numpy()
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (of_onnx,) = session.run(["y"], {"x": X_NF})
    for found in (of_code, of_pt2, of_onnx):
        np.testing.assert_allclose(found / std, expected / std, rtol=1e-6, atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert told["outputs"] == "y: numbers, in the units of the targets"
    facts = json.loads((folder / "export.json").read_text())
    assert facts["target_scale"]["std"][2] == 1.0
    assert "numbers, in the units of the targets" in (folder / "network.py").read_text()


def test_a_retrained_network_and_its_last_weights_are_in_the_same_units(
    best: ChildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        f"from={best.study.recorded.folder}",
        "top=1",
        "seeds=1",
    ]
    checkpoints = ["trainer.checkpoint=last", "start=child"]
    monkeypatch.setattr("sys.argv", ["nasrunner-retrain", *given, *checkpoints])
    retrain()
    (tested,) = best.study.recorded.folder.rglob("tested.json")
    kept = torch.load(tested.parent / "last.ckpt", weights_only=False)["target_scale"]
    everything = parts(best)
    everything.join_validation()
    everything.setup("test")
    trained = everything.training_targets().double()
    assert kept["mean"] == pytest.approx(trained.mean(0).tolist(), rel=1e-6)
    error = json.loads(tested.read_text())["metrics"]["test_mean_absolute_error"]
    monkeypatch.setattr(
        "sys.argv",
        ["nasrunner-export", f"from={tested.parent}", f"to={tmp_path / 'files'}", "format=pt2"],
    )
    export()
    program = torch.export.load(tmp_path / "files" / "network.pt2").module()
    mean = everything.normalization.mean.astype(np.float32)
    loader = everything.test_dataloader()
    raw = loader.x * torch.from_numpy(everything.normalization.std).float() + torch.from_numpy(mean)
    with torch.no_grad():
        found = mean_absolute_error(loader.y, program(raw))
    assert error == pytest.approx(found, rel=1e-3)


def test_a_default_search_of_a_table_does_better_than_its_mean(tmp_path: Path) -> None:
    table: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    table.to_csv(tmp_path / "own.csv", index=False)
    data = ("data=csv", f"data.path={tmp_path / 'own.csv'}", "data.target=target")
    more = ("searcher=smbo", "trainer.max_epochs=10", "max_children=3", "task=regression")
    best = nasrunner.load(run_search(tmp_path / "study", *data, *more)).best
    assert best is not None
    found = parts(best)
    y, y_held_out = found.train_dataloader().y, found.val_dataloader().y
    with torch.no_grad():
        predicted = best.network()(found.val_dataloader().x)
    of_mean = mean_squared_error(y_held_out, y.mean().expand_as(y_held_out))
    assert mean_squared_error(y_held_out, predicted) < 0.9 * of_mean
    assert best.metrics["val_r2_score"] == pytest.approx(r2_score(y_held_out, predicted), abs=1e-4)
    scale = y.double().std(correction=0).item()
    assert best.reward == pytest.approx(
        -mean_squared_error(y_held_out, predicted) / scale**2, rel=1e-4
    )
