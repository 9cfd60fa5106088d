"""Makes a study on disk one in which no child was trained to its end."""

import json
from pathlib import Path


def pause_all(study: Path, until: int) -> None:
    """Rewrites its ledger, as if every child had been paused after so many epochs."""
    path = study / "ledger.jsonl"
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for event in events:
        if event["event"] == "proposed":
            event["until"] = until
        if event["event"] == "outcome" and event["status"] == "completed":
            event["status"] = "paused"
    text = "".join(json.dumps(event) + "\n" for event in events)
    path.write_text(text, encoding="utf-8")
