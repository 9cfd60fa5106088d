"""The section about supernets, of studies as they stand on disk."""

import json

import numpy as np
import pytest

from nasrunner.core import Outcome, Source
from nasrunner.core.errors import ConfigError
from nasrunner.recorded import read_study
from nasrunner.report.one_study import study_sections
from nasrunner.report.page.parts import Drawing, Plot, Table
from nasrunner.report.supernets.derived import MOST_DRAWN
from nasrunner.report.supernets.probabilities import MOST_DRAWN as PANELS
from nasrunner.report.supernets.probabilities import MOST_TOLD_APART, short_names
from nasrunner.report.supernets.section import supernets_section
from tests.report.recordings import Recording, recorded


def write(folder, name, lines):
    home = folder / "children" / "0000"
    home.mkdir(parents=True, exist_ok=True)
    (home / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def one_shot(folder, derived=(5, 5, 7), num_trained=3):
    """A study of a supernet, six estimates and some of these trained."""
    study = Recording(folder)
    supernet = study.propose(0, kind="supernet")
    lines = [
        {
            "epoch": epoch,
            "train_loss": 2.0 - 0.1 * epoch,
            "val_loss": 2.1,
            "skip_share": 0.1 * epoch,
        }
        for epoch in range(len(derived))
    ]
    write(folder, "curves.jsonl", lines)
    if derived:
        texts = [
            {"epoch": epoch, "genotype": {"0/affine/units": units}, "text": f"affine({units + 1})"}
            for epoch, units in enumerate(derived)
        ]
        write(folder, "derived.jsonl", texts)
    study.record(Outcome(supernet, "completed", None, {"epochs": float(len(derived))}))
    source = (Source(supernet.index, "weights"),)
    for units in range(6):
        estimate = study.propose(units, kind="estimate", sources=source)
        study.record(Outcome(estimate, "completed", 0.1 * units, {}))
    for units in range(6 - num_trained, 6):
        study.child(0.5 + 0.01 * units, units=units)
    return study.end()


def parts_of(section, kind):
    return [part for part in section.parts if isinstance(part, kind)]


def test_a_study_without_a_supernet_has_no_such_section(tmp_path):
    assert supernets_section(read_study(recorded(tmp_path / "study", [0.5, 0.6]))) is None


def test_a_supernet_is_shown_by_epoch_and_estimates_against_rewards(tmp_path):
    study = read_study(one_shot(tmp_path / "study"))
    assert "Supernet" in [each.title for each in study_sections(study)]
    section = supernets_section(study)
    training, estimates = parts_of(section, Plot)
    titles = [axes.get_title(loc="left") for axes in training.figure.axes]
    assert titles == ["loss", "skip_share"]
    (shares,) = training.figure.axes[1].lines
    assert shares.get_xydata().tolist() == [[1.0, 0.0], [2.0, 0.1], [3.0, 0.2]]
    points = estimates.figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(sorted(points.tolist()), [[0.3, 0.53], [0.4, 0.54], [0.5, 0.55]])
    assert "3 architectures" in estimates.caption
    assert "all 6 estimates, from 0 to 0.5" in estimates.caption
    assert "ρ of the two is 1.00" in estimates.caption


def test_what_was_derived_is_a_row_for_each_change_and_drawn(tmp_path):
    section = supernets_section(read_study(one_shot(tmp_path / "study")))
    (table,) = parts_of(section, Table)
    assert table.columns == ("after epochs", "architecture")
    assert table.rows == [["1 to 2", "affine(6)"], ["3", "affine(8)"]]
    first, last = parts_of(section, Drawing)
    assert (first.title, last.title) == ("After epoch 1 to 2", "After epoch 3")
    assert last.caption == "The last one."
    assert "units=8" in last.svg or ">8<" in last.svg


def test_of_many_derived_ones_some_are_drawn_and_the_last(tmp_path):
    derived = [epoch % 2 for epoch in range(40)]
    section = supernets_section(read_study(one_shot(tmp_path / "study", derived)))
    drawings = parts_of(section, Drawing)
    assert len(drawings) == MOST_DRAWN
    assert [drawings[0].title, drawings[-1].title] == ["After epoch 1", "After epoch 40"]
    assert len(parts_of(section, Table)[0].rows) == 40


def with_probabilities(folder, shares, left_out=0):
    """Adds what options of decisions were: path -> name -> probability after each epoch."""
    num = len(next(iter(next(iter(shares.values())).values())))
    lines = [
        {
            "epoch": epoch,
            "decisions": {
                path: {name: each[epoch] for name, each in options.items()}
                for path, options in shares.items()
            },
            **({"left_out": left_out} if left_out else {}),
        }
        for epoch in range(num)
    ]
    write(folder, "probabilities.jsonl", lines)
    return folder


def test_probabilities_are_lines_and_rows_as_the_file_has_them(tmp_path):
    shares = {
        "1/cell/0-1/or": {"zero": [0.5, 0.4, 0.35], "conv": [0.5, 0.6, 0.65]},
        "1/cell/0-2/or": {
            "zero": [0.5, 0.3, 0.1],
            "conv": [0.3, 0.3, 0.3],
            "pool": [0.2, 0.4, 0.6],
        },
    }
    folder = with_probabilities(one_shot(tmp_path / "study"), shares)
    section = supernets_section(read_study(folder))
    (plot,) = [each for each in parts_of(section, Plot) if each.name == "probabilities"]
    drawn = {axes.get_title(loc="left"): axes for axes in plot.figure.axes}
    assert list(drawn) == ["0-2", "0-1"]  # most changed first
    colours = {}
    for path, options in shares.items():
        lines = {line.get_label(): line for line in drawn[path.split("/")[2]].lines}
        assert lines.keys() == options.keys()
        for name, values in options.items():
            points = [[epoch + 1.0, value] for epoch, value in enumerate(values)]
            assert lines[name].get_xydata().tolist() == points
            colours.setdefault(name, set()).add(lines[name].get_color())
    assert [len(each) for each in colours.values()] == [1, 1, 1]
    assert len(set.union(*colours.values())) == 3
    (legend,) = plot.figure.legends
    assert [each.get_text() for each in legend.get_texts()] == ["zero", "conv", "pool"]
    (table,) = [each for each in parts_of(section, Table) if each.name == "probability_values"]
    assert len(table.rows) == 15
    assert table.rows[0] == [3, "1/cell/0-1/or", "zero", 0.35]
    for epoch, path, name, value in table.rows:
        assert shares[path][name][epoch - 1] == value


def test_of_many_decisions_those_are_drawn_that_changed_most_and_it_is_said(tmp_path):
    changes = [round(0.01 * (place * 7 % 20), 2) for place in range(20)]
    shares = {
        f"cell/{place}/or": {"a": [0.5, 0.5 + change], "b": [0.5, 0.5 - change]}
        for place, change in enumerate(changes)
    }
    folder = with_probabilities(one_shot(tmp_path / "study"), shares, left_out=7)
    section = supernets_section(read_study(folder))
    (plot,) = [each for each in parts_of(section, Plot) if each.name == "probabilities"]
    drawn = [axes.get_title(loc="left") for axes in plot.figure.axes]
    expected = sorted(range(20), key=lambda place: -changes[place])[:PANELS]
    assert drawn == [str(place) for place in expected]
    assert f"Of 20 decisions the {PANELS} are shown whose probabilities changed" in plot.caption
    (table,) = [each for each in parts_of(section, Table) if each.name == "probability_values"]
    assert len(table.rows) == 80
    assert "7 more decisions were not recorded" in table.caption


def test_of_many_options_the_likeliest_have_looks_of_their_own(tmp_path):
    options = {f"option {place}": [1 / 30, place / 435] for place in range(30)}
    folder = with_probabilities(one_shot(tmp_path / "study"), {"0/or": options})
    section = supernets_section(read_study(folder))
    (plot,) = [each for each in parts_of(section, Plot) if each.name == "probabilities"]
    (axes,) = plot.figure.axes
    assert axes.get_title(loc="left") == "0/or"
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(axes.lines) == 30
    assert len(looks) == MOST_TOLD_APART + 1
    texts = [each.get_text() for each in plot.figure.legends[0].get_texts()]
    kept = [f"option {place}" for place in range(30 - MOST_TOLD_APART, 30)]
    assert texts == [*kept, f"{30 - MOST_TOLD_APART} others"]
    assert f"{30 - MOST_TOLD_APART} by name" in plot.caption


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["1/cell/0-1/or", "1/cell/0-2/or"], ["0-1", "0-2"]),
        (["a/or"], ["a/or"]),
        (["a", "a/b"], ["a", "b"]),
        (["x/1/units", "y/2/or"], ["x/1/units", "y/2/or"]),
        (["a/b/c", "a/c"], ["b/c", "c"]),
    ],
)
def test_decisions_are_named_by_where_they_differ(paths, names):
    assert short_names(paths) == names


def test_two_architectures_have_no_rank_correlation(tmp_path):
    section = supernets_section(read_study(one_shot(tmp_path / "study", num_trained=2)))
    assert "ρ" not in parts_of(section, Plot)[-1].caption


def test_before_an_estimate_is_trained_training_alone_is_shown(tmp_path):
    assert supernets_section(read_study(one_shot(tmp_path / "study", (), num_trained=0))) is None
    started = one_shot(tmp_path / "started", (3,), num_trained=0)
    (plot,) = parts_of(supernets_section(read_study(started)), Plot)
    assert plot.name == "supernets"


def test_a_damaged_file_is_named(tmp_path):
    folder = one_shot(tmp_path / "study")
    (folder / "children" / "0000" / "derived.jsonl").write_text("{\n")
    with pytest.raises(
        ConfigError, match=r"derived.jsonl is damaged in line 1: .* leaves out what was"
    ):
        supernets_section(read_study(folder))


def test_a_damaged_file_of_probabilities_is_named(tmp_path):
    folder = one_shot(tmp_path / "study")
    (folder / "children" / "0000" / "probabilities.jsonl").write_text("{\n")
    with pytest.raises(
        ConfigError, match=r"probabilities.jsonl is damaged in line 1: .* leaves out how likely"
    ):
        supernets_section(read_study(folder))
