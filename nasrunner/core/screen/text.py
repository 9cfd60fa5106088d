"""Texts that others wrote, for places where some characters do more than being read."""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours or renames it, or turns its text around."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Returns the text for a terminal: each character that would act there is a question mark."""
    return _CONTROLS.sub("?", text)


def csv_cell(value: object) -> object:
    """Returns a value for a CSV file: an apostrophe stands before a text that a spreadsheet would
    run.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
