"""What some tests need installed: services, by the names of their markers."""

import os
import shutil
from typing import NoReturn

import pytest

SERVICES = ("chromium", "postgresql", "slurm")


def required() -> list[str]:
    """The services whose tests must run here, as NASRUNNER_REQUIRE names them.

    Raises:
        UsageError: it names something else.
    """
    named = os.environ.get("NASRUNNER_REQUIRE", "").split()
    for name in named:
        if name not in SERVICES:
            raise pytest.UsageError(f"NASRUNNER_REQUIRE: {name!r} is none of {', '.join(SERVICES)}")
    return named


def missing(service: str, what: str) -> NoReturn:
    """Skips a test whose service is not installed, or fails it where it is required."""
    if service in required():
        pytest.fail(f"{what}, but NASRUNNER_REQUIRE names {service}", pytrace=False)
    pytest.skip(what)


def chromium_programs() -> tuple[str, str]:
    """Chromium and its driver; skips the test where one is not installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing("chromium", "chromium or chromedriver is not installed: apt-get install both")
    return chromium, driver
