from pathlib import Path

from nasrunner.children.ranks import Ranks, failures


def test_what_a_rank_says_itself_stands_before_how_its_process_ended(tmp_path: Path) -> None:
    (tmp_path / "rank1.txt").write_text("Traceback\nValueError: broken\n")
    ranks = Ranks(tmp_path, {})
    for rank in (1, 2):
        ranks._report(rank, "was killed")
    assert failures(tmp_path, wait_s=0) == [
        "rank 1 failed: ValueError: broken",
        "rank 2 failed: its process was killed",
    ]
    assert failures(tmp_path, wait_s=0) == []
