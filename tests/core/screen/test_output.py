"""Output beside files of others."""

import json
from pathlib import Path

import pytest

from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.output import OutputFolder


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name[0] != "."}


def output(folder: Path, *, overwrite: bool = False) -> OutputFolder:
    return OutputFolder(folder, "report", "to", overwrite=overwrite)


def test_what_a_command_wrote_is_replaced_as_a_whole(tmp_path: Path) -> None:
    output(tmp_path / "new").write({"a": b"1", "b": b"2"})
    (tmp_path / "new" / "notes").write_text("mine")
    output(tmp_path / "new").write({"a": b"3", "c": b"4"})
    assert texts(tmp_path / "new") == {"a": "3", "c": "4", "notes": "mine"}


@pytest.mark.parametrize("made", [("b", "mine"), ("b", ""), ("a", "changed")])
def test_a_file_of_another_or_one_that_was_changed_is_never_replaced(
    tmp_path: Path, made: tuple[str, str]
) -> None:
    output(tmp_path).write({"a": b"1"})
    name, text = made
    (tmp_path / name).write_text(text)
    before = texts(tmp_path)
    with pytest.raises(ConfigError, match=rf"holds {name}, made or changed by another.*to="):
        output(tmp_path).write({"a": b"2", "b": b"2"})
    assert texts(tmp_path) == before
    output(tmp_path, overwrite=True).write({"a": b"2", "b": b"2"})
    assert texts(tmp_path) == {"a": "2", "b": "2"}


def test_a_folder_or_a_link_in_a_files_place_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="holds a, b, made or changed by another"):
        output(tmp_path).write({"a": b"1", "b": b"1"})


def test_files_that_are_left_over_go_unless_the_user_changed_them(tmp_path: Path) -> None:
    output(tmp_path).write({"a": b"1", "b": b"1", "c": b"1"})
    (tmp_path / "b").write_text("mine")
    output(tmp_path).write({"c": b"2"})
    assert texts(tmp_path) == {"b": "mine", "c": "2"}


def test_nothing_is_replaced_where_one_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output(tmp_path).write({"a": b"1", "b": b"1"})
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".b." in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        output(tmp_path).write({"a": b"2", "b": b"2"})
    assert texts(tmp_path) == {"a": "1", "b": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".nasrunner-report.json", "a", "b"]
    monkeypatch.undo()
    output(tmp_path).write({"a": b"2", "b": b"2"})
    assert texts(tmp_path) == {"a": "2", "b": "2"}


def test_a_process_killed_between_two_files_leaves_none_that_looks_like_anothers(
    tmp_path: Path,
) -> None:
    output(tmp_path).write({"a": b"1", "b": b"1"})
    known = json.loads((tmp_path / ".nasrunner-report.json").read_text())
    output(tmp_path).write({"a": b"2", "b": b"2"})
    later = json.loads((tmp_path / ".nasrunner-report.json").read_text())
    both = {name: [*known[name], *later[name]] for name in known}
    (tmp_path / ".nasrunner-report.json").write_text(json.dumps(both))
    (tmp_path / "b").write_text("1")
    output(tmp_path).write({"a": b"3", "b": b"3"})
    assert texts(tmp_path) == {"a": "3", "b": "3"}
