from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, DataError
from nasrunner.data.tokens import TokenDataModule
from tests.data.texts import Numbers, digits

COMMON: dict[str, Any] = {
    "in_shape": [7],
    "in_dtype": "int64",
    "num_outputs": 10,
    "batch_size": 4,
    "eval_batch_size": 1,
    "train_tokens": None,
    "validation_tokens": None,
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


def numbers(**changed: Any) -> Numbers:
    target = f"{Numbers.__module__}.Numbers"
    made: Numbers = construct({"_target_": target, **COMMON, **changed}, "data")
    return made


def read(loader: Any) -> list[int]:
    """The targets of a loader with one stream, in order."""
    return [int(token) for _, y in loader for token in y[0]]


def test_parts_are_read_in_order_and_whole_with_one_stream(log: Path) -> None:
    module = numbers(batch_size=1, log=str(log))
    module.setup("test")
    assert read(module.train_dataloader()) == digits(1, 302).tolist()
    assert read(module.val_dataloader()) == digits(303, 364).tolist()
    assert read(module.test_dataloader()) == digits(365, 406).tolist()


def test_a_batch_is_as_many_streams_and_steps_as_asked_for() -> None:
    module = numbers()
    module.setup("fit")
    (x, y), *_, (last_x, last_y) = module.train_dataloader()
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((4, 7), (4, 7), torch.int64, torch.int64)
    assert last_x.shape == last_y.shape == (4, 75 % 7)  # 301 targets are 4 streams of 75


def test_a_slice_has_as_many_targets_from_the_start() -> None:
    module = numbers(train_tokens=40, validation_tokens=9, batch_size=1)
    module.setup("fit")
    assert read(module.train_dataloader()) == digits(1, 41).tolist()
    assert read(module.val_dataloader()) == digits(303, 312).tolist()


def test_a_share_is_of_the_targets_from_the_start() -> None:
    module = numbers(train_tokens=40, train_share=0.3, batch_size=1)
    module.setup("fit")
    assert read(module.train_dataloader()) == digits(1, 13).tolist()
    assert len(read(module.val_dataloader())) == 61


def test_a_joined_validation_text_follows_the_training_text() -> None:
    module = numbers(batch_size=1, train_share=0.5)  # all there is
    module.join_validation()
    module.prepare_data()
    module.setup("test")
    assert read(module.train_dataloader()) == [*digits(1, 302), *digits(303, 364)]
    assert list(module.val_dataloader()) == []
    assert len(read(module.test_dataloader())) == 41


def test_a_search_never_reads_the_test_part(log: Path) -> None:
    module = numbers(log=str(log))
    module.prepare_data()
    module.setup("fit")
    assert log.read_text() == "fit "
    module.setup("test")
    assert log.read_text() == "fit test "


def test_a_text_is_read_once_a_process_whatever_the_batches(log: Path) -> None:
    first = numbers(log=str(log))
    first.prepare_data()
    first.setup("fit")
    second = replace(first, batch_size=3, in_shape=[5], eval_batch_size=2)
    second.setup("fit")
    assert log.read_text() == "fit "
    other = replace(first, train_tokens=100)
    other.setup("fit")
    assert log.read_text() == "fit fit "
    x, _ = next(iter(second.train_dataloader()))
    assert x.shape == (3, 5)


class Wider(Numbers):
    def read_fit(self) -> tuple[np.ndarray, np.ndarray]:
        train, validation = super().read_fit()
        return train + 1, validation + 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0}, "data.batch_size must be int >= 1, got 0"),
        ({"in_shape": [7, 7]}, r"data.in_shape must be \[T\], the steps of a batch, got \[7, 7\]"),
        ({"in_shape": [0]}, r"data.in_shape must be list of int >= 1, got \[0\]"),
        ({"in_dtype": "float32"}, "data.in_dtype must be int64, got 'float32'"),
        ({"train_tokens": 0}, "data.train_tokens must be int >= 1 or null, got 0"),
        ({"train_tokens": 302}, "data.train_tokens must be null or at most 301, .* got 302"),
        ({"validation_tokens": 62}, "data.validation_tokens must be null or at most 61"),
        (
            {"batch_size": 44},
            r"data.batch_size=44 streams of data.in_shape=\[7\] steps need 308 tokens, but the "
            "training part has 301",
        ),
        ({"eval_batch_size": 9}, "data.eval_batch_size=9 .* but the validation part has 61"),
    ],
)
def test_what_the_text_cannot_give_is_one_sentence_before_training(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        numbers(**changed).prepare_data()


def test_a_test_part_too_short_for_its_batch_is_refused() -> None:
    module = numbers(eval_batch_size=8)  # 56 of the 61 of validation, but not of 41
    with pytest.raises(ConfigError, match=r"eval_batch_size=8 .* but the test part has 41"):
        module.setup("test")


@pytest.mark.parametrize(("kind", "found"), [(Numbers, 10), (Wider, 11)])
def test_the_vocabulary_must_be_as_large_as_promised(
    kind: type[TokenDataModule], found: int
) -> None:
    module = kind(**(COMMON | {"num_outputs": 9}))
    with pytest.raises(DataError, match=f"data.num_outputs must be {found}, .* got 9"):
        module.prepare_data()


@pytest.mark.parametrize(("streams", "shape"), [(4, (4, 7)), (9, (1, 7))])
def test_shuffled_validation_has_as_many_streams_as_training_where_the_text_is_long_enough(
    streams: int, shape: tuple[int, int]
) -> None:
    module = numbers(batch_size=streams)  # 61 targets for validation: 9 streams of 7 need 63
    module.setup("fit")
    torch.manual_seed(0)
    first, second = (list(module.shuffled_validation(augmented=False)) for _ in range(2))
    assert {x.shape for x, _ in first} == {shape}
    starts = [[tuple(x[:, 0].tolist()) for x, _ in each] for each in (first, second)]
    assert sorted(starts[0]) == sorted(starts[1])
    assert starts[0] != starts[1]
