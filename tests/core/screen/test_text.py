import pytest

from nasrunner.core.screen.text import csv_cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wine → 3 × 3, süß\tand\nso on", "wine → 3 × 3, süß\tand\nso on"),
        ("\x1b[31mred\x1b]0;title\x07", "?[31mred?]0;title?"),
        ("back\b\rover \x9b2J", "back??over ?2J"),
        ("turned \u202e around", "turned ? around"),
    ],
)
def test_a_terminal_is_told_nothing_but_text(text, shown):
    assert printable(text) == shown
    assert len(printable(text)) == len(text)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_runs_no_cell(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", "-inf", "a=1", "", None, -0.5, 7, True])
def test_what_is_no_formula_stays_as_it_is(value):
    assert csv_cell(value) is value
