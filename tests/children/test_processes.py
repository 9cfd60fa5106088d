from pathlib import Path
from tempfile import TemporaryFile

import pytest

from nasrunner.children.processes import _reason


@pytest.mark.parametrize(
    ("code", "own", "told"),
    [
        (1, None, ["rank 0 failed: its process ended with exit code 1"]),
        (1, "broken", ["rank 1 failed: broken"]),
        (-6, "broken", ["rank 1 failed: broken"]),  # an abort is torch's own
        (
            *(-9, "broken"),
            ["rank 1 failed: broken", "rank 0 failed: its process was killed by SIGKILL"],
        ),
    ],
)
def test_the_reason_is_what_was_said_and_which_rank_it_was(
    tmp_path: Path, code: int, own: str | None, told: list[str]
) -> None:
    if own is not None:
        (tmp_path / "rank1.txt").write_text(f"{own}\n")
    with TemporaryFile() as said:
        said.write(b"".join(b"line %d\n" % number for number in range(100)))
        lines = _reason(tmp_path, code, said).splitlines()
    assert lines[-len(told) :] == told
    assert lines[: -len(told)] == [f"line {number}" for number in range(92, 100)]
