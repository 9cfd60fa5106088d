"""Makes the pictures of the README: a study's terminal and its report, from a search that is run.

``python docs/pictures.py`` takes some minutes of two cores; the report needs ``chromium``.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent / "pages" / "pictures"
COMMAND = ("nasrunner", "space=mlp", "data=digits", "searcher=smbo", "baseline=random")
"""That of the README."""
COLUMNS = 118
PAGE = (1280, 1190)
"""Width and height of the report's screenshot, in pixels."""

_ERASED = "\x1b[2K"
"""What a live display writes before each of its frames but the first, and at its end."""


def main() -> None:
    """Runs the study in a folder of its own, and makes both pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        output = shown(Path(folder)).replace(f"{folder}/", "")  # where it was made
        terminal(output, PICTURES / "terminal.svg")
        (study,) = Path("outputs", "smbo-mlp").iterdir()
        report(study, PICTURES / "report.png")


def shown(folder: Path) -> str:
    """Runs the search in a folder; returns what it writes to a terminal, with its colours."""
    code = "import sys; from nasrunner.entry import search; sys.argv[0] = 'nasrunner'; search()"
    written = bytearray()

    def read(terminal: int) -> bytes:
        part = os.read(terminal, 65536)
        written.extend(part)
        return part

    where = Path(__file__).parents[1]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(where), os.environ.get("PYTHONPATH")])),
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
    }
    os.chdir(folder)
    if status := pty.spawn([sys.executable, "-c", code, *COMMAND[1:]], read):
        sys.exit(f"{' '.join(COMMAND)} ended with {status}")
    return written.decode()


def terminal(output: str, path: Path) -> None:
    """Draws what stands on a terminal once a study has ended.

    Args:
        output: all that was written to it, the frames of its live display, too.
        path: of the SVG file.
    """
    output = re.sub(r"\x1b\[\?25[lh]", "", output.replace("\r", ""))
    before = output.partition("━")[0].rpartition("\n")[0]
    after = output.rpartition(_ERASED)[2]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text(f"$ {' '.join(COMMAND)}", style="bold green"))
        for part in (before, after):
            console.print(Text.from_ansi(part.strip("\n")))
    path.write_text(console.export_svg(title="nasrunner"), encoding="utf-8")


def report(study: Path, path: Path) -> None:
    """Takes a screenshot of a study's page, light and as wide as a desktop."""
    made = [sys.executable, "-m", "nasrunner.report.command", f"from={study}"]
    subprocess.run(made, check=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: the report's picture needs it")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
    size = f"--window-size={PAGE[0]},{PAGE[1]}"
    page = study / "report" / "report.html"
    text = page.read_text(encoding="utf-8").replace(f"{Path.cwd()}/", "")  # where it was made
    page.write_text(text, encoding="utf-8")
    subprocess.run(
        [chromium, *flags, size, f"--screenshot={path}", page.absolute().as_uri()], check=True
    )


if __name__ == "__main__":
    main()
