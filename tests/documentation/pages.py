"""What stands in the README and the pages: blocks of code, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs" / "pages").rglob("*.md")])

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PLACES = {"<study>/<time>": "study/time", "<time>": "time", "<number>": "0", "<id>": 32 * "0"}
"""What people put in the place of a name of ours -> what tests do."""

_OURS = re.compile(r"(?:nasrunner(?:-\w+)?|python -m nasrunner\S*) \S")


@dataclass(frozen=True)
class Command:
    """A command that a page tells people to run.

    Attributes:
        page: where it stands, from the repository's root.
        folder: where it is run, from the root; empty: in a folder of one's own.
        program: ``nasrunner``, ``nasrunner-report``, …, or another one.
        arguments: what follows.
    """

    page: str
    folder: str
    program: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join((self.program, *self.arguments))}"


def name_of(page: Path) -> str:
    """Returns a page's place in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, language: str) -> list[str]:
    """Returns the fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return [code for name, code in _FENCED.findall(text) if name == language]


def languages_of(page: Path) -> set[str]:
    """Returns the languages of all fenced blocks; empty of one that names none."""
    return {name for name, _ in _FENCED.findall(page.read_text(encoding="utf-8"))}


def prose_of(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def commands_of(page: Path) -> Iterator[Command]:
    """Yields the commands of a page: those of its blocks and of ours in its prose."""
    for block in blocks_of(page, "bash"):
        folder = ""
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["cd"]:
                folder = words[1]
            elif words:
                yield _command(page, folder, words)
    for code in _INLINE.findall(prose_of(page)):
        text = " ".join(code.split())
        if _OURS.match(text) and "…" not in text and not text.endswith("="):
            yield _command(page, "", shlex.split(text))


def _command(page: Path, folder: str, words: list[str]) -> Command:
    for named, ours in _PLACES.items():
        words = [word.replace(named, ours) for word in words]
    if words[:2] == ["python", "-m"]:
        words = [" ".join(words[:3]), *words[3:]]
    return Command(name_of(page), folder, words[0], tuple(words[1:]))
