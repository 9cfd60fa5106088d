"""Predictions of tables: as scikit-learn prepares them, and as a study has measured them."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import nasrunner
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import Classification
from nasrunner.core import ConfigError, DataError
from nasrunner.data.own.columns import Column
from nasrunner.data.own.reading import Reading
from nasrunner.predict.command import _write_lines, main
from nasrunner.predict.network import Inference
from nasrunner.predict.prediction import Meaning, Prediction
from nasrunner.predict.tables import NewRows
from nasrunner.retrain.command import main as retrain
from tests.predict.studies import csv_of, run_search

Command = Callable[..., None]
NUM_ROWS, NUM_TRAINED = 200, 120
"""Rows in the order of time: the last 40 are for the test, and 40 before them for validation."""


def people() -> pd.DataFrame:
    draws = np.random.default_rng(0)
    table = pd.DataFrame({"when": np.arange(NUM_ROWS), "height": draws.normal(170, 10, NUM_ROWS)})
    table["weight"] = draws.normal(70, 8, NUM_ROWS)
    table["hair"] = draws.choice(["brown", "red", "fair"], NUM_ROWS)
    table["size"] = np.where(table.height + 9 * (table.hair == "red") > 171, "tall", "short")
    table.loc[::9, "weight"] = np.nan
    return table


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    people().to_csv(folder / "people.csv", index=False)
    data = ("data=csv", f"data.path={folder / 'people.csv'}", "data.target=size", "data.time=when")
    parts = ("data.test_examples=40", "data.validation_examples=40", "space=mlp")
    return run_search(folder / "study", *data, *parts, "optimizer.lr=0.05")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    def run(*arguments: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["nasrunner-predict", *arguments])
        main()

    return run


def features_by_hand(rows: pd.DataFrame) -> torch.Tensor:
    """What scikit-learn makes of rows: numbers, whether the weight is missing, hair."""
    trained = people()[:NUM_TRAINED]
    numbers = ["height", "weight"]
    scaled = StandardScaler().fit(trained[numbers]).transform(rows[numbers])
    height, weight = np.nan_to_num(scaled).T
    missing = MissingIndicator().fit(trained[["weight"]]).transform(rows[["weight"]])
    order = [list(trained.hair.value_counts().index)]
    hair = OneHotEncoder(categories=order, sparse_output=False).fit_transform(rows[["hair"]])
    found = np.column_stack([height, weight, missing, hair])
    return torch.from_numpy(found.astype(np.float32))


def test_predictions_are_those_of_torch_on_what_scikit_learn_prepared(study: Path) -> None:
    best = nasrunner.load(study).best
    rows = people().sample(frac=1, random_state=1).drop(columns="size")  # another order of rows
    found = best.predict(rows[["hair", "weight", "when", "height"]])  # and of columns
    with torch.no_grad():
        expected = best.network()(features_by_hand(rows)).softmax(1).numpy()
    assert found.names == ("short", "tall")
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert list(found.values) == [found.names[each] for each in expected.argmax(1)]
    assert found.metrics == {}
    assert len(set(found.values)) == 2


def test_metrics_are_those_of_the_studys_own_validation(study: Path) -> None:
    best = nasrunner.load(study).best
    found = best.predict(people()[NUM_TRAINED : NUM_TRAINED + 40])
    assert found.metrics["accuracy"] == pytest.approx(best.metrics["val_accuracy"])
    assert found.metrics["loss"] == pytest.approx(best.metrics["val_loss"], rel=1e-5)
    one = best.predict(people()[NUM_TRAINED : NUM_TRAINED + 40], batch_size=1)
    np.testing.assert_allclose(one.probabilities, found.probabilities, atol=1e-6)


def test_a_file_is_predicted_in_pieces_and_in_order(
    study: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people().to_csv(tmp_path / "new.csv", sep=";", index=False)
    monkeypatch.setattr("nasrunner.predict.tables.NUM_ROWS", 7)
    command(f"from={study}", "input=new.csv", "output=out.csv.gz")
    told = capsys.readouterr().out
    found = pd.read_csv(gzip.open(tmp_path / "out.csv.gz"))  # noqa: SIM115  # pandas closes it
    whole = nasrunner.load(study).best.predict(people())
    pd.testing.assert_frame_equal(found, whole.frame(), check_dtype=False, rtol=1e-5)
    assert list(found) == ["prediction", "p_short", "p_tall"]
    assert f"accuracy {whole.metrics['accuracy']:.6g}" in told
    wrong = people()
    wrong.loc[19, "hair"] = "blue"
    wrong.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match="column hair has 'blue' in row 20, a category that"):
        nasrunner.load(study).best.predict(tmp_path / "new.csv")
    assert not list(tmp_path.glob("*.unfinished"))


def test_rows_of_no_target_are_not_measured(study: Path) -> None:
    rows = people()[:10].astype({"size": object})
    best = nasrunner.load(study).best
    whole = best.predict(rows[:5])
    rows.loc[5:, "size"] = None
    assert best.predict(rows).metrics == pytest.approx(whole.metrics)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.rename(columns={"hair": "hairs"}),
            "lacks the column 'hair', did you mean 'hairs'? Legal: all of 'height', 'weight', '",
        ),
        (lambda t: t.assign(hair="blue"), "column hair has 'blue' in row 1, a category that train"),
        (lambda t: t.assign(height="high"), "column height has 'high' in row 1, where training h"),
        (lambda t: t.assign(height=None), "column height has no value in row 1, and no training "),
        (lambda t: t.assign(height=np.inf), "column height has infinite numbers; legal are finite"),
        (lambda t: t[:0], "has no examples; at least one is needed"),
    ],
)
def test_columns_that_are_not_those_of_training_are_one_sentence(
    study: Path,
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    change(people()).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(SystemExit):
        command(f"from={study}", "input=new.csv", "output=out.csv")
    error = capsys.readouterr().err
    assert re.match(rf"nasrunner-predict: new\.csv:? .*{re.escape(message)}", error), error
    assert error.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["new.csv"]


def test_what_training_never_had_is_taken_for_none_where_it_is_told_to(study: Path) -> None:
    best = nasrunner.load(study).best
    rows = people()[:2].assign(hair=["blue", None], height=[np.nan, 170.0])
    found = best.predict(rows, unknown="ignore")
    features = features_by_hand(people()[:2])
    features[0, 0], features[:, 3:] = 0, 0
    scaler = StandardScaler().fit(people()[:NUM_TRAINED][["height"]])
    features[1, 0] = float(scaler.transform(pd.DataFrame({"height": [170.0]}))[0, 0])
    with torch.no_grad():
        expected = best.network()(features).softmax(1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


@pytest.mark.slow  # it trains twice more, and scikit-learn's network
def test_metrics_of_a_retrained_network_are_those_of_its_test(
    study: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["nasrunner-retrain", f"from={study}", "top=1", "seeds=1"])
    retrain()
    folder = study / "retrained" / "0000-seed0"
    people()[-40:].to_csv(tmp_path / "test.csv", index=False)
    capsys.readouterr()
    command(f"from={folder}", "input=test.csv", "output=out.csv")
    tested = json.loads((folder / "tested.json").read_text())["metrics"]
    told = re.search(r"^loss ([\d.]+), accuracy ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    assert told is not None
    assert float(told[1]) == pytest.approx(tested["test_loss"], rel=1e-5)
    assert float(told[2]) == pytest.approx(tested["test_accuracy"], rel=1e-5)


def test_an_array_in_the_place_of_a_table_is_refused(study: Path) -> None:
    with pytest.raises(DataError, match="x is ndarray; the network was trained on a table: legal"):
        nasrunner.load(study).best.predict(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output=x.csv", "input=y"], "from= is missing"),
        (["from=x", "input=y"], "output= is missing: the file of the predictions"),
        (["from=x", "input=y", "output=x.txt"], "output=x.txt must end in one of .csv, .csv.gz"),
        (["from=x", "input=y", "output=no/x.csv"], "output=no/x.csv: there is no folder no"),
        (["from=x", "inputs=y"], "there is no key 'inputs', did you mean 'input'?"),
        (["from=x", "input=y", "output=x.csv", "batch_size=0"], "batch_size must be a whole numbe"),
        (["from=x", "input=y", "output=x.csv", "unknown=drop"], "unknown must be error or ignore"),
        (["from=x", "input=y", "output=x.csv"], "input=y: there is no such file or folder"),
    ],
)
def test_bad_input_is_one_sentence(
    command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        command(*arguments)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_targets_that_training_never_had_are_left_out_and_told(
    study: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = people()
    rows.loc[:2, "size"] = ["?", "huge", None]
    rows.to_csv(tmp_path / "new.csv", index=False)
    command(f"from={study}", "input=new.csv", "output=out.csv")
    told = capsys.readouterr()
    known = nasrunner.load(study).best.predict(people()[3:])
    assert f"accuracy {known.metrics['accuracy']:.6g} of 197 with known targets\n" in told.out
    assert told.err == (
        "nasrunner-predict: 2 examples have targets that the network does not know, '?' for one: "
        "not measured\n"
    )
    with pytest.warns(UserWarning, match="^2 examples have targets that the network does not know"):
        found = nasrunner.load(study).best.predict(rows)
    assert found.metrics == pytest.approx(known.metrics)
    assert len(found.notes) == 1


def test_a_frame_keeps_the_index_of_the_rows(study: Path) -> None:
    rows = people().set_index("when")[5:9]
    frame = nasrunner.load(study).best.predict(rows).frame()
    pd.testing.assert_index_equal(frame.index, rows.index)
    assert rows.join(frame)["prediction"].notna().all()


def test_a_network_is_loaded_once_and_again_where_its_weights_changed(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, of = [], Inference.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Inference, "of", classmethod(lambda cls, *given: loaded.append(given) or of(cls, *given))
    )
    children = nasrunner.load(study)
    one, two = (children.best.predict(people()[:9], batch_size=size) for size in (2, 9))
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-6)
    children.best.predict(people()[:9], unknown="ignore")
    assert len(loaded) == 2
    os.utime(children.best.folder / "best.ckpt", ns=(1, 1))
    children.best.predict(people()[:9])
    assert len(loaded) == 3
    with pytest.raises(ConfigError, match="batch_size must be a whole number >= 1, got 0"):
        children.best.predict(people()[:9], batch_size=0)


@pytest.mark.parametrize(
    ("rows", "y", "message"),
    [
        (people()[:3], 3, r"^y is int; legal are targets \(N,\) or \(N, K\)$"),
        (people()[:3], ["tall", "short"], "^x has 3 rows but y has 2; they must have the same len"),
        (people()[:2], [["tall"], []], "^y is list and makes no array: .* lists of equal lengths$"),
        (
            people()[:2],
            [["tall", "short"]] * 2,
            r"^x: targets must be class indices int64 \(batch,\) from 0 to 1, got \(2, 2\)$",
        ),
        (
            pd.concat([people()[:2], people()[["size"]][:2]], axis=1),
            None,
            "^x has 2 columns 'size'",
        ),
    ],
)
def test_targets_in_memory_that_cannot_be_taken_are_one_sentence(
    study: Path, rows: pd.DataFrame, y: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        nasrunner.load(study).best.predict(rows, y)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["tall", pd.NA, "short"], dtype="string"),
        pd.Series(["tall", None, "short"], dtype="category"),
        pd.DataFrame({"any": ["tall", None, "short"]}),
        ["tall", np.nan, "short"],
    ],
)
def test_targets_in_memory_may_be_missing(study: Path, y: Any) -> None:
    best = nasrunner.load(study).best
    expected = best.predict(people().iloc[[0, 2]], ["tall", "short"])
    assert best.predict(people()[:3], y).metrics == pytest.approx(expected.metrics)


def test_the_training_file_is_an_input_whatever_it_is_called(
    study: Path, command: Command, tmp_path: Path
) -> None:
    data = "a,b\n" + "\n".join(f"{n % 7},{'yes' if n % 7 > 3 else 'no'}" for n in range(60))
    (tmp_path / "adult.data").write_text(data)
    columns = (Column("a", "number"),)
    for name in ("adult.data", "new.csv.bz2", "new.csv.xz"):
        opened: Any = {".bz2": bz2.open, ".xz": lzma.open}.get(Path(name).suffix, open)
        with opened(tmp_path / name, "wt") as file:
            file.write(data.replace(",", ";"))
        table = csv_of(tmp_path / "adult.data")
        (piece,) = NewRows(table, columns, ("b",), ("no", "yes"), "error").of(tmp_path / name)
        np.testing.assert_array_equal(piece.x, (np.arange(60) % 7)[:, None])
        assert piece.y is not None
        assert list(piece.y[3:5]) == ["no", "yes"]
    (tmp_path / "x.json").touch()
    with pytest.raises(
        DataError, match=r"x.json: .* ends in .csv or .tsv or .txt or .csv.gz or .da"
    ):
        list(NewRows(table, columns, ("b",), None, "error").of(tmp_path / "x.json"))


def test_names_are_written_as_they_are(tmp_path: Path) -> None:
    names = ("=1+1", "-x", "@y", "+z")
    task = Classification(
        num_outputs=4, label_smoothing=0, metrics={}, reward=Reward("val_loss", "min", "best", 1, 1)
    )
    meaning = Meaning.of(task, Reading("table", {"targets": ["y"]}, names, None, None))
    answers = meaning.answers(torch.eye(4))
    _write_lines(Prediction(meaning, *answers, names), out := io.StringIO(), has_header=True)
    found = pd.read_csv(io.StringIO(out.getvalue()))
    assert list(found) == ["file", "prediction", *[f"p_{name}" for name in names]]
    assert tuple(found["file"]) == tuple(found["prediction"]) == names


def test_a_file_that_is_there_stays_as_it_is(
    study: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people()[:3].to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(SystemExit):
        command(f"from={study}", "input=new.csv", "output=out.csv")
    assert "output=out.csv is there already" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "mine"
    command(f"from={study}", "input=new.csv", "output=out.csv", "overwrite=true")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 3
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SystemExit):
        command(f"from={study}", "input=new.csv", "output=folder.csv", "overwrite=true")
    assert "output=folder.csv is a folder; give the name of a file\n" in capsys.readouterr().err


def test_help_shows_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("--help")
    assert "nasrunner-predict from=outputs/STUDY/TIME input=new.csv" in capsys.readouterr().out
