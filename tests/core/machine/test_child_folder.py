import json
from pathlib import Path

import pytest

from nasrunner.children.files import ChildFiles
from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import (
    CURVES,
    OUTCOME,
    PROBABILITIES,
    ChildFolder,
    GrowingCurves,
)
from nasrunner.core.machine.files import replace_file

CHILD = Proposal(0, {"units": 1})
OTHER = Proposal(0, {"units": 2})


def ended(path: Path, proposal: Proposal = CHILD) -> Outcome:
    """A child that has ended in a folder, and what became of it."""
    outcome = Outcome(proposal, "completed", 0.5, {"val_loss": 1.0}, 2.0)
    with ChildFiles(path) as files:
        files.start(proposal, {"optimizer": {"lr": 0.1}})
        files.add_line({"epoch": 0, "val_loss": 1.0})
        files.write_outcome(outcome)
    return outcome


def test_what_a_child_writes_is_read(tmp_path: Path) -> None:
    folder = ChildFolder.of(tmp_path, 7)
    outcome = ended(folder.path)
    assert folder.path == tmp_path / "children" / "0007"
    assert folder.proposal() == CHILD
    assert folder.outcome(CHILD) == outcome
    assert folder.curves() == [{"epoch": 0, "val_loss": 1.0}]
    assert folder.text("config.yaml") == "optimizer:\n  lr: 0.1\n"


def test_the_outcome_of_another_architecture_is_none(tmp_path: Path) -> None:
    ended(tmp_path, OTHER)
    assert ChildFolder(tmp_path).outcome(CHILD) is None


@pytest.mark.parametrize("name", ["outcome.json", "proposal.json"])
@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"index": 0}', b"\xaf"])
def test_only_a_whole_outcome_is_one(tmp_path: Path, name: str, text: str | bytes | None) -> None:
    ended(tmp_path)
    path = tmp_path / name
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert ChildFolder(tmp_path).outcome(CHILD) is None


def test_a_line_that_is_being_written_is_none_of_the_curves(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text('{"epoch": 0}\n{"epoch": 1}\n{"epo')
    assert ChildFolder(tmp_path).curves() == [{"epoch": 0}, {"epoch": 1}]


@pytest.mark.parametrize("line", ['{"epoch": 1', "[1, 2]", '{"val_loss": 1}'])
def test_damaged_curves_are_told_with_their_line(tmp_path: Path, line: str) -> None:
    (tmp_path / CURVES).write_text('{"epoch": 0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"curves.jsonl is damaged in line 2: "):
        ChildFolder(tmp_path).curves()


def test_probabilities_are_read_whole_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = ChildFolder(tmp_path)
    assert folder.probabilities() == []
    line = '{"epoch": 0, "decisions": {"0/or": {"relu": 1.0}}}\n'
    folder.file(PROBABILITIES).write_text(line + '{"epoch": 1, "deci')
    assert folder.probabilities() == [{"epoch": 0, "decisions": {"0/or": {"relu": 1.0}}}]
    folder.file(PROBABILITIES).write_text(line + '{"epoch": 1}\n')
    expected = r"probabilities.jsonl is damaged in line 2: it lacks decisions"
    with pytest.raises(ValueError, match=expected):
        folder.probabilities()


def test_growing_curves_give_each_line_once_and_leave_an_incomplete_one(tmp_path: Path) -> None:
    path, curves = tmp_path / CURVES, GrowingCurves(ChildFolder(tmp_path))
    assert curves.read() == []  # there is no file yet
    path.write_text('{"epoch": 0}\n{"epoch": 1, "loss"')
    assert curves.read() == curves.read() == [{"epoch": 0}]  # it was not taken
    curves.take()
    assert curves.read() == []
    with path.open("a") as file:
        file.write(': 0.5}\n{"epoch": 2, "lo\n{"epoch": 3}\n')
    assert curves.read() == [{"epoch": 1, "loss": 0.5}, {"epoch": 3}]  # 2 was cut off


def test_growing_curves_that_are_begun_anew_are_read_from_their_beginning(tmp_path: Path) -> None:
    path, curves = tmp_path / CURVES, GrowingCurves(ChildFolder(tmp_path))
    path.write_text('{"epoch": 0}\n{"epoch": 1}\n')
    curves.read()
    curves.take()
    path.write_text('{"epoch": 0}\n')
    assert curves.read() == [{"epoch": 0}]


@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "truncated"])
def test_growing_curves_that_are_begun_anew_and_have_outgrown_themselves_are_read_whole(
    tmp_path: Path, is_replaced: bool
) -> None:
    path, curves = tmp_path / CURVES, GrowingCurves(ChildFolder(tmp_path))
    path.write_text('{"epoch": 0, "time": 1}\n{"epoch": 1, "time": 2}\n')
    curves.read()
    curves.take()
    lines = "".join(f'{{"epoch": {epoch}, "time": 1{epoch}}}\n' for epoch in range(4))
    if is_replaced:
        replace_file(path, lines)
    else:
        path.write_text(lines)
    assert [line["epoch"] for line in curves.read()] == [0, 1, 2, 3]


def test_the_time_of_an_outcome_is_that_of_its_file(tmp_path: Path) -> None:
    folder = ChildFolder(tmp_path)
    with pytest.raises(OSError, match=OUTCOME):
        folder.outcome_written_s()
    ended(tmp_path)
    assert folder.outcome_written_s() == (tmp_path / OUTCOME).stat().st_mtime


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    folder = ChildFolder(tmp_path)
    for text in ("", "[1]", json.dumps({"a": 1})):
        (tmp_path / "tested.json").write_text(text)
        assert folder.read_record("tested.json") == ({"a": 1} if text.startswith("{") else None)
