import pytest

from nasrunner.children.settings.length import limited
from nasrunner.core import ConfigError


@pytest.mark.parametrize(
    ("limit", "num_batches", "left"),
    [
        (None, None, None),
        (1.0, None, None),
        (3, None, 3),
        (None, 8, 8),
        (3, 8, 3),
        (9, 8, 8),
        (1, 8, 1),
        (1.0, 8, 8),
        (0.5, 8, 4),
        (0.13, 8, 1),
        (0.5, 0, 0),
    ],
)
def test_a_limit_is_a_number_or_a_share_of_the_batches(limit, num_batches, left):
    assert limited("limit_val_batches", limit, num_batches) == left


@pytest.mark.parametrize(
    ("limit", "num_batches", "message"),
    [
        (0.5, None, r"limit_val_batches=0.5 is a share of batches that the data does not count"),
        (0.12, 8, r"limit_val_batches=0.12 of 8 batches is less than one; legal: >= 0.125"),
    ],
)
def test_a_share_of_nothing_is_refused(limit, num_batches, message):
    with pytest.raises(ConfigError, match=message):
        limited("limit_val_batches", limit, num_batches)
