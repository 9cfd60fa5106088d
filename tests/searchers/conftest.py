import pytest
import torch

from tests.searchers.worlds import GOLDEN_SPACES

QUICK = {
    "gp": GOLDEN_SPACES,  # Gaussian processes take seconds for what others do at once
    "ppo": (*GOLDEN_SPACES, "nasrl_conv_small"),  # reinforce's controller with another objective
}
"""Searchers that are tested by default on these spaces only: on others their tests are slow."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Several test processes share few cores: torch's threads would only wait for each other."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what ``QUICK`` leaves out."""
    for item in items:
        found = getattr(item, "callspec", None)
        given = found.params if found is not None else {}
        quick = QUICK.get(str(given.get("name")))
        if quick is not None and given.get("space") not in (None, *quick):
            item.add_marker(pytest.mark.slow)
