import json

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.trackers.curves import (
    MOST_DECISIONS,
    BestSoFar,
    CurveReader,
    ledger_times,
)


def line(epoch, **values):
    return json.dumps({"epoch": epoch, "step": 9, "time": 5.0 + epoch, **values}) + "\n"


def epochs(reader):
    points = reader.read()
    reader.take(points)
    return [point.epoch for point in points]


def test_epochs_come_once_and_a_line_being_written_waits(tmp_path):
    path = tmp_path / "curves.jsonl"
    reader = CurveReader(ChildFolder(tmp_path))
    assert epochs(reader) == []  # there is no file yet
    path.write_text(line(0, loss=1.0) + line(1, loss=0.5)[:-9])
    assert epochs(reader) == [0]
    path.write_text(line(0, loss=1.0) + line(1, loss=0.5))
    assert epochs(reader) == [1]
    assert epochs(reader) == []
    assert reader.latest == {"loss": 0.5}


def test_several_validations_of_an_epoch_come_once_each(tmp_path):
    path = tmp_path / "curves.jsonl"
    steps = [json.dumps({"epoch": 0, "step": step, "time": 5.0, "loss": 1.0}) for step in (2, 4)]
    path.write_text(steps[0] + "\n")
    reader = CurveReader(ChildFolder(tmp_path))
    assert epochs(reader) == [0]
    path.write_text("".join(f"{each}\n" for each in steps))
    points = reader.read()
    assert [point.step for point in points] == [4]
    reader.take(points)
    assert reader.read() == []


def test_what_was_not_taken_comes_again(tmp_path):
    path = tmp_path / "curves.jsonl"
    path.write_text(line(0, loss=1.0))
    reader = CurveReader(ChildFolder(tmp_path))
    assert [p.epoch for p in reader.read()] == [p.epoch for p in reader.read()] == [0]


def test_a_file_begun_anew_gives_only_later_epochs(tmp_path):
    path = tmp_path / "curves.jsonl"
    path.write_text(line(0, loss=1.0) + line(1, loss=0.5))
    reader = CurveReader(ChildFolder(tmp_path))
    assert epochs(reader) == [0, 1]
    path.write_text(line(0, loss=1.0))
    assert epochs(reader) == []
    path.write_text(line(0, loss=1.0) + line(1, loss=0.5) + line(2, loss=0.2))
    assert epochs(reader) == [2]


def test_a_damaged_line_is_left_out(tmp_path):
    path = tmp_path / "curves.jsonl"
    path.write_text(line(0, loss=1.0) + '{"epoch": 1, "ti\n' + line(2, loss=float("nan")))
    reader = CurveReader(ChildFolder(tmp_path))
    assert epochs(reader) == [0, 2]
    assert reader.latest["loss"] != reader.latest["loss"]


def probabilities(epoch, *paths):
    decisions = {path: {"relu": 0.25, "tanh": 0.75} for path in paths}
    return json.dumps({"epoch": epoch, "decisions": decisions}) + "\n"


def test_the_last_point_of_an_epoch_has_what_was_learnt_in_it_once(tmp_path):
    path, beside = tmp_path / "curves.jsonl", tmp_path / "probabilities.jsonl"
    reader = CurveReader(ChildFolder(tmp_path))
    middle = json.dumps({"epoch": 0, "step": 4, "time": 5.0, "loss": 1.0}) + "\n"
    path.write_text(middle)
    points = reader.read()
    assert [point.learnt for point in points] == [{}]
    reader.take(points)
    beside.write_text(probabilities(0, "a", "b") + probabilities(1, "b", "new"))
    path.write_text(middle + line(0, loss=1.0) + line(1, loss=0.5))
    points = reader.read()
    assert points == reader.read()  # it was not taken
    first, second = (point.learnt for point in points)
    assert first == {
        "probability/a/relu": 0.25,
        "probability/a/tanh": 0.75,
        "probability/b/relu": 0.25,
        "probability/b/tanh": 0.75,
    }
    assert list(second) == ["probability/b/relu", "probability/b/tanh"]
    reader.take(points)
    assert reader.latest == {"loss": 0.5}
    path.write_text(middle + line(0, loss=1.0) + line(1, loss=0.5) + line(2, loss=0.2))
    (point,) = reader.read()
    assert point.learnt == {}  # it stands nowhere


def test_of_many_decisions_some_become_metrics(tmp_path):
    paths = [f"{place}/or" for place in range(100)]
    (tmp_path / "probabilities.jsonl").write_text(probabilities(0, *paths))
    (tmp_path / "curves.jsonl").write_text(line(0, loss=1.0))
    (point,) = CurveReader(ChildFolder(tmp_path)).read()
    assert len(point.learnt) == 2 * MOST_DECISIONS
    assert list(point.learnt)[-1] == f"probability/{MOST_DECISIONS - 1}/or/tanh"


def test_times_of_outcomes_come_from_the_ledger(tmp_path):
    assert ledger_times(tmp_path) == {}
    events = [
        {"event": "study", "time": 1.0},
        {"event": "proposed", "time": 2.0, "index": 0},
        {"event": "outcome", "time": 3.5, "index": 0},
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "ledger.jsonl").write_text(lines + '{"event": "outcome", "ti')
    assert ledger_times(tmp_path) == {0: 3.5}


def test_the_best_so_far_starts_with_the_first_reward_and_never_falls():
    best, ranking = BestSoFar(), Ranking()
    rewards = [None, 0.5, float("nan"), 0.4, 0.9]
    for index, reward in enumerate(rewards):
        status = "failed" if reward is None else "completed"
        outcome = Outcome(Proposal(index, {"units": index}), status, reward)
        ranking.add(outcome)
        best.add(outcome.proposal, ranking, float(index))
    assert best.after(-1) == [(2, 1.0, 0.5), (3, 2.0, 0.5), (4, 3.0, 0.5), (5, 4.0, 0.9)]
    assert best.after(4) == [(5, 4.0, 0.9)]


def test_the_best_so_far_falls_where_the_best_is_worse_when_trained_again():
    best, ranking = BestSoFar(), Ranking()
    for index, (units, reward) in enumerate([(0, 0.9), (1, 0.6), (0, 0.5)]):
        ranking.add(Outcome(Proposal(index, {"units": units}), "completed", reward))
        best.add(Proposal(index, {"units": units}), ranking, float(index))
    assert best.after(0) == [(1, 0.0, 0.9), (2, 1.0, 0.9), (3, 2.0, 0.7)]
