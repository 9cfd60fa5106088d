"""What the commands have in common."""

import os
import sys

import pytest

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
