"""SIGTERM and SIGHUP in the process that the study runs in."""

import contextlib
import os
import signal
import threading
import time

import pytest

from nasrunner.core.machine import stopping
from nasrunner.core.machine.stopping import ToldToStop, stopped_by_signals


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)
    time.sleep(0)  # where Python runs its handler


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_once_and_its_handler_is_given_back(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(ToldToStop, match=signum.name) as raised, stopped_by_signals():
        send(signum)
    assert raised.value.signum == signum
    assert signal.getsignal(signum) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_it_passes_wherever_ctrl_c_passes_and_is_no_exception_of_a_child() -> None:
    assert issubclass(ToldToStop, KeyboardInterrupt)
    assert not issubclass(ToldToStop, Exception)


def test_what_was_swallowed_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_AGAIN_S", 0.02)

    def swallow() -> None:  # as a user's module may, and Python in callbacks
        with contextlib.suppress(BaseException):
            send(signal.SIGTERM)
        time.sleep(5)

    with pytest.raises(ToldToStop, match="SIGTERM"), stopped_by_signals():
        swallow()


def test_a_second_signal_disturbs_nobody_who_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_AGAIN_S", 0.01)
    cleaned = []

    def clean_up() -> None:
        try:
            send(signal.SIGHUP)
        finally:
            send(signal.SIGTERM)
            time.sleep(0.05)
            cleaned.append(True)

    with pytest.raises(ToldToStop, match="SIGHUP"), stopped_by_signals():
        clean_up()
    assert cleaned == [True]


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_than_the_first_changes_no_handler() -> None:
    found = []

    def look() -> None:
        with stopped_by_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
