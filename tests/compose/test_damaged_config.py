"""A saved configuration that is not what was written: one sentence, whoever reads it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nasrunner.compose.saved import saved_config
from nasrunner.core import ConfigError
from nasrunner.recorded import read_study
from tests.report.recordings import recorded


def first_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_behind_a_key(content: bytes) -> bytes:
    return content[: content.index(b"tracker:\n") + len(b"tracker:\n")]


def first_lines(content: bytes) -> bytes:
    return b"".join(content.splitlines(keepends=True)[:12])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: b"", "it is empty"),
        (lambda content: b"\n \n", "it is empty"),
        (lambda content: b"\0" * len(content), "special characters are not allowed"),
        (first_half, r"line \d+, its last one, is cut off"),
        (first_lines, "it ends in line 12 without space, searcher, data, .*tracker"),
        (cut_behind_a_key, r"it ends in line \d+ without tracker\."),
        (lambda content: b"- a\n- b\n", "it holds no keys"),
        (lambda content: b"word\n", "it ends in line 1 without study, seed"),
        (lambda content: content + b"# \xe4\n", r"line \d+ is no text in UTF-8"),
        (lambda content: b"a: [1\n" + content, r"line \d+: expected ',' or ']'"),
        (lambda content: b"seed: 1\n" + content, r"duplicate key seed|line \d+: found duplicate"),
    ],
)
@pytest.mark.parametrize("read", [saved_config, read_study])
def test_what_is_wrong_is_said_and_what_can_be_done(
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    told: str,
    read: Callable[[Path], object],
) -> None:
    folder = recorded(tmp_path / "study", [0.5])
    path = folder / "config.yaml"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=rf"config.yaml is damaged: {told}.*Put back a copy"):
        read(folder)


def test_a_configuration_that_is_whole_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "study", [0.5], study="Größe → 1 × 2")
    assert saved_config(folder)["study"] == "Größe → 1 × 2"
