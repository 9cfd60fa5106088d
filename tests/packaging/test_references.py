"""Files of ours that comments, docstrings and texts name are there."""

import re
from pathlib import Path

import nasrunner

ROOT = Path(nasrunner.__file__).parents[1]
NAMED = re.compile(r"[\w.]+(?:/[\w.]+)*/\w+\.py\b")
OF_OTHERS = {
    "nasrunner/data/x.py",  # any data set's
    "mlflow/utils/validation.py",
    "rnn/train.py",
    "rnn/train_search.py",
}


def test_every_file_that_a_text_names_exists() -> None:
    sources = list((ROOT / "nasrunner").rglob("*.py"))
    texts = [ROOT / name for name in ("README.md", "DECISIONS.md", "benchmarks/README.md")]
    texts += sources + list((ROOT / "benchmarks").glob("*.py"))
    texts += list((ROOT / "docs" / "pages").rglob("*.md"))
    folders = [ROOT / name for name in ("nasrunner", "benchmarks", "docs", "examples", "tests")]
    there = [path.as_posix() for folder in folders for path in folder.rglob("*.py")]
    found = {
        (text.relative_to(ROOT).as_posix(), re.sub(r"^(\.\./)+", "", name))  # of a link
        for text in texts
        for name in NAMED.findall(text.read_text(encoding="utf-8"))
    }
    assert len(found) > 10
    missing = {
        (text, name)
        for text, name in found
        if name not in OF_OTHERS and not any(path.endswith(f"/{name}") for path in there)
    }
    assert missing == set()
