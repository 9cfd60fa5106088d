import numpy as np
import pytest
import torch

from nasrunner.core import DataError
from nasrunner.data.normalize import Normalization


def test_images_are_normalized_by_channel() -> None:
    x = np.zeros((2, 2, 1, 2), np.uint8)
    x[:, 0] = [[[1, 3]], [[5, 7]]]  # mean 4, variance 5
    x[:, 1] = 9  # constant: shifted only
    out = Normalization.of(x).apply(x)
    expected = torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / 5**0.5
    torch.testing.assert_close(out[:, 0, 0], expected)
    assert torch.equal(out[:, 1], torch.zeros(2, 1, 2))
    assert out.dtype == torch.float32


def test_vectors_are_normalized_by_feature() -> None:
    x = np.array([[1.0, 10.0], [3.0, 50.0]])
    out = Normalization.of(x).apply(x)
    assert torch.equal(out, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_small_differences_of_large_numbers_survive() -> None:
    x = np.full((1000, 1), 1e8)
    x[::2] += 1
    normalization = Normalization.of(x)
    assert normalization.mean.item() == 1e8 + 0.5
    assert normalization.std.item() == 0.5
    assert torch.unique(normalization.apply(x)).tolist() == [-1.0, 1.0]


def test_the_rounding_of_a_constant_is_not_taken_for_a_deviation() -> None:
    x = np.full((1000, 1), 0.3)
    assert Normalization.of(x).mean != 0.3  # what makes it hard
    assert Normalization.of(x).std.item() == 1


def test_statistics_of_many_examples_are_those_of_numpy() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1000, 3, 4, 4), dtype=np.uint8)
    normalization = Normalization.of(x)
    np.testing.assert_allclose(normalization.mean.ravel(), x.mean((0, 2, 3)))
    np.testing.assert_allclose(normalization.std.ravel(), x.std((0, 2, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_feature(value: float) -> None:
    x = np.ones((3, 4))
    x[1, 2] = value
    with pytest.raises(DataError, match=r"must be a finite number.*with others: \[2\]"):
        Normalization.of(x)
