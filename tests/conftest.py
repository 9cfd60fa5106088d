"""What CI must not skip: names of markers in NASRUNNER_REQUIRE."""

import os
from collections.abc import Generator
from typing import Any

import hypothesis  # noqa: F401 - its plugin imports it at the end, and warns of frozen garbage
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that was skipped although its marker is required here."""
    report = yield
    required = os.environ.get("NASRUNNER_REQUIRE", "").split()
    if report.skipped and any(item.get_closest_marker(name) for name in required):
        report.outcome = "failed"
        report.longrepr = f"skipped, but NASRUNNER_REQUIRE={' '.join(required)}: {report.longrepr}"
    return report
