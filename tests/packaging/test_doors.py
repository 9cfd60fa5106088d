"""What only one room knows by its name."""

from pathlib import Path

import nasrunner

PACKAGE = Path(nasrunner.__file__).parent
FORMER_PATHS = PACKAGE / "core" / "language" / "moved.py"
"""Saved studies and users' files name the tracker by the dotted path that it had."""


def test_only_trackers_know_mlflow_by_name() -> None:
    texts = {path: path.read_text(encoding="utf-8").lower() for path in PACKAGE.rglob("*.py")}
    assert len(texts) > 200
    found = {path for path, text in texts.items() if "mlflow" in text}
    inside = {path for path in found if path.is_relative_to(PACKAGE / "trackers")}
    assert PACKAGE / "trackers" / "mlflow" / "tracker.py" in inside
    assert found - inside == {FORMER_PATHS}
