"""A folder is a room: it holds few files, which belong together."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 15


def test_a_folder_holds_at_most_fifteen_files() -> None:
    files = [p for room in ("nasrunner", "tests") for p in (ROOT / room).rglob("*") if p.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts]
    counts = Counter(path.relative_to(ROOT).parent for path in kept)
    assert len(counts) > 40
    assert {str(f): n for f, n in counts.items() if n > MOST and f.name != "golden"} == {}
