"""Puts the pictures of networks into the site's pages, in the colours of the reader's scheme.

As files, which is what is seen beside the code, they are light.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from nasrunner.report.page.style import drawing_colours
from nasrunner.report.page.svg import themed_drawing

PAGES = Path(__file__).parent / "pages"

_PICTURE = re.compile(r'<img alt="[^"]*" src="(pictures/[^"]*\.svg)" />')


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces each picture of a network by the drawing itself."""
    folder = (PAGES / page.file.src_uri).parent
    if folder != PAGES / "spaces":
        return html

    def drawn(found: re.Match[str]) -> str:
        svg = (folder / found[1]).read_text(encoding="utf-8")
        name = Path(found[1]).stem
        return f'<span class="drawing">{themed_drawing(svg, name)}</span>'

    inlined, count = _PICTURE.subn(drawn, html)
    return f"<style>{_scheme()}</style>\n{inlined}" if count else html


def _scheme() -> str:
    """The drawings' colours, by the scheme that is chosen on the page."""
    colours = drawing_colours().values()
    light = "".join(f"--{name}: {each};" for name, each, _ in colours)
    dark = "".join(f"--{name}: {each};" for name, _, each in colours)
    return f":root {{{light}}} [data-md-color-scheme=slate] {{{dark}}}"
