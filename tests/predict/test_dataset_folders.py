"""Predictions of folders that ``datasets`` has written."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import DatasetDict

import nasrunner
from nasrunner.core import ConfigError, DataError
from nasrunner.predict.command import main
from tests.data.own.test_huggingface import rows_of
from tests.predict.studies import run_search

SMALL = ("data.batch_size=8", "data=huggingface")


def study_of(place: Path, *overrides: str) -> Path:
    """A study of 40 rows, beside which lie 10 others that it does not know: ``new``."""
    rows_of(40).save_to_disk(str(place / "own"))
    rows_of(10, 1).save_to_disk(str(place / "new"))
    return run_search(place / "study", *SMALL, f"data.path={place / 'own'}", *overrides)


@pytest.mark.parametrize(
    ("overrides", "column"),
    [
        (("data.inputs=[a,k]",), None),
        (("space=figure1", "space.concat.0.conv2d.filters.oneof=[2]"), "image"),
        (("data.inputs=m", "data.channels=none"), "m"),
    ],
    ids=["table", "images", "arrays"],
)
def test_rows_are_predicted_as_the_same_in_memory(
    tmp_path: Path, overrides: tuple[str, ...], column: str | None
) -> None:
    best = nasrunner.load(study_of(tmp_path, *overrides)).best
    found = best.predict(tmp_path / "new")
    rows = rows_of(10, 1)
    labels = [("no", "yes")[each] for each in rows["label"]]
    x: Any = pd.DataFrame({"a": rows["a"], "k": rows["k"]})
    if column is not None:
        x = np.stack([np.asarray(each) for each in rows[column]])
    expected = best.predict(x, labels)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    assert found.metrics == pytest.approx(expected.metrics)
    assert found.metrics["accuracy"] == np.mean(found.values == np.array(labels))
    rows.remove_columns("label").save_to_disk(str(tmp_path / "without"))
    without = best.predict(tmp_path / "without")
    assert without.metrics == {}
    np.testing.assert_array_equal(without.probabilities, found.probabilities)
    lacking = rows.remove_columns(["a", "m", "image"])
    lacking.save_to_disk(str(tmp_path / "lacking"))
    with pytest.raises(DataError, match=r"lacking lacks the column '(a|image|m)'"):
        best.predict(tmp_path / "lacking")
    if column is not None:
        with pytest.raises(ConfigError, match="says what becomes of categories of a table, but th"):
            best.predict(tmp_path / "new", unknown="ignore")


def test_the_command_predicts_a_split_and_refuses_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, "data.inputs=[a,k]")
    monkeypatch.chdir(tmp_path)
    DatasetDict(train=rows_of(10), test=rows_of(6)).save_to_disk("several")
    for given in ("new", "several/test"):
        output = f"{given.replace('/', '-')}.csv"
        monkeypatch.setattr(
            "sys.argv", ["nasrunner-predict", f"from={study}", f"input={given}", f"output={output}"]
        )
        main()
        assert list(pd.read_csv(output)) == ["prediction", "p_no", "p_yes"]
    for given, message in (
        (
            "several",
            "has the splits train, test; legal is the folder of one, such as several/train",
        ),
        ("study", "the network was trained on a folder of datasets; legal is one that"),
    ):
        monkeypatch.setattr(
            "sys.argv", ["nasrunner-predict", f"from={study}", f"input={given}", "output=none.csv"]
        )
        with pytest.raises(SystemExit):
            main()
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none.csv").exists()
