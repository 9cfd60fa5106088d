import pytest
import torch

from tests.searchers.worlds import GOLDEN_SPACES


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Several test processes share few cores: torch's threads would only wait for each other."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gaussian processes take seconds for what others do at once: on most spaces they are slow."""
    for item in items:
        found = getattr(item, "callspec", None)
        given = found.params if found is not None else {}
        if given.get("name") == "gp" and given.get("space") not in (None, *GOLDEN_SPACES):
            item.add_marker(pytest.mark.slow)
