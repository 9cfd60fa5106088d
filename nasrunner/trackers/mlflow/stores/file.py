"""The file in a study's folder that says where the study is in MLflow."""

import json
import re
import secrets
from pathlib import Path
from typing import Any

from nasrunner.core.machine.files import keep_file

FILE = "mlflow.json"
"""Its name."""


def study_id(folder: Path) -> str:
    """Returns the name that tells a study from all others, made once and kept in its folder."""
    known = recall(folder)
    if "study" not in known:
        parts = folder.resolve().parts[-2:]
        name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", "/".join(part.strip("/") for part in parts))
        known["study"] = f"{name}-{secrets.token_hex(2)}"
        remember(folder, known)
    return str(known["study"])


def recall(folder: Path) -> dict[str, Any]:
    """Returns what is kept of a study; nothing where it was not tracked before."""
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def remember(folder: Path, facts: dict[str, Any]) -> None:
    """Adds facts to the file, all of them or none."""
    keep_file(folder / FILE, json.dumps({**recall(folder), **facts}, indent=2) + "\n")
