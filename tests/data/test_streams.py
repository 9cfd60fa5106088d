import pytest
import torch

from nasrunner.data.tokens import StreamLoader


def batches(num_targets: int, batch_size: int, num_steps: int) -> list[tuple[list, list]]:
    tokens = torch.arange(num_targets + 1)
    return [(x.tolist(), y.tolist()) for x, y in StreamLoader(tokens, batch_size, num_steps)]


def test_streams_lie_side_by_side_and_go_on_from_batch_to_batch() -> None:
    assert batches(num_targets=11, batch_size=2, num_steps=2) == [
        ([[0, 1], [5, 6]], [[1, 2], [6, 7]]),
        ([[2, 3], [7, 8]], [[3, 4], [8, 9]]),
        ([[4], [9]], [[5], [10]]),  # 11 is the one that two streams do not divide
    ]


@pytest.mark.parametrize(
    ("num_targets", "batch_size", "num_steps"), [(24, 4, 3), (23, 4, 3), (7, 7, 5), (50, 1, 7)]
)
def test_every_target_but_the_last_few_is_one_of_exactly_one_batch(
    num_targets: int, batch_size: int, num_steps: int
) -> None:
    found = batches(num_targets, batch_size, num_steps)
    targets = sorted(token for _, y in found for row in y for token in row)
    num_left_out = num_targets % batch_size
    assert targets == list(range(1, num_targets - num_left_out + 1))
    assert all(row[0] == y_row[0] - 1 for x, y in found for row, y_row in zip(x, y, strict=True))
    assert len(StreamLoader(torch.arange(num_targets + 1), batch_size, num_steps)) == len(found)


def test_a_text_without_targets_has_no_batches() -> None:
    assert batches(num_targets=0, batch_size=4, num_steps=3) == []


def test_a_pass_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(24, 4, 3)
    assert torch.equal(before, torch.get_rng_state())
