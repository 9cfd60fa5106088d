"""What CI must not skip: names of markers in NASRUNNER_REQUIRE; and one thread for each test."""

import os
from collections.abc import Generator
from typing import Any

import hypothesis  # noqa: F401 - its plugin imports it at the end, and warns of frozen garbage
import pytest

# Test processes, and those that they start, share few cores: threads of tiny networks would spend
# most of their time waiting for one another. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that was skipped although its marker is required here."""
    report = yield
    required = os.environ.get("NASRUNNER_REQUIRE", "").split()
    if report.skipped and any(item.get_closest_marker(name) for name in required):
        report.outcome = "failed"
        report.longrepr = f"skipped, but NASRUNNER_REQUIRE={' '.join(required)}: {report.longrepr}"
    return report
