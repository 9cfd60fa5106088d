"""What a user's own data module may say of its normalization."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.export.normalization import UnknownNormalizationError, normalization_of
from nasrunner.export.source.standalone import InputNormalization


def said(found: object, in_shape: tuple[int, ...]) -> Any:
    """What is read of a data module whose ``normalization`` is ``found``."""
    module = SimpleNamespace(normalization=found)
    trained: Any = SimpleNamespace(load_data=lambda: module, shape=in_shape)
    return normalization_of(trained)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_numbers_of_any_kind_are_read(kind: Any) -> None:
    found = SimpleNamespace(mean=kind([0.5, 0.25]), std=kind([2.0, 4.0]))
    expected = InputNormalization((0.5, 0.25), (2.0, 4.0))
    assert said(found, (2, 8, 8)) == expected


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("batch", "must have numbers mean and std, got 'batch'"),
        (SimpleNamespace(mean=["a"], std=[1]), "must have numbers mean and std"),
        (SimpleNamespace(mean=0.5, std=2.0), "for each of the 3 channels or features, got 1 and 1"),
    ],
)
def test_anything_else_is_unknown_in_one_sentence(found: object, message: str) -> None:
    with pytest.raises(UnknownNormalizationError, match=message):
        said(found, (3, 8, 8))
