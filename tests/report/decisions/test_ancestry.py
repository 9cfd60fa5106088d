"""Who was made from whom, and how the best came about, followed by hand."""

import pytest

from nasrunner.core import Outcome, Source
from nasrunner.core.ledger.steps import PROMOTES
from nasrunner.recorded import read_study
from nasrunner.report.decisions.ancestry import ancestry_section
from tests.report.recordings import Recording, recorded


def bred(folder):
    """0 (0.5) has 1 (0.6) and 2 (0.4); 1 has 3 (0.9), which failed 4 comes from."""
    study = Recording(folder)
    for units, reward, parent in [(9, 0.5, None), (19, 0.6, 0), (9, 0.4, 0), (29, 0.9, 1)]:
        proposal = study.propose(units, parent=parent)
        study.record(Outcome(proposal, "completed", reward))
    study.record(Outcome(study.propose(39, parent=3), "failed", error="no"))
    return read_study(study.folder)


def test_the_best_is_followed_to_the_first_of_its_line(tmp_path):
    section = ancestry_section(bred(tmp_path / "s"))
    _, table = section.parts
    assert table.values == [
        [1, "0000", 0.5, "the first of its line"],
        [2, "0001", 0.6, "affine units: 10 → 20"],
        [3, "0003", 0.9, "affine units: 20 → 30"],
    ]
    assert [row[1].link for row in table.rows] == ["#child-0000", "#child-0001", "#child-0003"]


def test_parents_and_those_better_than_theirs_are_counted(tmp_path):
    text = ancestry_section(bred(tmp_path / "s")).text
    assert "4 of 5 children were made from another one" in text
    assert "Of the 3 of these" in text
    assert "2 (67%) are better" in text


def test_a_line_leads_from_parent_to_child(tmp_path):
    plot, _ = ancestry_section(bred(tmp_path / "s")).parts
    lines = plot.figure.axes[0].collections[0].get_segments()
    assert [line.tolist() for line in lines] == [
        [[1, 0.5], [2, 0.6]],
        [[1, 0.5], [3, 0.4]],
        [[2, 0.6], [4, 0.9]],
    ]


def halved(folder, *, by_fidelity):
    """0 (0.3) is trained further as 1 (0.6), 2 (0.5) is made from that, and trained as 3 (0.9)."""
    study = Recording(folder)
    low = {"fidelity": {"width": 0.5}} if by_fidelity else {"until": 1}

    def further(index):
        source = (Source(index, "training"),)
        return {"notes": {PROMOTES: index}} if by_fidelity else {"sources": source}

    for units, reward, asked, is_whole in [
        (9, 0.3, low, False),
        (9, 0.6, further(0), True),
        (19, 0.5, {"parent": 1, **low}, False),
        (19, 0.9, further(2), True),
        (29, 0.2, {"parent": 0, **low}, False),
    ]:
        proposal = study.propose(units, **asked)
        status = "completed" if is_whole or by_fidelity else "paused"
        study.record(Outcome(proposal, status, reward))
    return read_study(study.folder)


@pytest.mark.parametrize("by_fidelity", [False, True], ids=["epochs", "fidelity"])
def test_the_best_is_followed_through_its_promotions_to_the_first_of_its_line(
    tmp_path, by_fidelity
):
    section = ancestry_section(halved(tmp_path / "s", by_fidelity=by_fidelity))
    plot, table = section.parts
    assert table.values == [
        [1, "0000", 0.3, "the first of its line"],
        [1, "0001", 0.6, "nothing: it was trained further"],
        [2, "0002", 0.5, "affine units: 10 → 20"],
        [2, "0003", 0.9, "nothing: it was trained further"],
    ]
    assert "2 of 3 children were made from another one" in section.text
    assert "Of the 1 of these" in section.text  # 4 and 0: what 2 was made from is whole
    assert "0 (0%) are better" in section.text
    axes = plot.figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.3], [1, 0.6], [2, 0.5], [2, 0.9]]
    lines = [line.tolist() for line in axes.collections[0].get_segments()]
    assert lines == [[[1, 0.6], [2, 0.5]], [[1, 0.3], [3, 0.2]]]
    assert len(axes.collections[1].get_offsets()) == 5
    assert "has a point for each training" in plot.caption


def test_a_search_without_parents_has_no_lineage(tmp_path):
    assert ancestry_section(read_study(recorded(tmp_path / "s", [0.5, 0.6]))) is None
