import pytest

from nasrunner.children.rehearsal.shortened import shortened


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 1),
        ({"limit_val_batches": 7}, 1),
        ({"limit_val_batches": 0}, 0),
        ({"limit_val_batches": 0, "overfit_batches": 1}, 1),  # it validates on what it trains on
    ],
)
def test_what_no_child_validates_no_rehearsal_does(settings, limit):
    assert shortened(settings, 10)["limit_val_batches"] == limit


@pytest.mark.parametrize(
    ("interval", "batches_per_epoch", "interval_here", "num_batches"),
    [
        (None, 10, 1.0, 1),
        (1.0, 10, 1.0, 1),
        (10, 10, 1.0, 1),
        (5, 10, 0.5, 2),
        (0.25, 10, 0.5, 2),
        (0.25, None, 0.5, 2),
        (0.25, 1, 1.0, 1),
        (20, 10, 0.5, 2),  # not at the end of an epoch
    ],
)
def test_a_validation_within_an_epoch_is_rehearsed_within_one(
    interval, batches_per_epoch, interval_here, num_batches
):
    found = shortened({"val_check_interval": interval}, batches_per_epoch)
    assert found["val_check_interval"] == interval_here
    assert found["limit_train_batches"] == num_batches
