import contextlib
import dataclasses
import io
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from nasrunner.core import Outcome, Proposal, Source
from nasrunner.core.records import child_folder
from nasrunner.trackers import running
from nasrunner.trackers.none import NoTracker
from nasrunner.trackers.progress import ProgressDisplay
from nasrunner.trackers.wording import counted
from tests.trackers import lineages
from tests.trackers.fakes import FAILED, FakeStudy

SESSION = """
import os, signal, sys, time
from pathlib import Path
from nasrunner.trackers.progress import ProgressDisplay
from tests.trackers.fakes import FakeStudy
study = FakeStudy(Path(sys.argv[1]))
display = ProgressDisplay("mlflow ui")
display.open(study.info, study.state, study.inspect)
for index in range(12):
    study.record(display, index)
    if index == 3 and sys.argv[2] == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
display.close(study.summary())
Path(sys.argv[1], "alive").touch()
"""


@pytest.fixture
def study(tmp_path):
    return FakeStudy(tmp_path / "fake" / "2026")


def console(*, is_terminal, width=100):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=width, highlight=False)


def show(study, out, num_children=12):
    display = ProgressDisplay("mlflow ui --backend-store-uri sqlite:///x.db", out)
    display.open(study.info, study.state, study.inspect)
    for index in range(num_children):
        study.record(display, index)
    display.close(study.summary())
    return out.file.getvalue()


def record(study, display, outcome):
    study.take(outcome)
    display.recorded(outcome, None)


@pytest.mark.parametrize(("count", "told"), [(1, "1 child"), (2, "2 children")])
def test_a_resumed_study_says_how_many_children_it_has(study, count, told):
    for index in range(count):
        study.take(Outcome(study.proposal(index), "completed", 0.5))
    first = show(study, console(is_terminal=False), 0).splitlines()[0]
    assert first.endswith(f", {told} recorded before")


def test_without_a_terminal_each_child_is_one_line(study):
    lines = show(study, console(is_terminal=False)).splitlines()
    assert lines[1] == "child 0    0.63     2.0 s given  best 0.63 (child 0)"
    assert lines[4] == "child 3    failed: RuntimeError: loss is nan 1.5 s  best 1 (child 1)"
    assert re.fullmatch(r"child 5    invalid: '0/affine': too large  best .*", lines[6])
    assert lines[8] == "child 7    0.09     same as child 4  best 1 (child 1)"
    assert len([line for line in lines if line.startswith("child ")]) == 12


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_sentence_is_printed_once_and_the_end_says_where_the_traceback_lies(study, is_terminal):
    out = console(is_terminal=is_terminal, width=300)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    failed = study.outcome(FAILED)
    for index in range(3, 30):
        outcome = dataclasses.replace(
            failed, proposal=dataclasses.replace(failed.proposal, index=index)
        )
        record(study, display, outcome)
        display.warn("the disk is slow")
    (child_folder(study.folder, FAILED)).mkdir(parents=True)
    (child_folder(study.folder, FAILED) / "outcome.json").touch()
    display.close(dataclasses.replace(study.summary(), failure="no child was completed"))
    text = re.sub(r"\x1b\[[\d;?]*\w", "", out.file.getvalue())
    assert text.count("loss is nan") == 1
    assert text.count("the disk is slow") == 1
    assert ("child 29   failed: as child 3 " in text) != is_terminal
    assert re.search(r"Failed: no child was completed\n", text)
    assert re.search(r"Traceback: of child 3 in \S*/0003/outcome.json; all: nasrunner-report", text)


def test_the_end_shows_the_best_five_the_counts_the_folder_and_the_command(study):
    text = show(study, console(is_terminal=False, width=200))
    rows = re.findall(r"^ (\d) +(\d+) +([\d.]+) +(\d+)  (.*\S)", text, re.MULTILINE)
    assert [row[:3] for row in rows] == [
        ("1", "0001", "1"),
        ("2", "0009", "0.93"),
        ("3", "0006", "0.83"),
        ("4", "0011", "0.66"),
        ("5", "0000", "0.63"),
    ]
    assert rows[0][4] == "affine(units=2) → relu → affine(units=10) | optimizer.lr=0.01"
    assert "Children: 10 completed, 1 failed, 1 invalid" in text
    assert f"Folder: {os.path.relpath(study.folder)}" in text or f"Folder: {study.folder}" in text
    assert "Look at it: mlflow ui --backend-store-uri sqlite:///x.db" in text
    place = re.search(r"Folder: (.*)", text)[1]
    names = ("report", "retrain", "export")
    told = "\n      ".join(f"nasrunner-{name} from={place}" for name in names)
    assert f"Next: {told}\n" in text


def test_on_a_terminal_the_display_counts_and_gives_the_cursor_back(study):
    text = show(study, console(is_terminal=True))
    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "child 0    0.63" not in text
    assert "child 3 failed: RuntimeError: loss is nan" in text
    assert "Best children" in text


def test_the_live_display_tells_what_runs_failed_and_is_left(study):
    display = ProgressDisplay(None, console(is_terminal=True))
    display.open(study.info, study.state, study.inspect)
    for index in range(4):
        study.record(display, index)
    display.started(study.proposal(4), study.inspect(study.proposal(4).genotype))
    with display.console.capture() as capture:
        display.console.print(display._status())
    display.close(study.summary())
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capture.get())
    assert "4/12 children" in shown
    assert "left" in shown
    assert "1 running" in shown
    assert "1 failed" in shown
    assert "best 1 (child 1)" in shown


def test_children_of_earlier_sessions_count_but_do_not_speed_up_the_forecast(study):
    for index in range(6):
        study.take(study.outcome(index))
    display = ProgressDisplay(None, console(is_terminal=False))
    display.open(study.info, study.state, study.inspect)
    assert display._left(10.0) == ""
    record(study, display, study.outcome(6))
    assert display._left(10.0) == "about 1:00 left"  # 6 of 12 spend budget, 10 s each
    display.close(study.summary())


def test_warnings_of_loggers_are_shown_while_a_study_is_open(study):
    out = console(is_terminal=True)
    display = ProgressDisplay(None, out)
    display.warn("before the study")
    display.open(study.info, study.state, study.inspect)
    logging.getLogger("nasrunner.anything").warning("with [brackets] in %s", "it")
    display.close(study.summary())
    assert "before the study" in out.file.getvalue()
    assert "with [brackets] in it" in out.file.getvalue()
    assert not [h for h in logging.getLogger("nasrunner").handlers if "Warning" in str(type(h))]


def test_a_closed_output_does_not_stop_the_study(study):
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    out.file.close()
    study.record(display, 0)
    display.close(study.summary())
    assert display._best_text() != "no reward yet"


def test_a_reward_of_nan_is_never_the_best(study):
    display = ProgressDisplay(None, console(is_terminal=False))
    display.open(study.info, study.state, study.inspect)
    record(study, display, Outcome(study.proposal(0), "completed", float("nan")))
    record(study, display, Outcome(study.proposal(1), "completed", -1.0))
    assert display._best_text() == "best -1 (child 1)"
    display.close(study.summary())


def test_a_dumb_terminal_gets_plain_lines(study, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "child 0    0.63" in show(study, console(is_terminal=True))


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_end_the_process(tmp_path):
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(tmp_path), ""], stdout=subprocess.PIPE
    )
    session.stdout.readline()
    session.stdout.close()
    assert session.wait(60) == 0
    assert (tmp_path / "alive").exists()


def test_interrupting_a_study_on_a_terminal_gives_the_cursor_back(tmp_path):
    parent, child = pty.openpty()
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(tmp_path), "interrupt"],
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux reports the end of a terminal
        while part := os.read(parent, 4096):
            shown += part
    os.close(parent)
    assert session.wait(60) == -signal.SIGINT
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_no_tracker_takes_everything(study):
    tracker = NoTracker()
    tracker.open(study.info, study.state, study.inspect)
    study.record(tracker, 0)
    tracker.close(study.summary())
    assert tracker.ui_command is None


@pytest.mark.parametrize(("reason", "is_told"), [("interrupted", True), ("it is over", False)])
def test_an_interrupted_study_ends_with_the_command_that_continues_it(study, reason, is_told):
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    display.close(study.summary(reason))
    assert ("Go on with: nasrunner resume=" in out.file.getvalue()) == is_told
    assert ("Next: nasrunner-report from=" in out.file.getvalue()) != is_told
    assert "nasrunner-retrain" not in out.file.getvalue()  # nothing has a reward
    (study.folder.parent / "multirun.yaml").touch()
    assert "Next: " not in show(study, console(is_terminal=False), 2)


def test_a_child_that_diverged_and_has_a_reward_is_told_and_counted(study):
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    for index, metrics in enumerate([{}, {"diverged": 1.0}, {"diverged": 1 / 3}]):
        outcome = Outcome(study.proposal(index), "completed", 0.5, metrics, cost_s=2.0)
        record(study, display, outcome)
    display.close(dataclasses.replace(study.summary(), counts={"completed": 3}))
    lines = out.file.getvalue().splitlines()
    assert lines[1] == "child 0    0.5      2.0 s given  best 0.5 (child 0)"
    assert lines[2] == "child 1    0.5      2.0 s diverged  best 0.5 (child 0)"
    assert "Children: 3 completed; 2 with a reward diverged" in lines


def test_a_supernet_that_others_search_has_found_nothing_itself(study):
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    parent = (Source(0, "weights"),)
    for index, sources in enumerate([(), parent]):
        proposal = Proposal(index, {}, kind="supernet", sources=sources)
        record(study, display, Outcome(proposal, "completed", cost_s=9.0))
    display.close(study.summary())
    lines = out.file.getvalue().splitlines()
    assert lines[1] == "supernet 0    trained 9.0 s  no reward yet"
    assert lines[2] == "supernet 1    found 0 architectures 9.0 s  no reward yet"


def test_what_is_no_training_from_first_weights_to_its_end_is_shown_as_such(tmp_path):
    study = lineages.LineageStudy(tmp_path / "fake" / "2026")
    lines = show(study, console(is_terminal=False, width=200), lineages.NUM).splitlines()
    assert lines[1:15] == [
        "supernet 0    found 2 architectures 9.0 s  no reward yet",
        "estimate 1    0.01     2.0 s  no reward yet",
        "estimate 2    0.02     2.0 s  no reward yet",
        "estimate 3    failed: RuntimeError: no gradient 0.0 s  no reward yet",
        "child 4    0.04     2.0 s paused after 1 epoch  best 0.04 after 1 epoch (child 4)",
        "child 5    0.05     2.0 s paused after 1 epoch  best 0.05 after 1 epoch (child 5)",
        "child 6    0.06     2.0 s stopped after 2 epochs  best 0.05 after 1 epoch (child 5)",
        "child 7    0.07     2.0 s goes on with child 4, paused after 2 epochs  "
        "best 0.07 after 2 epochs (child 7, run 0004)",
        "child 8    0.08     2.0 s trainer.max_epochs=2  "
        "best 0.07 after 2 epochs (child 7, run 0004)",
        "child 9    0.09     2.0 s goes on with child 7  best 0.09 (child 9, run 0004)",
        "child 10   0.1      2.0 s goes on with child 5  best 0.1 (child 10)",
        "child 11   0.11     2.0 s goes on with child 4  best 0.1 (child 10)",
        "child 12   0.12     2.0 s paused after 1 epoch  best 0.1 (child 10)",
        "child 13   failed: RuntimeError: loss is nan 0.5 s goes on with child 12  "
        "best 0.1 (child 10)",
    ]
    (told,) = [line for line in lines if line.startswith("Children: ")]
    assert told == (
        "Children: 1 paused (and not gone on with), 1 stopped, 5 continued (trainings of these "
        "that went on), 2 completed, 2 copies completed, 1 failed; 3 trained to the end; beside "
        "them 1 supernet, 3 estimates (1 failed)"
    )


def test_an_estimate_that_is_not_made_again_is_the_same_as_an_estimate(study):
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    proposal = dataclasses.replace(study.proposal(0), kind="estimate")
    record(study, display, Outcome(proposal, "completed", 0.5, reused_from=0))
    assert "same as estimate 0" in out.file.getvalue()


def test_the_longest_rung_is_named_where_no_child_was_trained_to_its_end(tmp_path):
    study = lineages.LineageStudy(tmp_path / "fake" / "2026")
    out = console(is_terminal=False, width=200)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    best = {"index": 7, "reward": 0.07, "trainings": 1, "reward_std": None, "architecture": "a"}
    display.close(dataclasses.replace(study.summary(), best=[{**best, "epochs": 2}]))
    told = "None was trained to its end: these were paused after 2 epochs."
    assert told in out.file.getvalue().splitlines()


def test_a_study_of_lineages_that_goes_on_says_what_it_has(tmp_path):
    study = lineages.LineageStudy(tmp_path / "fake" / "2026")
    for index in range(lineages.LAST):
        study.take(study.outcome(index))
    first = show(study, console(is_terminal=False, width=200), 0).splitlines()[0]
    told = "4 children, 1 continued, 3 estimates, 1 supernet recorded before"
    assert first.endswith(f", {told}")


def test_one_copy_is_a_copy():
    assert counted("copies_completed", 1) == "1 copy completed"
    assert counted("copies_paused", 2) == "2 copies paused"


def test_the_live_display_tells_how_far_children_have_come(study, monkeypatch):
    display = ProgressDisplay(None, console(is_terminal=True))
    config = {"task": {"reward": {"metric": "val_accuracy"}}, "trainer": {"max_epochs": 10}}
    display.open(dataclasses.replace(study.info, config=config), study.state, study.inspect)

    def shown():
        with display.console.capture() as capture:
            display.console.print(display._status())
        return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capture.get())

    def ended(index, *epochs):
        folder = child_folder(study.folder, index)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "curves.jsonl").open("a") as file:
            for epoch in epochs:
                line = {"epoch": epoch, "val_accuracy": epoch / 10, "train_loss": 0.5}
                file.write(json.dumps(line) + "\n")

    for index in range(10):
        display.started(study.proposal(index), None)
    ended(3, 0, 1, 2)
    assert "epoch" not in shown()  # what is short is seen when it has ended
    monkeypatch.setattr(running, "_AFTER_S", 0.0)
    monkeypatch.setattr(running, "_PAUSE_S", 0.0)
    assert re.search(r"child 3   epoch 3 of 10   val_accuracy 0.2   0:00\s+and 9 wait", shown())
    ended(3, 3)
    ended(4, 0)
    assert re.search(r"child 3   epoch 4 of 10 .*\s+child 4   epoch 1 of 10", shown())
    study.record(display, 3)
    display.close(study.summary())
    assert "child 3   epoch" not in shown()


def test_children_that_wait_on_a_cluster_hide_none_that_train(tmp_path, monkeypatch):
    children = running.RunningChildren()
    children.open(tmp_path, {"task": {"reward": {"metric": "val_accuracy"}}})
    monkeypatch.setattr(running, "_AFTER_S", 0.0)
    monkeypatch.setattr(running, "_PAUSE_S", 0.0)
    for index in range(100):
        children.start(Proposal(index, {}))
    for index in (50, *range(80, 90)):
        folder = child_folder(tmp_path, index)
        folder.mkdir(parents=True)
        (folder / "curves.jsonl").write_text('{"epoch": 0, "val_accuracy": 0.5}\n')
    for _ in range(4):  # looks, each at a part of those that wait
        lines = [line.plain for line in children.lines()]
    trained = [50, *range(80, 87)]
    assert [line.split()[1] for line in lines[:-1]] == [str(index) for index in trained]
    assert lines[-1] == "and 3 more, 89 waiting or in the first epoch"


def test_the_live_display_counts_what_is_paused_and_what_is_beside_the_children(tmp_path):
    study = lineages.LineageStudy(tmp_path / "fake" / "2026")
    display = ProgressDisplay(None, console(is_terminal=True, width=300))
    display.open(study.info, study.state, study.inspect)
    for index in range(lineages.NUM):
        study.record(display, index)
    with display.console.capture() as capture:
        display.console.print(display._status())
    display.close(study.summary())
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capture.get())
    assert "5/12 children" in shown
    expected = "2 failed  ·  1 paused  ·  1 stopped  ·  5 continued  ·  3 estimates  ·  1 supernet"
    assert expected in shown


def test_the_best_children_are_listed_with_the_runs_that_they_are_of(tmp_path):
    study = lineages.LineageStudy(tmp_path / "fake" / "2026")
    for index in range(lineages.NUM):
        study.take(study.outcome(index))
    rows = [
        {"index": i, "reward": i / 100, "trainings": 1, "reward_std": None, "architecture": "a"}
        for i in (lineages.COPY, lineages.LAST)
    ]
    out = console(is_terminal=False)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    display.close(dataclasses.replace(study.summary(), best=rows))
    shown = re.findall(r"^ \d +(\d{4}) +(\d{4}) ", out.file.getvalue(), re.MULTILINE)
    assert shown == [("0010", "0010"), ("0009", "0004")]


def test_a_child_beyond_a_limit_and_the_front_are_told(study):
    out = console(is_terminal=False, width=200)
    display = ProgressDisplay(None, out)
    display.open(study.info, study.state, study.inspect)
    told = "objectives.flops.limit=5: flops is 7"
    beyond = dataclasses.replace(
        study.outcome(0), reward=None, objectives={"flops": 7.0}, error=told
    )
    record(study, display, beyond)
    front = {"size": 1, "hypervolume": 2.5, "reference": {"flops": 5.0}}
    display.close(dataclasses.replace(study.summary(), front=front, unmet=["no child is within"]))
    text = out.file.getvalue()
    assert re.search(rf"^child 0    beyond {told} 2.0 s", text, re.MULTILINE)
    assert "warning: no child is within\n" in text
    assert "Front: 1 child that no other dominates; hypervolume 2.5 from flops=5\n" in text
