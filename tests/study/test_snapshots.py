"""A searcher's state beside the ledger: read where it is the same as replaying, else left alone."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Outcome, Proposal, SearchSpace, StudyInfo
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.snapshots import FILE, Snapshots
from tests.contracts.searchers import Halving
from tests.contracts.trainers import EpochsTrainer
from tests.sampling import spread
from tests.searchers.worlds import SEARCHERS, STOPPING, make_searcher
from tests.study.test_loop import Crash, events, with_rules
from tests.toys import ToyExecutor, ToyTrainer, chain


def sign(data: bytes, key: str = "mine") -> str:
    return hashlib.sha256(key.encode() + data).hexdigest()


class Told(RandomSearch):
    """Counts what it is told; module-level, so that it pickles."""

    def __init__(self, *, space: SearchSpace, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        self.num_told = 0

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.num_told += 1

    def learn(self, outcome: Outcome) -> None:
        self.num_told += 1


class Watched(Told):
    """Counts for all its objects how often they are told something in this process."""

    calls = 0

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        Watched.calls += 1


def run(
    folder: Path,
    make: Any,
    max_children: int,
    *,
    dies_after: int | None = None,
    slots: int = 1,
    snapshots: bool = True,
    signing: Any = sign,
    fingerprints: dict[str, str] | None = None,
    space: SearchSpace | None = None,
) -> Study:
    space = space or chain()
    folder.mkdir(exist_ok=True)
    rules = with_rules(max_children=max_children)
    left = None if dies_after is None else iter(range(dies_after))

    def die() -> None:
        if left is not None and next(left, None) is None:
            raise Crash

    lineages = make is Halving
    with contextlib.closing(Ledger(folder / "ledger.jsonl")) as ledger:
        study = Study(
            space=space,
            searcher=make(space=space, seed=rules.seed),
            trainer=EpochsTrainer(space) if lineages else ToyTrainer(space),
            executor=ToyExecutor(slots, on_wait=die),
            trackers=[],
            ledger=ledger,
            rules=rules,
            info=StudyInfo("toy", folder, {}, max_children),
            snapshots=Snapshots(folder, signing, fingerprints or {}, 0.0) if snapshots else None,
        )
        with contextlib.suppress(Crash):
            study.run()
    return study


@pytest.mark.parametrize(
    ("name", "slots"),
    spread(itertools.product((name for name in SEARCHERS if name not in STOPPING), (1, 3)), ci=0),
)
def test_a_study_goes_on_from_a_snapshot_as_from_the_whole_replay(
    tmp_path: Path, name: str, slots: int
) -> None:
    make = functools.partial(_made, name)
    for folder in ("with", "without"):
        run(tmp_path / folder, make, 20, dies_after=12, slots=slots)
    assert (tmp_path / "with" / FILE).exists()
    (tmp_path / "without" / FILE).unlink()
    for folder in ("with", "without"):
        run(tmp_path / folder, make, 20, slots=slots)
    for kind in ("proposed", "outcome"):
        assert events(tmp_path / "with", kind) == events(tmp_path / "without", kind)


def _made(name: str, *, space: SearchSpace, seed: int) -> Any:
    return make_searcher(name, space, seed)


def test_lineages_go_on_from_a_snapshot(tmp_path: Path) -> None:
    run(tmp_path / "whole", Halving, 8)
    run(tmp_path / "parts", Halving, 8, dies_after=7)
    assert (tmp_path / "parts" / FILE).exists()
    run(tmp_path / "parts", Halving, 8)
    assert events(tmp_path / "parts", "proposed") == events(tmp_path / "whole", "proposed")


def test_what_a_snapshot_holds_is_not_told_again(tmp_path: Path) -> None:
    run(tmp_path, Watched, 20, dies_after=12)
    before = Watched.calls
    study = run(tmp_path, Watched, 20)
    assert Watched.calls - before == 20 - 13 + 1  # one child was in flight, after the last snapshot
    assert isinstance(study.searcher, Watched)
    assert study.searcher.num_told == 40


@pytest.mark.parametrize("what", ["stranger", "ledger", "versions", "source", "no key", "cut off"])
def test_a_snapshot_that_is_not_this_studys_is_not_read(tmp_path: Path, what: str) -> None:
    run(tmp_path, Watched, 20, dies_after=12)
    path, more = tmp_path / FILE, {}
    if what == "stranger":
        head, pickled = path.read_bytes().split(b"\n", 2)[1:]
        evil = head + b"\n" + pickle.dumps(Explodes())
        path.write_bytes(sign(evil, "theirs").encode() + b"\n" + evil)
    elif what == "ledger":
        ledger = tmp_path / "ledger.jsonl"
        first, *rest = ledger.read_text().splitlines(keepends=True)
        ledger.write_text("".join([json.dumps({**json.loads(first), "x": 1}) + "\n", *rest]))
    elif what == "versions":
        _, head, pickled = path.read_bytes().split(b"\n", 2)
        told = json.loads(head)
        told["made_with"]["numpy"] = "0.0"
        data = json.dumps(told).encode() + b"\n" + pickled
        path.write_bytes(sign(data).encode() + b"\n" + data)
    elif what == "source":
        more = {"fingerprints": {"my_searcher.py": "another"}}
    elif what == "no key":
        more = {"signing": lambda data: None}
    else:
        path.write_bytes(path.read_bytes()[:-10])
    before = Watched.calls
    run(tmp_path, Watched, 20, **more)
    assert Watched.calls - before == 20
    assert len(events(tmp_path, "outcome")) == 20


class Explodes:
    """A pickle that runs code."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a stranger's pickle was read",))


def test_a_searcher_that_does_not_pickle_has_no_snapshot(tmp_path: Path) -> None:
    class Local(RandomSearch):
        pass

    run(tmp_path, Local, 10)
    assert not (tmp_path / FILE).exists()


def test_snapshots_are_written_as_often_as_replaying_would_take_long(tmp_path: Path) -> None:
    written: list[int] = []

    @dataclasses.dataclass
    class Counting(Snapshots):
        def __init__(self) -> None:
            super().__init__(tmp_path, sign, {}, every_s=5.0)

        def write(self, searcher: Any, ledger: Ledger, num_events: int) -> None:
            written.append(num_events)
            super().write(searcher, ledger, num_events)

    snapshots = Counting()
    with contextlib.closing(Ledger(tmp_path / "ledger.jsonl")) as ledger:
        for _ in range(12):
            snapshots.worked(1.0)
            if snapshots.is_due:
                snapshots.write(RandomSearch(space=chain(), seed=0), ledger, 0)
    assert len(written) == 2
