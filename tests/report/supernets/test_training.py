"""What a page shows of a study's supernet."""

import json

import pytest

from nasrunner.core import Outcome
from nasrunner.core.errors import ConfigError
from nasrunner.recorded import read_study
from nasrunner.report.page.parts import Drawing, Plot, Table
from nasrunner.report.study.sections import study_sections
from nasrunner.report.supernets.training import supernet_section
from tests.report.recordings import Recording

DERIVED = [3, 3, 7, 7, 3]
"""The units after each epoch, less one."""


def study_of(folder, derived=DERIVED):
    recording = Recording(folder)
    supernet = recording.propose(0, kind="supernet")
    recording.record(Outcome(supernet, "completed", found=({"0/affine/units": 3},)))
    home = folder / "children" / "0000"
    home.mkdir(parents=True)
    lines = [
        {
            "epoch": epoch,
            "step": 9 * epoch,
            "time": 1.0,
            "learning_rate": 0.1,
            "train_loss": 2.0 - 0.1 * epoch,
            "policy_entropy": 1.0 - 0.1 * epoch,
            **({"val_loss": 1.0} if epoch % 2 else {}),
        }
        for epoch in range(5)
    ]
    (home / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if derived:
        records = [
            {"epoch": epoch, "genotype": {"0/affine/units": units}, "text": f"affine({units + 1})"}
            for epoch, units in enumerate(derived)
        ]
        (home / "derived.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    recording.child(0.5)
    return recording


def test_its_metrics_and_what_it_derived_are_shown_by_epoch(tmp_path):
    study = read_study(study_of(tmp_path / "study").end())
    section = supernet_section(study)
    plot, table, drawing = section.parts
    assert isinstance(plot, Plot)
    assert [axes.get_title(loc="left") for axes in plot.figure.axes] == [
        "train_loss",
        "policy_entropy",
        "val_loss",
    ]
    (validated,) = plot.figure.axes[2].lines
    assert validated.get_xdata().tolist() == [2, 4]
    assert isinstance(table, Table)
    assert table.rows == [[1, "affine(4)"], [3, "affine(8)"], [5, "affine(4)"]]
    assert isinstance(drawing, Drawing)
    assert drawing.caption == "The likeliest after epoch 5."
    assert "4" in drawing.svg
    assert "The supernet" in [each.title for each in study_sections(study)]


def test_a_supernet_that_learns_no_architecture_has_its_metrics_alone(tmp_path):
    section = supernet_section(read_study(study_of(tmp_path / "study", derived=()).end()))
    assert [type(part) for part in section.parts] == [Plot]


def test_a_study_without_one_has_no_such_section(tmp_path):
    recording = Recording(tmp_path / "study")
    recording.child(0.5)
    assert supernet_section(read_study(recording.end())) is None


@pytest.mark.parametrize("line", ["nonsense", '{"epoch": 5}', '{"genotype": {}, "text": ""}'])
def test_a_damaged_file_is_named(tmp_path, line):
    folder = study_of(tmp_path / "study").end()
    path = tmp_path / "study" / "children" / "0000" / "derived.jsonl"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ConfigError, match=r"derived.jsonl is damaged in line 6: .*Without the"):
        supernet_section(read_study(folder))


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    folder = study_of(tmp_path / "study").end()
    path = tmp_path / "study" / "children" / "0000" / "derived.jsonl"
    path.write_text(f'{path.read_text()}{{"epoch"')
    assert len(supernet_section(read_study(folder)).parts[1].rows) == 3
