import pytest

from nasrunner.retrain.mlp import is_mlp
from nasrunner.spaces.language.parsing import parse_space

AFFINE = {"affine": {"units": {"oneof": [4, 8]}}}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([AFFINE, {"or": ["relu", "tanh"]}, {"optional": {"dropout": {"p": 0.5}}}], True),
        ([{"repeat": {"times": 2, "body": {"concat": [AFFINE, "sigmoid"]}}}, AFFINE], True),
        ([AFFINE, "batch_norm"], False),
        ([AFFINE, {"or": ["relu", {"residual": AFFINE}]}], False),
        ([{"conv2d": {"filters": 4, "kernel_size": 3}}, AFFINE], False),
        ([AFFINE, {"_target_": "torch.nn.Identity"}], False),
    ],
)
def test_a_space_is_an_mlp_if_no_network_of_it_has_anything_else(
    modules: list[object], expected: bool
) -> None:
    assert is_mlp(parse_space({"concat": modules}).network) is expected
