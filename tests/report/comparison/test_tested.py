"""Test scores of the chosen children, compared over seeds."""

import json

import pytest
from scipy import stats

from nasrunner.core import ConfigError
from nasrunner.core.randomness.seeds import baseline_seed
from nasrunner.recorded import find_studies
from nasrunner.report.comparison.baselines import find_baselines
from nasrunner.report.comparison.groups import groups
from nasrunner.report.comparison.tested import scores_sections
from tests.report.recordings import CONFIG, EVOLUTION, recorded

RANDOM_SEARCH = CONFIG["searcher"]
RANDOM = [0.90, 0.91, 0.92, 0.90, 0.93]
BETTER = [0.95, 0.97, 0.96, 0.95, 0.96]


def retrained(folder, score, metric="test_accuracy", epochs=10, place="retrained", data=None):
    """What nasrunner-retrain writes of the best child, here the second, and of another."""
    place = folder / place
    place.mkdir()
    rows = [
        {"name": name, "metrics": {metric: {"mean": value, "values": [value]}}}
        for name, value in (("0001", score), ("0000", 0.1))
    ]
    (place / "retrain.json").write_text(json.dumps({"metric": metric, "architectures": rows}))
    settings = f"data: {{split_seed: {score}}}\ntrainer: {{max_epochs: {epochs}}}\nseed: {score}\n"
    other = "" if data is None else f"other_data: {data}\n"
    (place / "retrain.yaml").write_text(settings + other)


def section_of(tmp_path):
    found = groups(find_studies([tmp_path]), "settings")
    sections = scores_sections(found, find_baselines(found, None))
    return sections[0] if sections else None


def pairs(tmp_path, **changes):
    for seed in range(5):
        yield recorded(tmp_path / f"r{seed}", [0.5, 0.6], seed=seed, **changes), RANDOM[seed]
        searcher = {"seed": seed, "searcher": EVOLUTION}
        yield recorded(tmp_path / f"e{seed}", [0.5, 0.99], **searcher, **changes), BETTER[seed]


def rows_of(section):
    (table,) = section.parts
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_scores_of_the_best_children_are_compared_by_seed(tmp_path):
    for folder, score in pairs(tmp_path):
        retrained(folder, score)
    evolution, random = rows_of(section_of(tmp_path))
    assert (evolution["searcher"], evolution["seeds"]) == ("evolution", 5)
    assert evolution["mean best reward"] == pytest.approx(0.99)
    assert evolution["mean test accuracy"] == pytest.approx(0.958)
    assert evolution["minus random"] == pytest.approx(0.046)
    assert evolution["p, corrected"] == pytest.approx(stats.ttest_rel(BETTER, RANDOM).pvalue)
    assert evolution["verdict"] == "ahead"
    assert random["verdict"] is None


def test_scores_on_other_data_are_compared_in_a_section_of_their_own(tmp_path):
    for number, (folder, score) in enumerate(pairs(tmp_path)):
        retrained(folder, score)
        retrained(folder, score / 2, place="retrained-mnist", data="mnist")
        with (folder / "retrained-mnist" / "retrain.yaml").open("a") as settings:
            settings.write(f"space: {{affine: {{units: {number}}}}}\nspace_changes: []\n")
        if number == 0:  # what a folder holds is not what it is called
            retrained(folder, 0.3, place="retrained-cifar10", data="mnist")
    found = groups(find_studies([tmp_path]), "settings")
    own, other = scores_sections(found, find_baselines(found, None))
    assert (own.title, other.title) == ("Test scores", "Test scores on mnist")
    assert rows_of(own)[0]["mean test accuracy"] == pytest.approx(0.958)
    evolution, _ = rows_of(other)
    assert evolution["mean test accuracy"] == pytest.approx(0.479)
    assert evolution["verdict"] == "ahead"
    assert "mean best reward" not in evolution
    assert "rebuilt for mnist" in other.text


def test_networks_of_other_data_are_none_of_the_searchs(tmp_path):
    for folder, score in pairs(tmp_path):
        retrained(folder, score, data="mnist")
    assert section_of(tmp_path) is None


def test_rewards_beside_scores_are_those_of_the_same_seeds(tmp_path):
    for best, seed in ((0.6, 0), (0.8, 1), (0.9, 2)):
        folder = recorded(tmp_path / f"{seed}", [0.5, best], seed=seed)
        if seed < 2:  # the last was not retrained
            retrained(folder, RANDOM[seed])
    (row,) = rows_of(section_of(tmp_path))
    assert (row["seeds"], row["mean best reward"]) == (2, pytest.approx(0.7))


def test_a_metric_that_is_better_when_lower_counts_negative(tmp_path):
    for folder, score in pairs(tmp_path, task__reward__mode="min"):
        retrained(folder, score)
    section = section_of(tmp_path)
    evolution, _ = rows_of(section)
    assert evolution["mean test accuracy"] == pytest.approx(-0.958)
    assert evolution["verdict"] == "behind"
    assert "counts negative" in section.parts[0].caption


def test_which_values_are_better_is_what_the_study_recorded(tmp_path):
    """A user's reward class may have a mode by default, which no configuration says."""
    of_class = {"_target_": "mine.Error", "metric": "val_accuracy"}
    told = {"metric": "val_accuracy", "mode": "min"}
    for folder, score in pairs(tmp_path, task__reward=of_class, reward=told):
        retrained(folder, score)
    section = section_of(tmp_path)
    assert rows_of(section)[0]["mean test accuracy"] == pytest.approx(-0.958)
    assert "counts negative" in section.parts[0].caption


def test_searchers_with_seeds_of_their_own_are_repetitions_at_one_seed(tmp_path):
    for seed in range(5):
        for name, searcher, best in (("r", RANDOM_SEARCH, RANDOM), ("e", EVOLUTION, BETTER)):
            folder = recorded(
                tmp_path / f"{name}{seed}", [0.5, 0.6], searcher={**searcher, "seed": seed}
            )
            retrained(folder, best[seed])
    evolution, random = rows_of(section_of(tmp_path))
    assert (evolution["seeds"], random["seeds"]) == (5, 5)
    assert evolution["p, corrected"] == pytest.approx(stats.ttest_rel(BETTER, RANDOM).pvalue)


def test_the_seed_that_a_baseline_has_from_its_study_is_none_of_its_own(tmp_path):
    for seed in range(5):
        retrained(recorded(tmp_path / f"r{seed}", [0.5, 0.6], seed=seed), RANDOM[seed])
        beside = {**EVOLUTION, "seed": baseline_seed(seed)}
        folder = recorded(tmp_path / f"e{seed}", [0.5, 0.6], seed=seed, searcher=beside)
        retrained(folder, BETTER[seed])
    (evolution, _) = rows_of(section_of(tmp_path))
    assert evolution["p, corrected"] == pytest.approx(stats.ttest_rel(BETTER, RANDOM).pvalue)


def test_studies_that_were_retrained_differently_are_not_compared(tmp_path):
    for number, (folder, score) in enumerate(pairs(tmp_path)):
        retrained(folder, score, epochs=10 + number % 2)
    section = section_of(tmp_path)
    assert "different settings" in section.text
    assert not section.parts


def test_without_retrained_children_there_is_no_section(tmp_path):
    assert len(list(pairs(tmp_path))) == 10
    assert section_of(tmp_path) is None


def test_a_damaged_record_is_told_with_its_path(tmp_path):
    for folder, score in pairs(tmp_path):
        retrained(folder, score)
        (folder / "retrained" / "retrain.json").write_text("{")
    with pytest.raises(ConfigError, match=r"retrained/retrain\.json is damaged"):
        section_of(tmp_path)
