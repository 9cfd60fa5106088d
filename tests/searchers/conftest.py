from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401 - a library that would be limited no more when it is loaded later

from nasrunner.study.one_thread import OneThread
from tests.searchers.worlds import GOLDEN_SPACES

QUICK = {
    "gp": GOLDEN_SPACES,  # Gaussian processes take seconds for what others do at once
    "ppo": (*GOLDEN_SPACES, "nasrl_conv_small"),  # reinforce's controller with another objective
    "smbo_lstm": (*GOLDEN_SPACES, "deepconv_hyperparameters"),
    "smbo_ngrams": (*GOLDEN_SPACES, "deepconv_hyperparameters", "nasbench_macro"),
}
"""Searchers whose contract is tested by default on these spaces only."""

SLOW = {
    "gp": ("small_cnn", "deepconv_hyperparameters", "nasrl_cell_small"),  # tpe does the rest
    "ppo": (),
    "smbo_lstm": ("small_cnn", "nasrl_conv_small", "nasrl_cell_small"),  # smbo with another model
    "smbo_ngrams": (
        "nasbench201",
        "nasrl_cell_small",
        "nasrl_conv",
        "nasrl_conv_small",
        "small_cnn",
    ),
}
"""Spaces on which their tests are slow; on all others they are not tested."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """As in a study; in several test processes threads would only wait for each other."""
    with OneThread().held():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what is slow, and leaves out what another searcher's tests cover."""
    kept, left_out = [], []
    for item in items:
        found = getattr(item, "callspec", None)
        given = found.params if found is not None else {}
        name, space = given.get("name"), given.get("space")
        is_quick = name not in QUICK or space in (None, *QUICK[name])
        is_slow = not is_quick and space in SLOW[name]
        if is_slow:
            item.add_marker(pytest.mark.slow)
        (kept if is_quick or is_slow else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
