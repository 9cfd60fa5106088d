"""The sections of one study, in whatever state it is."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nasrunner.core import Outcome
from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.steps import PROMOTES
from nasrunner.recorded import read_study
from nasrunner.report.one_study import study_sections
from nasrunner.report.page.files import write_page
from nasrunner.report.page.parts import Drawing, Table
from nasrunner.report.study.children import children_section, link_to
from nasrunner.report.study.configuration import configuration_section
from nasrunner.report.study.curves import curves_section
from nasrunner.report.study.evaluations import clipped, duration, evaluations, reward_label
from nasrunner.report.study.failures import failures_section, reason
from nasrunner.report.study.leaderboard import leaderboard_section
from nasrunner.report.study.overview import overview_section
from nasrunner.report.study.pareto import front, pareto_section
from nasrunner.report.study.reward_axes import fence
from nasrunner.report.study.rewards import rewards_section
from nasrunner.report.study.timeline import timeline
from nasrunner.rescoring.measured import read_curve
from tests.report.recordings import Recording, config, recorded
from tests.sampling import one_in

RNG = np.random.default_rng(0)
LAST = ["Children", "Configuration"]
USUAL = ["Overview", "Leaderboard", "Rewards", "Pareto front", "What the searcher learnt"]


def sized(folder, children):
    """A study of children with these (reward, parameters, flops)."""
    study = Recording(folder)
    for units, (reward, parameters, flops) in enumerate(children):
        metrics = {"parameters": float(parameters), "flops": float(flops)}
        study.record(Outcome(study.propose(units), "completed", reward, metrics))
    return read_study(study.end())


def with_curves(folder, num_children=8, num_epochs=5):
    study = Recording(folder)
    for index in range(num_children):
        study.child(0.9 - 0.1 * index, cost_s=0.5)
        home = folder / "children" / f"{index:04d}"
        home.mkdir(parents=True)
        lines = [
            {"epoch": epoch, "val_loss": 1 / (epoch + 1 + index), "val_accuracy": 0.1 * epoch}
            for epoch in range(num_epochs)
        ]
        (home / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study


# Every state a study may be in.


def one_child(folder):
    return recorded(folder, [0.5], cost_s=0.9)


def all_failed(folder):
    return recorded(folder, [None] * 5, cost_s=0.5)


def nothing_yet(folder):
    return Recording(folder).folder


def in_flight_only(folder):
    study = Recording(folder)
    study.propose(3)
    return study.folder


def tabular(folder):
    return recorded(folder, RNG.uniform(size=60).tolist())


def equal_rewards(folder):
    return recorded(folder, [0.5] * 30)


def huge_losses(folder):
    return recorded(folder, [*(-RNG.uniform(size=40)), -1e30, None], cost_s=0.5)


def two_thousand(folder):
    return recorded(folder, RNG.uniform(size=2100).tolist(), cost_s=0.5)


def trained(folder):
    return with_curves(folder).end()


@one_in(
    2,
    0,
    ("state", "titles"),
    [
        (nothing_yet, ["Overview"]),
        (in_flight_only, ["Overview", "What the searcher learnt"]),
        (one_child, [*USUAL, "Timeline"]),
        (
            all_failed,
            ["Overview", "What the searcher learnt", "Failed and invalid children", "Timeline"],
        ),
        (tabular, [*USUAL, "Decisions"]),
        (equal_rewards, USUAL),
        (huge_losses, [*USUAL, "Decisions", "Failed and invalid children", "Timeline"]),
        (trained, [*USUAL, "Decisions", "Learning curves", "Timeline"]),
        pytest.param(two_thousand, [*USUAL, "Decisions", "Timeline"], marks=pytest.mark.slow),
    ],
)
def test_a_study_in_any_state_makes_a_page(tmp_path, state, titles):
    sections = study_sections(read_study(state(tmp_path / "study")))
    last = LAST if state is not nothing_yet else LAST[1:]
    assert [section.title for section in sections] == [*titles, *last]
    page = write_page("A study", "", sections, tmp_path / "report", refresh_s=None)
    text = page.read_text()
    assert all(f"<h2>{title}</h2>" in text for title in titles)
    assert len(text) < 2e6


@pytest.mark.slow
def test_the_report_uses_no_global_figures_and_loads_no_training_code(tmp_path):
    folder = recorded(tmp_path / "study", [0.5, 0.6])
    code = (
        "import sys, pathlib\n"
        "from nasrunner.recorded import read_study\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from nasrunner.report.one_study import study_sections\n"
        "from nasrunner.report.page.files import write_page\n"
        f"sections = study_sections(read_study(pathlib.Path({str(folder)!r})))\n"
        f"write_page('', '', sections, pathlib.Path({str(tmp_path)!r}), refresh_s=None)\n"
        "unwanted = {'matplotlib.pyplot', 'pytorch_lightning', 'mlflow'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


# Overview and leaderboard.


def test_the_overview_counts_what_duplicates_saved(tmp_path):
    study = Recording(tmp_path / "s")
    study.child(0.7, cost_s=0.9, units=5)
    study.record(Outcome(study.propose(5), "completed", 0.7, reused_from=0))
    study.child(None, cost_s=0.5, units=6)
    recording = read_study(study.end())
    facts = dict(overview_section(recording, timeline(recording)).parts[0].items)
    assert facts == {
        "evaluations": "3",
        "best, child 0000": "0.7",
        "found at evaluation": "1",
        "failed": "1",
        "wall time from the first child on": "2.0 s",
        "training time": "1.4 s",
        "duplicates saved": "1 (0.9 s)",
        "workers idle": "30%",  # 0.9 s and 0.5 s of two seconds, in one lane
    }


def test_the_wall_time_is_that_of_the_terminal(tmp_path):
    folder = recorded(tmp_path / "s", [0.5, 0.6])
    summary = {"reason": "max_children=100 is spent", "wall_s": 112.4}
    (folder / "summary.json").write_text(json.dumps(summary))
    facts = dict(overview_section(read_study(folder), None).parts[0].items)
    assert facts["wall time"] == "1 min 52 s"
    assert facts["wall time from the first child on"] == "2.0 s"
    (folder / "summary.json").write_text(json.dumps({**summary, "reason": "interrupted"}))
    assert "wall time" not in dict(overview_section(read_study(folder), None).parts[0].items)


def test_data_and_configuration_are_on_the_page(tmp_path):
    study = read_study(recorded(tmp_path / "s", [0.5], optimizer__lr=0.02))
    text = overview_section(study, None).text
    assert "Data: digits, inputs of 64, 10 outputs." in text
    table, whole = configuration_section(study).parts
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["data"][0].value == "digits"
    assert "batch_size: 32" in rows["data"][1]
    assert rows["searcher"][0].value == "random"
    assert rows["optimizer"][1] == "lr: 0.02"
    assert "units:" in whole.text


def test_a_password_in_the_configuration_is_not_on_the_page(tmp_path):
    study = read_study(recorded(tmp_path / "s", [0.5]))
    tracker = {"_target_": "x.Y", "uri": "postgresql://me:secret@host/db"}
    study = replace(study, config={**study.config, "tracker": tracker})
    shown = [
        str(each)
        for part in configuration_section(study).parts
        for each in (part.rows if isinstance(part, Table) else [part.text])
    ]
    assert "//me@host/db" in "".join(shown)
    assert "secret" not in "".join(shown)


def test_every_child_has_a_row_that_others_lead_to(tmp_path):
    study = Recording(tmp_path / "s")
    study.child(0.7, units=5)
    study.record(Outcome(study.propose(5), "completed", 0.7, reused_from=0))
    study.propose(6, parent=0)
    table = children_section(read_study(study.folder)).parts[0]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["child"].anchor for row in rows] == ["child-0000", "child-0001", "child-0002"]
    assert [row["status"] for row in rows] == ["completed", "repeated", "in flight"]
    assert [row["from"] and row["from"].link for row in rows] == [
        None,
        "#child-0000",
        "#child-0000",
    ]
    assert rows[0]["architecture"] == "affine(units=6) → relu"


def test_estimates_have_no_rows_and_nothing_leads_to_rows_that_are_not_shown(tmp_path):
    study = Recording(tmp_path / "s")
    with study.together():
        for units in range(3):
            study.record(Outcome(study.propose(units, kind="estimate"), "failed", error="no"))
        for _ in range(1000):
            study.child(0.5, units=1)
        study.child(None, units=2)
        study.propose(3, parent=1003)
    found = read_study(study.folder)
    table = children_section(found).parts[0]
    assert (len(table.rows), table.most_rows) == (1002, 1000)
    assert table.values[0][0] == "0003"
    assert "Estimates are left out." in table.caption
    places = [1, 3, 1002, 1003]
    links = [None, "#child-0003", "#child-1002", None]
    assert [link_to(found, index).link for index in places] == links
    told = failures_section(found).parts[0]
    assert [row[3].link for row in told.rows] == [None, None]


def test_a_promoted_child_says_from_whom(tmp_path):
    study = Recording(tmp_path / "s")
    study.record(Outcome(study.propose(2, fidelity={"width": 0.5}), "completed", 0.5))
    study.record(Outcome(study.propose(2, notes={PROMOTES: 0}), "completed", 0.6))
    table = children_section(read_study(study.folder)).parts[0]
    assert [row[table.columns.index("from")] for row in table.values] == [None, "0000"]


@pytest.mark.parametrize("status", ["completed", "paused"])
def test_a_child_that_was_not_trained_for_its_size_is_listed_as_too_large(tmp_path, status):
    study = Recording(tmp_path / "s")
    beyond = {"flops": 9.0, "epochs": 0.0}
    study.record(Outcome(study.propose(5), status, metrics=beyond, error="too large"))
    table = children_section(read_study(study.folder)).parts[0]
    assert table.values[0][table.columns.index("status")] == "too large"


def test_the_overview_says_why_a_study_ended_or_that_it_has_not(tmp_path):
    ended = read_study(recorded(tmp_path / "a", [0.5]))
    assert "max_children=100 is spent" in overview_section(ended, None).text
    running = Recording(tmp_path / "b")
    running.propose(1)
    text = overview_section(read_study(running.folder), None).text
    assert "Running, or broken off" in text
    assert "1 child in flight" in text


def test_the_overview_says_which_children_were_trained_after_a_change(tmp_path):
    study = Recording(tmp_path / "study")
    study.child(0.5)
    study._append("resumed", {"changed": ["module nets is another"]})
    proposal = study.propose(1)
    study._append("outcome", {**Outcome(proposal, "completed", 0.7).to_json(), "changed": True})
    text = overview_section(read_study(study.end()), None).text
    assert "(module nets is another): 1 child from 0001 on were trained with it" in text
    assert "changed" not in overview_section(read_study(recorded(tmp_path / "o", [0.5])), None).text


def test_the_leaderboard_lists_ten_and_draws_three(tmp_path):
    study = read_study(recorded(tmp_path / "s", [n / 20 for n in range(15)]))
    table, *drawings = leaderboard_section(study).parts
    assert [row[1] for row in table.values] == [f"{n:04d}" for n in range(14, 4, -1)]
    assert "training (s)" not in table.columns  # no child says what it cost
    assert table.rows[0][-1] == "affine(units=15) → relu"
    assert [type(drawing) for drawing in drawings] == [Drawing] * 3
    assert "<svg" in drawings[0].svg
    assert "units=15" in drawings[0].svg


def test_an_architecture_that_was_trained_again_stands_with_its_mean(tmp_path):
    study = Recording(tmp_path / "s")
    for units, reward in [(4, 0.9), (5, 0.8), (4, 0.5)]:
        study.child(reward, units=units)
    found = read_study(study.end())
    table = leaderboard_section(found).parts[0]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.values]
    assert [(row["child"], row["reward"], row["trainings"]) for row in rows] == [
        ("0001", 0.8, None),
        ("0000", pytest.approx(0.7), 2),
    ]
    assert rows[1]["sd of their rewards"] == pytest.approx(0.2 * 2**0.5)
    axes = rewards_section(found).parts[0].figure.axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == "best so far")
    assert line.get_ydata().tolist() == pytest.approx([0.9, 0.9, 0.8, 0.8])
    assert [text.get_text() for text in axes.texts] == ["child 0001: 0.8"]
    on_front = pareto_section(found).parts[-1]
    assert [row[on_front.columns.index("child")] for row in on_front.values] == ["0001"]


# Rewards.


def test_the_line_is_the_best_so_far_and_failures_are_marked(tmp_path):
    study = read_study(recorded(tmp_path / "s", [0.3, None, 0.2, 0.6, 0.5, None]))
    axes = rewards_section(study).parts[0].figure.axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["best so far"].get_xdata().tolist() == [1, 3, 4, 5, 6]
    assert lines["best so far"].get_ydata().tolist() == [0.3, 0.3, 0.6, 0.6, 0.6]
    assert list(lines["failed"].get_xdata()) == [2, 6]
    assert axes.get_ylabel() == "reward (val_accuracy)"


def test_a_few_very_low_rewards_do_not_press_the_others_together(tmp_path):
    rewards = [*np.linspace(0.8, 0.9, 40), -1e30]
    plot = rewards_section(read_study(recorded(tmp_path / "s", rewards))).parts[0]
    low, high = plot.figure.axes[0].get_ylim()
    assert 0.78 < low < 0.8
    assert 0.9 < high < 0.92
    assert "One reward lies below the axis" in plot.caption


def test_the_fence_is_three_spans_below_the_first_quartile():
    assert fence([0.0] * 5 + [1.0] * 20 + [3.0], 3.0) == 1.0 - 3 * 2.0
    assert fence([0.0] * 19, 3.0) == -np.inf


# Pareto front.


def test_the_front_is_what_no_child_dominates(tmp_path):
    children = [
        (0.5, 100, 1),  # the smallest
        (0.4, 100, 1),  # as small and worse
        (0.7, 200, 1),
        (0.7, 200, 1),  # the same: the earlier stands for both
        (0.6, 300, 1),  # larger and worse
        (0.7, 400, 1),  # larger and no better
        (0.9, 500, 1),
    ]
    study = sized(tmp_path / "s", children)
    found = front(evaluations(study), "parameters")
    assert [e.index for e in found] == [0, 2, 6]


def test_the_pareto_table_says_which_front_a_child_is_on(tmp_path):
    study = sized(tmp_path / "s", [(0.5, 10, 30), (0.6, 20, 20), (0.7, 30, 10)])
    *plots, table = pareto_section(study).parts
    assert [plot.name for plot in plots] == ["pareto_parameters", "pareto_flops"]
    assert [[row[0], row[-1]] for row in table.values] == [
        ["0002", "parameters, FLOPs"],
        ["0001", "parameters"],
        ["0000", "parameters"],
    ]


@pytest.mark.parametrize(("largest", "scale"), [(900, "linear"), (90_000, "log")])
def test_sizes_over_decades_are_on_a_logarithmic_axis(tmp_path, largest, scale):
    study = sized(tmp_path / "s", [(0.5, 100, 1), (0.6, largest, 1)])
    assert pareto_section(study).parts[0].figure.axes[0].get_xscale() == scale


def test_children_of_unknown_size_have_no_front(tmp_path):
    study = Recording(tmp_path / "s")
    study.record(Outcome(study.propose(1), "completed", 0.5))
    assert pareto_section(read_study(study.end())) is None


# Learning curves.


def test_curves_show_the_best_by_name_and_the_rest_in_grey(tmp_path):
    plot = curves_section(read_study(with_curves(tmp_path / "s").end())).parts[0]
    accuracy, loss = plot.figure.axes
    assert [line.get_label() for line in accuracy.get_lines()] == [f"{n:04d}" for n in range(5)]
    assert accuracy.get_lines()[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert len(loss.collections[0].get_segments()) == 3
    assert [axes.get_title(loc="left") for axes in (accuracy, loss)] == ["val_accuracy", "val_loss"]


def test_an_exploding_loss_leaves_the_others_readable(tmp_path):
    study = with_curves(tmp_path / "s", num_children=20)
    lines = [{"epoch": epoch, "val_loss": 10.0**epoch} for epoch in range(30)]
    curves = tmp_path / "s" / "children" / "0019" / "curves.jsonl"
    curves.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plot = curves_section(read_study(study.end())).parts[0]
    assert plot.figure.axes[1].get_ylim()[1] < 1e26
    assert "cut off" in plot.caption


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    study = read_study(with_curves(tmp_path / "s", num_epochs=3).end())
    path = study.children[0].folder / "curves.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "val_l')
    assert [line["epoch"] for line in read_curve(study.children[0])] == [0, 1, 2]


@pytest.mark.parametrize("damaged", [b"\xaf\x00", b'{"epoch": 1', b"[1, 2]", b'{"val_loss": 1}'])
def test_damaged_curves_are_told_with_their_line(damaged, tmp_path):
    study = read_study(with_curves(tmp_path / "s", num_epochs=3).end())
    path = study.children[0].folder / "curves.jsonl"
    path.write_bytes(path.read_bytes() + damaged + b"\n")
    with pytest.raises(ConfigError, match=r"0000/curves.jsonl is damaged in line 4: .*curve out"):
        read_curve(study.children[0])


def test_validations_within_an_epoch_stand_where_they_were(tmp_path):
    study = with_curves(tmp_path / "s", num_children=1)
    lines = [
        {"epoch": 0, "step": 5, "val_loss": 4.0},
        {"epoch": 0, "step": 10, "train_loss": 1.0, "val_loss": 3.0},
        {"epoch": 1, "step": 15, "val_loss": 2.0},
        {"epoch": 1, "step": 20, "train_loss": 1.0, "val_loss": 1.0},
        {"epoch": 2, "step": 20, "val_loss": 0.5},  # of what a callback made of the weights
    ]
    curves = tmp_path / "s" / "children" / "0000" / "curves.jsonl"
    curves.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plot = curves_section(read_study(study.end())).parts[0]
    loss = next(axes for axes in plot.figure.axes if axes.get_title(loc="left") == "val_loss")
    assert loss.get_lines()[0].get_xdata().tolist() == [0.5, 1, 1.5, 2, 2]


def test_a_child_without_epochs_has_an_empty_curve(tmp_path):
    study = read_study(recorded(tmp_path / "s", [0.5]))
    assert read_curve(study.children[0]) == ()


# Failures.


def test_failures_that_differ_in_numbers_are_one_reason(tmp_path):
    study = Recording(tmp_path / "s")
    for index, error in enumerate(
        ["a\nMemoryError: 3.5 GB", "b\nMemoryError: 12 GB", "ValueError: no", None]
    ):
        study.record(Outcome(study.propose(index), "failed", error=error))
    study.record(Outcome(study.propose(9), "invalid", error="200 parameters are too many"))
    table = failures_section(read_study(study.end())).parts[0]
    assert [row[:4] for row in table.values] == [
        [2, "failed", "MemoryError: … GB", "0000"],
        [1, "failed", "ValueError: no", "0002"],
        [1, "failed", "no reason given", "0003"],
        [1, "invalid", "… parameters are too many", "0004"],
    ]
    assert table.rows[0][4] == "a\nMemoryError: 3.5 GB"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("x\nloss is 1.5e-10 in epoch 3\n", "loss is … in epoch …"),
        ("conv2d: 3,072 inputs", "conv2d: … inputs"),
        ("", "no reason given"),
        ("x\nnasrunner.children.proxies.scores.ProxyError: too few", "ProxyError: too few"),
        ("torch.OutOfMemoryError: too few", "torch.OutOfMemoryError: too few"),
    ],
)
def test_a_reason_is_the_last_line_without_its_numbers(error, expected):
    assert reason(error) == expected


# Words and figures.


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "reward (val_accuracy)"),
        ({"task__reward__mode": "min", "task__reward__metric": "val_loss"}, "reward (−val_loss)"),
        ({"task__reward__power": 3}, "reward (val_accuracy^3)"),
        ({"trainer__reward": "mean_acc"}, "reward (mean_acc)"),
        ({"task": {"_target_": "mine.Task"}}, "reward"),
        ({"task": None}, "reward"),
    ],
)
def test_the_axis_of_rewards_says_what_they_are(tmp_path, changes, label):
    study = read_study(Recording(tmp_path / "a").folder)
    assert reward_label(dataclasses.replace(study, config=config(**changes))) == label


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.7, "1 min 00 s"), (3600, "1 h 00 min")],
)
def test_durations_are_written_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_a_clipped_text_keeps_both_ends():
    assert clipped("inverted_residual#1", 12) == "inverte…al#1"
    assert clipped("relu", 12) == "relu"
