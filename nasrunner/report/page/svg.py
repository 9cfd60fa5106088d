"""Figures as SVG: files of their own, and parts of a page with its letters and colours."""

import io
import re
from collections.abc import Mapping
from html import escape
from types import MappingProxyType

from matplotlib.figure import Figure

from nasrunner.report.page.style import PAPER, drawing_colours, house_style, themed_colours

_HEX = re.compile(r"#[0-9a-f]{6}\b")
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_QUOTED = re.compile(r'"#[0-9A-Fa-f]{3,6}"')
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def svg_of(figure: Figure) -> str:
    """Returns the figure as an SVG file; the same text for the same figure."""
    written = io.StringIO()
    with house_style():
        # Without a date and with this salt for the ids, two runs write the same file.
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(written, format="svg", facecolor=PAPER, metadata=metadata)
    return written.getvalue()


def inline(svg: str, name: str, hovers: Mapping[str, str] = MappingProxyType({})) -> str:
    """Returns an SVG file as an element of a page that holds others, too.

    Args:
        svg: the file's text.
        name: unique on the page; its ids begin with it.
        hovers: a text in it -> what is shown over that.
    """
    element = _METADATA.sub("", svg[svg.index("<svg") :])
    element = _ID.sub(rf"\g<1>{name}-", element)
    for text, told in hovers.items():
        shown = f">{escape(text, quote=False)}</text>"
        element = element.replace(shown, f"><title>{escape(told)}</title>{shown[1:]}")
    themes = themed_colours()

    def themed(found: re.Match[str]) -> str:
        theme = themes.get(found.group())
        return f"var(--{theme[0]})" if theme else found.group()

    return _HEX.sub(themed, element)


def themed_drawing(svg: str, name: str) -> str:
    """Returns an architecture's picture as an element of a page, in the page's colours.

    Args:
        svg: as ``nasrunner.spaces.pictures.drawing.draw`` makes it.
        name: unique on the page; its ids begin with it.
    """
    element = _ID.sub(rf"\g<1>{name}-", svg)
    dark = drawing_colours()

    def themed(found: re.Match[str]) -> str:
        colour = found.group()[1:-1]
        return f'"var(--{dark[colour.lower()][0]})"' if colour.lower() in dark else found.group()

    return _QUOTED.sub(themed, element)
