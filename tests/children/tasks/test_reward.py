import math

import pytest

from nasrunner.children.tasks.reward import Reward
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError

CURVES = [
    {"val_accuracy": 0.9, "val_loss": 0.5},
    {"val_accuracy": 0.5, "val_loss": 0.1},
    {"val_accuracy": 0.7, "val_loss": 0.3},
    {"val_accuracy": 0.6, "val_loss": 0.4},
]


def reward(metric="val_accuracy", mode="max", reduce="last", last_epochs=3, **others):
    arguments = {"metric": metric, "mode": mode, "reduce": reduce, "last_epochs": last_epochs}
    target = f"{Reward.__module__}.Reward"
    return construct({"_target_": target, **arguments, "power": 1, **others}, "task.reward")


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [("last", 0.6), ("best", 0.9), ("mean_last", 0.6), ("max_last", 0.7)],
)
def test_reduces_a_metric_that_is_maximised(reduce, expected):
    assert reward(reduce=reduce)(CURVES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [("last", -0.4), ("best", -0.1), ("mean_last", -0.8 / 3), ("max_last", -0.1)],
)
def test_a_metric_that_is_minimised_counts_negative(reduce, expected):
    assert reward("val_loss", "min", reduce)(CURVES) == pytest.approx(expected)


def test_nasrl_rewards_the_cube_of_the_best_of_the_last_epochs():
    assert reward(reduce="max_last", last_epochs=2, power=3)(CURVES) == pytest.approx(0.343)


def test_a_power_keeps_the_order_of_a_minimised_metric():
    assert reward("val_loss", "min", power=2)(CURVES) == pytest.approx(-0.16)


@pytest.mark.parametrize(("reduce", "expected"), [("last", 80 / 0.16), ("best", 80 / 0.01)])
def test_nasrl_rewards_80_over_the_square_of_the_perplexity(reduce, expected):
    inverse = Reward("val_loss", "min", reduce, 1, -2, 80)
    assert inverse(CURVES) == pytest.approx(expected)


def test_a_scale_multiplies_the_reward():
    assert Reward("val_loss", "min", "last", 1, 1, 2.5)(CURVES) == pytest.approx(-1.0)


def test_an_inverse_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"power=-1 needs a metric > 0, but 'val_loss' is 0.0"):
        reward("val_loss", "min", power=-1)([{"val_loss": 0.0}])


def test_more_last_epochs_than_there_are_means_all():
    assert reward(reduce="mean_last", last_epochs=99)(CURVES) == pytest.approx(2.7 / 4)


def test_epochs_without_validation_do_not_count():
    assert reward(reduce="mean_last", last_epochs=2)([*CURVES, {"train_loss": 1}]) == (
        pytest.approx(0.65)
    )


def test_a_metric_that_was_never_logged_is_named_with_those_that_were():
    with pytest.raises(ValueError, match=r"'val_f1' was never logged.*val_accuracy.*val_loss"):
        reward("val_f1")(CURVES)


def test_a_training_that_was_never_validated_is_said_to_be():
    with pytest.raises(ValueError, match=r"never logged; training ended before its first valida"):
        reward("val_loss", "min")([{"epoch": 0, "train_loss": 1.0}])
    with pytest.raises(ValueError, match=r"'train_f1' was never logged; logged metrics are \['ep"):
        reward("train_f1")([{"epoch": 0, "train_loss": 1.0}])


@pytest.mark.parametrize("changes", [{"power": 2}, {"scale": 1e200}])
def test_a_reward_beyond_all_numbers_is_an_error(changes):
    with pytest.raises(ValueError, match=r"the reward is -inf: the metric 'val_loss' is 1e\+200"):
        reward("val_loss", "min", **changes)([{"val_loss": 1e200}])


def test_a_power_of_a_negative_metric_is_refused():
    with pytest.raises(ValueError, match=r"power=3 needs a metric >= 0.*'val_r2' is -0.5"):
        reward("val_r2", power=3)([{"val_r2": -0.5}])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_is_no_reward(value):
    with pytest.raises(ValueError, match=r"the reward's metric 'val_loss' is (nan|inf)"):
        reward("val_loss", reduce="last")([{"val_loss": value}])


@pytest.mark.parametrize("reduce", ["last", "best", "mean_last", "max_last"])
@pytest.mark.parametrize("values", [[0.5, math.nan], [math.nan, 0.5], [0.5, math.inf, math.nan]])
def test_what_is_not_finite_is_one_rule_in_every_order(reduce, values):
    curves = [{"val_accuracy": value} for value in values]
    assert Reward("val_accuracy", "max", reduce, 5, 1, 1, diverged="keep")(curves) == 0.5
    with pytest.raises(ValueError, match=r"the reward's metric 'val_accuracy' is (nan|inf)"):
        reward(reduce=reduce)(curves)


@pytest.mark.parametrize(
    ("reduce", "places"),
    [("last", [3]), ("best", [0]), ("mean_last", [1, 2, 3]), ("max_last", [2])],
)
def test_the_lines_that_a_reward_is_of_are_known(reduce, places):
    assert reward(reduce=reduce).chosen(CURVES) == places


@pytest.mark.parametrize(("mode", "better"), [("max", 0.6), ("min", 0.4)])
def test_a_value_is_better_than_none_and_never_than_itself(mode, better):
    judge = reward(mode=mode)
    assert judge.is_better(0.5, None)
    assert judge.is_better(better, 0.5)
    assert not judge.is_better(0.5, better)
    assert not judge.is_better(0.5, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "up"}, "mode must be one of max, min, got 'up'"),
        ({"reduce": "mean"}, r"reduce must be one of last, best, mean_last, max_last, got 'mean'"),
        ({"last_epochs": 0}, "last_epochs must be int >= 1, got 0"),
        ({"power": 0}, "power must be a number > 0, got 0"),
        ({"power": -2}, "power must be a number > 0, got -2"),
        ({"power": 0, "mode": "min"}, "power must be a number other than 0, got 0"),
        ({"power": math.inf}, "power must be a number > 0, got inf"),
        ({"scale": 0}, "scale must be float > 0, got 0"),
        ({"diverged": "best"}, "diverged must be one of failed, keep, chance, got 'best'"),
    ],
)
def test_an_illegal_argument_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        reward(**arguments)
