"""What children took over, and that what was gone is said and counted."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Outcome, Proposal, Source
from nasrunner.study.proposals.taken_over import TakenOver, about_gone, taken_over
from tests.contracts.searchers import Halving
from tests.contracts.trainers import EPOCHS, EpochsTrainer
from tests.study.test_loop import Run, with_rules
from tests.toys import ToyExecutor, chain

WEIGHTS = (Source(0, "weights"), Source(1, "weights"))


def lent(index: int, share: float, *lacks: int, **fields: Any) -> Outcome:
    proposal = Proposal(index, {"0": index}, sources=WEIGHTS)
    return Outcome(proposal, "completed", 0.5, {"inherited_share": share}, lacks=lacks, **fields)


def test_those_that_began_with_weights_of_others_are_counted() -> None:
    plain = Outcome(Proposal(0, {"0": 0}), "completed", 0.5)
    outcomes = [plain, lent(2, 0.5), lent(3, 1.0, 1), lent(4, 0.0, 0, 1), lent(5, 1, reused_from=2)]
    assert taken_over(outcomes) == TakenOver(2, 0.75, 2, 0)
    assert about_gone(outcomes[1]) == ""
    assert about_gone(outcomes[2]).startswith("the weights of child 1, which child 3 was to begin")
    assert about_gone(outcomes[3]).startswith("the weights of children 0, 1, which child 4 was to")


@dataclass
class Forgetful(EpochsTrainer):
    """Loses the training state that a child goes on with, or all those of its lineage."""

    loses_all: bool = False

    def task(self, folder: Path, seed: int, policy: Any = None) -> Any:
        train = super().task(folder, seed, policy)
        return _forgetting(train, loses_all=self.loses_all)


def _forgetting(train: Any, *, loses_all: bool) -> Callable[..., Any]:
    def forgot(outcome: Outcome) -> Outcome:
        if (source := outcome.proposal.continues) is None:
            return outcome
        return replace(outcome, lacks=(source, *(range(source) if loses_all else ())))

    return lambda proposals, *others: map(forgot, train(proposals, *others))


@pytest.mark.parametrize("loses_all", [False, True])
def test_what_was_trained_again_is_said_when_it_ended_and_counted_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, loses_all: bool
) -> None:
    caplog.set_level(logging.WARNING)
    space = chain()
    trainer = Forgetful(space, loses_all=loses_all)
    study = Run(tmp_path, space, with_rules(max_children=8), Halving, ToyExecutor(1), trainer)
    summary = study.run()
    going_on = [o for o in study.recorder.outcomes if o.proposal.continues is not None]
    assert summary.num_again == len(going_on) > 2
    for outcome in going_on:
        source = outcome.proposal.continues
        told = f"the training state of child {source}, which child {outcome.proposal.index} goes on"
        assert sum(record.getMessage().startswith(told) for record in caplog.records) == 1
    ended = {o.proposal.index: o for o in study.recorder.outcomes}
    again = 0
    for outcome in going_on:
        source = ended[outcome.proposal.continues].proposal
        is_from_root = loses_all or source.continues is None
        again += source.until - (0 if is_from_root else ended[source.continues].proposal.until)
    assert summary.again == pytest.approx(again / EPOCHS, abs=1e-3)
    assert f"{len(going_on)} trained again from before a state that was gone" in summary.about_ends
