"""The table of a study: what its rows hold, and what a resumed study finds of it."""

import csv
import logging
from pathlib import Path

import pytest

from nasrunner.core import Blueprint, ConfigError, Genotype, Outcome, Proposal
from nasrunner.trackers.table import CsvTracker
from tests.trackers import lineages
from tests.trackers.fakes import FAILED, INVALID, REUSED, FakeStudy

FIXED = "index,status,reward,cost_s,hash,reused_from,error,architecture,parameters,flops"


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    return FakeStudy(tmp_path / "study")


def opened(study: FakeStudy) -> CsvTracker:
    tracker = CsvTracker()
    tracker.open(study.info, study.replay(), study.inspect)
    return tracker


def rows(study: FakeStudy) -> list[dict[str, str]]:
    with (study.folder / "children.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_row_has_the_outcome_the_architecture_and_what_was_chosen_and_measured(
    study: FakeStudy,
) -> None:
    tracker = opened(study)
    for index in range(8):
        study.record(tracker, index)
    table = rows(study)
    header = (study.folder / "children.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith(FIXED)
    assert table[0]["status"] == "completed"
    assert float(table[0]["reward"]) == 0.63
    assert (table[0]["parameters"], table[0]["flops"]) == ("101", "7")
    assert table[0]["architecture"].startswith("affine(units=1) → relu")
    assert table[0]["values/0/affine/units"] == "1"
    assert table[0]["values/hyperparameters/optimizer.lr"] == "0.1"
    assert float(table[0]["metrics/val_accuracy"]) == 0.63
    assert table[FAILED]["error"] == "RuntimeError: loss is nan"
    assert table[FAILED]["reward"] == table[FAILED]["metrics/val_accuracy"] == ""
    assert table[INVALID]["architecture"] == table[INVALID]["values/0/affine/units"] == ""
    assert table[REUSED]["reused_from"] == str(FAILED + 1)


def test_a_resumed_study_builds_no_child_that_the_table_has(study: FakeStudy) -> None:
    tracker = opened(study)
    for index in range(4):
        study.record(tracker, index)
    whole = (study.folder / "children.csv").read_bytes()
    study.append(study.outcome(4))
    study.num_inspected = 0
    opened(study)
    assert study.num_inspected == 1
    assert (study.folder / "children.csv").read_bytes().startswith(whole)
    assert [row["index"] for row in rows(study)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("num_bytes", [1, 2, 30, 200])
def test_a_table_that_was_cut_off_becomes_what_it_was(study: FakeStudy, num_bytes: int) -> None:
    tracker = opened(study)
    for index in range(4):
        study.record(tracker, index)
    path = study.folder / "children.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-num_bytes])
    opened(study)
    assert path.read_bytes() == whole


def test_a_column_that_comes_later_is_empty_in_the_rows_before(study: FakeStudy) -> None:
    tracker = opened(study)
    study.record(tracker, 0)
    blueprint = Blueprint("affine", {"choice": None}, 1, None)
    tracker.recorded(Outcome(study.proposal(1), "completed", 0.5, {"b": 1.0}), blueprint)
    before, after = rows(study)
    assert (before["values/choice"], before["metrics/b"]) == ("", "")
    assert (after["values/choice"], after["metrics/b"], after["flops"]) == ("null", "1.0", "")


def test_a_text_that_a_spreadsheet_would_run_is_a_text(study: FakeStudy) -> None:
    tracker = opened(study)
    outcome = Outcome(study.proposal(0), "failed", error='=HYPERLINK("http://evil")')
    tracker.recorded(outcome, None)
    assert rows(study)[0]["error"] == '\'=HYPERLINK("http://evil")'


def test_a_file_of_somebody_else_is_not_written_over(study: FakeStudy) -> None:
    path = study.folder / "children.csv"
    path.write_text("name,age\nAda,36\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"children\.csv is no table of a study, and would be"):
        opened(study)
    assert path.read_text(encoding="utf-8") == "name,age\nAda,36\n"


def test_what_could_not_be_written_is_told_once_and_added_later(
    study: FakeStudy, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = opened(study)
    study.record(tracker, 0)
    path = study.folder / "children.csv"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()  # nothing can take its place
    with caplog.at_level(logging.WARNING):
        study.record(tracker, 1)
        study.record(tracker, 2)
        tracker.close(study.summary())
    told = [record.getMessage() for record in caplog.records]
    assert [message.split("children.csv ")[1][:17] for message in told] == [
        "cannot be written",
        "is not complete: ",
    ]
    path.rmdir()
    path.write_bytes(kept)
    study.record(tracker, 4)
    assert [row["index"] for row in rows(study)] == ["0", "1", "2", "4"]


def test_an_inspection_that_fails_leaves_the_architecture_out_and_is_told(
    study: FakeStudy, caplog: pytest.LogCaptureFixture
) -> None:
    def inspect(given: Genotype) -> Blueprint:
        raise RuntimeError("my module is gone")

    study.append(study.outcome(0))
    with caplog.at_level(logging.WARNING):
        CsvTracker().open(study.info, study.replay(), inspect)
    assert [(row["index"], row["architecture"]) for row in rows(study)] == [("0", "")]
    assert "lacks the architecture of child 0: my module is gone" in caplog.text


def test_what_is_no_plain_training_says_so_in_columns_of_its_own(tmp_path: Path) -> None:
    study = lineages.LineageStudy(tmp_path / "study")
    tracker = CsvTracker()
    tracker.open(study.info, study.state, study.inspect)
    for index in range(lineages.NUM):
        study.record(tracker, index)
    table = rows(study)
    told = {
        int(row["index"]): [row[n] for n in ("kind", "fidelity", "until", "sources", "parent")]
        for row in table
    }
    assert told[lineages.SUPERNET] == ["supernet", "", "", "", ""]
    assert told[lineages.ESTIMATE] == ["estimate", "", "", "", ""]
    assert told[lineages.ROOT] == ["", "", "1", "", ""]
    assert told[lineages.STOPPED] == ["", "", "", "", ""]
    assert told[lineages.NEXT] == ["", "", "2", "training:4", "4"]
    assert told[lineages.CHEAP] == ["", "trainer.max_epochs=2", "", "", ""]
    assert told[lineages.HEIR] == ["", "", "1", "weights:9", ""]
    assert [row["status"] for row in table if row["index"] in ("4", "6", "9")] == [
        "paused",
        "stopped",
        "completed",
    ]
    whole = (study.folder / "children.csv").read_bytes()
    study.replay()
    tracker.open(study.info, study.state, study.inspect)
    assert (study.folder / "children.csv").read_bytes() == whole


def test_children_that_were_too_large_are_not_said_to_be_paused(tmp_path: Path) -> None:
    study = lineages.LimitedStudy(tmp_path / "study")
    study.record(opened(study), 0)
    (row,) = rows(study)
    assert row["status"] == "too_large"
    assert "until" not in row


def test_a_plain_study_has_no_such_columns(study: FakeStudy) -> None:
    tracker = opened(study)
    tracker.recorded(Outcome(Proposal(0, {}), "completed", 0.5), None)
    assert not {"kind", "fidelity", "until", "sources", "parent"} & set(rows(study)[0])
