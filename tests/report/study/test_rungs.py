"""How far children were trained, counted by hand."""

from nasrunner.core import Outcome
from nasrunner.core.ledger.steps import PROMOTES
from nasrunner.core.records import Source
from nasrunner.recorded import read_study
from nasrunner.report.study.rungs import rungs_section
from tests.report.recordings import Recording, recorded


def halved(folder):
    """Three of one epoch, the best of which has three epochs, and then all."""
    study = Recording(folder)
    for units, reward in ((1, 0.2), (2, 0.5), (3, 0.1)):
        proposal = study.propose(units, until=1)
        study.record(Outcome(proposal, "paused", reward, cost_s=1.0))
    second = study.propose(2, until=3, sources=(Source(1, "training"),))
    study.record(Outcome(second, "paused", 0.7, cost_s=2.0))
    third = study.propose(2, sources=(Source(3, "training"),))
    study.record(Outcome(third, "completed", 0.8, cost_s=6.0))
    return read_study(study.folder)


def test_children_are_counted_at_each_rung(tmp_path):
    _, table = rungs_section(halved(tmp_path / "s")).parts
    assert table.values == [
        ["after 1 epoch", 3, 0.5, 0.2, "3.0 s"],
        ["after 3 epochs", 1, 0.7, 0.7, "2.0 s"],
        ["to the end", 1, 0.8, 0.8, "6.0 s"],
    ]


def test_a_line_leads_to_the_next_rung_of_a_child(tmp_path):
    plot, _ = rungs_section(halved(tmp_path / "s")).parts
    axes = plot.figure.axes[0]
    lines = [line.tolist() for line in axes.collections[0].get_segments()]
    assert lines == [[[0, 0.5], [1, 0.7]], [[1, 0.7], [2, 0.8]]]
    assert [each.get_label() for each in axes.collections[1:]] == ["ended here", "trained further"]
    assert [len(each.get_offsets()) for each in axes.collections[1:]] == [3, 2]


def test_fidelities_are_rungs_too(tmp_path):
    study = Recording(tmp_path / "s")
    for units, reward in ((1, 0.2), (2, 0.5)):
        proposal = study.propose(units, fidelity={"data": 0.1})
        study.record(Outcome(proposal, "completed", reward, cost_s=1.0))
    whole = study.propose(2, notes={PROMOTES: 1})
    study.record(Outcome(whole, "completed", 0.9, cost_s=9.0))
    plot, table = rungs_section(read_study(study.folder)).parts
    assert [row[:3] for row in table.values] == [["at data=0.1", 2, 0.5], ["to the end", 1, 0.9]]
    assert len(plot.figure.axes[0].collections[0].get_segments()) == 1


def test_a_search_that_trains_all_children_whole_has_no_rungs(tmp_path):
    assert rungs_section(read_study(recorded(tmp_path / "s", [0.5, 0.6]))) is None
