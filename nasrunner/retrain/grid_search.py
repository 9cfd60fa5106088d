"""Searches a grid of training settings for one architecture: a study of its own."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nasrunner.children.settings.searched import plain
from nasrunner.compose.launch import build_trainer, open_ledger
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import PROPOSAL, ChildFolder
from nasrunner.core.machine.files import keep_file
from nasrunner.core.ports import ChildTrainer, Executor, StudyInfo, Tracker
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.search_space import SearchSpace
from nasrunner.recorded import EmptyStudyError, RecordedChild, RecordedStudy, read_ledger
from nasrunner.retrain.grid import Grid
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules


@dataclass(frozen=True)
class GridPoint:
    """A point of the grid, and what became of it.

    Attributes:
        settings: dotted key -> its value.
        outcome: its reward is of the validation part.
        ended_s: when that was recorded, Unix seconds.
        folder: where its files are.
    """

    settings: Mapping[str, Any]
    outcome: Outcome
    ended_s: float
    folder: Path


@dataclass(frozen=True)
class GridSearch:
    """The search for the training settings of one architecture, at every point of a grid.

    Each point is trained on the training part and rewarded on the validation part, as the
    children of the study were; the test part is not read.

    Attributes:
        study: whose child it is.
        child: the architecture.
        grid: what is tried.
        config: the configuration that is the same for all points.
        parent: the folder of all grids of the retraining.
    """

    study: RecordedStudy
    child: RecordedChild
    grid: Grid
    config: Mapping[str, Any]
    parent: Path

    @property
    def name(self) -> str:
        """The child's, as in its folder's name."""
        return f"{self.child.proposal.index:04d}"

    @property
    def folder(self) -> Path:
        """Where its ledger is."""
        return self.parent / self.name

    @cached_property
    def space(self) -> SearchSpace:
        """The architecture, without a decision, and the grid."""
        frozen = self.study.space.freeze(self.child.proposal.genotype)
        return SearchSpace((*frozen.hyperparameters, *self.grid), frozen.network)

    @cached_property
    def trainer(self) -> ChildTrainer:
        """What trains the points; their weights are not kept."""
        trainer = {**self.config["trainer"], "checkpoint": "none"}
        return build_trainer({**self.config, "trainer": trainer}, self.space)

    @property
    def varying(self) -> list[str]:
        """The keys that points differ in."""
        return [key for key, values in self.grid if len(values.options) > 1]

    def check(self) -> None:
        """Refuses a folder that holds another architecture's grid.

        Raises:
            ConfigError: it does.
        """
        found = ChildFolder(self.folder)
        genotype = self.child.proposal.genotype
        if found.holds(PROPOSAL) and found.proposal().genotype != genotype:
            raise ConfigError(
                f"{self.folder} holds the grid of another architecture: give folder= another one, "
                "or remove it"
            )

    def points(self) -> list[GridPoint]:
        """Returns the points that have an outcome, in the order of the grid."""
        found = sorted(self._recorded(), key=lambda each: each.proposal.index)
        return [
            GridPoint(self.settings_of(each.proposal), each.outcome, each.ended_s, each.folder)
            for each in found
            if each.outcome is not None and each.ended_s is not None
        ]

    @property
    def is_done(self) -> bool:
        """Whether all points have an outcome."""
        return len(self.points()) == self.space.size()

    def settings_of(self, proposal: Proposal) -> dict[str, Any]:
        """Returns what a point sets: dotted key -> value."""
        chosen = dict(self.space.freeze(proposal.genotype).hyperparameters)
        return {key: plain(chosen[key]) for key, _ in self.grid}

    def started(self, executor: Executor, tracker: Tracker, ledger: Ledger) -> Study:
        """Returns the study that trains what is missing."""
        keep_file(self.folder / PROPOSAL, json.dumps(self.child.proposal.to_json()) + "\n")
        seed, size = self.study.seed, self.space.size()
        return Study(
            space=self.space,
            searcher=ExhaustiveSearch(space=self.space, seed=seed),
            trainer=self.trainer,
            executor=executor,
            trackers=[tracker],
            ledger=ledger,
            rules=_rules(seed),
            info=StudyInfo(f"{self.study.name}-grid-{self.name}", self.folder, self.config, size),
        )

    def _recorded(self) -> Sequence[RecordedChild]:
        if not (self.folder / "ledger.jsonl").is_file():
            return ()
        try:
            return read_ledger(self.folder, self.config).recorded
        except EmptyStudyError:
            return ()


class Tuning:
    """Searches the grids that are not done yet, one after the other.

    Args:
        searches: one for each architecture.

    Raises:
        ConfigError: the folder of one holds another architecture's.

    Attributes:
        missing: those that were not done at the beginning.
        stop_reason: why no more points were started; None while nobody asked for that.
    """

    def __init__(self, searches: Sequence[GridSearch]) -> None:
        for search in searches:
            search.check()
        self.searches = searches
        self.missing = [each for each in searches if not each.is_done]
        self.stop_reason: str | None = None
        self._study: Study | None = None

    def stop(self, reason: str) -> None:
        """Starts no more points; ``run`` returns when what is running has ended."""
        self.stop_reason = self.stop_reason or reason
        if self._study is not None:
            self._study.stop(reason)

    def run(self, executor: Executor, tracker_of: Callable[[GridSearch], Tracker]) -> None:
        """Trains every point that is missing, or all that were running when ``stop`` was called.

        Args:
            executor: trains the points.
            tracker_of: is told of a search's points.

        Raises:
            NasRunnerError: as of ``Study.run``.
        """
        for search in self.missing:
            if self.stop_reason is not None:
                return
            with open_ledger(search.folder) as ledger:
                self._study = search.started(executor, tracker_of(search), ledger)
                self._study.run()


def best_of(points: Sequence[GridPoint]) -> GridPoint | None:
    """Returns the point with the highest reward, of equal ones the first of the grid; None without
    any.
    """
    rewarded = [point for point in points if point.outcome.reward is not None]
    return max(rewarded, key=lambda point: point.outcome.reward or 0.0, default=None)


def _rules(seed: int) -> Rules:
    """Every point is trained, whatever becomes of the others."""
    return Rules(
        seed=seed,
        max_children=None,
        max_hours=None,
        target_reward=None,
        max_failures=None,
        max_fruitless=None,
        duplicates="reuse",
        failed_reward="ignore",
        max_parameters=None,
        max_flops=None,
    )
