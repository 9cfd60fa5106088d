"""The serial executor's own promises."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from nasrunner.core import Hear, LedgerError, LostFileError, Outcome, Proposal, Report
from nasrunner.executors.serial import SerialExecutor
from tests.executors import trains
from tests.executors.trains import Epochs, submit


def test_children_run_in_the_calling_process() -> None:
    executor = SerialExecutor(threads=1)
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    assert executor.wait()[0].metrics == {"pid": os.getpid()}


def test_torch_threads_are_limited_while_a_child_trains_only() -> None:
    seen: list[int] = []

    def train(proposal: Proposal) -> Outcome:
        seen.append(torch.get_num_threads())
        return trains.completed(proposal)

    before = torch.get_num_threads()
    executor = SerialExecutor(threads=before + 2)
    submit(executor, train, Proposal(0, {}), trains.FOLDER)
    executor.wait()
    assert seen == [before + 2]
    assert torch.get_num_threads() == before


def test_ctrl_c_in_a_child_is_the_users_and_not_the_childs() -> None:
    def train(proposal: Proposal) -> Outcome:
        raise KeyboardInterrupt

    executor = SerialExecutor(threads=1)
    submit(executor, train, Proposal(0, {}), trains.FOLDER)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        executor.wait()


@pytest.mark.parametrize("error", [LedgerError, KeyboardInterrupt])
def test_what_the_listener_raises_passes_through_a_child_that_catches_everything(
    error: type[BaseException],
) -> None:
    def train(proposals: Sequence[Proposal], hear: Hear | None = None) -> Iterator[Outcome]:
        assert hear is not None
        try:
            hear(Report(0, 1, {}))
        except BaseException as caught:
            yield Outcome(proposals[0], "failed", error=repr(caught))

    def hear(report: Report) -> bool:
        raise error("the listener's") from OSError("its disk")

    executor = SerialExecutor(threads=1)
    executor.submit(train, [Proposal(0, {})], [trains.FOLDER], hear)
    with pytest.raises(error, match=r"^the listener's$") as raised:
        executor.wait()
    assert isinstance(raised.value.__cause__, OSError)


def test_a_child_is_stopped_by_the_answer_of_the_listener(tmp_path: Path) -> None:
    executor = SerialExecutor(threads=1)
    child = Proposal(0, {}, notes={"epochs": 5.0})
    executor.submit(Epochs(tmp_path), [child], [tmp_path], lambda report: report.epoch == 2)
    (outcome,) = executor.wait()
    assert (outcome.status, outcome.metrics["epochs"]) == ("stopped", 2.0)


@pytest.mark.parametrize("error", [BaseException, GeneratorExit, SystemExit, ValueError])
def test_whatever_a_child_raises_is_its_failure(error: type[BaseException]) -> None:
    def train(proposal: Proposal) -> Outcome:
        raise error("the child's")

    executor = SerialExecutor(threads=1)
    submit(executor, train, Proposal(0, {}), trains.FOLDER)
    (outcome,) = executor.wait()
    assert outcome.status == "failed"
    assert f"{error.__name__}: the child's" in str(outcome.error)


def test_a_child_that_ends_the_process_at_once_is_a_failed_one() -> None:
    copies: list[int] = []

    def train(proposal: Proposal) -> Outcome:
        copies.append(os.fork())
        os._exit(3)

    leave = os._exit
    executor = SerialExecutor(threads=1)
    submit(executor, train, Proposal(0, {}), trains.FOLDER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of threads and fork
        (outcome,) = executor.wait()
    assert "os._exit(3) was called" in str(outcome.error)
    assert os.waitstatus_to_exitcode(os.waitpid(copies[0], 0)[1]) == 3
    assert os._exit is leave


@pytest.mark.parametrize("raises", [False, True])
def test_a_copy_of_the_process_that_a_child_made_ends_with_it(raises: bool) -> None:
    copies: list[int] = []

    def train(proposal: Proposal) -> Outcome:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from Python 3.12 on
            copies.append(os.fork())
        if raises:
            raise ValueError
        return trains.completed(proposal)

    executor = SerialExecutor(threads=1)
    submit(executor, train, Proposal(0, {}), trains.FOLDER)
    assert len(executor.wait()) == 1
    _, status = os.waitpid(copies[0], 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_a_file_that_is_gone_is_told_of_whom_needs_it_and_is_no_fault_of_the_machine() -> None:
    def train(proposal: Proposal) -> Outcome:
        raise LostFileError("0000 lacks its weights")

    executor = SerialExecutor(threads=1)
    submit(executor, train, Proposal(2, {}, kind="estimate"), trains.FOLDER)
    with pytest.raises(LostFileError, match=r"estimate 2 cannot be made: 0000 lacks its we"):
        executor.wait()
