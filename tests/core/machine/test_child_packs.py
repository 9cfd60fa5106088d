"""Small files of a thousand children in one, and what is read of it; here a group is of three."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nasrunner.children.files import ChildFiles
from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.core.machine import child_packs
from nasrunner.core.machine.child_folder import ChildFolder, GrowingCurves, pack_children

KILLED = """
import os, pathlib, signal, sys
from nasrunner.core.machine import child_packs
from nasrunner.core.machine.child_folder import pack_children
child_packs.GROUP = 3
left, unlink = int(sys.argv[2]), pathlib.Path.unlink
def dying(path):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    unlink(path)
pathlib.Path.unlink = dying
pack_children(pathlib.Path(sys.argv[1]), 0)
"""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_packs, "GROUP", 3)


def proposal(index: int) -> Proposal:
    return Proposal(index, {"units": index})


def end(study: Path, *indices: int) -> None:
    """Children that have ended, of two trainings each, with a checkpoint."""
    for index in indices:
        for path in (child_folder(study, index), ChildFolder.of(study, index).training(1).path):
            path.mkdir(parents=True)
            with ChildFiles(path) as files:
                files.start(proposal(index), {"optimizer": {"lr": index}})
                for epoch in range(3):
                    files.add_line({"epoch": epoch, "val_loss": float(index)})
                (path / "log.txt").write_text("é")
                files.write_outcome(Outcome(proposal(index), "completed", index / 10))


def everything(study: Path, *indices: int) -> list[object]:
    """All that is read of children."""
    found: list[object] = []
    for index in indices:
        for child in (ChildFolder.of(study, index), ChildFolder.of(study, index).training(1)):
            assert child.holds("proposal.json", "config.yaml", "curves.jsonl", "outcome.json")
            found += [child.proposal(), child.outcome(proposal(index)), child.curves()]
            found += [child.text("config.yaml"), child.text("log.txt")]
            found += [GrowingCurves(child).read()]
    return found


def names(study: Path) -> list[str]:
    """What lies in the folder of the children, and below."""
    children = study / "children"
    return sorted(
        path.relative_to(children).as_posix() for path in children.rglob("*") if path.is_file()
    )


def test_packed_children_are_read_as_before_and_take_one_file(tmp_path: Path) -> None:
    end(tmp_path, 0, 1, 2, 3)
    before = everything(tmp_path, 0, 1, 2, 3)
    pack_children(tmp_path, 0)
    assert sorted(os.listdir(tmp_path / "children")) == ["0000-0002.zip", "0003"]
    assert everything(tmp_path, 0, 1, 2, 3) == before
    pack_children(tmp_path, 3)
    assert sorted(os.listdir(tmp_path / "children")) == ["0000-0002.zip", "0003-0005.zip"]
    assert everything(tmp_path, 0, 1, 2, 3) == before


def test_checkpoints_and_files_of_others_stay_where_they_are(tmp_path: Path) -> None:
    end(tmp_path, 0, 1)
    stay = ["0000/best.ckpt", "0001/mine/notes.txt"]
    for name in stay:
        (tmp_path / "children" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "children" / name).write_text("1")
    pack_children(tmp_path, 0)
    assert names(tmp_path) == ["0000-0002.zip", *stay]
    ChildFolder.of(tmp_path, 0).remove_checkpoints()
    assert sorted(os.listdir(tmp_path / "children")) == ["0000-0002.zip", "0001"]


def test_a_file_that_no_child_has_written_is_not_there(tmp_path: Path) -> None:
    end(tmp_path, 0)
    pack_children(tmp_path, 0)
    for child, name in ((0, "tested.json"), (1, "curves.jsonl"), (3, "curves.jsonl")):
        folder = ChildFolder.of(tmp_path, child)
        assert not folder.holds(name)
        with pytest.raises(FileNotFoundError, match=rf"{child:04d}/{name}"):
            folder.read(name)
    assert ChildFolder.of(tmp_path, 1).outcome(proposal(1)) is None
    with pytest.raises(FileNotFoundError):
        ChildFolder(tmp_path / "retrained" / "0000-seed0").read("outcome.json")


@pytest.mark.parametrize("num_removed", [0, 1, 2, 5, 10, 17, 29])
def test_packing_that_is_killed_loses_nothing_and_goes_on(tmp_path: Path, num_removed: int) -> None:
    end(tmp_path, 0, 1, 2)
    before, files = everything(tmp_path, 0, 1, 2), names(tmp_path)
    assert len(files) == 30
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(num_removed)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 30 - num_removed + 1
    assert everything(tmp_path, 0, 1, 2) == before
    pack_children(tmp_path, 0)
    assert names(tmp_path) == ["0000-0002.zip"]
    assert everything(tmp_path, 0, 1, 2) == before


def test_a_pack_that_was_not_finished_is_written_anew(tmp_path: Path) -> None:
    end(tmp_path, 0, 1, 2)
    before = everything(tmp_path, 0, 1, 2)
    (tmp_path / "children" / "0000-0002.zip.unfinished").write_bytes(b"PK cut off")
    assert everything(tmp_path, 0, 1, 2) == before
    pack_children(tmp_path, 0)
    assert names(tmp_path) == ["0000-0002.zip"]
    assert everything(tmp_path, 0, 1, 2) == before


def test_a_child_that_is_trained_again_is_read_from_its_folder_and_stays_there(
    tmp_path: Path,
) -> None:
    end(tmp_path, 0, 1, 2)
    pack_children(tmp_path, 0)
    child = ChildFolder.of(tmp_path, 1)
    (child.path).mkdir()
    child.last.write_bytes(b"of the training that has ended")
    with ChildFiles(child.path) as files:
        files.forget_outcome()
        assert not child.last.exists()
        files.start(proposal(1), {"optimizer": {"lr": 0.5}})
        files.add_line({"epoch": 0, "val_loss": 0.5})
        assert child.outcome(proposal(1)) is None  # the packed one is not its own any more
        assert child.training(1).outcome(proposal(1)) is None
        pack_children(tmp_path, 0)
        outcome = Outcome(proposal(1), "completed", 0.75)
        files.write_outcome(outcome)
    pack_children(tmp_path, 0)
    assert child.outcome(proposal(1)) == outcome
    assert child.curves() == [{"epoch": 0, "val_loss": 0.5}]
    assert names(tmp_path)[1:] == [
        f"0001/{name}" for name in ("config.yaml", "curves.jsonl", "outcome.json", "proposal.json")
    ]
    assert ChildFolder.of(tmp_path, 0).outcome(proposal(0)) is not None


def test_curves_that_are_packed_while_they_are_followed_come_once(tmp_path: Path) -> None:
    end(tmp_path, 0)
    curves = GrowingCurves(ChildFolder.of(tmp_path, 0))
    assert len(curves.read()) == 3
    curves.take()
    pack_children(tmp_path, 0)
    assert curves.read() == []


def test_a_damaged_pack_is_told(tmp_path: Path) -> None:
    end(tmp_path, 0)
    pack_children(tmp_path, 0)
    pack = tmp_path / "children" / "0000-0002.zip"
    content = pack.read_bytes()
    in_first = content[:60] + b"!" + content[61:]  # of the files in it, by name
    for damaged in (content[: len(content) // 2], b"", in_first):
        pack.write_bytes(damaged)
        with pytest.raises(OSError, match=r"0000-0002.zip is damaged: "):
            ChildFolder.of(tmp_path, 0).read("config.yaml")


def test_children_without_files_need_no_pack(tmp_path: Path) -> None:
    (tmp_path / "children").mkdir()
    pack_children(tmp_path, 0)
    assert os.listdir(tmp_path / "children") == []
