"""What the commands have in common."""

import logging
import os
import sys

import pytest
from hydra.utils import get_object

from nasrunner.command_line import one_sentence


@pytest.mark.parametrize("is_buffered", [True, False])
def test_output_that_nobody_reads_ends_a_command_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], is_buffered: bool
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8", newline="\n") as output:
        monkeypatch.setattr(sys, "stdout", output)
        output.reconfigure(line_buffering=not is_buffered)
        if is_buffered:
            with one_sentence("nasrunner", "stopped"):
                output.write("help")
        else:
            with pytest.raises(SystemExit, match="141"), one_sentence("nasrunner", "stopped"):
                output.write("help\n")
        output.write("more")
    assert capfd.readouterr().err == ""


def test_a_broken_pipe_of_another_is_not_taken_for_the_outputs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        pytest.raises(BrokenPipeError, match="Broken pipe"),
        one_sentence("nasrunner", "stopped"),
    ):
        os.write(writer, b"x")
    os.close(writer)


def test_hydra_adds_no_line_about_a_class_that_it_cannot_find(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Studies of earlier versions name classes by paths that are gone."""
    logger = logging.getLogger("hydra.utils")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # as setLevel does
    with one_sentence("nasrunner", "stopped"), pytest.raises(ImportError):
        get_object("nasrunner.searchers.never.Never")
    assert caplog.messages == []
