"""The fake study's children in the real loop: proposed, trained in workers, recorded and learnt."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core import Blueprint, Genotype, OneByOne, Outcome, Proposal, Searcher, Train
from tests.toys import TakesAnything, no_mistake
from tests.trackers.fakes import FAILED, FakeStudy


@dataclass(frozen=True)
class LastingChild:
    """Leaves its files and ends some seconds after it may; the first ones may from the beginning.

    Attributes:
        folder: the study's; once ``go`` is in it, every child may.
        seconds: how long a child lasts, at least.
    """

    folder: Path
    seconds: float

    def __call__(self, proposal: Proposal) -> Outcome:
        while proposal.index >= FAILED and not (self.folder / "go").exists():
            time.sleep(0.05)
        time.sleep(self.seconds)
        study = FakeStudy(self.folder)
        study.run_child(proposal.index)
        return study.outcome(proposal.index)


@dataclass(frozen=True)
class LastingTrainer(TakesAnything):
    """Trains the fake study's children."""

    study: FakeStudy
    seconds: float

    def inspect(self, genotype: Genotype) -> Blueprint:
        return self.study.inspect(genotype)

    def rehearsal(self) -> Callable[[], None]:
        return no_mistake

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return OneByOne(LastingChild(folder, self.seconds))


class FakeSearch(Searcher):
    """Proposes the fake study's children, in order and without an end."""

    def __init__(self, study: FakeStudy) -> None:
        super().__init__(space=study.space, seed=0)
        self.study = study

    def suggest(self, index: int) -> Proposal:
        return self.study.proposal(index)

    def learn(self, outcome: Outcome) -> None:
        pass
