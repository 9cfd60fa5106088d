"""Signs that a terminal or a pipe cannot show, put into those it can."""

import codecs
import io
import sys
import unicodedata

_PLAIN = {
    "→": "->",
    "×": "x",
    "·": "-",
    "–": "-",
    "−": "-",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "∘": "o",
    "ε": "epsilon",
    "Σ": "sum",
    "±": "+-",
    "²": "2",
    "•": "*",
    "━": "-",
    "─": "-",
    "╸": "-",
    "╺": "-",
    "│": "|",
}


def show_what_can_be_shown() -> None:
    """Makes standard output and errors replace signs that their encoding lacks.

    A locale without UTF-8, as clusters have, would end the command at the first arrow.
    """
    codecs.register_error("nasrunner.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nasrunner.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _letters(sign) for sign in text), error.end


def _letters(sign: str) -> str:
    """The letters of an accented one; a question mark for what has none."""
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return plain or "?"
