from itertools import pairwise

import pytest
import torch
from torch import nn

from nasrunner.core import OneOf, SearchSpace, Shape, Space, SpaceError
from nasrunner.spaces import (
    Affine,
    Concat,
    Conv2d,
    Dropout,
    Empty,
    Fork,
    MaxPool,
    MaybeSwap,
    Optional,
    Or,
    Relu,
    Repeat,
    RepeatTied,
    Residual,
    Tanh,
)
from nasrunner.spaces.branches import Merge
from nasrunner.spaces.language.parsing import parse_space

UNITS = OneOf((2, 3))


def affine() -> Affine:
    return Affine(UNITS)  # type: ignore[arg-type]


def texts(space: SearchSpace | Concat) -> list[str]:
    """What every answer to the only decision gives."""
    ((path, options),) = space.signature().items()
    return [space.freeze({path: index}).text() for index in range(len(options))]


def test_a_residual_adds_its_input_zero_padded_to_its_output() -> None:
    network, shape = Residual(Conv2d(3, 1, 2), "pad").build((2, 4, 5))
    assert shape == (3, 4, 5)
    conv = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(6, 2, 4, 5)
    expected = torch.zeros(6, 3, 4, 5)
    expected[:, :2] += x
    expected[:, :, :2, :3] += conv(x)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(
    ("body", "in_shape", "out_shape", "stride"),
    [
        (Conv2d(3, 3, 2), (2, 28, 28), (3, 14, 14), (2, 2)),
        (Conv2d(3, 3, (2, 1)), (2, 7, 5), (3, 4, 5), (2, 1)),
        (Conv2d(3, 3), (2, 4, 5), (3, 4, 5), (1, 1)),
        (MaxPool(3, 3, "same"), (2, 7, 7), (2, 3, 3), (3, 3)),
    ],
)
def test_a_residual_projects_its_input_where_shapes_differ(
    body: Space, in_shape: Shape, out_shape: Shape, stride: tuple[int, int]
) -> None:
    network, shape = Residual(body).build(in_shape)
    assert shape == out_shape
    assert isinstance(network, Merge)
    shortcut, layer = network.branches
    assert isinstance(shortcut, nn.Conv2d)
    assert (shortcut.kernel_size, shortcut.stride, shortcut.bias) == ((1, 1), stride, None)
    x = torch.randn(6, *in_shape)
    seen = x[:, :, :: stride[0], :: stride[1]]
    projected = torch.einsum("oi,bihw->bohw", shortcut.weight[:, :, 0, 0], seen)
    torch.testing.assert_close(network(x), projected + layer(x))


def test_a_residual_projects_vectors_with_a_matrix() -> None:
    network, shape = Residual(Affine(3)).build((2,))
    assert isinstance(network, Merge)
    shortcut, layer = network.branches
    x = torch.randn(6, 2)
    assert shape == (3,)
    assert isinstance(shortcut, nn.Linear)
    torch.testing.assert_close(network(x), x @ shortcut.weight.T + layer(x))


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (Residual(Conv2d(2, 3, 2), "error"), r"makes \(2, 4, 4\) of it, which shortcut=error refu"),
        (Residual(Conv2d(2, 3, padding="valid")), r"no stride leads from .* shortcut=pad"),
    ],
)
def test_a_residual_whose_shapes_cannot_be_added_is_impossible(
    residual: Residual, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        residual.build((2, 8, 8))


def test_a_residual_says_which_shortcut_it_has_where_it_is_not_the_usual_one() -> None:
    assert Residual(Tanh()).text() == "residual(tanh)"
    assert Residual(Tanh(), "pad").text() == "residual[pad](tanh)"


def test_a_residual_of_equal_shapes_is_a_plain_sum() -> None:
    network, shape = Residual(Tanh()).build((3,))
    x = torch.randn(4, 3)
    assert shape == (3,)
    torch.testing.assert_close(network(x), x + x.tanh())


def test_a_residual_of_an_image_and_a_vector_is_impossible() -> None:
    with pytest.raises(SpaceError, match=r"'residual': .*cannot be merged: flatten or pool them"):
        Residual(Affine(3)).build((2, 4, 5))


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("add", [[4.0, 6.0, 5.0]]),  # zeros where a branch has nothing
        ("multiply", [[3.0, 8.0, 5.0]]),  # ones
        ("concat", [[1.0, 2.0, 3.0, 4.0, 5.0]]),
    ],
)
def test_a_fork_merges_what_its_branches_return(merge: str, expected: list[list[float]]) -> None:
    fork = Fork((Affine(2), Affine(3)), merge)  # type: ignore[arg-type]
    network, shape = fork.build((1,))
    for layer, bias in zip(
        (m for m in network.modules() if isinstance(m, nn.Linear)),
        ([1.0, 2.0], [3.0, 4.0, 5.0]),
        strict=True,
    ):
        nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor(bias)
    assert shape == (len(expected[0]),)
    assert network(torch.zeros(1, 1)).tolist() == expected


def test_a_concat_fork_of_images_pads_height_and_width_and_stacks_in_depth() -> None:
    fork = Fork((Conv2d(2, 1, 2), Empty()), "concat")
    network, shape = fork.build((3, 5, 4))
    assert shape == (5, 5, 4)
    x = torch.randn(2, 3, 5, 4)
    y = network(x)
    assert torch.equal(y[:, 2:], x)
    assert torch.equal(y[:, :2, 3:], torch.zeros(2, 2, 2, 4))
    assert torch.equal(y[:, :2, :, 2:], torch.zeros(2, 2, 5, 2))


def test_repeat_asks_for_each_repetition_and_repeat_tied_once_for_all() -> None:
    repeat, tied = Repeat(3, affine()), RepeatTied(3, affine())
    assert (repeat.size(), tied.size()) == (8, 2)
    assert len(repeat.walk(lambda decision: 0)) == 3
    assert list(tied.walk(lambda decision: 0)) == ["repeat_tied/affine/units"]
    assert list(repeat.signature()) == ["repeat/*/affine/units"]


@pytest.mark.parametrize("kind", [Repeat, RepeatTied])
def test_what_is_never_repeated_decides_nothing(kind: type[Repeat | RepeatTied]) -> None:
    assert kind(0, affine()).signature() == {}
    some = kind(OneOf((0, 1)), affine())  # type: ignore[arg-type]
    assert any("affine" in path for path in some.signature())
    assert some.size() == 1 + 2


@pytest.mark.parametrize("times", [-1, 1.5, OneOf((2, -3))])
def test_a_number_of_repetitions_below_zero_or_between_is_refused(times: object) -> None:
    with pytest.raises(SpaceError, match=r"times of repeat must be a whole number >= 0, got [-1]"):
        Repeat(times, Relu())  # type: ignore[arg-type]


def test_repeat_tied_ties_decisions_but_not_weights() -> None:
    frozen = RepeatTied(3, affine()).freeze({"repeat_tied/affine/units": 1})
    network, shape = frozen.build((3,))
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert shape == (3,)
    assert [layer.out_features for layer in layers] == [3, 3, 3]
    assert len({layer.weight.data_ptr() for layer in layers}) == 3
    assert all(not torch.equal(a.weight, b.weight) for a, b in pairwise(layers))


def test_sizes_count_the_number_of_repetitions_as_well() -> None:
    times = OneOf((0, 1, 3))
    assert Repeat(times, affine()).size() == 1 + 2 + 8  # type: ignore[arg-type]
    assert RepeatTied(times, affine()).size() == 1 + 2 + 2  # type: ignore[arg-type]
    assert Or((affine(), Relu(), Optional(affine()))).size() == 2 + 1 + 3
    assert MaybeSwap((affine(), affine())).size() == 8
    assert Concat((affine(), affine(), Relu())).size() == 4


def test_no_repetition_is_the_identity() -> None:
    for module in (Repeat(0, Relu()), RepeatTied(0, Relu()), Concat(())):
        frozen = module.freeze({})
        assert frozen.text() == "empty"
        network, shape = frozen.build((2, 3))
        x = torch.randn(4, 2, 3)
        assert shape == (2, 3)
        assert torch.equal(network(x), x)


def test_optional_or_and_maybe_swap_become_what_was_chosen() -> None:
    assert texts(Concat((Optional(Relu()), Tanh()))) == ["tanh", "relu → tanh"]
    assert texts(Concat((Or((Relu(), Tanh())),))) == ["relu", "tanh"]
    assert texts(Concat((MaybeSwap((Relu(), Tanh())),))) == ["relu → tanh", "tanh → relu"]


def test_maybe_swap_asks_the_same_questions_in_both_orders() -> None:
    space = MaybeSwap((affine(), Dropout(OneOf((0.1, 0.5)))))  # type: ignore[arg-type]
    paths = [list(space.walk(lambda decision, swap=swap: swap)) for swap in (0, 1)]
    assert paths[0] == paths[1]
    assert paths[0] == ["maybe_swap", "maybe_swap/0/affine/units", "maybe_swap/1/dropout/p"]


def test_options_are_called_by_what_they_hold() -> None:
    space = parse_space(
        {
            "or": [
                {"concat": ["relu", "tanh"]},
                {"dropout": {"p": 0.1}},
                {"dropout": {"p": 0.5}},
                {"optional": {"concat": []}},
            ]
        }
    )
    assert space.signature() == {
        "or": ("relu → tanh", "dropout#1", "dropout#2", "optional"),
        "or/3/optional": ("empty", "concat"),
    }


def test_the_text_counts_what_is_repeated() -> None:
    space = RepeatTied(3, Relu()).freeze({})
    assert space.text() == "3×[relu]"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Or((Relu(), Tanh())), "'or': .*one of its modules has to be chosen: freeze it first"),
        (Optional(Relu()), "whether its module is used has to be chosen: freeze it first"),
        (MaybeSwap((Relu(), Tanh())), "the order of its modules has to be chosen: freeze it first"),
        (Repeat(2, Relu()), "its repetitions have to be chosen: freeze it first"),
        (Repeat(OneOf((1, 2)), Relu()), "'times' of 'repeat' is still open: freeze it first"),  # type: ignore[arg-type]
    ],
)
def test_an_open_composite_is_not_built(module: Or, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        module.build((3,))


def test_an_impossible_layer_deep_inside_is_named_by_its_path() -> None:
    space = parse_space(
        {
            "concat": [
                "relu",
                {"repeat": {"times": 2, "body": {"max_pool": {"kernel_size": 3, "stride": 3}}}},
            ]
        }
    )
    message = r"'1/repeat/1/max_pool': no max_pool on an input of shape \(1, 2, 2\): a window of"
    with pytest.raises(SpaceError, match=message):
        space.freeze({}).build((1, 8, 8))
