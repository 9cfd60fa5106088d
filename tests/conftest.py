"""Sees that CI skips nothing that it must run, and that each test keeps to one thread."""

import os
import signal
import tempfile
from collections.abc import Generator
from typing import Any

import hypothesis  # noqa: F401 - its plugin imports it at the end, and warns of frozen garbage
import pytest

from tests.services import required

# Test processes, and those that they start, share few cores: threads of tiny networks would spend
# most of their time waiting for one another. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers, and what they start, inherit it
    _FOLDER = tempfile.TemporaryDirectory(prefix="nasrunner-tests-")
    os.environ["XDG_CONFIG_HOME"] = _FOLDER.name
    """The key that studies are signed with is none of whoever runs the tests."""

_HAVE_RUN: set[str] = set()
"""Required markers of which a test has come to its end, in whatever process."""


def pytest_configure(config: pytest.Config) -> None:
    """Refuses unknown names, and takes Ctrl-C back where a shell's background job ignores it."""
    required()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # tests send it to their own processes
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Fails a file that was skipped as a whole where something is required: it may be in it."""
    report = yield
    if report.skipped and required():
        report.outcome = "failed"
        report.longrepr = _told(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that was skipped although its marker is required here."""
    report = yield
    if report.skipped and any(item.get_closest_marker(name) for name in required()):
        report.outcome = "failed"
        report.longrepr = _told(report.longrepr)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers what has run; also called for the tests of xdist's processes."""
    if report.when == "call" and not report.skipped:
        _HAVE_RUN.update(name for name in required() if name in report.keywords)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a session in which a required marker had no test at all."""
    is_worker = hasattr(session.config, "workerinput")
    never = [name for name in required() if name not in _HAVE_RUN]
    if never and not is_worker:
        message = f"NASRUNNER_REQUIRE: no test of {', '.join(never)} has run"
        session.config.get_terminal_writer().line(f"\n{message}", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def _told(skipped: object) -> str:
    return f"skipped, but NASRUNNER_REQUIRE={' '.join(required())}: {skipped}"
