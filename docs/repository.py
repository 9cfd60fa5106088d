"""Lets pages link to files of the repository: what they name is in the site, below ``repository/``.

So one link works where the pages are read as files, beside the code, and where they are a site.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES, REPOSITORY = "docs/pages/", "repository/"
ALWAYS = ("benchmarks/README.md", "CHANGELOG.md")
"""What the navigation names."""

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files that pages name, those that such files name, and so on."""
    waiting = [PAGES + file.src_uri for file in files if file.src_uri.endswith(".md")]
    waiting += ALWAYS
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith(PAGES):
            name = REPOSITORY + path
            files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
        if not path.endswith(".md"):
            continue
        text = _CODE.sub("", (ROOT / path).read_text(encoding="utf-8"))
        found = {_named(path, link) for link in _LINK.findall(text)} - seen
        new = {each for each in found if not each.startswith(PAGES) and (ROOT / each).is_file()}
        seen |= new
        waiting += new
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between those of the site."""
    here = page.file.src_uri
    path = here.removeprefix(REPOSITORY) if here.startswith(REPOSITORY) else PAGES + here

    def moved(link: re.Match[str]) -> str:
        named = _named(path, link[1])
        if not (ROOT / named).is_file():
            return link[0]  # mkdocs says so
        there = named.removeprefix(PAGES) if named.startswith(PAGES) else REPOSITORY + named
        return posixpath.relpath(there, posixpath.dirname(here) or ".")

    return _LINK.sub(moved, markdown)


def _named(path: str, link: str) -> str:
    """The file of the repository that a link in another one leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
