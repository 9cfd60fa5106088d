"""Figures as SVG: files of their own, and parts of a page with its letters and colours."""

import io
import re

from matplotlib.figure import Figure

from nasrunner.report.page.style import PAPER, house_style, themed_colours

_HEX = re.compile(r"#[0-9a-f]{6}\b")
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def svg_of(figure: Figure) -> str:
    """The figure as an SVG file; the same text for the same figure."""
    written = io.StringIO()
    with house_style():
        # Without a date and with this salt for the ids, two runs write the same file.
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(written, format="svg", facecolor=PAPER, metadata=metadata)
    return written.getvalue()


def inline(svg: str, name: str) -> str:
    """An SVG file as an element of a page that holds others, too.

    Args:
        svg: the file's text.
        name: unique on the page; its ids begin with it.
    """
    element = _METADATA.sub("", svg[svg.index("<svg") :])
    element = _ID.sub(rf"\g<1>{name}-", element)
    themes = themed_colours()

    def themed(found: re.Match[str]) -> str:
        theme = themes.get(found.group())
        return f"var(--{theme[0]})" if theme else found.group()

    return _HEX.sub(themed, element)
