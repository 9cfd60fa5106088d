from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401 - a library that would be limited no more when it is loaded later

from nasrunner.study.one_thread import OneThread


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """As in a study; in several test processes threads would only wait for each other."""
    with OneThread().held():
        yield
