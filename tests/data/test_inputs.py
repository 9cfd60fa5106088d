"""Data sets in memory with several inputs by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import ConfigError, DataError
from nasrunner.data.split import equal_inputs
from nasrunner.data.tensors import Arrays, Grouped, TensorDataModule

NUMBERS = np.arange(30)
ARGUMENTS: dict[str, Any] = {
    "in_shape": {"image": [2, 1, 3], "text": [4], "number": [1]},
    "in_dtype": {"text": "int64"},
    "num_outputs": 2,
    "batch_size": 4,
    "eval_batch_size": 16,
    "drop_last": False,
    "validation_examples": 6,
    "split_seed": 0,
}


def inputs(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """An image of two channels, four tokens and the number itself, of each number."""
    image = numbers[:, None, None, None] * np.array([1.0, 100.0])[:, None, None]
    return {
        "image": np.broadcast_to(image, (len(numbers), 2, 1, 3)),
        "text": np.column_stack([numbers] * 4),
        "number": numbers[:, None].astype(float),
    }


@dataclass(kw_only=True, eq=False)
class Named(TensorDataModule):
    """30 examples and 10 for the test numbered from 100, with what a test changes in them."""

    change: Any = None
    groups: Any = None

    def read_fit(self) -> Arrays | Grouped:
        x: Any = inputs(NUMBERS)
        if self.change is not None:
            x.update(self.change)
        y = NUMBERS % 2
        return (x, y) if self.groups is None else (x, y, self.groups)

    def read_test(self) -> Arrays:
        numbers = np.arange(100, 110)
        return {k: torch.from_numpy(v.copy()) for k, v in inputs(numbers).items()}, numbers % 2  # type: ignore[misc]


def test_each_input_is_normalized_for_itself_and_tokens_are_not() -> None:
    module = Named(**ARGUMENTS)
    module.setup("test")
    x, y = module.training_tensors()
    assert isinstance(x, dict)
    trained = x["text"][:, 0].numpy()
    assert len(trained) == len(y) == 24
    assert x["text"].dtype == torch.int64
    assert x["image"].dtype == x["number"].dtype == torch.float32
    assert torch.equal(y, x["text"][:, 0] % 2)
    expected = (trained - trained.mean()) / trained.std()
    np.testing.assert_allclose(x["number"][:, 0].numpy(), expected, atol=1e-6)
    for channel in range(2):
        np.testing.assert_allclose(x["image"][:, channel, 0, 2].numpy(), expected, atol=1e-6)
    assert isinstance(module.normalization, dict)
    assert set(module.normalization) == {"image", "number"}
    assert module.normalization["image"].mean.shape == (2, 1, 1)


def test_the_parts_are_disjoint_and_the_test_is_normalized_as_the_training_part() -> None:
    module = Named(**ARGUMENTS)
    module.setup("test")
    numbers = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        batches = [x for x, _ in loader]
        assert all(set(x) == {"image", "text", "number"} for x in batches)
        numbers.append(sorted(n for x in batches for n in x["text"][:, 0].tolist()))
    train, validation, test = numbers
    assert len(validation) == 6
    assert sorted(train + validation) == NUMBERS.tolist()
    assert test == list(range(100, 110))
    normalization = module.normalization["number"]  # type: ignore[index]
    (x, _), *_ = module.test_dataloader()
    raw = x["number"][:, 0].double() * normalization.std[0] + normalization.mean[0]
    assert raw.round().int().tolist() == test


def test_examples_are_equal_where_all_their_inputs_are() -> None:
    first = np.array([[0.0], [1.0], [-0.0], [0.0]])
    second = np.array([[3], [3], [3], [4]])
    assert equal_inputs({"first": first, "second": second}).tolist() == [0, 1, 0, 2]


def test_equal_examples_and_groups_stay_together() -> None:
    twins = inputs(NUMBERS // 2)
    for changes in ({"change": twins}, {"groups": NUMBERS // 2, "equal_inputs": "apart"}):
        module = Named(**ARGUMENTS, **changes)
        module.setup("fit")
        x, _ = module.training_tensors()
        assert isinstance(x, dict)
        trained = set(x["text"][:, 0].tolist())
        if "change" in changes:  # each of the twelve twice
            assert (len(trained), len(x["text"])) == (12, 24)
        else:
            assert len(trained) == 24
            assert all((number ^ 1) in trained for number in trained)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"change": {"number": np.zeros((29, 1))}},
            "must read as many examples of each input, got 30 of image, 30 of text, 29 of number",
        ),
        (
            {"change": {"text": np.zeros((30, 5), int)}},
            r"data.in_shape must be {'image': \[2, 1, 3\], 'text': \[5\], 'number': .* got {",
        ),
        (
            {"change": {"label": np.zeros((30, 1))}},
            r"data.in_shape must be {.*'label': \[1\]}, the shape of an example of Named, got {",
        ),
        (
            {"change": {"text": np.zeros((30, 4))}},
            "data.in_dtype.text=int64 needs whole numbers, which Named does not read: float64",
        ),
        ({"change": {"number": np.full((30, 1), np.nan)}}, "every value must be a finite number"),
        ({"groups": np.zeros(29)}, r"the 30 examples of Named need groups \(N,\), got \(29,\)"),
        ({"in_shape": [4]}, r"data.in_shape must be {'image': .*, got \[4\]"),
    ],
)
def test_inputs_that_do_not_belong_together_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Named(**{**ARGUMENTS, **changes}).setup("fit")


def test_a_batch_larger_than_the_training_part_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.batch_size must be at most 24"):
        Named(**{**ARGUMENTS, "batch_size": 25}).setup("fit")
