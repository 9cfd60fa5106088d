"""What a power cut leaves of a study, at each moment that something relies on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from nasrunner.children.files import ChildFiles
from nasrunner.compose.launch import open_ledger, run_study
from nasrunner.compose.saved import save_config, saved_config
from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.study.ledger import Ledger
from tests.children.studies import make_study
from tests.study.power import Disk, restore, watched

PROPOSAL = Proposal(0, {"0/units": 1})


def outcomes_in(files: dict[str, bytes], prefix: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in files[f"{prefix}ledger.jsonl"].splitlines()]
    return [event for event in events if event["event"] == "outcome"]


def test_a_ledger_has_its_place_and_a_configuration_before_its_first_event_lasts(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "outputs" / "name" / "time"
    with watched(tmp_path) as disk, open_ledger(folder) as ledger:
        save_config({"study": "name"}, folder)
        ledger.append("study", {"seed": 3})
        left = disk.left()
    assert left["outputs/name/time/config.yaml"].startswith(b"study: name\n")
    assert json.loads(left["outputs/name/time/ledger.jsonl"])["seed"] == 3


def test_a_configuration_that_is_written_again_is_whole_at_any_time(tmp_path: Path) -> None:
    with watched(tmp_path) as disk:
        for name in ("before", "after"):
            save_config({"study": name}, tmp_path)
            whole = (tmp_path / "config.yaml").read_bytes()
            assert whole.startswith(f"study: {name}\n".encode())
            assert disk.left()["config.yaml"] == whole


def test_a_child_is_on_disk_before_its_outcome(tmp_path: Path) -> None:
    folder = child_folder(tmp_path, 0)
    with watched(tmp_path) as disk, ChildFiles(folder) as files:
        files.start(PROPOSAL, {"optimizer": {"lr": 0.1}})
        files.add_line({"epoch": 0, "val_accuracy": 0.5})
        files.last.write_bytes(b"weights")
        assert "children/0000/outcome.json" not in disk.left()
        files.write_outcome(Outcome(PROPOSAL, "completed", 0.5))
        left = disk.left()
    now = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {f"children/0000/{name}": content for name, content in now.items()} == left
    assert set(now) == {
        "config.yaml",
        "curves.jsonl",
        "last.ckpt",
        "outcome.json",
        "proposal.json",
    }


@pytest.mark.slow
def test_a_study_goes_on_after_a_power_cut_at_any_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the ledger calls completed lacks a file, and the rest is trained as before."""
    overrides = ["executor=serial", "max_children=4", "trainer.max_epochs=1", "searcher=random"]
    study = make_study(tmp_path / "first" / "study", *overrides)
    (study / "ledger.jsonl").unlink()
    config = saved_config_of(study)
    lefts: list[dict[str, bytes]] = []
    append = Ledger.append

    with watched(tmp_path / "first") as disk:
        monkeypatch.setattr(Ledger, "append", remembering(append, disk, lefts))
        run_study(config, study)
        monkeypatch.undo()
    whole = {
        f"study/{path.relative_to(study)}": path.read_bytes()
        for path in study.rglob("*")
        if path.is_file()
    }
    rewards = [outcome["reward"] for outcome in outcomes_in(whole, "study/")]
    assert len(lefts) == len(rewards) == 4
    for count, left in enumerate(lefts, start=1):
        assert len(outcomes_in(left, "study/")) == count
        assert left["study/config.yaml"] == whole["study/config.yaml"]
        for outcome in outcomes_in(left, "study/"):
            place = f"study/children/{outcome['index']:04d}/"
            written = {name for name in whole if name.startswith(place)}
            assert {f"{place}{name}" for name in ("best.ckpt", "curves.jsonl")} <= written
            assert {name: left.get(name) for name in written} == {
                name: whole[name] for name in written
            }

    again = tmp_path / "again"
    restore(lefts[1], again)
    run_study(saved_config(again / "study"), again / "study")
    events = {"study/ledger.jsonl": (again / "study" / "ledger.jsonl").read_bytes()}
    assert [outcome["reward"] for outcome in outcomes_in(events, "study/")] == rewards


def saved_config_of(study: Path) -> dict[str, Any]:
    """As ``saved_config``, of a study that has not begun."""
    (study / "ledger.jsonl").touch()
    config = saved_config(study)
    (study / "ledger.jsonl").unlink()
    return {**config, "baseline": None}


def remembering(append: Any, disk: Disk, lefts: list[dict[str, bytes]]) -> Any:
    """Looks at the disk whenever an outcome stands in the ledger."""

    def appending(ledger: Ledger, event: str, record: Any, **arguments: Any) -> None:
        append(ledger, event, record, **arguments)
        if event == "outcome":
            lefts.append(disk.left())

    return appending
