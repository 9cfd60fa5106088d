"""What configurations say of inputs."""

import pytest

from nasrunner.core.shapes import in_dtype_of


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "float32"),
        ({"in_dtype": None}, "float32"),
        ({"in_dtype": "int64"}, "int64"),
        ({"in_dtype": {"text": "int64"}}, {"text": "int64"}),
    ],
)
def test_inputs_whose_type_is_null_are_as_those_whose_type_is_not_given(data, told):
    assert in_dtype_of(data) == told
