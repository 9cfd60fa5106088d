"""A searcher computes on one thread, children on as many as there are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from nasrunner.core import Outcome, Proposal
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.one_thread import OneThread
from tests.study.test_loop import Run, with_rules
from tests.toys import ToyExecutor, ToyTrainer, chain


def threads() -> set[int]:
    """How many threads torch and the other libraries have."""
    return {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(3):
        torch.set_num_threads(3)
        yield
        torch.set_num_threads(before)


class Watched(RandomSearch):
    """A random search that notes how many threads it has whenever it is called."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen: dict[str, set[int]] = {}

    def _see(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, set()) | threads()

    def suggest(self, index: int) -> Proposal:
        self._see("suggest")
        return super().suggest(index)

    def register(self, proposal: Proposal) -> None:
        self._see("register")
        super().register(proposal)

    def learn(self, outcome: Outcome) -> None:
        self._see("learn")

    def forget(self, proposal: Proposal) -> None:
        self._see("forget")


@pytest.mark.usefixtures("three_threads")
def test_libraries_have_one_thread_within_the_block_and_as_many_as_before_after_it() -> None:
    one_thread = OneThread()
    assert threads() == {3}
    with one_thread.held():
        assert threads() == {1}
    assert threads() == {3}
    with pytest.raises(ZeroDivisionError, match="division by zero"), one_thread.held():
        _ = 1 / 0
    assert threads() == {3}


@pytest.mark.usefixtures("three_threads")
def test_a_study_asks_and_tells_its_searcher_on_one_thread(tmp_path: Path) -> None:
    trained: set[int] = set()

    def session(num_children: int) -> dict[str, set[int]]:
        run = Run(
            tmp_path,
            rules=with_rules(max_children=num_children, failed_reward="ignore"),
            searcher=Watched,
            executor=ToyExecutor(on_wait=lambda: trained.update(threads())),
            trainer=ToyTrainer(chain(), invalid=lambda genotype: sum(genotype.values()) % 3 == 0),
        )
        run.run()
        assert isinstance(run.study.searcher, Watched)
        return run.study.searcher.seen

    calls = ("suggest", "register", "forget", "learn")
    assert session(10) == {call: {1} for call in calls}
    assert session(10) == {call: {1} for call in calls[1:]}  # replayed
    assert trained == {3}
