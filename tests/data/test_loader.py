import pytest
import torch

from nasrunner.data import loader as loader_module
from nasrunner.data.loader import RankPart, TensorLoader

X = torch.arange(10.0)[:, None]
Y = torch.arange(10)


def rows_of(loader: TensorLoader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def test_batches_come_in_order_and_the_last_one_is_what_is_left() -> None:
    loader = TensorLoader(X, Y, 4)
    assert rows_of(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3


def test_drop_last_leaves_out_a_smaller_batch_and_nothing_else() -> None:
    assert rows_of(TensorLoader(X, Y, 4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(TensorLoader(X, Y, 5, drop_last=True)) == 2
    assert rows_of(TensorLoader(X, Y, 11, drop_last=True)) == []
    assert len(TensorLoader(X, Y, 11, drop_last=True)) == 0


@pytest.mark.parametrize("block_bytes", [1, 64, 2**20])
def test_a_shuffled_epoch_is_one_permutation_whatever_is_gathered_at_once(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "_BLOCK_BYTES", block_bytes)
    torch.manual_seed(3)
    expected = torch.randperm(10).tolist()
    torch.manual_seed(3)
    loader = TensorLoader(X, Y, 3, is_shuffled=True)
    assert rows_of(loader) == [expected[:3], expected[3:6], expected[6:9], expected[9:]]


def test_every_epoch_has_an_order_of_its_own_and_inputs_stay_with_their_targets() -> None:
    torch.manual_seed(0)
    loader = TensorLoader(X, Y, 10, is_shuffled=True)
    ((x_1, y_1),), ((x_2, y_2),) = list(loader), list(loader)
    assert y_1.tolist() != y_2.tolist()
    assert torch.equal(x_1[:, 0].long(), y_1)
    assert torch.equal(x_2[:, 0].long(), y_2)


def test_asking_for_an_iterator_draws_nothing() -> None:
    """Lightning asks for one to see whether a loader is iterable."""
    before = torch.get_rng_state()
    iter(TensorLoader(X, Y, 3, is_shuffled=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_changes_batches_and_not_the_data_set() -> None:
    loader = TensorLoader(X.clone(), Y, 10, is_shuffled=True, augment=lambda x: x.mul_(100))
    ((x, y),) = list(loader)
    assert torch.equal(x[:, 0], 100.0 * y)
    assert torch.equal(loader.x, X)


def parts(num_ranks: int, batch_size: int, **arguments: object) -> list[list[list[int]]]:
    """Rank by rank, the targets of every part; each rank draws an order of its own at first."""
    drawn: list[torch.Tensor] = []

    def agree(order: torch.Tensor) -> torch.Tensor:
        drawn.append(order)
        return drawn[0]

    found = []
    for rank in range(num_ranks):
        part = RankPart(rank, num_ranks, agree)
        loader = TensorLoader(X, Y, batch_size, part=part, **arguments)  # type: ignore[arg-type]
        batches = list(loader)
        assert len(batches) == len(loader)
        assert [int(x[:, 0].sum()) for x, _, _ in batches] == [int(y.sum()) for _, y, _ in batches]
        found.append([y.tolist() for _, y, _ in batches])
    return found


def test_ranks_share_every_batch_and_a_rank_may_have_none_of_the_last() -> None:
    assert parts(2, 3) == [
        [[0, 1], [3, 4], [6, 7], [9]],
        [[2], [5], [8], []],
    ]
    assert parts(3, 8) == [
        [[0, 1, 2], [8]],
        [[3, 4, 5], [9]],
        [[6, 7], []],
    ]
    assert parts(2, 4, drop_last=True) == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


@pytest.mark.parametrize("block_bytes", [1, 64, 2**20])
def test_ranks_share_the_batches_that_rank_0_would_have_alone(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "_BLOCK_BYTES", block_bytes)
    torch.manual_seed(3)
    alone = rows_of(TensorLoader(X, Y, 4, is_shuffled=True))
    torch.manual_seed(3)
    first, second = parts(2, 4, is_shuffled=True)
    assert [a + b for a, b in zip(first, second, strict=True)] == alone


def test_a_part_says_how_many_examples_all_parts_have() -> None:
    part = RankPart(1, 2, lambda order: order)
    assert [size for _, _, size in TensorLoader(X, Y, 4, part=part)] == [4, 4, 2]


def test_only_parts_with_examples_are_augmented() -> None:
    part = RankPart(1, 2, lambda order: order)

    def augment(x: torch.Tensor) -> torch.Tensor:
        assert len(x)
        return x + 100

    first, last = TensorLoader(X, Y, 9, augment=augment, part=part)
    assert first[0][:, 0].tolist() == [105, 106, 107, 108]
    assert len(last[0]) == 0


NAMED = {"column": X, "row": torch.arange(30).view(10, 3)}


def unnamed(loader: TensorLoader) -> list[tuple[object, ...]]:
    """The batches; of several inputs the column alone, once the row has been compared with it."""
    found: list[tuple[object, ...]] = []
    for x, *others in loader:
        if isinstance(x, dict):
            assert set(x) == {"column", "row"}
            assert torch.equal(x["row"], 3 * x["column"].long() + torch.arange(3))
            x = x["column"]
        assert isinstance(x, torch.Tensor)
        rest = (each.tolist() if isinstance(each, torch.Tensor) else each for each in others)
        found.append((x.tolist(), *rest))
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"is_shuffled": True},
        {"is_shuffled": True, "drop_last": True},
        {"part": RankPart(1, 2, lambda order: order)},
        {"part": RankPart(2, 3, lambda order: order), "is_shuffled": True},
    ],
)
def test_inputs_by_name_come_in_the_batches_of_one(arguments: dict[str, object]) -> None:
    batches = []
    for x in (X, NAMED):
        torch.manual_seed(3)
        batches.append(unnamed(TensorLoader(x, Y, 4, **arguments)))  # type: ignore[arg-type]
    assert batches[0] == batches[1]
    assert len(batches[0]) > 1


def test_inputs_by_name_are_augmented_together() -> None:
    def augment(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**x, "column": x["column"] + 100}

    (x, _), *_ = TensorLoader(NAMED, Y, 4, augment=augment)
    assert isinstance(x, dict)
    assert x["column"][:, 0].tolist() == [100, 101, 102, 103]
    assert x["row"][0].tolist() == [0, 1, 2]
