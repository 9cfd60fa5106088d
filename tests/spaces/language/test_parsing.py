from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.core import Address, OneOf, Shape, Space, SpaceError
from nasrunner.spaces import Affine, Concat, Conv2d, Optional, Relu
from nasrunner.spaces.external import External
from nasrunner.spaces.language.parsing import MODULES, parse_space

HERE = __name__


class Scaled(nn.Module):
    """A user's own network: knows the shape of its input."""

    def __init__(self, in_shape: Shape, units: int, bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(in_shape[0], units, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Doubled(nn.Module):
    """A user's own network without arguments: works on any shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], dim=1)


class Raising(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("lost")


class TwoOutputs(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@dataclass(frozen=True)
class Sandwich(Space):
    """A user's own module of the language, with two submodules and a setting of any kind."""

    top: Space
    bottom: Space
    sizes: list[int] | None = None

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Concat((self.top, Relu(), self.bottom)).build(in_shape)


@dataclass(frozen=True)
class Listed(Space):
    sizes: list[int]

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Identity(), in_shape


def options(config: Any) -> dict[str, tuple[Any, ...]]:
    return parse_space(config).signature()


def growth(**changes: object) -> dict[str, object]:
    return {"start": 6, "step": 2, "end": 20, "every": 1600, **changes}


def test_figure_1_reads_as_the_modules_it_names() -> None:
    space = parse_space(
        {
            "concat": [
                {"conv2d": {"filters": {"oneof": [32, 64]}, "kernel_size": 3, "stride": [1, 2]}},
                "relu",
                {"optional": {"affine": {"units": 10}}},
            ]
        }
    )
    assert space.network == Concat(
        (
            Conv2d(filters=OneOf((32, 64)), kernel_size=3, stride=(1, 2)),  # type: ignore[arg-type]
            Relu(),
            Optional(Affine(10)),
        )
    )


def test_every_module_of_the_language_is_known_by_its_snake_case_name() -> None:
    assert MODULES["conv2d"] is Conv2d
    assert {"separable_conv2d", "global_pool", "leaky_relu", "repeat_tied", "or"} <= set(MODULES)
    assert "external" not in MODULES
    assert "space" not in MODULES


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ({"range": [48, 128, 16]}, (48, 64, 80, 96, 112, 128)),
        ({"range": [1, 6, 2]}, (1, 3, 5)),
        ({"range": [3, 1, -1]}, (3, 2, 1)),
        ({"range": [2, 2, 1]}, (2,)),
        ({"range": [0.1, 0.5, 0.1]}, (0.1, 0.2, 0.3, 0.4, 0.5)),
        ({"linspace": [0.1, 0.9, 5]}, (0.1, 0.3, 0.5, 0.7, 0.9)),
        ({"linspace": [0, 1, 3]}, (0.0, 0.5, 1.0)),
        ({"logspace": [1e-4, 1e-1, 4]}, (1e-4, 1e-3, 1e-2, 1e-1)),
        ({"logspace": [8, 2, 3]}, (8.0, 4.0, 2.0)),
    ],
)
def test_numbers_in_order_are_ordered_decisions(leaf: object, expected: tuple[float, ...]) -> None:
    space = parse_space({"hyperparameters": {"optimizer.lr": leaf}, "concat": ["relu"]})
    (decision,) = space.decisions(Address())
    assert decision.path == "hyperparameters/optimizer.lr"
    assert decision.options == expected
    assert decision.is_ordered


def test_words_are_not_ordered_and_a_bare_list_is_no_decision() -> None:
    space = parse_space(
        {
            "hyperparameters": {"a": {"oneof": ["x", "y"]}, "b": {"oneof": [3, 1, 2]}, "c": [1, 2]},
            "relu": None,
        }
    )
    assert [d.is_ordered for d in space.decisions(Address())] == [False, False]
    assert space.size() == 6
    frozen = space.freeze({"hyperparameters/a": 1, "hyperparameters/b": 0})
    assert frozen.hyperparameters == (("a", "y"), ("b", 3), ("c", (1, 2)))


def test_paths_say_where_a_decision_stands_and_kinds_what_it_asks() -> None:
    leaf = {"oneof": [1, 2]}
    repeated = {"or": [{"affine": {"units": leaf}}, {"optional": "relu"}]}
    space = parse_space(
        {"concat": ["relu", {"repeat": {"times": {"oneof": [1, 2]}, "body": repeated}}]}
    )
    asked = space.walk(lambda decision: 0)
    assert list(asked) == ["1/repeat/times", "1/repeat/0/or", "1/repeat/0/or/0/affine/units"]
    assert list(space.signature()) == [
        "1/repeat/times",
        "1/repeat/*/or",
        "1/repeat/*/or/0/affine/units",
        "1/repeat/*/or/1/optional",
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rleu", r"space: there is no module 'rleu', did you mean 'relu'\? Legal: affine, "),
        ({"concat": ["relu", "con2d"]}, r"space.concat.1: there is no .* did you mean 'conv2d'\?"),
        ({"optional": {"dropuot": {"p": 0.1}}}, r"space.optional: there is no .* 'dropout'\?"),
        ({"affine": {"unit": 3}}, r"space.affine: affine takes no 'unit', did you mean 'units'\?"),
        ({"affine": {}}, "space.affine: affine needs 'units'"),
        ({"affine": None}, "space.affine: affine needs 'units'"),
        ("affine", "space.affine: affine needs 'units'"),
        ({"affine": 10}, "space.affine takes arguments by name, got 10. Legal: units, bias"),
        ({"relu": {"slope": 1}}, "space.relu: relu takes no 'slope', legal: "),
        ({"affine": {"units": "ten"}}, "space.affine.units must be int >= 1, got 'ten'"),
        (
            {"affine": {"units": {"oneof": [8, -8]}}},
            "space.affine.units.oneof must be int >= 1, got -8",
        ),
        ({"affine": {"units": 0}}, "space.affine.units must be int >= 1, got 0"),
        ({"dropout": {"p": 1.5}}, r"space.dropout.p must be float in \[0, 1\), got 1.5"),
        ({"affine": {"units": True}}, "space.affine.units must be int >= 1, got True"),
        ({"affine": {"units": [1, 2]}}, r"space.affine.units must be int >= 1, got \(1, 2\)"),
        (
            {"affine": {"units": {"linspace": [1, 2, 3]}}},
            r"space.affine.units.linspace must be whole numbers, got 1.5; rounded: \{1, 2\}",
        ),
        (
            {"conv2d": {"filters": 1, "kernel_size": 1, "padding": "full"}},
            "space.conv2d.padding must be one of same, valid, got 'full'",
        ),
        ({"affine": {"units": {"oneof": []}}}, "space.affine.units: oneof needs at least one"),
        (
            {"affine": {"units": {"oneof": [8, 16, 8]}}},
            "space.affine.units: oneof must not repeat an option, got 8 twice",
        ),
        ({"affine": {"units": {"oneof": 8}}}, "space.affine.units.oneof: it takes a list, got 8"),
        (
            {"affine": {"units": {"range": [1, 3, 0]}}},
            r"units.range: range needs a step that leads from low to high, got \[1, 3, 0\]",
        ),
        ({"affine": {"units": {"range": [3, 1, 1]}}}, "range needs a step that leads from low to"),
        ({"affine": {"units": {"range": [1, 3]}}}, r"takes three numbers \[low, high, step\], got"),
        ({"dropout": {"p": {"linspace": [1, 1, 2]}}}, "p.linspace: low and high must differ"),
        ({"dropout": {"p": {"linspace": [0, 1, 1.5]}}}, "n be a whole number >= 1"),
        (
            {"hyperparameters": {"lr": {"logspace": [-2, -7, 32]}}, "relu": None},
            r"space.hyperparameters.lr.logspace: logspace needs low and high above 0: they are",
        ),
        (
            {"affine": {"units": {"schedule": [6, 2, 20]}}},
            r"units.schedule: it takes the whole numbers start, step, end and every, by name, got",
        ),
        ({"affine": {"units": {"schedule": growth(every=2.5)}}}, "units.schedule: it takes the wh"),
        (
            {"affine": {"units": {"schedule": growth(step=-2)}}},
            "units.schedule: a schedule goes up",
        ),
        ({"affine": {"units": {"schedule": growth(end=5)}}}, "units.schedule: a schedule goes up"),
        ({"affine": {"units": {"schedule": growth(every=0)}}}, "every must be >= 1 proposal, got"),
        ({"maybe_swap": ["relu"]}, "space.maybe_swap takes exactly 2 modules, got 1"),
        ({"maybe_swap": ["relu"] * 3}, "space.maybe_swap takes exactly 2 modules, got 3"),
        ({"concat": "relu"}, "space.concat takes a list of modules, got 'relu'"),
        ({"or": []}, "space.or: or needs at least one module"),
        ({"fork": {"branches": ["relu"], "merge": "add"}}, "space.fork: fork needs at least two"),
        ({"fork": ["relu", "tanh"]}, "space.fork: fork needs 'merge'"),
        ({"optional": ["relu", "tanh"]}, "space.optional must be one module"),
        (
            {"repeat": {"times": 2.5, "body": "relu"}},
            "space.repeat.times must be int >= 0, got 2.5",
        ),
        (
            {"repeat": {"times": {"oneof": [1, -1]}, "body": "relu"}},
            "space.repeat.times.oneof must be int >= 0, got -1",
        ),
        (
            {"repeat": {"tims": 2, "body": "relu"}},
            r"repeat takes no 'tims', did you mean 'times'\?",
        ),
        ({"relu": None, "tanh": None}, "space must be one module: a name, 'name: arguments' or"),
        (
            {"concat": ["relu"], "hyperparameter": {"optimizer.lr": {"oneof": [0.1]}}},
            "got 2 keys: concat, hyperparameter; 'hyperparameter': did you mean 'hyperparameters'?",
        ),
        ({}, "space must be one module"),
        (None, "space must be one module"),
        ({"torch.nn.ReLU": None}, "space: a class .* is written _target_: torch.nn.ReLU"),
        ({"relu": {"inplace": True}}, "relu takes no 'inplace', legal: none$"),
        ({"hyperparameters": [1], "relu": None}, "space.hyperparameters maps configuration keys"),
        ({"_target_": "nowhere.Net"}, "space._target_: cannot import 'nowhere.Net': No module"),
        ({"_target_": "torch.nn.Net"}, "space._target_: cannot import 'torch.nn.Net': .* no attri"),
        ({"_target_": "Net"}, "space._target_ must be a dotted path like my_package.MyModule, got"),
        ({"_target_": "math.pi"}, "space._target_ must name a class, got 'math.pi', which is 3.14"),
        ({"_target_": "builtins.int"}, "space._target_ must name an nn.Module or a Space, got"),
        (
            {"_target_": f"{HERE}.Scaled", "unit": 3},
            r"Scaled takes no 'unit', did you mean 'units'",
        ),
        ({"_target_": f"{HERE}.Scaled"}, "space: Scaled needs 'units'"),
        ({"_target_": f"{HERE}.Scaled", "in_shape": [3], "units": 1}, "takes no 'in_shape'"),
        (
            {"_target_": f"{HERE}.Sandwich", "top": "rleu", "bottom": "relu"},
            r"space.top: there is no module 'rleu', did you mean 'relu'\?",
        ),
    ],
)
def test_what_is_no_space_is_refused_by_key_value_and_what_is_legal(
    config: object, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space(config)


def test_a_users_network_is_given_the_shape_of_its_input_if_it_asks() -> None:
    units = {"oneof": [4, 6]}
    space = parse_space({"concat": [{"_target_": f"{HERE}.Scaled", "units": units}, "relu"]})
    assert space.size() == 2
    (path,) = space.walk(lambda decision: 1)
    assert path == "0/Scaled/units"
    frozen = space.freeze({path: 1})
    assert frozen.text() == "Scaled(units=6) → relu"
    network, shape = frozen.build((3,))
    assert shape == (6,)
    assert network(torch.zeros(5, 3)).shape == (5, 6)


def test_a_users_network_with_an_open_argument_is_not_built() -> None:
    space = parse_space({"_target_": f"{HERE}.Scaled", "units": {"oneof": [4, 6]}})
    with pytest.raises(SpaceError, match="'units' of 'Scaled' is still open: freeze it first"):
        space.build((3,))


def test_a_users_network_without_arguments_serves_any_shape() -> None:
    network, shape = parse_space({"_target_": f"{HERE}.Doubled"}).build((3, 4, 5))
    assert shape == (6, 4, 5)
    assert network.training
    with torch.device("meta"):
        assert parse_space({"_target_": f"{HERE}.Doubled"}).build((3, 4, 5))[1] == (6, 4, 5)


def test_a_torch_class_is_a_users_network_too() -> None:
    config = {"_target_": "torch.nn.Conv1d", "in_channels": 2, "out_channels": 5, "kernel_size": 3}
    assert parse_space(config).build((2, 10))[1] == (5, 8)


def test_options_that_are_users_networks_are_called_by_their_class() -> None:
    config = {"or": [{"_target_": f"{HERE}.Doubled"}, {"_target_": f"{HERE}.Scaled", "units": 1}]}
    assert options(config) == {"or": ("Doubled", "Scaled")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Raising", r"'0/Raising': no Raising on an input of shape \(3,\): KeyError: 'lost'"),
        ("TwoOutputs", "its forward pass must return one tensor with the batch first"),
    ],
)
def test_a_users_network_that_breaks_is_an_impossible_one(name: str, message: str) -> None:
    space = parse_space({"concat": [{"_target_": f"{HERE}.{name}"}]})
    with pytest.raises(SpaceError, match=message):
        space.freeze({}).build((3,))


def test_a_users_module_of_the_language_needs_no_registration() -> None:
    unit = {"affine": {"units": {"oneof": [2, 3]}}}
    space = parse_space({"_target_": f"{HERE}.Sandwich", "top": unit, "bottom": unit})
    assert list(space.signature()) == ["sandwich/top/affine/units", "sandwich/bottom/affine/units"]
    assert space.size() == 4
    _, shape = space.freeze(space.walk(lambda decision: 1)).build((5,))
    assert shape == (3,)


def test_a_type_the_language_does_not_know_is_left_to_the_users_class() -> None:
    space = parse_space({"_target_": f"{HERE}.Listed", "sizes": [1, 2]})
    assert space.network.sizes == (1, 2)  # type: ignore[attr-defined]


def test_height_and_width_are_two_decisions_where_each_is_given_one() -> None:
    space = parse_space(
        {"conv2d": {"filters": 4, "kernel_size": [{"oneof": [1, 3]}, {"range": [3, 7, 2]}]}}
    )
    assert space.size() == 6
    assert list(space.signature()) == ["conv2d/kernel_size/0", "conv2d/kernel_size/1"]
    frozen = space.freeze({"conv2d/kernel_size/0": 1, "conv2d/kernel_size/1": 2})
    assert frozen.network == Conv2d(filters=4, kernel_size=(3, 7))
    _, out_shape = frozen.build((2, 9, 9))
    assert out_shape == (4, 9, 9)


@pytest.mark.parametrize("kernel", [[{"oneof": [1, 3]}], [{"oneof": [1, 3]}, 3, 3]])
def test_a_list_with_decisions_needs_as_many_places_as_the_argument(kernel: list[object]) -> None:
    with pytest.raises(SpaceError, match=r"space.conv2d.kernel_size must be"):
        parse_space({"conv2d": {"filters": 4, "kernel_size": kernel}})


def test_a_decision_in_a_place_is_checked_for_its_type() -> None:
    with pytest.raises(SpaceError, match=r"kernel_size.1.oneof must be int >= 1, got 'wide'"):
        parse_space({"conv2d": {"filters": 4, "kernel_size": [3, {"oneof": [1, "wide"]}]}})


def test_an_object_among_the_hyperparameters_reads_like_its_call():
    sgd = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.9}
    space = parse_space(
        {"hyperparameters": {"optimizer": sgd, "trainer.max_epochs": 3}, "affine": {"units": 2}}
    )
    assert space.text() == (
        "affine(units=2) | optimizer=SGD(lr=0.1, momentum=0.9), trainer.max_epochs=3"
    )


def test_a_reference_among_the_hyperparameters_reads_as_the_value_it_refers_to():
    epochs = {"trainer.max_epochs": {"oneof": [2, 8]}, "scheduler.T_max": "${trainer.max_epochs}"}
    space = parse_space({"hyperparameters": epochs, "affine": {"units": 2}})
    frozen = space.freeze({"hyperparameters/trainer.max_epochs": 1})
    assert frozen.text() == "affine(units=2) | trainer.max_epochs=8, scheduler.T_max=8"


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("why"), GeneratorExit(), ValueError()])
def test_a_users_module_that_ends_the_process_is_an_invalid_child(monkeypatch, error):
    class Ends(nn.Module):
        def __init__(self):
            raise error

    space = External(Ends)
    with pytest.raises(SpaceError, match=type(error).__name__):
        space.build((3,))


@pytest.mark.parametrize("error", [KeyboardInterrupt("asked"), SystemExit(143), SystemExit(129)])
def test_a_user_who_stops_the_study_stops_it_in_a_users_module_too(error):
    class Slow(nn.Module):
        def forward(self, x_BF):
            raise error

    with pytest.raises(type(error), match=str(error)):
        External(Slow).build((3,))


def test_a_users_file_that_ends_the_process_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "ends_at_once.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpaceError, match=r"cannot import .ends_at_once.X.: it ends the process"):
        parse_space({"_target_": "ends_at_once.X"})
