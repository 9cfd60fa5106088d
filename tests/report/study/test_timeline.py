"""The timeline of workers, with lanes and shares worked out by hand."""

import pytest

from nasrunner.core import Outcome
from nasrunner.recorded import read_study
from nasrunner.report.study.overview import overview_section
from nasrunner.report.study.timeline import (
    clock_unit,
    lanes_of,
    timeline,
    timeline_section,
    why_no_timeline,
)
from tests.report.recordings import Recording, recorded


def ended(proposal, cost_s):
    return Outcome(proposal, "completed", 0.5, cost_s=cost_s)


def two_workers(folder):
    """Child 0 runs from 0 to 4 s, child 1 from 0 to 6, child 2 from 4 to 8; the end is at 10."""
    study = Recording(folder, start_s=1000.0)
    first, second = study.propose(1), study.propose(2)
    study.record(ended(first, 4.0), at_s=1004.0)
    third = study.propose(3)
    study.record(ended(second, 6.0), at_s=1006.0)
    study.record(ended(third, 4.0), at_s=1008.0)
    study.clock.now_s = 1010.0
    return study


def test_children_fill_the_first_free_lane(tmp_path):
    times = timeline(read_study(two_workers(tmp_path / "s").end()))
    assert times.starts_s == [0.0, 0.0, 4.0]
    assert times.ends_s == [4.0, 6.0, 8.0]
    assert times.lanes == [0, 1, 0]


def test_the_idle_share_is_of_all_lanes_until_the_last_event(tmp_path):
    times = timeline(read_study(two_workers(tmp_path / "s").end()))
    assert times.length_s == 10.0
    assert times.idle_share == pytest.approx(1 - (4 + 6 + 4) / (2 * 10))


def test_the_time_between_two_sessions_is_left_out(tmp_path):
    study = two_workers(tmp_path / "s")
    study.propose(4)  # in flight when the study is killed at 10 s
    study.resume(at_s=5000.0)
    late = study.propose(5)
    study.record(ended(late, 3.0), at_s=5003.0)
    times = timeline(read_study(study.end()))
    assert times.breaks_s == [10.0]
    assert (times.starts_s[-1], times.ends_s[-1]) == (10.0, 13.0)
    assert times.length_s == 13.0


def test_a_child_harvested_after_a_break_did_not_run_through_it(tmp_path):
    study = Recording(tmp_path / "s", start_s=1000.0)
    killed = study.propose(1)
    study.propose(2, at_s=1003.0)
    study.resume(at_s=9000.0)
    study.record(ended(killed, 2.0), at_s=9001.0)
    times = timeline(read_study(study.end()))
    assert (times.starts_s, times.ends_s) == ([3.0], [4.0])


def test_costs_that_are_longer_than_the_study_make_no_timeline(tmp_path):
    assert timeline(read_study(recorded(tmp_path / "s", [0.5, 0.6], cost_s=300.0))) is None


def test_a_study_without_costs_has_no_timeline(tmp_path):
    assert timeline(read_study(recorded(tmp_path / "s", [0.5, 0.6]))) is None


def test_repeated_outcomes_took_no_worker(tmp_path):
    study = two_workers(tmp_path / "s")
    again = study.propose(1)
    study.record(Outcome(again, "completed", 0.5, reused_from=0))
    assert len(timeline(read_study(study.end())).children) == 3


def test_a_child_that_starts_as_another_ends_takes_its_lane():
    assert lanes_of([(0, 2), (0, 3), (1, 4), (2, 5), (3, 6), (3.99, 7)]) == [0, 1, 2, 0, 1, 2]


def beside(folder):
    """The baseline of ``two_workers``: 1 s to 3 s in a third worker, 8 s to 10 s in any."""
    study = Recording(folder, start_s=1001.0)
    first = study.propose(1)
    study.record(ended(first, 2.0), at_s=1003.0)
    second = study.propose(2, at_s=1008.0)
    study.record(ended(second, 2.0), at_s=1010.0)
    return read_study(study.end())


def test_workers_that_trained_for_the_baseline_were_not_idle(tmp_path):
    study = read_study(two_workers(tmp_path / "s").end())
    times = timeline(study, beside(tmp_path / "s" / "baseline"))
    assert times.num_lanes == 3
    assert times.idle_share == pytest.approx(1 - (4 + 6 + 4 + 2 + 2) / (3 * 10))
    assert sum(times.are_beside) == 2
    caption = timeline_section(study, times).parts[0].caption
    assert "2 of them, in grey, are of the search that shares the workers" in caption


def test_how_idle_workers_were_is_not_told_where_a_baseline_is_not_known(tmp_path):
    random = {"_target_": "nasrunner.searchers.sampling.random.RandomSearch"}
    study = Recording(tmp_path / "s", start_s=1000.0, baseline=random)
    study.record(ended(study.propose(1), 4.0), at_s=1004.0)
    found = read_study(study.end())
    times = timeline(found)
    assert times.idle_share is None
    assert "cannot be told" in timeline_section(found, times).parts[0].caption
    assert "workers idle" not in dict(overview_section(found, times).parts[0].items)


def test_a_running_study_has_no_timeline_yet(tmp_path):
    study = Recording(tmp_path / "s")
    study.propose(1)
    running = read_study(study.folder)
    assert timeline(running) is None
    assert why_no_timeline(running) == "There is no timeline of workers yet: no child has ended."
    of_a_table = read_study(recorded(tmp_path / "t", [0.5]))
    assert "no child ran in real time" in why_no_timeline(of_a_table)


def test_the_section_says_how_idle_workers_were_and_names_the_best(tmp_path):
    study = read_study(two_workers(tmp_path / "s").end())
    section = timeline_section(study, timeline(study))
    assert "idle for 30% of 10 s" in section.parts[0].caption
    assert "2 lanes" in section.parts[0].caption
    axes = section.parts[0].figure.axes[0]
    assert axes.get_xlabel() == "time since the start (s)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["completed", "best"]


@pytest.mark.parametrize(("length_s", "unit"), [(12.0, "s"), (600.0, "min"), (4 * 3600.0, "h")])
def test_the_unit_of_the_axis_fits_the_length(length_s, unit):
    assert clock_unit(length_s)[0] == unit
