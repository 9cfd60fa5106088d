"""What a searcher may not propose is refused before it stands in a ledger."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrunner.core import ConfigError, Outcome, Proposal, Searcher, Source
from nasrunner.core.ledger.history import History
from nasrunner.core.order import rollout
from nasrunner.recorded import read_ledger
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.proposals.checking import check_beginning
from tests.contracts.searchers import Filter, Halving
from tests.contracts.trainers import EpochsTrainer
from tests.study.test_loop import Run, events, with_rules
from tests.toys import ToyExecutor, chain

Make = Callable[[int, dict[str, int]], Proposal]


def proposes(make: Make, num_first: int = 1, is_same: bool = False) -> type[Searcher]:
    """A searcher that pauses children after two epochs, and then proposes what ``make`` says."""

    class Odd(Searcher):
        @property
        def is_ready(self) -> bool:
            return not self.pending

        def suggest(self, index: int) -> Proposal:
            genotype = rollout(self.space_at(index), self.rng(0 if is_same else index))
            first = Proposal(index, genotype, until=2)
            return first if index < num_first else make(index, genotype)

        def learn(self, outcome: Outcome) -> None:
            pass

        def needs(self) -> list[int]:
            return list(range(self.num_proposed))

    return Odd


def run(folder: Path, searcher: Any, **changes: Any) -> Run:
    space = chain()
    rules = with_rules(**{"max_children": 4, **changes})
    return Run(
        folder, space, rules, searcher, executor=ToyExecutor(1), trainer=EpochsTrainer(space)
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda i, g: Proposal(7, g),
            r"must number its proposals 0, 1, 2, …: the next is 1, got 7",
        ),
        (lambda i, g: Proposal(i, g, until=1.0), r"whole number of epochs, got until=1\.0"),
        (
            lambda i, g: Proposal(i, g, sources=(Source(7, "weights"),)),
            r"child 1 of Odd cannot take over the weights of child 7, which was not proposed",
        ),
        (
            lambda i, g: Proposal(i, g, sources=(Source(i, "training"),)),
            r"cannot take over the training of child 1, which was not proposed",
        ),
        (
            lambda i, g: Proposal(i, g, sources=(Source(-1, "training"),)),
            r"cannot take over the training of child -1, which was not proposed",
        ),
        (
            lambda i, g: Proposal(i, g, until=2, sources=(Source(0, "training"),)),
            r"child 0, which was trained for 2 epochs; legal is until > 2",
        ),
    ],
)
def test_what_does_not_follow_is_refused_and_the_ledger_stays_sound(
    tmp_path: Path, make: Make, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^searcher: .*{reason}"):
        run(tmp_path, proposes(make)).run()
    assert len(events(tmp_path, "proposed")) == 1
    study = read_ledger(tmp_path, {"study": "toy"})
    assert [child.outcome is not None for child in study.children] == [True]


def test_a_child_that_was_not_trained_itself_is_no_source(tmp_path: Path) -> None:
    def make(index: int, genotype: dict[str, int]) -> Proposal:
        return Proposal(index, genotype, sources=(Source(1, "training"),))

    reason = "child 1, which was not trained but repeats child 0; legal is that one"
    with pytest.raises(ConfigError, match=reason):
        run(tmp_path, proposes(make, num_first=2, is_same=True)).run()


def test_a_child_that_failed_is_no_source(tmp_path: Path) -> None:
    def make(index: int, genotype: dict[str, int]) -> Proposal:
        return Proposal(index, genotype, sources=(Source(0, "weights"),))

    study = run(tmp_path, proposes(make))
    plain = study.study.executor.submit

    def fails(train: Any, proposals: Any, folders: Any, hear: Any = None) -> None:
        if proposals[0].index == 0:
            plain(lambda *_: iter([Outcome(proposals[0], "failed", error="x")]), proposals, folders)
        else:
            plain(train, proposals, folders, hear)

    study.study.executor.submit = fails  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="child 0, which is failed; legal are children that were"):
        study.run()


def test_numbers_of_numpy_are_notes_as_any_others(tmp_path: Path) -> None:
    def make(index: int, genotype: dict[str, int]) -> Proposal:
        return Proposal(index, genotype, notes={"a": np.float32(0.5), "b": np.int64(3)})

    run(tmp_path, proposes(make), max_children=2).run()
    assert events(tmp_path, "proposed")[1]["notes"] == {"a": 0.5, "b": 3.0}


def test_estimates_are_neither_fruitless_nor_a_success(tmp_path: Path) -> None:
    run(tmp_path, Filter, max_fruitless=50).run()
    ended = [event["status"] for event in events(tmp_path, "outcome")]
    assert len(ended) > 100
    history = History()
    estimate = Proposal(0, {"a": 0}, kind="estimate")
    history.add(Outcome(estimate, "completed", 0.5))
    history.add(Outcome(Proposal(1, {"a": 1}), "failed", error="ValueError: x"))
    assert history.failure() == "no child was completed: 1 failed, because: ValueError: x"


def test_no_whole_training_is_drawn_for_a_searcher_of_lineages(tmp_path: Path) -> None:
    class Repeats(Halving):
        def rng(self, index: int) -> Any:
            return super().rng(0)

    study = run(tmp_path, Repeats, duplicates="resample", max_fruitless=30)
    study.run()
    assert all("until" in e or "sources" in e for e in events(tmp_path, "proposed"))


def test_a_child_that_is_known_when_a_study_goes_on_is_not_stopped_once_more(
    tmp_path: Path,
) -> None:
    """Its limits are lower now, so that it is invalid."""
    from tests.contracts.test_stopping import Crash, serial, study_in

    study = study_in(tmp_path, serial())
    append, seen = study.ledger.append, list[str]()

    def dies(kind: str, *arguments: Any, **more: Any) -> None:
        append(kind, *arguments, **more)
        seen.append(kind)
        if seen.count("stopping") == 1 and kind == "stopping":
            raise Crash

    study.ledger.append = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        study.run()
    study.ledger.close()
    again = study_in(tmp_path, serial(), max_parameters=1)
    again.run()
    again.ledger.close()
    assert read_ledger(tmp_path, {"study": "toy"}).state.in_flight == {}


class Lengthy(RandomSearch):
    """Was told that a whole training has 99 epochs."""

    whole_epochs = (99,)


class Ignorant(RandomSearch):
    """Ignores a setting."""

    ignored = "pause=3 is ignored; legal is null"


@pytest.mark.parametrize(
    ("searcher", "told"),
    [
        (Lengthy, r"searcher.max_epochs=99 must be the epochs of a whole training, which has \d"),
        (Ignorant, r"searcher: pause=3 is ignored; legal is null"),
    ],
)
def test_what_no_study_begins_with_today_is_refused_unless_it_has_begun(
    tmp_path: Path, searcher: type[Searcher], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("new", "earlier"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=told):
        run(tmp_path / "new", searcher)
    assert not caplog.messages
    run(tmp_path / "earlier", RandomSearch).run()
    summary = run(tmp_path / "earlier", searcher, max_children=6).run()
    assert summary.counts["completed"] == 6
    (warning,) = caplog.messages
    assert re.search(f"{told}.* this one goes on as it began", warning)


@pytest.mark.parametrize(("max_steps", "is_refused"), [(60, False), (-1, True), (None, True)])
def test_trainings_that_steps_end_have_no_known_epochs(
    max_steps: int | None, is_refused: bool
) -> None:
    space = chain()
    trainer = EpochsTrainer(space)
    config = {"trainer": {"max_steps": max_steps}}
    refused = pytest.raises(ConfigError, match=r"searcher.max_epochs=99 must be the epochs of a w")
    with refused if is_refused else contextlib.nullcontext():
        check_beginning(Lengthy(space=space, seed=0), trainer, None, config)
