"""Networks with a share of their widths, against the same networks written by hand."""

import pytest

from nasrunner.core.space import declares_widths, narrowed
from nasrunner.spaces.language.parsing import parse_space


def network(written):
    """The architecture of every decision's first option."""
    space = parse_space(written)
    return space.freeze(space.walk(lambda decision: 0)).network


def conv(filters, **others):
    return {"conv2d": {"filters": filters, "kernel_size": 3, **others}}


def affine(units):
    return {"affine": {"units": units}}


OUT = affine(10)


@pytest.mark.parametrize(
    ("written", "share", "by_hand"),
    [
        ([affine(64), "relu", OUT], 0.25, [affine(16), "relu", OUT]),
        ([affine(10), "relu", OUT, "relu"], 0.5, [affine(5), "relu", OUT, "relu"]),
        ([affine(3), OUT], 0.1, [affine(1), OUT]),
        ([affine(64), OUT], 1.0, [affine(64), OUT]),
        (
            [conv(16), {"residual": conv(16)}, conv("same"), OUT],
            0.5,
            [conv(8), {"residual": conv(8)}, conv("same"), OUT],
        ),
        (
            [conv(16), {"separable_conv2d": {"filters": 32, "kernel_size": 3}}, OUT],
            0.5,
            [conv(8), {"separable_conv2d": {"filters": 16, "kernel_size": 3}}, OUT],
        ),
        (
            [{"inverted_residual": {"filters": 8, "expansion": 3, "kernel_size": 3}}, OUT],
            0.5,
            [{"inverted_residual": {"filters": 4, "expansion": 3, "kernel_size": 3}}, OUT],
        ),
        (
            [
                {"conv1d": {"filters": 16, "kernel_size": 3}},
                {"residual": {"separable_conv1d": {"filters": 16, "kernel_size": 3}}},
                {"recurrent_encoder": {"cell": "gru_cell", "units": 12}},
                OUT,
            ],
            0.5,
            [
                {"conv1d": {"filters": 8, "kernel_size": 3}},
                {"residual": {"separable_conv1d": {"filters": 8, "kernel_size": 3}}},
                {"recurrent_encoder": {"cell": "gru_cell", "units": 6}},
                OUT,
            ],
        ),
        # All that is summed into the output has its width.
        (
            [conv(8), conv(10), {"residual": {"concat": [conv(6), conv(10)]}}, "global_pool"],
            0.5,
            [conv(4), conv(10), {"residual": {"concat": [conv(3), conv(10)]}}, "global_pool"],
        ),
        (
            [conv(8), {"fork": {"branches": [conv(4), conv(6)], "merge": "concat"}}, "global_pool"],
            0.5,
            [conv(4), {"fork": {"branches": [conv(4), conv(6)], "merge": "concat"}}, "global_pool"],
        ),
        (
            [{"repeat_tied": {"times": 3, "body": affine(8)}}, OUT],
            0.5,
            [{"repeat_tied": {"times": 3, "body": affine(4)}}, OUT],
        ),
        (
            [{"cell": {"nodes": 3, "edge": conv(8)}}, OUT],
            0.5,
            [{"cell": {"nodes": 3, "edge": conv(4)}}, OUT],
        ),
    ],
)
def test_a_share_of_the_widths_is_the_network_written_with_smaller_numbers(written, share, by_hand):
    found = narrowed(network({"concat": written}), share)
    assert found == network({"concat": by_hand})
    found.build((3, 20) if "1d" in str(written) else (3, 8, 8))


def test_what_is_shared_is_narrower_in_every_place():
    def shared(filters):
        body = [{"shared": {"label": "block"}}, {"shared": {"label": "block"}}, OUT]
        return {"share": {"label": "block", "module": conv(filters), "body": {"concat": body}}}

    assert narrowed(network(shared(8)), 0.5) == network(shared(4))


def test_the_widths_of_a_language_model_are_all_inside():
    def model(units):
        body = {"recurrent": {"cell": "lstm_cell", "units": units}}
        return {"language_model": {"body": body, "vocabulary": 50, "tied": True, "units": units}}

    assert narrowed(network(model(12)), 0.25) == network(model(3))


def test_modules_without_a_declaration_stay_as_they_are():
    own = {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 10}
    found = narrowed(network({"concat": [affine(32), affine(8), own]}), 0.5)
    assert found == network({"concat": [affine(16), affine(8), own]})


@pytest.mark.parametrize(
    ("written", "declares"),
    [
        ({"concat": ["relu", {"or": ["tanh", affine({"oneof": [8, 16]})]}]}, True),
        ({"concat": ["relu", conv("same")]}, False),
        ({"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 10}, False),
    ],
)
def test_a_space_declares_widths_wherever_one_may_be_chosen(written, declares):
    assert declares_widths(parse_space(written).network) is declares
