"""What is asked for with ``reward=``, ``objectives=`` and ``scalarization=``."""

import pytest

from nasrunner.core import ConfigError
from nasrunner.rescoring.request import read_rescoring


def test_a_metric_and_the_keys_of_its_rule_are_read_as_hydra_reads_them() -> None:
    found = read_rescoring(["reward=val_loss", "reward.mode=min", "reward.power=1.5"])
    assert found is not None
    assert found.reward == {"metric": "val_loss", "mode": "min", "power": 1.5}
    assert read_rescoring([]) is None


def test_goals_are_the_studys_but_for_what_is_given() -> None:
    study = {
        "objectives": {"val_accuracy": "max", "flops": {"goal": "min", "limit": 5}},
        "scalarization": "product",
    }
    changed = read_rescoring(["objectives.flops.limit=7"])
    assert changed is not None
    assert changed.goals_after(study) == {
        "objectives": {"val_accuracy": "max", "flops": {"goal": "min", "limit": 7}},
        "scalarization": "product",
    }
    alone = read_rescoring(["reward=flops"])
    assert alone is not None
    assert alone.goals_after(study) == {**study, "scalarization": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reward=a", "reward.metric=b"], "metric is given twice: a and b"),
        (["reward.mods=min"], "reward.mods: there is no such key, did you mean 'mode'"),
        (["objectives={a"], r"objectives=\{a cannot be read: "),
        (["reward=a,b"], "reward=a,b: legal are key=value"),
        (["objectives={a: max}", "objectives={b: max}"], "objectives is given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rescoring(arguments)
