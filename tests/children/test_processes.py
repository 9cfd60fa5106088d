from pathlib import Path
from tempfile import TemporaryFile

import pytest

from nasrunner.children import processes
from nasrunner.children.processes import FAULT, _reason, train_in_ranks
from nasrunner.core import MachineError, Proposal
from tests.children.blobs import make_trainer


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


def test_a_fault_of_the_machine_is_told_in_its_own_words(tmp_path: Path, monkeypatch) -> None:
    said = b"a warning\nnasrunner.child: No space left on device: /full\nrank 1 leaves\n"

    def interrupted(folder, num_ranks, output, hearing):
        output.write(said)
        return FAULT

    monkeypatch.setattr(processes, "_run", interrupted)
    task = make_trainer(is_rehearsed=False).task(tmp_path, 0)
    with pytest.raises(MachineError, match=r"^No space left on device: /full$"):
        train_in_ranks(task, Proposal(0, {}), 2)
    assert not (tmp_path / "children" / "0000" / "outcome.json").exists()
