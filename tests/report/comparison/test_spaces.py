"""Studies of different spaces: their names, how they differ, and what is compared."""

import pytest

from nasrunner.core import ConfigError
from nasrunner.recorded import find_studies
from nasrunner.report.comparison.baselines import find_baselines, name_of
from nasrunner.report.comparison.groups import check_comparable, groups
from nasrunner.report.comparison.sections import compare_sections
from nasrunner.report.comparison.spaces import difference_of_spaces
from nasrunner.study.beginning import beginning
from tests.report.decisions.test_answers import study_of
from tests.report.recordings import EVOLUTION, SPACE, recorded

AFFINE = SPACE["concat"][0]


def space(*activations):
    return {"concat": [AFFINE, {"or": list(activations)}]}


FEW, MORE = space("relu", "tanh"), space("relu", "tanh", "sigmoid", "elu")


def chosen(folder, name):
    """Notes the space's name down as Hydra does."""
    (folder / ".hydra").mkdir()
    text = f"hydra:\n  runtime:\n    cwd: ${{hydra:x}}\n    choices:\n      space: {name}\n"
    (folder / ".hydra" / "hydra.yaml").write_text(text)
    return folder


def four(tmp_path, seeds=(0,), length=6):
    """Evolution and random search in a space and in a larger one, whose rewards are 0.1 higher."""
    for seed in seeds:
        plain = [0.1 + 0.01 * child for child in range(length)]
        for name, tree, more in (("few", FEW, 0.0), ("more", MORE, 0.1)):
            rewards = [reward + more for reward in plain]
            folder = tmp_path / f"{name}-r{seed}"
            chosen(recorded(folder, rewards, seed=seed, space=tree), name)
            better = [reward + 0.03 for reward in rewards]
            folder = tmp_path / f"{name}-e{seed}"
            chosen(recorded(folder, better, seed=seed, space=tree, searcher=EVOLUTION), name)
    return groups(find_studies([tmp_path]), "settings")


def sentence(*trees):
    studies = [study_of("/nowhere", tree, []) for tree in trees]
    for study in studies:
        study.state.apply(beginning(study.space, 0, {}), 0.0)
    return difference_of_spaces(dict(zip("abc", studies, strict=False)))


# Names


def test_searches_of_different_spaces_are_told_apart_by_the_names_of_these(tmp_path):
    assert [group.label for group in four(tmp_path)] == [
        "evolution, space=few",
        "random, space=few",
        "evolution, space=more",
        "random, space=more",
    ]


def test_one_space_needs_no_name(tmp_path):
    chosen(recorded(tmp_path / "a", [0.1]), "mlp")
    recorded(tmp_path / "b", [0.1], searcher=EVOLUTION)
    found = groups(find_studies([tmp_path]), "settings")
    assert [(group.label, group.space) for group in found] == [("random", ""), ("evolution", "")]


def test_spaces_of_one_name_or_of_none_have_numbers(tmp_path):
    chosen(recorded(tmp_path / "a", [0.1], space=FEW), "mlp")
    chosen(recorded(tmp_path / "b", [0.1], space=MORE), "mlp")
    recorded(tmp_path / "c", [0.1])
    found = groups(find_studies([tmp_path]), "settings")
    assert [group.space for group in found] == ["mlp#1", "mlp#2", "#3"]


def test_studies_of_one_name_and_two_spaces_are_no_repetitions(tmp_path):
    recorded(tmp_path / "a", [0.1], space=FEW)
    recorded(tmp_path / "b", [0.1], space=MORE)
    found = groups(find_studies([tmp_path]), "name")
    assert [group.label for group in found] == ["toy, space=#1", "toy, space=#2"]


# How they differ


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (MORE, "b also has sigmoid and elu in 1/or"),
        (space("relu", "elu"), "b also has elu and has not tanh in 1/or"),
        (space("tanh", "relu"), "b has another order of the options in 1/or"),
        ({"concat": [AFFINE, "relu"]}, "b does not decide 1/or"),
        (
            {"concat": [*FEW["concat"], {"optional": "tanh"}]},
            "b also decides 2/optional",
        ),
        (
            {"concat": [{"affine": {"units": {"oneof": [1, 2]}}}, FEW["concat"][1]]},
            "b has not 3, 4, 5 and 95 more options in 0/affine/units",
        ),
        (
            {"concat": [*FEW["concat"], "tanh"]},
            "b has the same decisions, but concat.2 tanh instead of nothing",
        ),
    ],
)
def test_it_is_said_which_decisions_and_options_are_added_or_missing(other, told):
    assert sentence(FEW, other) == f"The spaces differ: compared with a, {told}."


def test_decisions_that_differ_alike_are_named_together():
    twice = [{"repeat": {"body": tree["concat"][1], "times": 2}} for tree in (FEW, MORE)]
    trees = [{"concat": [*t["concat"], r]} for t, r in zip((FEW, MORE), twice, strict=True)]
    assert "b also has sigmoid and elu in 1/or and 2/repeat/*/or." in sentence(*trees)


def test_each_further_space_is_compared_with_the_first():
    told = sentence(FEW, MORE, space("relu"))
    assert told.startswith("The spaces differ: compared with a, b also has ")
    assert "; c " in told


# What is compared


def test_other_data_and_another_reward_are_still_refused(tmp_path):
    recorded(tmp_path / "a", [0.1], space=FEW)
    recorded(tmp_path / "b", [0.1], space=MORE)
    check_comparable(find_studies([tmp_path]))
    changes = {
        "data differ: data.validation_examples is 287": {"data__validation_examples": 100},
        "rewards differ: task.reward.metric is": {"task__reward__metric": "val_loss"},
    }
    for number, (message, change) in enumerate(changes.items()):
        other = recorded(tmp_path / f"c{number}", [0.1], space=MORE, **change)
        with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
            check_comparable(find_studies([tmp_path / "a", other]))


def test_a_search_is_compared_with_the_baseline_in_its_own_space(tmp_path):
    found = four(tmp_path)
    baselines = find_baselines(found, None)
    assert {label: baseline.label for label, baseline in baselines.items()} == {
        "evolution, space=few": "random, space=few",
        "evolution, space=more": "random, space=more",
    }
    assert name_of(baselines) == "random"
    other_way = find_baselines(found, "evolution")
    assert sorted(other_way) == ["random, space=few", "random, space=more"]


def test_a_label_is_the_baseline_of_every_search(tmp_path):
    baselines = find_baselines(four(tmp_path), "random, space=few")
    assert len(baselines) == 3
    assert name_of(baselines) == "random, space=few"


def test_a_space_without_the_baseline_is_compared_with_nothing(tmp_path):
    found = [group for group in four(tmp_path) if group.label != "random, space=more"]
    assert list(find_baselines(found, None)) == ["evolution, space=few"]
    _, budgets, _ = compare_sections(found, find_baselines(found, None), (6,))
    assert "compared with random in its own space" in budgets.text
    assert budgets.text.endswith("There is no such baseline in more.")


def test_the_page_says_how_the_spaces_differ_and_compares_within_them(tmp_path):
    found = four(tmp_path, seeds=(0, 1))
    first, budgets, _ = compare_sections(found, find_baselines(found, None), (6,))
    assert first.text.endswith(
        "The spaces differ: compared with few, more also has sigmoid and elu in 1/or."
    )
    assert ("spaces", "2") in first.parts[0].items
    assert "Differences between searches of different spaces are left out" in budgets.text
    tables = {part.name: part for part in budgets.parts if hasattr(part, "rows")}
    minus = tables["budgets"].columns.index("minus random")
    assert [row[minus] for row in tables["budgets"].rows] == [
        *[pytest.approx(0.03), None],
        *[pytest.approx(0.03), None],
    ]
    assert {row[1] for row in tables["top_children"].rows} == {
        "evolution, space=few",
        "evolution, space=more",
    }


def test_across_spaces_only_the_best_reward_is_compared(tmp_path):
    found = four(tmp_path, seeds=(0, 1))
    baselines = find_baselines(found, "random, space=few")
    _, budgets, _ = compare_sections(found, baselines, (6,))
    assert "by their best reward only" in budgets.text
    tables = {part.name: part for part in budgets.parts if hasattr(part, "rows")}
    minus = tables["budgets"].columns.index("minus random, space=few")
    assert [row[minus] for row in tables["budgets"].rows] == [
        *[pytest.approx(0.03), None],
        *[pytest.approx(0.13), pytest.approx(0.1)],
    ]
    assert {row[1] for row in tables["top_children"].rows} == {"evolution, space=few"}
