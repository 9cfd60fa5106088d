"""Predictions of images, arrays, tokens and shipped data; labels and numbers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from PIL import Image

import nasrunner
from nasrunner.children.randomness import random_state
from nasrunner.core import ConfigError, DataError
from nasrunner.export.normalization import normalization_of
from nasrunner.export.trained import find
from nasrunner.predict.arrays import NewArrays
from nasrunner.predict.command import main
from nasrunner.predict.network import Inference
from tests.export.test_command import digits
from tests.predict.masks import masks
from tests.predict.studies import run_search

DRAWS = np.random.default_rng(3)


def test_images_are_predicted_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = DRAWS.integers(0, 256, (40, 9, 7), dtype=np.uint8)
    for number, each in enumerate(pixels):
        folder = tmp_path / "photos" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each // 2 if number % 2 else each).save(folder / f"{number:02d}.png")
    small = ("data.batch_size=8", "space.concat.0.conv2d.filters.oneof=[2]")
    study = run_search(
        tmp_path / "study",
        "data=images",
        f"data.root={tmp_path / 'photos'}",
        "space=figure1",
        *small,
    )
    best = nasrunner.load(study).best
    found = best.predict(tmp_path / "photos")
    assert found.files is not None
    assert found.files[:2] == ("cat/01.png", "cat/03.png")
    x = np.stack([pixels[int(Path(f).stem)] // (2 if "cat" in f else 1) for f in found.files])
    reading = json.loads(torch.load(best.folder / "best.ckpt", weights_only=True)["reading"])
    normalized = (x[:, None] - reading["mean"][0]) / reading["std"][0]
    with torch.no_grad():
        expected = best.network()(torch.from_numpy(normalized.astype(np.float32))).softmax(1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.metrics["accuracy"] == pytest.approx(
        np.mean([str(v) == f[:3] for v, f in zip(found.values, found.files, strict=True)])
    )
    assert list(found.frame()) == ["file", "prediction", "p_cat", "p_dog"]
    monkeypatch.setattr(
        "sys.argv",
        ["nasrunner-predict", f"from={study}", f"input={tmp_path / 'photos'}", "output=out.npz"],
    )
    monkeypatch.chdir(tmp_path)
    main()
    written = np.load("out.npz")
    assert set(written) == {"prediction", "names", "probabilities", "files"}
    assert tuple(written["files"]) == found.files
    np.testing.assert_array_equal(written["prediction"], found.values)
    in_memory = best.predict(x, [each[:3] for each in found.files])
    np.testing.assert_allclose(in_memory.probabilities, found.probabilities, atol=1e-6)
    assert in_memory.metrics == pytest.approx(found.metrics)
    (tmp_path / "flat").mkdir()
    Image.fromarray(pixels[0]).save(tmp_path / "flat" / "new.png")
    alone = best.predict(tmp_path / "flat" / "new.png")
    assert (alone.files, alone.metrics) == (("new.png",), {})
    Image.fromarray(pixels[0].T).save(tmp_path / "flat" / "turned.png")
    with pytest.raises(DataError, match=r"turned.png is 7×9, and the images of training are 9×7"):
        best.predict(tmp_path / "flat")
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(tmp_path / "flat" / "turned.png")
    with pytest.raises(DataError, match=r"turned.png has colours, RGB, and the images of .* grey"):
        best.predict(tmp_path / "flat")


def test_digits_are_predicted_as_a_child_at_a_resolution_saw_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheaper = ("searcher=asha", "searcher.fidelity={resolution: [4]}", "space=figure1")
    study = run_search(tmp_path / "study", *cheaper, "space.concat.0.conv2d.filters.oneof=[2]")
    data = digits()
    data.setup("test")
    assert data.normalization is not None
    x, y = next(iter(data.test_dataloader()))
    raw = (x * torch.tensor(data.normalization.std) + torch.tensor(data.normalization.mean)).round()
    np.savez(tmp_path / "new.npz", x=raw.numpy(), y=y.numpy())
    at_4 = digits()
    at_4.resolution = 4
    at_4.setup("test")
    best = nasrunner.load(study).best
    before = random_state(torch.device("cpu"))
    best.predict(raw.numpy(), y.numpy())
    after = random_state(torch.device("cpu"))
    assert torch.equal(after.pop("torch"), before.pop("torch"))
    assert after == before
    with torch.no_grad():
        expected = best.network()(next(iter(at_4.test_dataloader()))[0]).softmax(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["nasrunner-predict", f"from={study}", "input=new.npz", "output=out.npz"]
    )
    main()
    found = np.load("out.npz")
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)
    accuracy = float((expected.argmax(1) == y).float().mean())
    assert f"accuracy {accuracy:.6g}" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"x is \(3, 8, 8\); legal is \(N, 1, 8, 8\), N examples"):
        best.predict(np.zeros((3, 8, 8)))
    (tmp_path / "new.csv").touch()
    with pytest.raises(DataError, match=r"new.csv: the network was trained on arrays; legal is a"):
        best.predict("new.csv")


def test_names_of_classes_beside_examples_are_no_targets(tmp_path: Path) -> None:
    x, y = DRAWS.normal(0, 1, (6, 4)), np.arange(6) % 2
    new = NewArrays((4,), None, ("x",))
    for targets in ({}, {"y": y}, {"labels": y}):
        np.savez(tmp_path / "new.npz", x=x, classes=np.array(["no", "yes"]), **targets)
        (piece,) = new.of(tmp_path / "new.npz")
        np.testing.assert_array_equal(piece.x, x)
        np.testing.assert_array_equal(piece.y, y if targets else None)
    np.savez(tmp_path / "new.npz", x=x, classes=y)
    (piece,) = new.of(tmp_path / "new.npz")
    np.testing.assert_array_equal(piece.y, y)
    np.savez(tmp_path / "new.npz", x=x, y=y[:5])
    with pytest.raises(DataError, match=r"has 6 examples but targets of \(5,\); there must be one"):
        list(new.of(tmp_path / "new.npz"))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.float().requires_grad_(),
        lambda t: t.bfloat16(),
        lambda t: t.tolist(),
    ],
)
def test_tensors_of_any_kind_are_arrays(change: Callable[[torch.Tensor], Any]) -> None:
    x, y = torch.arange(8).reshape(2, 4), torch.tensor([0, 1])
    (piece,) = NewArrays((4,), None).of(change(x), change(y))
    np.testing.assert_array_equal(piece.x, x)
    np.testing.assert_array_equal(piece.y, y)
    with pytest.raises(DataError, match=r"^x is list and makes no array: .* of equal lengths$"):
        list(NewArrays((4,), None).of([[1, 2, 3, 4], [1, 2]]))


def test_a_child_of_folds_is_prepared_as_its_first_training(tmp_path: Path) -> None:
    study = run_search(tmp_path / "study", "evaluation.folds=2", "space=mlp")
    best = nasrunner.load(study).best
    first = digits()
    first.fold, first.folds = 0, 2
    first.setup("test")
    assert first.normalization is not None
    trained = find(str(study), None)
    known = normalization_of(trained)
    assert known.mean == pytest.approx(first.normalization.mean.reshape(-1))
    x, _ = next(iter(first.test_dataloader()))
    raw = x.numpy() * first.normalization.std + first.normalization.mean
    with torch.no_grad():
        expected = best.network()(x).softmax(1)
    np.testing.assert_allclose(best.predict(raw).probabilities, expected, atol=1e-5)


@pytest.mark.slow
def test_a_class_for_each_pixel_is_written_as_arrays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "_target_": "tests.predict.masks.Masks",
        **{"in_shape": [1, 8, 8], "num_outputs": 2, "batch_size": 8, "eval_batch_size": 8},
        **{"drop_last": False, "validation_examples": 8, "split_seed": 0},
    }
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "masks.yaml").write_text(yaml.safe_dump(settings))
    own = ("--config-dir", str(tmp_path / "conf"), "data=masks")
    study = run_search(tmp_path / "study", *own, "task=segmentation", "space=segmentation")
    x, y = masks(5)
    y[4, 0, 0] = 255
    np.savez(tmp_path / "new.npz", x=x, y=y)
    monkeypatch.chdir(tmp_path)
    command = ["nasrunner-predict", f"from={study}", "input=new.npz", "trust=true"]
    monkeypatch.setattr("sys.argv", [*command, "output=out.csv"])
    monkeypatch.setattr(Inference, "pieces", None)  # it is not computed
    with pytest.raises(SystemExit):
        main()
    assert (
        "output=out.csv: an example has (8, 8) predictions, which no line holds; legal is a fi"
        in (capsys.readouterr().err)
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*command, "output=out.npz"])
    main()
    told = capsys.readouterr()
    found = np.load("out.npz")
    assert found["probabilities"].shape == (5, 2, 8, 8)
    accuracy = (found["prediction"] == y)[:4].mean()
    assert re.search(rf"accuracy {accuracy:.4f}\d*,? .*of 4 with known targets", told.out), told.out
    assert "1 example has a target that the network does not know" in told.err


def test_tokens_are_those_that_the_embedding_knows(tmp_path: Path) -> None:
    x, y = DRAWS.integers(0, 20, (60, 6)), np.array(["even", "odd", "odd"] * 20)
    x[0, 0] = 19
    np.savez(tmp_path / "texts.npz", x_train=x, y_train=y)
    tokens = ("data=arrays", f"data.path={tmp_path / 'texts.npz'}", "data.in_dtype=int64")
    study = run_search(tmp_path / "study", *tokens, "space=text_classifier", "data.batch_size=8")
    best = nasrunner.load(study).best
    found = best.predict(x, y)
    with torch.no_grad():
        expected = best.network()(torch.from_numpy(x)).softmax(1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.metrics["accuracy"] == pytest.approx(np.mean(found.values == y))
    assert best.predict(tmp_path / "texts.npz").metrics == pytest.approx(found.metrics)
    with pytest.raises(
        DataError, match="x has the token 20; legal are those of training, from 0 to 19"
    ):
        best.predict(x + 1)
    with pytest.raises(DataError, match="x holds float64; legal are tokens, from 0 to 19"):
        best.predict(x + 0.5)
    with pytest.raises(ConfigError, match="unknown=ignore says what becomes of categories of a ta"):
        best.predict(x, unknown="ignore")


def test_inputs_by_name_are_given_by_name(tmp_path: Path) -> None:
    left, right = DRAWS.normal(0, 1, (60, 3)), DRAWS.integers(0, 9, (60, 4))
    np.savez(tmp_path / "two.npz", left=left, right=right, y=(left[:, 0] > 0).astype(int))
    words = [{"embedding": {"vocabulary": 9, "units": 3}}, {"sequence_pool": {"mode": "mean"}}]
    branches = [{"concat": [{"input": "left"}]}, {"concat": [{"input": "right"}, *words]}]
    space = {
        "concat": [{"fork": {"merge": "concat", "branches": branches}}, {"affine": {"units": 2}}]
    }
    (tmp_path / "conf" / "space").mkdir(parents=True)
    (tmp_path / "conf" / "space" / "two.yaml").write_text(yaml.safe_dump(space))
    data = ("data=arrays", f"data.path={tmp_path / 'two.npz'}", "data.inputs=[left,right]")
    own = ("--config-dir", str(tmp_path / "conf"), "space=two", "data.in_dtype={right: int64}")
    best = nasrunner.load(run_search(tmp_path / "study", *own, *data)).best
    found = best.predict({"right": right, "left": left})
    reading = json.loads(torch.load(best.folder / "best.ckpt", weights_only=True)["reading"])
    normalized = (left - reading["mean"]["left"]) / reading["std"]["left"]
    with torch.no_grad():
        given = {"left": torch.from_numpy(normalized).float(), "right": torch.from_numpy(right)}
        expected = best.network()(given).softmax(1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert best.predict(tmp_path / "two.npz").metrics["accuracy"] == pytest.approx(
        np.mean(found.values == (left[:, 0] > 0))
    )
    with pytest.raises(DataError, match="x has the inputs left; legal: left, right"):
        best.predict({"left": left})


def test_several_targets_are_predicted_in_their_own_units(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": DRAWS.normal(0, 1, 80), "b": DRAWS.normal(5, 2, 80)})
    table["price"], table["size"] = 1000 + 50 * table.a, 3 - table.b
    table.to_csv(tmp_path / "houses.csv", index=False)
    data = ("data=csv", f"data.path={tmp_path / 'houses.csv'}", "data.target=[price,size]")
    study = run_search(tmp_path / "study", *data, "task=regression", "space=mlp")
    best = nasrunner.load(study).best
    found = best.predict(table)
    assert list(found.frame()) == ["prediction_price", "prediction_size"]
    error = np.abs(found.values - table[["price", "size"]].to_numpy())
    assert found.metrics["mean_absolute_error"] == pytest.approx(error.mean(), rel=1e-4)
    assert best.predict(table.drop(columns="size")).metrics == {}


def test_labels_are_predicted_with_their_probabilities(tmp_path: Path) -> None:
    x = DRAWS.normal(0, 1, (60, 4))
    y = np.stack([x[:, 0] > 0, x[:, 1] > 0], 1).astype(int)
    np.savez(tmp_path / "many.npz", x=x, y=y)
    data = ("data=arrays", f"data.path={tmp_path / 'many.npz'}", "task=multi_label", "space=mlp")
    study = run_search(tmp_path / "study", *data)
    best = nasrunner.load(study).best
    found = best.predict(x, y)
    assert found.probabilities is not None
    assert (found.values == (found.probabilities > 0.5)).all()
    assert found.metrics["exact_match"] == pytest.approx((found.values == y).all(1).mean())
    assert list(found.frame()) == ["prediction_0", "prediction_1", "p_0", "p_1"]
    torch.save({"x": torch.from_numpy(x)}, tmp_path / "new.pt")
    np.testing.assert_array_equal(best.predict(tmp_path / "new.pt").values, found.values)
    (best.folder / "best.ckpt").unlink()
    with pytest.raises(
        ConfigError, match=r"child 0: .* holds no weights \(trainer.checkpoint=best"
    ):
        best.predict(x)
