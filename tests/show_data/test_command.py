"""The command ``nasrunner-data``."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasrunner.show_data.command import main
from nasrunner.show_data.grid import on_terminal


def show(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["nasrunner-data", *arguments])
    monkeypatch.setenv("COLUMNS", "120")
    main()


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = [f"{n % 13},{'red' if n % 3 else 'blue'},{'yes' if n % 2 else 'no'}" for n in range(90)]
    (tmp_path / "a.csv").write_text("\n".join(["size,colour,bought", *rows]))
    return f"data.path={tmp_path / 'a.csv'}"


def test_a_table_is_shown_with_its_classes_and_columns(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("data=csv", table, "data.target=bought", "data.batch_size=8", monkeypatch=monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert "90 examples" in lines[0]
    assert lines[1] == "inputs (3,), outputs 2"
    total = next(line for line in lines if line.startswith("│ examples"))
    parts = [int(each) for each in total.replace("│", " ").split()[1:]]
    assert sum(parts) == 90
    assert any(line.startswith("│ colour") and "red, blue" in line for line in lines)
    assert any(line.startswith("│ size") and "deviation" in line for line in lines)


def test_numbers_are_shown_by_part(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("data=csv", table, "data.target=size", "task=regression", "data.batch_size=4")
    show(*given, "data.equal_inputs=apart", monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert "targets 0 to 12" in out
    assert "deviation" in out


def test_images_become_a_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("data=digits", "--grid", str(tmp_path / "grid.png"), monkeypatch=monkeypatch)
    assert "10 rows of images, a class each" in capsys.readouterr().out
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (8 * 66, 10 * 66)
        assert np.asarray(image).std() > 50


def test_what_is_no_image_has_no_grid(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("data=csv", table, "data.target=bought", "data.batch_size=8", "--grid", "a.png")
    with pytest.raises(SystemExit):
        show(*given, monkeypatch=monkeypatch)
    assert "--grid=a.png is for images" in capsys.readouterr().err


def test_a_terminal_shows_two_rows_of_pixels_a_line() -> None:
    text = on_terminal(np.zeros((2, 8, 9, 9, 3), np.uint8))
    assert len(text.plain.splitlines()) == 2 * (5 + 1)
