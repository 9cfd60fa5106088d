"""The notebook of ``examples/`` runs, and shows a study while it runs."""

import os
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from IPython import display

from nasrunner.api.notebook import NotebookDisplay, display_here
from nasrunner.trackers.progress import ProgressDisplay
from tests.trackers.fakes import FakeStudy

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_search.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    client = nbclient.NotebookClient(
        notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [_text(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert "Best children" in shown[1]
    assert "max_children=8 is spent" in shown[1]
    assert "8/8 children" not in shown[1], "the bar is of a study that runs"
    assert "<table" in shown[2]
    assert "torch.Size([2, 10])" in shown[3]
    assert "report.html" in shown[4]
    assert "10" in shown[4]


def _text(cell: Any) -> str:
    parts = []
    for each in cell.outputs:
        data = each.get("data", {})
        parts.append(each.get("text") or data.get("text/html") or data.get("text/plain", ""))
    return "\n".join(parts)


class Cell:
    """Stands for the output of a cell, and keeps what it has shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, content: Any, display_id: bool) -> "Cell":
        assert display_id
        self.update(content)
        return self

    def update(self, content: Any) -> None:
        self.shown.append(content.data)


def test_a_cell_shows_the_best_children_while_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell()
    monkeypatch.setattr(display, "display", cell.display)
    study = FakeStudy(tmp_path / "fake" / "2026")
    study.take(study.outcome(0))  # of an earlier session
    shows = NotebookDisplay(lambda: "mlflow ui")
    shows.open(study.info, study.state, study.inspect)
    shows.warn("a doubt")
    shows.warn("a doubt")
    assert "1/12 children" in cell.shown[-1]
    assert cell.shown[-1].count("a doubt") == 1
    for index in range(1, 12):
        study.record(shows, index)
    *_, before = cell.shown
    assert "11/12 children" in before  # one was invalid
    best = ("0001", "0009", "0006", "0011", "0000")
    places = [before.index(f"  {child} ") for child in best]
    assert places == sorted(places)
    assert before.count("affine(units=2) → relu → affine(units=10)") >= 1
    shows.close(study.summary())
    assert "/12 children" not in cell.shown[-1]
    assert "10 completed, 1 failed, 1 invalid" in cell.shown[-1]
    assert "mlflow ui" in cell.shown[-1]


def test_a_terminal_is_no_notebook() -> None:
    assert display_here() is ProgressDisplay
