from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.core import Address, Decision, Genotype, OneOf, SearchSpace, Space, SpaceError
from nasrunner.core.decision import readable_count
from nasrunner.core.language.leaves import LEAVES, MAX_OPTIONS
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.enumeration import enumerate_genotypes

HERE = __name__


class Noted(nn.Module):
    """A user's own network that keeps what it was given."""

    def __init__(self, settings: Any = None, sizes: Any = None, units: int = 1) -> None:
        super().__init__()
        self.given = {"settings": settings, "sizes": sizes, "units": units}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def noted(**arguments: object) -> SearchSpace:
    return parse_space({"concat": [{"_target_": f"{HERE}.Noted", **arguments}]})


def every(space: Space) -> list[Genotype]:
    return list(enumerate_genotypes(space))


def given(space: Space, genotype: Genotype) -> dict[str, Any]:
    network, _ = space.freeze(genotype).build((3,))
    assert isinstance(network, Noted)
    return network.given


def lr(leaf: object) -> Decision:
    space = parse_space({"hyperparameters": {"optimizer.lr": leaf}, "relu": None})
    (decision,) = space.decisions(Address())
    return decision


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "settings",
            {"rate": {"oneof": [0.1, 0.2]}, "kind": "a"},
            [{"rate": 0.1, "kind": "a"}, {"rate": 0.2, "kind": "a"}],
        ),
        (
            "settings",
            {"deep": {"er": [1, {"oneof": [2, 3]}]}},
            [{"deep": {"er": [1, 2]}}, {"deep": {"er": [1, 3]}}],
        ),
        ("sizes", [[1, {"oneof": [2, 3]}], [4, 5]], [([1, 2], [4, 5]), ([1, 3], [4, 5])]),
        ("sizes", [{"oneof": [1, 2]}, {"size": 3}], [(1, {"size": 3}), (2, {"size": 3})]),
        (
            "settings",
            {"oneof": [{"a": {"range": [1, 2, 1]}}, {"b": 0}]},
            [{"a": 1}, {"a": 2}, {"b": 0}],
        ),
        ("units", {"oneof": [1, {"range": [4, 8, 4]}]}, [1, 4, 8]),
    ],
)
def test_a_decision_stands_wherever_a_value_can(
    name: str, value: object, expected: list[object]
) -> None:
    space = noted(**{name: value})
    found = [given(space, genotype)[name] for genotype in every(space)]
    assert found == expected
    assert space.size() == len(expected)
    assert {d.path for d in space.decisions(Address())} == {
        path for genotype in every(space) for path in genotype
    }


def test_a_decision_in_an_option_is_asked_where_the_option_is_chosen() -> None:
    space = noted(settings={"oneof": [{"a": {"range": [1, 2, 1]}}, {"b": 0}]})
    chosen, inside = "0/Noted/settings", "0/Noted/settings/0/a"
    assert every(space) == [{chosen: 0, inside: 0}, {chosen: 0, inside: 1}, {chosen: 1}]
    assert space.signature() == {chosen: ({"a": "{1, 2}"}, {"b": 0}), inside: (1, 2)}
    assert space.values({chosen: 0, inside: 1}) == {chosen: {"a": "{1, 2}"}, inside: 2}
    with pytest.raises(SpaceError, match="answers '0/Noted/settings/0/a', which is no active"):
        space.freeze({chosen: 1, inside: 0})


def test_a_schedule_in_an_option_has_its_time() -> None:
    growing = {"schedule": {"start": 2, "step": 2, "end": 6, "every": 10}}
    space = noted(settings={"oneof": [{"a": growing}, {"a": 0}]})
    assert [s.every for s in space.schedules()] == [10]
    asked: list[str] = []
    genotype = space.at_proposal(25).walk(lambda decision: asked.append(decision.path) or 0)
    assert asked == ["0/Noted/settings"]
    assert given(space, genotype)["settings"] == {"a": 6}
    assert space.at_proposal(25).size() == 2


@pytest.mark.parametrize(
    ("leaf", "count", "second"),
    [
        ({"uniform": [0, 1], "steps": 5}, 5, 0.25),
        ({"uniform": [0, 1]}, 1000, 0.001001),
        ({"loguniform": [1e-5, 1e-1], "steps": 5}, 5, 1e-4),
        ({"loguniform": [1e-6, 1e-3]}, 1000, 1.00694e-06),
        ({"loguniform": [1, 1.001]}, 1000, 1.00000100050),
        ({"randint": [4, 64]}, 61, 5),
        ({"randint": [0, 1_000_000]}, 1000, 1001),
        ({"randint": [0, 1_000_000], "steps": 3}, 3, 500_000),
    ],
)
def test_a_range_without_steps_is_a_fine_grid_of_numbers_in_order(
    leaf: dict[str, Any], count: int, second: float
) -> None:
    decision = lr(leaf)
    low, high = next(iter(leaf.values()))
    assert decision.is_ordered
    assert len(decision.options) == count
    assert (decision.options[0], decision.options[-1]) == (low, high)
    assert decision.options[1] == pytest.approx(second, rel=1e-9)
    assert all(isinstance(o, int) for o in decision.options) == ("randint" in leaf)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ({"logspace": [8, 512, 7]}, (8, 16, 32, 64, 128, 256, 512)),
        ({"linspace": [2, 10, 5]}, (2, 4, 6, 8, 10)),
        ({"range": [1.0, 3.0, 1.0]}, (1, 2, 3)),
        ({"oneof": [{"logspace": [2, 8, 3]}, 3]}, (2, 4, 8, 3)),
    ],
)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_whole_number_argument_takes_numbers_that_come_out_whole(
    leaf: object, expected: tuple[int, ...], is_own: bool
) -> None:
    space = noted(units=leaf) if is_own else parse_space({"affine": {"units": leaf}})
    frozen = [space.freeze(genotype).network for genotype in every(space)]
    texts = [network.text() for network in frozen]
    name = "Noted" if is_own else "affine"
    assert texts == [f"{name}(units={units})" for units in expected]  # 8, not 8.0


def units(leaf: object) -> object:
    return {"affine": {"units": leaf}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (units({"linspace": [1, 2, 3]}), r"got 1.5; rounded: \{1, 2\}"),
        (units({"uniform": [1, 4], "steps": 3}), r"numbers, got 2.5; rounded: \{1, 2, 4\}"),
        (
            {"_target_": f"{HERE}.Noted", "units": {"linspace": [1, 2, 3]}},
            r"space.units must be whole numbers, got 1.5; rounded: \{1, 2\}",
        ),
        (units({"range": [0, float("inf"), 1]}), "units.range: it takes three (finite )?numbers"),
        (units({"range": [0, float("nan"), 1]}), "units.range: it takes three (finite )?numbers"),
        (units({"range": [0, 10**400, 1]}), "units.range: it takes three (finite )?numbers"),
        (units({"range": [0.0, 1e300, 1e-300]}), "must have at most 100,000 values and has 9.0e15"),
        (units({"range": [0, 1e9, 1]}), "at most 100,000 values and has 1,000,000,001"),
        (units({"range": [0, 10**9, 1]}), "at most 100,000 values and has 1,000,000,001"),
        (units({"linspace": [0, 1, 10**9]}), "linspace must have at most 100,000 values and has"),
        (units({"logspace": [1, 2, 10**9]}), "logspace must have at most 100,000 values and has"),
        (units({"uniform": [0, 1], "steps": 10**9}), "uniform must have at most 100,000 values"),
        (
            units({"schedule": {"start": 1, "step": 1, "end": 10**9, "every": 1}}),
            "schedule must have at most 100,000 values and has 1,000,000,000",
        ),
        (units({"randint": [1, 2.5]}), "units.randint: randint needs whole numbers"),
        (units({"randint": [3, 3]}), "units.randint: randint needs low below high, got"),
        (units({"uniform": [1, 0]}), "units.uniform: uniform needs low below high, got"),
        (units({"uniform": [1]}), r"uniform: it takes two numbers \[low, high\], got \[1\]"),
        (units({"loguniform": [0, 1]}), "loguniform needs low and high above 0"),
        (units({"uniform": [0, 1], "steps": 1}), "steps must be a whole number >= 2, not 1"),
        (units({"choice": [8, 16]}), r"units: a decision 'choice' is written \{oneof: \[…\]\}"),
        (units({"interval": [8, 16]}), r"'interval' is written \{uniform: \[low, high\]\}"),
        (units({"quniform": [8, 16, 2]}), r"is written \{range: \[low, high, step\]\}"),
        (
            units({"_type": "choice", "_value": [8]}),
            r"\{_type: choice, _value: \[8\]\} is written \{oneof: \[…\]\}",
        ),
        (units({"_type": "uniform", "_value": [0, 8]}), r"is written \{uniform: \[low, high\]\}"),
        (units("interval(8, 16)"), r"'interval\(8, 16\)' is written \{uniform: \[low, high\]\}"),
        (units("loguniform(8, 16)"), r"'loguniform\(8, 16\)' is written \{loguniform: \[low, high"),
        (units({"one_of": [8]}), "units: there is no decision 'one_of', did you mean 'oneof'"),
        (units({"rnage": [8, 9, 1]}), "did you mean 'range'"),
        (units({"oneof": [8], "range": [1, 2, 1]}), "must be one decision, got oneof and range"),
        (units({"oneof": [8], "lr": 1}), "units: oneof stands alone in its mapping, got 'lr'"),
        (
            {"_target_": f"{HERE}.Noted", "settings": {"a": [1, {"choice": [1, 2]}]}},
            "space.settings.a.1: a decision 'choice' is written",
        ),
        (
            {"_target_": f"{HERE}.Noted", "settings": {"oneof": [{"a": {"choice": [1]}}]}},
            "space.settings.oneof.0.a: a decision 'choice' is written",
        ),
        (
            {"hyperparameters": {"trainer.stop_patience": {"choice": [1, 2]}}, "relu": None},
            "space.hyperparameters.trainer.stop_patience: a decision 'choice' is written",
        ),
    ],
)
def test_what_is_no_decision_of_ours_is_refused_with_key_and_word(
    config: object, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space(config)


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ({"repeat": {"times": {"oneof": [1, 10**6]}, "body": "relu"}}, "1,000,001"),
        ({"repeat_tied": {"times": 10**6, "body": {"or": ["relu", {"optional": "tanh"}]}}}, "3,0"),
        ({"cell": {"nodes": 1000, "edge": "relu"}}, "499,501"),
        ({"skip_layers": {"times": 200, "layer": "relu"}}, "20,101"),
        ({"recurrent": {"cell": "lstm_cell", "layers": 10**30}}, "1.0e30"),
        ({"concat": ["relu"] * 10_000}, "10,001"),
    ],
)
def test_an_architecture_of_too_many_modules_is_refused_before_it_is_listed(
    module: object, count: str
) -> None:
    with pytest.raises(SpaceError, match=rf"at most 10,000 modules, .* and can have {count}"):
        parse_space(module)


@pytest.mark.parametrize(
    ("count", "text"),
    [(1023, "1,023"), (10**15 - 1, "999,999,999,999,999"), (12 * 10**1800, "1.2e1801")],
)
def test_a_count_that_nobody_would_read_is_rounded(count: int, text: str) -> None:
    assert readable_count(count) == text


def test_a_decision_of_the_most_values_is_one() -> None:
    assert len(LEAVES["range"]([1, MAX_OPTIONS, 1]).options) == MAX_OPTIONS


@pytest.mark.parametrize(
    "value", [{"minutes": 30}, {"exchange": [1]}, {"scheduler": {"a": 1}}, {"range": 3, "of": 1}]
)
def test_a_mapping_that_is_no_decision_is_a_value(value: dict[str, Any]) -> None:
    assert given(noted(settings=value), {})["settings"] == value


def test_an_open_value_is_shown_by_its_options() -> None:
    assert OneOf(tuple(range(9))).label == "{0, 1, 2, …, 8}"
    assert OneOf(({"a": OneOf((1, 2))}, "b")).label == "{{a: {1, 2}}, b}"
    assert OneOf(([OneOf((1, 2)), "b"], {"c": None})).label == "{[{1, 2}, b], {c: None}}"
