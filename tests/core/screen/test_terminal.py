"""Output where the encoding lacks what is written."""

import io
import sys

import pytest

from nasrunner.core.screen.terminal import show_what_can_be_shown


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "conv → relu × 2", b"conv -> relu x 2"),
        ("ascii", "Größe ≤ 3 …", b"Gro?e <= 3 ..."),
        ("ascii", "名", b"?"),
        ("ascii", "\udcc3", b"?"),
        ("latin-1", "Größe × 2 → 3", "Größe × 2 -> 3".encode("latin-1")),
        ("utf-8", "Größe × 2 → 3", "Größe × 2 → 3".encode()),
    ],
)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_signs_that_cannot_be_shown_are_replaced(
    monkeypatch: pytest.MonkeyPatch, name: str, encoding: str, text: str, shown: bytes
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    show_what_can_be_shown()
    stream = getattr(sys, name)
    stream.write(text)
    stream.flush()
    assert raw.getvalue() == shown


def test_a_stream_that_is_no_terminals_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = io.StringIO()
    monkeypatch.setattr(sys, "stdout", captured)
    show_what_can_be_shown()
    sys.stdout.write("→")
    assert captured.getvalue() == "→"
