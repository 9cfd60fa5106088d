import math

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats

from nasrunner.compose.launch import open_ledger
from nasrunner.core import ConfigError, Outcome, StudyInfo
from nasrunner.core.randomness.seeds import baseline_seed
from nasrunner.recorded import find_studies, read_study
from nasrunner.report.comparison.averages import average, shares, thresholds
from nasrunner.report.comparison.baselines import find_baselines
from nasrunner.report.comparison.groups import check_comparable, groups
from nasrunner.report.comparison.progress import progress
from nasrunner.report.comparison.sections import compare_sections
from nasrunner.report.comparison.tables import (
    budget_table,
    cost_table,
    num_duplicates,
    proposal_times_s,
    saved_s,
    shared_budget,
    usual_budgets,
)
from nasrunner.report.comparison.validation import worth_of_one
from nasrunner.report.page.parts import Table
from nasrunner.report.searcher_names import searcher_name
from nasrunner.report.study.evaluations import reward_label
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules
from tests.report.recordings import CONFIG, EVOLUTION, Recording, config, recorded
from tests.toys import ToyExecutor, ToyTrainer, figure1

nan = math.nan


def groups_of(folder, by="settings"):
    return groups(find_studies([folder]), by)


# Progress


def test_failed_and_repeated_children_are_evaluations_and_invalid_ones_are_not(tmp_path):
    study = Recording(tmp_path / "a")
    study.record(Outcome(study.propose(1), "invalid", error="too large"))
    study.child(None)
    study.child(0.5)
    repeated = Outcome(study.propose(2), "completed", 0.5, reused_from=2)
    study.record(repeated)
    study.record(Outcome(study.propose(2), "duplicate", reused_from=2))
    study.child(0.7)
    found = progress(read_study(study.end()))
    np.testing.assert_array_equal(found.rewards_E, [nan, 0.5, 0.5, 0.7])
    np.testing.assert_array_equal(found.best_E, [nan, 0.5, 0.5, 0.7])


def test_outcomes_count_in_the_order_in_which_they_were_recorded(tmp_path):
    study = Recording(tmp_path / "a", start_s=0.0)
    slow, quick = study.propose(1), study.propose(2)
    study.record(Outcome(quick, "completed", 0.2), at_s=5.0)
    study.record(Outcome(slow, "completed", 0.9), at_s=8.0)
    found = progress(read_study(study.folder))
    np.testing.assert_array_equal(found.rewards_E, [0.2, 0.9])
    np.testing.assert_array_equal(found.elapsed_s_T, [5.0, 8.0])


def test_the_pause_until_a_study_was_resumed_is_no_time(tmp_path):
    study = Recording(tmp_path / "a", start_s=100.0)
    study.child(0.5)  # at 101
    study.end("interrupted")
    study.resume(at_s=5000.0)
    study.child(0.6)  # at 5001
    found = progress(read_study(study.end()))
    np.testing.assert_array_equal(found.elapsed_s_T, [1.0, 2.0])
    assert found.elapsed_s == 2.0


def test_training_seconds_are_summed_over_children_and_their_devices(tmp_path):
    recorded(tmp_path / "a", [0.5, None, 0.6], cost_s=3.0)
    recorded(tmp_path / "b", [0.5, None, 0.6], cost_s=3.0, trainer__devices=2)
    one, two = (progress(study) for study in find_studies([tmp_path]))
    np.testing.assert_array_equal(one.trained_s_T, [3.0, 6.0, 9.0])
    assert two.trained_s == 18.0


def test_a_best_reward_is_known_only_as_far_as_the_study_came(tmp_path):
    found = progress(read_study(recorded(tmp_path / "a", [None, 0.4, 0.6])))
    assert math.isnan(found.best_after(1))
    assert found.best_after(2) == 0.4
    assert found.best_after(3) == 0.6
    assert found.best_after(4) is None


@pytest.mark.parametrize("target", [None, 0.0])
def test_a_study_with_nothing_more_to_find_stands_for_any_budget(tmp_path, target):
    space = figure1()
    rules = Rules(0, None, None, target, None, None, "reuse", "worst", None, None)
    with open_ledger(tmp_path) as ledger:
        Study(
            space=space,
            searcher=ExhaustiveSearch(space=space, seed=0),
            trainer=ToyTrainer(space),
            executor=ToyExecutor(),
            trackers=[],
            ledger=ledger,
            rules=rules,
            info=StudyInfo("toy", tmp_path, {}, None),
        ).run()
    OmegaConf.save(OmegaConf.create(CONFIG), tmp_path / "config.yaml")
    found = progress(read_study(tmp_path))
    assert found.num_evaluations == (24 if target is None else 1)
    assert found.best_after(10_000) == found.best_E[-1]


# Groups


def test_studies_that_differ_by_seed_budget_and_places_are_one_group(tmp_path):
    for seed in range(3):
        recorded(
            tmp_path / str(seed),
            [0.5],
            seed=seed,
            study=f"run-{seed}",
            max_children=10 + seed,
            baseline={"_target_": "nasrunner.searchers.sampling.random.RandomSearch"}
            if seed
            else None,
            data__split_seed=seed,
            tracker={"_target_": "nasrunner.trackers.none.NoTracker", "note": seed},
        )
    (group,) = groups_of(tmp_path)
    assert group.label == group.searcher == "random"
    assert [study.seed for study in group.studies] == [0, 1, 2]
    assert len(groups_of(tmp_path, by="name")) == 3


def test_groups_of_one_searcher_are_told_apart_by_what_differs(tmp_path):
    recorded(tmp_path / "a", [0.5], searcher=EVOLUTION)
    recorded(tmp_path / "b", [0.5], searcher={**EVOLUTION, "population_size": 5})
    recorded(tmp_path / "c", [0.5], searcher={**EVOLUTION}, trainer__max_epochs=3)
    recorded(tmp_path / "d", [0.5])
    assert [group.label for group in groups_of(tmp_path)] == [
        "evolution, population_size=10, max_epochs=10",
        "evolution, population_size=5, max_epochs=10",
        "evolution, population_size=10, max_epochs=3",
        "random",
    ]


def test_names_group_what_settings_do_not_tell_apart(tmp_path):
    recorded(tmp_path / "a", [0.5], study="before")
    recorded(tmp_path / "b", [0.6], study="after")
    assert [group.label for group in groups_of(tmp_path)] == ["random"]
    assert [group.label for group in groups_of(tmp_path, by="name")] == ["before", "after"]


@pytest.mark.parametrize(
    ("searcher", "name"),
    [
        ({"_target_": "nasrunner.searchers.sampling.random.RandomSearch"}, "random"),
        (EVOLUTION, "evolution"),
        (
            {
                "_target_": "nasrunner.searchers.optuna.Tpe",
                "sampler": {"_target_": "optuna.samplers.CmaEsSampler", "popsize": 4},
            },
            "cmaes",
        ),
        (
            {
                "_target_": "nasrunner.searchers.optuna.Tpe",
                "sampler": {"_target_": "optuna.samplers.QMCSampler"},
            },
            "tpe (QMCSampler)",
        ),
        ({"_target_": "mine.BestOfTwo", "k": 3}, "best_of_two"),
        (
            {
                "_target_": "nasrunner.searchers.wrappers.filter.Filter",
                "searcher": {"_target_": "nasrunner.searchers.sampling.random.RandomSearch"},
            },
            "filter around random",
        ),
        (
            {
                "_target_": "nasrunner.searchers.wrappers.filter.Filter",
                "searcher": {"_partial_": True, **EVOLUTION},
                "surrogate": {
                    "_target_": "nasrunner.searchers.surrogates.gaussian_process.GaussianProcess"
                },
            },
            "filter (GaussianProcess) around evolution",
        ),
        (
            {
                "_target_": "nasrunner.searchers.wrappers.predicted.Predicted",
                "searcher": {"_target_": "mine.BestOfTwo"},
                "predictor": None,
            },
            "predicted around best_of_two",
        ),
    ],
)
def test_a_searcher_is_called_as_its_file_or_else_by_its_classes(searcher, name):
    assert searcher_name(searcher) == name


def test_a_seed_that_occurs_twice_is_known(tmp_path):
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        recorded(tmp_path / name, [0.1 * seed + 0.1], seed=seed)
    (group,) = groups_of(tmp_path)
    assert group.repeated_seeds == [1]
    assert group.best_by_seed(1) == pytest.approx({(0, 0): 0.1, (1, 1): 0.2})


# What may be compared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task__reward__metric": "val_loss", "task__reward__mode": "min"},
            'rewards differ: task.reward.metric is "val_accuracy" in the first, "val_loss" in the '
            'second; task.reward.mode is "max" in the first, "min" in the second',
        ),
        (
            {
                "trainer": {
                    "_target_": "nasrunner.children.tables.tabular.TabularTrainer",
                    "reward": "acc",
                }
            },
            "rewards differ: ",
        ),
        ({"data___target_": "nasrunner.data.mnist.Mnist"}, "data differ: data._target_ is"),
        ({"data__validation_examples": 100}, "data.validation_examples is 287 in the first, 100"),
    ],
)
def test_studies_whose_rewards_measure_something_else_are_refused(tmp_path, changes, message):
    recorded(tmp_path / "a", [0.5])
    recorded(tmp_path / "b", [0.5], **changes)
    with pytest.raises(ConfigError, match=f"{tmp_path}/a and {tmp_path}/b cannot be .*{message}"):
        check_comparable(find_studies([tmp_path]))


def test_losses_of_standardized_targets_are_of_another_unit_and_other_metrics_are_not(tmp_path):
    for metric in ("val_loss", "val_r2_score"):
        task = {"_target_": "Regression", "reward": {"metric": metric, "mode": "min"}}
        for name, setting in (("a", {}), ("b", {"normalize_targets": False})):
            recorded(tmp_path / metric / name, [0.5], task={**task, **setting})
        check_comparable(find_studies([tmp_path / metric]))
        recorded(tmp_path / metric / "c", [0.5], task={**task, "normalize_targets": True})
    check_comparable(find_studies([tmp_path / "val_r2_score"]))
    with pytest.raises(ConfigError, match=r"task.normalize_targets is missing in the first, true"):
        check_comparable(find_studies([tmp_path / "val_loss"]))


def test_tables_are_compared_by_their_reward_and_file_name(tmp_path):
    table = {
        "_target_": "nasrunner.children.tables.tabular.TabularTrainer",
        "path": "/here/table.csv",
        "reward": "mean_acc",
    }
    recorded(tmp_path / "a", [0.5], trainer=table)
    recorded(tmp_path / "b", [0.5], trainer={**table, "path": "/there/table.csv"})
    check_comparable(find_studies([tmp_path]))
    assert len(groups_of(tmp_path)) == 1
    recorded(tmp_path / "c", [0.5], trainer={**table, "reward": "test_acc"})
    with pytest.raises(ConfigError, match=r'trainer.reward is "mean_acc" in the first, "test_acc"'):
        check_comparable(find_studies([tmp_path]))


def test_scores_are_compared_by_their_proxy_whatever_the_task_rewards(tmp_path):
    scored = {
        "_target_": "nasrunner.children.proxies.zero_cost.ZeroCostTrainer",
        "proxy": "synflow",
        "batch_size": None,
    }
    recorded(tmp_path / "a", [0.5], trainer=scored)
    recorded(tmp_path / "b", [0.5], trainer=scored, task__reward__metric="val_loss")
    check_comparable(find_studies([tmp_path]))
    assert reward_label(find_studies([tmp_path])[0]) == "reward (synflow)"
    recorded(tmp_path / "c", [0.5], trainer={**scored, "proxy": "snip"})
    with pytest.raises(ConfigError, match=r'trainer.proxy is "synflow" in the first, "snip"'):
        check_comparable(find_studies([tmp_path]))


def test_training_may_differ(tmp_path):
    recorded(tmp_path / "a", [0.5])
    recorded(tmp_path / "b", [0.5], optimizer__lr=0.1, data__batch_size=64, seed=4)
    check_comparable(find_studies([tmp_path]))
    labels = [group.label for group in groups_of(tmp_path)]
    assert labels == ["random, batch_size=32, lr=0.001", "random, batch_size=64, lr=0.1"]


# The baseline


def test_random_search_is_the_baseline_where_it_is_there(tmp_path):
    recorded(tmp_path / "a", [0.5], searcher=EVOLUTION)
    assert find_baselines(groups_of(tmp_path), None) == {}
    recorded(tmp_path / "b", [0.5])
    found = groups_of(tmp_path)
    assert find_baselines(found, None) == {"evolution": found[1]}
    assert find_baselines(found, "evolution") == {"random": found[0]}


def test_baselines_beside_the_studies_of_a_sweep_are_one_search(tmp_path):
    for seed in range(5):
        recorded(tmp_path / f"{seed}", [0.5, 0.6 + seed / 100], seed=seed, searcher=EVOLUTION)
        searcher = {**CONFIG["searcher"], "seed": baseline_seed(seed)}
        recorded(tmp_path / f"{seed}" / "baseline", [0.5, 0.5], seed=seed, searcher=searcher)
    found = groups_of(tmp_path)
    assert sorted((group.label, len(group.studies)) for group in found) == [
        ("evolution", 5),
        ("random", 5),
    ]
    sections = compare_sections(found, find_baselines(found, None), (2,))
    assert "evolution is ahead of random: +0.12" in sections[0].text
    assert "(5 seeds, paired" in sections[0].text


def test_a_baseline_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    recorded(tmp_path / "a", [0.5], searcher=EVOLUTION)
    recorded(tmp_path / "b", [0.5])
    with pytest.raises(ConfigError, match=r"did you mean 'random'\? Legal: evolution, random"):
        find_baselines(groups_of(tmp_path), "randm")


def test_a_baseline_that_may_be_several_is_refused_with_their_labels(tmp_path):
    recorded(tmp_path / "a", [0.5], optimizer__lr=0.1)
    recorded(tmp_path / "b", [0.5])
    found = groups_of(tmp_path)
    assert find_baselines(found, None) == {}
    with pytest.raises(ConfigError, match=r"several groups: random, lr=0.1 \| random, lr=0.001"):
        find_baselines(found, "random")
    assert find_baselines(found, "random, lr=0.1") == {"random, lr=0.001": found[0]}


# Averages


def test_a_mean_begins_when_all_its_studies_have_a_reward(tmp_path):
    recorded(tmp_path / "0", [0.2, 0.2, 0.4], seed=0)
    recorded(tmp_path / "1", [None, 0.6, 0.5], seed=1)
    found = average(groups_of(tmp_path)[0], "evaluations")
    np.testing.assert_array_equal(found.places_X, [1, 2, 3])
    np.testing.assert_allclose(found.mean_X, [nan, 0.4, 0.5])
    np.testing.assert_allclose(found.error_X, [nan, 0.2, 0.1])  # half the difference of two
    assert found.whole_until == 3


def test_a_study_without_any_reward_does_not_hide_the_others(tmp_path):
    recorded(tmp_path / "0", [0.2, 0.4], seed=0)
    recorded(tmp_path / "1", [None, None], seed=1)
    (group,) = groups_of(tmp_path)
    assert len(group.rewarded) == 1
    np.testing.assert_allclose(average(group, "evaluations").mean_X, [0.2, 0.4])


def test_a_shorter_study_counts_on_and_the_mean_is_marked(tmp_path):
    recorded(tmp_path / "0", [0.2, 0.4, 0.8, 0.9], seed=0)
    recorded(tmp_path / "1", [0.6, 0.6], seed=1)
    found = average(groups_of(tmp_path)[0], "evaluations")
    assert found.whole_until == 2
    np.testing.assert_array_equal(found.places_X, [1, 2, 3, 4])
    np.testing.assert_allclose(found.mean_X, [0.4, 0.5, 0.7, 0.75])


def test_a_study_that_has_seen_the_whole_space_does_not_end_the_mean(tmp_path):
    recorded(tmp_path / "0", [0.2, 0.4, 0.8, 0.9], seed=0)
    exhausted = Recording(tmp_path / "1", seed=1)
    exhausted.child(0.6)
    exhausted.end("the space is exhausted")
    found = average(groups_of(tmp_path)[0], "evaluations")
    assert found.whole_until == 4
    np.testing.assert_allclose(found.mean_X, [0.4, 0.5, 0.7, 0.75])


def test_a_mean_over_time_changes_when_a_better_child_is_recorded(tmp_path):
    first = Recording(tmp_path / "0", start_s=100.0, seed=0)
    for units, (reward, at_s) in enumerate(((0.2, 110.0), (0.1, 120.0), (0.4, 130.0)), start=1):
        first.record(Outcome(first.propose(units), "completed", reward), at_s)
    second = Recording(tmp_path / "1", start_s=500.0, seed=1)
    second.record(Outcome(second.propose(1), "completed", 0.6), 525.0)
    found = average(groups_of(tmp_path)[0], "elapsed_s")
    np.testing.assert_array_equal(found.places_X, [10, 25, 30])
    np.testing.assert_allclose(found.mean_X, [nan, 0.4, 0.5])
    assert found.whole_until == 25


def test_shares_count_failures(tmp_path):
    recorded(tmp_path / "0", [0.2, 0.4, None, 0.8], seed=0)
    recorded(tmp_path / "1", [0.8, 0.8], seed=1)
    mean, _ = shares(groups_of(tmp_path)[0], np.array([0.4, 0.5]))
    np.testing.assert_allclose(mean, [0.75, 0.625])


def test_a_few_bad_children_do_not_press_the_thresholds_together(tmp_path):
    recorded(tmp_path / "0", [-1000.0, *np.linspace(0.5, 0.9, 40)])
    at = thresholds(groups_of(tmp_path), 50)
    assert at[0] > 0.3
    assert at[-1] == 0.9


# Tables


def test_budgets_go_as_far_as_any_study_and_to_where_all_of_them_are(tmp_path):
    recorded(tmp_path / "0", [0.5] * 60, seed=0)
    recorded(tmp_path / "1", [0.5] * 33, seed=1)
    found = groups_of(tmp_path)
    assert shared_budget(found) == 33
    assert usual_budgets(found) == (10, 25, 33, 50)


def test_the_budget_table_compares_at_the_same_seeds(tmp_path):
    for seed in range(5):
        recorded(tmp_path / f"r{seed}", [0.1 * seed, 0.1 * seed], seed=seed)
        better = [0.1 * seed, 0.1 * seed + 0.3]
        recorded(tmp_path / f"e{seed}", better, seed=seed, searcher=EVOLUTION)
    found = groups_of(tmp_path)
    table = budget_table(found, (1, 2, 3), find_baselines(found, None))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    evolution = [row for row in rows if row["searcher"] == "evolution"]
    random = [row for row in rows if row["searcher"] == "random"]
    assert [row["mean best reward"] for row in evolution[:2]] == pytest.approx([0.2, 0.5])
    assert [row["minus random"] for row in evolution[:2]] == pytest.approx([0.0, 0.3])
    assert [row["seeds ahead"] for row in evolution] == ["0 of 5", "5 of 5", None]
    assert [row["seeds"] for row in evolution] == [5, 5, 0]
    assert evolution[2]["mean best reward"] is None
    assert random[1]["minus random"] is None
    assert random[1]["95 % from"] < 0.2 < random[1]["95 % to"]


@pytest.mark.slow
def test_a_page_says_how_many_verdicts_it_makes_and_corrects_them(tmp_path):
    """Alone, each of the two would be ahead: p is 0.034 and 0.026."""
    gaps = {5: [0.02, 0.05, 0.09, 0.01, 0.08], 10: [0.03, 0.06, 0.1, 0.01, 0.08]}
    for seed in range(5):
        recorded(tmp_path / f"r{seed}", [0.1 + 0.001 * seed**2], seed=seed)
        for size, by_seed in gaps.items():
            searcher = {**EVOLUTION, "population_size": size}
            reward = 0.1 + 0.001 * seed**2 + by_seed[seed]
            recorded(tmp_path / f"e{size}{seed}", [reward], seed=seed, searcher=searcher)
    found = groups_of(tmp_path)
    baselines = find_baselines(found, None)
    section, at_budgets, _ = compare_sections(found, baselines, (1,))
    assert section.text.count("shows no difference from random: +0.05") == 2
    assert "These are 2 comparisons: their verdicts and p are corrected for that" in section.text
    tables = {part.name: part for part in at_budgets.parts if isinstance(part, Table)}
    assert "verdict" not in tables["budgets"].columns  # one page, one verdict on a search
    rows = [dict(zip(tables["budgets"].columns, r, strict=True)) for r in tables["budgets"].rows]
    assert all(row["95 % from "] > 0 for row in rows[:2])
    expected = min(1, 2 * min(stats.ttest_1samp(each, 0).pvalue for each in gaps.values()))
    assert section.text.count(f"paired, p = {expected:.2g}") == 2
    values = 0.001 * np.arange(5) ** 2
    correlation = np.corrcoef(values, values + gaps[10])[0, 1]
    assert rows[0]["correlation"] == pytest.approx(correlation)
    sections = compare_sections(found[1:], find_baselines(found[1:], None), (1,))
    assert "is ahead of random: +0.05" in sections[0].text
    assert "comparisons" not in sections[0].text


def test_the_page_says_what_a_validation_example_is_worth_and_names_small_differences(tmp_path):
    gaps = {5: 2 / 287, 10: 4 / 287}
    for seed in range(3):
        recorded(tmp_path / f"r{seed}", [0.9], seed=seed)
        for size, gap in gaps.items():
            searcher = {**EVOLUTION, "population_size": size}
            recorded(tmp_path / f"e{size}{seed}", [0.9 + gap], seed=seed, searcher=searcher)
    found = groups_of(tmp_path)
    text = compare_sections(found, find_baselines(found, None), (1,))[0].text
    assert "One of the 287 validation examples is worth 0.0034843 of reward." in text
    assert "All seeds share one split" in text
    small = "The difference of evolution, population_size=5 is below 3 examples."
    assert small in text


def test_seeds_of_data_that_name_no_split_are_not_said_to_share_one(tmp_path):
    data = {"_target_": "mine.Data", "in_shape": [64], "num_outputs": 10}
    for seed in range(3):
        study = Recording(tmp_path / f"{seed}", seed=seed, data=data)
        study.child(0.5, metrics={"val_targets": 50.0})
        study.end()
    text = compare_sections(groups_of(tmp_path), {}, (1,))[0].text
    assert "One of the 50 validation examples" in text
    assert "split" not in text


@pytest.mark.parametrize(
    ("changes", "worth"),
    [
        ({}, 1 / 287),
        ({"task__reward__power": 3}, 3 * 0.5 ** (2 / 3) / 287),  # d(a³) at a³ = 0.5
        ({"data__validation_examples": 0.2}, None),
        ({"trainer__limit_val_batches": 2}, None),
        ({"evaluation": {"repeats": 1, "folds": 5}}, None),
        ({"task__reward__metric": "val_loss"}, None),
        ({"task__metrics": {"accuracy": {"average": "macro"}}}, None),
        (
            {
                "trainer": {
                    "_target_": "nasrunner.children.tables.tabular.TabularTrainer",
                    "reward": "acc",
                }
            },
            None,
        ),
    ],
)
def test_what_an_example_is_worth_is_said_only_where_it_is_known(tmp_path, changes, worth):
    found = read_study(recorded(tmp_path / "a", [0.5], **changes))
    assert worth_of_one(found, 0.5) == (None if worth is None else pytest.approx(worth))


def test_what_children_say_they_were_validated_on_counts_before_the_configuration(tmp_path):
    study = Recording(tmp_path / "a", data__validation_examples=0.2)
    study.child(0.5, metrics={"val_targets": 50.0})
    study.child(0.6, metrics={"val_targets": 50.0})
    assert worth_of_one(read_study(study.end()), 0.5) == pytest.approx(1 / 50)
    study = Recording(tmp_path / "b")
    study.child(0.5, metrics={"val_targets": 50.0})
    study.child(0.6, metrics={"val_targets": 60.0})
    assert worth_of_one(read_study(study.end()), 0.5) is None


def test_seeds_with_splits_of_their_own_share_none(tmp_path):
    for seed in range(2):
        recorded(tmp_path / f"r{seed}", [0.9], seed=seed, data__split_seed=seed)
    found = groups_of(tmp_path)
    assert len(found) == 1
    text = compare_sections(found, {}, (1,))[0].text
    assert "One of the 287 validation examples" in text
    assert "share one split" not in text


def test_duplicates_are_counted_with_the_training_they_were_spared(tmp_path):
    study = Recording(tmp_path / "a")
    study.child(0.5, cost_s=7.0)
    study.child(0.6, cost_s=9.0)
    for index in (0, 1, 1):
        study.record(Outcome(study.propose(index), "completed", 0.5, reused_from=index))
    study.record(Outcome(study.propose(0), "duplicate", reused_from=0))
    found = read_study(study.end())
    assert num_duplicates(found) == 4
    assert saved_s(found) == 7 + 9 + 9 + 7


def test_the_time_of_a_proposal_runs_from_the_event_before_it(tmp_path):
    study = Recording(tmp_path / "a", start_s=100.0)
    first = study.propose(1, at_s=100.5)
    study.record(Outcome(first, "completed", 0.1), at_s=103.0)
    second = study.propose(2, at_s=103.0)  # within the same millisecond
    study.record(Outcome(second, "completed", 0.1), at_s=105.0)
    study.propose(3, at_s=105.25)
    found = read_study(study.folder)
    assert list(proposal_times_s(found)) == [0.5, 0.0, 0.25]
    table = cost_table(groups([found], "settings"))
    assert table.rows[0][-1] == 250.0


def test_the_recordings_here_have_what_a_real_configuration_has():
    assert set(config()) >= {"space", "searcher", "data", "task", "trainer", "tracker", "study"}
