"""Temporary things of drivers that live, end and are killed."""

import os
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import process, util
from pathlib import Path

import pytest

from nasrunner.executors import scratch
from nasrunner.executors.scratch import Scratch, remove_leftovers


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of its own: its temporary folder, its semaphores, and a fresh process."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path stands in it
        place = Path(folder)
        for name in ("tmp", "shm"):
            (place / name).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
        monkeypatch.setattr(scratch, "_SHARED_MEMORY", place / "shm")
        config = process.current_process()._config  # type: ignore[attr-defined]
        before = dict(config)
        config.pop("tempdir", None)
        yield place
        config.clear()
        config.update(before)


def semaphore(place: Path, own: Scratch) -> Path:
    path = place / "shm" / f"sem.{own.folder.name}-abcdefgh"
    path.touch()
    return path


def test_sockets_and_semaphores_of_a_driver_are_known_and_given_back(place: Path) -> None:
    config = process.current_process()._config  # type: ignore[attr-defined]
    before = dict(config)
    own = Scratch()
    assert Path(util.get_temp_dir()) == own.folder  # type: ignore[attr-defined]
    assert config["semprefix"] == f"/{own.folder.name}"
    own.close()
    own.close()
    assert config == before
    assert list((place / "tmp").iterdir()) == []


def test_what_a_killed_driver_has_left_is_removed_by_the_next(place: Path) -> None:
    killed = Scratch()
    (killed.folder / "worker").mkdir()
    left = semaphore(place, killed)
    os.close(killed._lock)  # as the system does
    other = place / "shm" / "sem.mp-abcdefgh"
    other.touch()
    remove_leftovers()
    assert not killed.folder.exists()
    assert not left.exists()
    assert other.exists()


def unlocked(folder: Path) -> None:
    (folder / "lock").unlink()


def another_users(folder: Path) -> None:
    os.chown(folder, 65534, -1)


@pytest.mark.parametrize("change", [None, unlocked, another_users])
def test_what_is_in_use_or_is_not_known_to_be_left_stays(
    place: Path, change: Callable[[Path], None] | None
) -> None:
    living = Scratch()
    if change is another_users and os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    if change is not None:
        change(living.folder)
        os.close(living._lock)
    kept = semaphore(place, living)
    remove_leftovers()
    assert living.folder.exists()
    assert kept.exists()


def test_a_folder_whose_path_is_too_long_for_a_socket_holds_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    own = Scratch()
    assert "tempdir" not in process.current_process()._config  # type: ignore[attr-defined]
    own.close()
