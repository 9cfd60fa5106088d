"""The mean loss of a pass is that of its targets, whoever knows how many a batch has."""

from types import SimpleNamespace

import pytest
import torch

from nasrunner.children.tasks.mean_loss import MeanLoss

ALONE = SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda value, reduce_op: value)


@pytest.mark.parametrize("num_batches", [3, 3000])
@pytest.mark.parametrize("kind", [float, int, torch.tensor])
def test_the_mean_is_over_targets(kind: type, num_batches: int) -> None:
    mean = MeanLoss()
    for batch in range(num_batches):
        mean.add(torch.tensor(float(batch)), kind(1 + batch % 2))
    sizes = [1 + batch % 2 for batch in range(num_batches)]
    expected = sum(batch * size for batch, size in enumerate(sizes)) / sum(sizes)
    found = mean.compute(ALONE)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected)
    assert mean.compute(ALONE).isnan()  # it has begun anew


def test_sizes_of_a_device_are_not_waited_for() -> None:
    """A tensor of the meta device has no value that anything could wait for."""
    mean = MeanLoss()
    for _ in range(MeanLoss._MAX_KEPT):
        mean.add(torch.zeros((), device="meta"), torch.ones((), device="meta", dtype=torch.int64))
    strategy = SimpleNamespace(root_device="meta", reduce=ALONE.reduce)
    assert mean.compute(strategy).device.type == "meta"
