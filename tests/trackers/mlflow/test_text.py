import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param

from nasrunner.core import Blueprint, Outcome, Proposal, StudyInfo, Summary
from nasrunner.core.ledger.steps import Step
from nasrunner.core.screen.passwords import without_passwords
from nasrunner.trackers.mlflow.text import (
    MAX_PARAM,
    child_note,
    config_params,
    legal_names,
    params_of,
    study_metrics,
    study_note,
)
from nasrunner.trackers.notes import ended_note
from nasrunner.trackers.wording import run_name

INFO = StudyInfo("toy", Path("outputs/toy"), {}, None)
odd_names = st.text(st.sampled_from("aA/.-_ :é~#ß\n"), max_size=8) | st.text(max_size=300)


def test_names_of_decisions_stay_as_they_are():
    names = ["2/repeat/0/or/0/0/affine/units", "hyperparameters/optimizer.lr", "0/conv2d/filters"]
    assert legal_names(names) == {name: name for name in names}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.lists(odd_names, unique=True, max_size=12))
def test_every_name_becomes_one_that_mlflow_takes_and_no_two_the_same(names):
    legal = legal_names(names)
    assert list(legal) == names
    assert len({name.casefold() for name in legal.values()}) == len(names)
    for name in legal.values():
        _validate_param(name, "value")


def test_what_a_study_saved_and_found_are_metrics():
    front = {"size": 3, "hypervolume": None, "reference": {}}
    steps = [Step(1, 3, 4, 0.5), Step(3, None, 2, None), Step(0.25, 0.5, 2, -1.0, "width")]
    summary = Summary("over", {}, [], 1.0, 2.0, num_full=2, effort=2.25, steps=steps, front=front)
    plain = {"effort": 2.25, "trained_to_the_end": 2.0, "front_size": 3.0}
    ranks = {"rank_correlation/epochs_1_3": 0.5, "rank_correlation/width_0.25_0.5": -1.0}
    assert study_metrics(summary) == plain | ranks
    assert study_metrics(Summary("over", {}, [], 1.0, 2.0)) == {}


def test_the_best_child_of_a_line_is_named_with_the_child_that_its_run_is_named_after():
    best = {"index": 12, "reward": 0.5, "trainings": 1, "reward_std": None, "architecture": "a"}
    note = ended_note(INFO, Summary("over", {}, [{**best, "begun_as": 6}], 1.0, 2.0))
    assert "| 0012 (run 0006) | 0.5 |" in note


def test_a_name_does_not_depend_on_the_names_after_it():
    assert legal_names(["a?b"])["a?b"] == legal_names(["a?b", "c", "a!b"])["a?b"]
    assert re.fullmatch(r"a_b-[0-9a-f]{8}", legal_names(["a?b"])["a?b"])


def test_names_that_differ_in_case_only_are_kept_apart():
    legal = legal_names(["Units", "units"])
    assert legal["Units"] == "Units"
    assert legal["units"].startswith("units-")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (0.1, "0.1"), (True, "True"), (None, "None"), ("relu", "relu"), ((3, 1), "[3, 1]")],
)
def test_values_are_shown_as_people_write_them(value, shown):
    assert params_of({"x": value}) == {"x": shown}


def test_long_values_are_clipped():
    assert len(params_of({"x": "y" * 9000})["x"]) == MAX_PARAM


def test_a_configuration_is_flat_and_without_its_space():
    config = {"seed": 1, "space": {"concat": []}, "limits": {"flops": None, "deep": {"x": [1]}}}
    assert config_params(config) == {"seed": "1", "limits.flops": "None", "limits.deep.x": "[1]"}


def test_a_run_is_named_by_its_index_and_the_values_of_its_arguments():
    text = "conv2d(filters=32, kernel_size=(3, 1)) → relu | optimizer.lr=0.1"
    assert run_name(7, text) == "0007 conv2d(32, (3, 1)) → relu | 0.1"
    long = "affine(units=64) → " * 50
    assert len(run_name(12345, long)) == 80
    assert run_name(7, long) != run_name(7, f"{long}relu")
    assert run_name(7, long)[4:] == run_name(8, long)[4:]


def test_notes_tell_what_became_of_a_child():
    proposal = Proposal(5, {})
    blueprint = Blueprint("affine(units=64) → relu", {}, None, None)
    failed = Outcome(proposal, "failed", error="Traceback\nRuntimeError: loss is nan")
    assert "RuntimeError: loss is nan" in child_note(failed, blueprint)
    assert "affine(units=64) → relu" in child_note(failed, blueprint)
    assert "child 0003" in child_note(Outcome(proposal, "completed", 1.0, reused_from=3), None)
    assert child_note(None, None) == ""


def test_the_note_of_a_study_says_how_to_list_its_children():
    summary = Summary("the space is exhausted", {}, [], 0.0, 0.0, began_with="2 of 3 outcomes of a")
    note = study_note("fake/2026-12ab", ended_note(INFO, summary))
    assert "tags.\"nasrunner.study\" = 'fake/2026-12ab'" in note
    assert "the space is exhausted" in note
    assert "Began with 2 of 3 outcomes of a." in note


def test_a_password_in_an_address_is_not_published():
    config = {"tracker": {"tracking_uri": "postgresql://me:secret@host/db"}, "seeds": ["//a:b@c"]}
    shown = without_passwords(config)
    assert shown == {"tracker": {"tracking_uri": "postgresql://me@host/db"}, "seeds": ["//a@c"]}
    query = "postgresql:///db?user=me&password=secret&host=/run"
    assert without_passwords(query) == "postgresql:///db?user=me&password=&host=/run"
    assert without_passwords("http://host:5000/a@b") == "http://host:5000/a@b"
