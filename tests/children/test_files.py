import json
from pathlib import Path

from nasrunner.children.files import ChildFiles
from nasrunner.core import Proposal

PROPOSAL = Proposal(0, {})


def test_the_epochs_of_an_earlier_attempt_come_first(tmp_path: Path) -> None:
    path = tmp_path / "study" / "0000" / "curves.jsonl"
    for earlier in ([], [{"epoch": 0}, {"epoch": 1}]):
        with ChildFiles(path.parent) as files:
            files.start(PROPOSAL, {}, earlier)
            files.add_line({"epoch": len(earlier)})
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines == [*earlier, {"epoch": len(earlier)}]


def test_a_value_that_is_used_twice_is_written_twice(tmp_path: Path) -> None:
    kernel = [3, 3]
    with ChildFiles(tmp_path / "0000") as files:
        files.start(PROPOSAL, {"first": kernel, "second": kernel})
    text = (tmp_path / "0000" / "config.yaml").read_text()
    assert text == "first:\n- 3\n- 3\nsecond:\n- 3\n- 3\n"
