"""Collects what trackers show of a child or a retrained network: its decisions, curves, figures."""

import importlib.util
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.known import is_given
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo
from nasrunner.core.records import Outcome
from nasrunner.core.tracking import RetrainedNetwork
from nasrunner.trackers.curves import BestSoFar, CurvePoint, CurveReader, Estimates, ledger_times
from nasrunner.trackers.lines import Line, Lines

_log = logging.getLogger(__name__)


def require(package: str) -> None:
    """Refuses a tracker whose package, and extra of nasrunner of the same name, is not installed.

    Raises:
        ConfigError: names the extra.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a mere folder of that name, as W&B makes one
        raise ConfigError(
            f"tracker={package} needs the package {package}, which is not installed: "
            f"pip install 'nasrunner[{package}]', or another tracker"
        )


@dataclass(frozen=True)
class Entry:
    """A run of a tracker that writes it when the training has ended.

    Attributes:
        name: of the run: that of the first child of its line, as ``0007``; or the network's.
        kind: ``child``, ``supernet``, ``retrained`` or ``grid``.
        status: what became of it.
        values: decision path -> value; and settings that were chosen for a retrained network.
        facts: what else tells it from others, as texts.
        figures: single values by name: reward, cost, sizes, and metrics that are no curves.
        points: the curves of the children of its line, up to this one.
        num_before: how many of the points are of the children before this one.
        ended_s: Unix seconds.
        children: those of the line, up to this one; empty of a retrained network.
        text: the architecture in one line; empty if it is no network of the space.
        error: why it has no reward; empty if it has one.
    """

    name: str
    kind: str
    status: str
    values: Mapping[str, Any]
    facts: Mapping[str, str]
    figures: Mapping[str, float]
    points: Sequence[CurvePoint]
    num_before: int
    ended_s: float
    children: tuple[int, ...] = ()
    text: str = ""
    error: str = ""

    @property
    def step(self) -> int:
        """The last epoch of its curves; without any, how many children of its line are before."""
        return self.points[-1].epoch if self.points else max(0, len(self.children) - 1)


@dataclass(frozen=True)
class RecordedTraining:
    """An outcome that has a run of its own, or that of its line.

    Attributes:
        outcome: what became of the child.
        line: where the child stands in the line whose run is its.
        time_s: when it was recorded, Unix seconds.
    """

    outcome: Outcome
    line: Line
    time_s: float


@dataclass
class StudyEntries:
    """Follows a study for a tracker that writes runs when children have ended.

    Only the study's thread uses it.

    Attributes:
        info: the study.
        state: what its ledger holds.
        inspect: makes blueprints again.
        best: the best reward so far, by the number of recorded children.
        estimates: what was estimated, until it is written.
    """

    info: StudyInfo
    state: StudyState
    inspect: Inspect
    best: BestSoFar = field(default_factory=BestSoFar)
    estimates: Estimates = field(default_factory=Estimates)

    def __post_init__(self) -> None:
        self._lines = Lines(self.state.lineages)

    def earlier(self) -> Iterator[RecordedTraining | None]:
        """Yields what the ledger holds, in its order, as ``ended`` returns it; asked once."""
        times, before = ledger_times(self.info.folder), History()
        for outcome in self.state.history.outcomes:
            before.add(outcome)
            time_s = times.get(outcome.proposal.index, time.time())
            yield self._taken(outcome, before, time_s)

    def ended(self, outcome: Outcome) -> RecordedTraining | None:
        """Takes an outcome that was just recorded; None: an estimate, which has no run."""
        return self._taken(outcome, self.state.history, time.time())

    def _taken(self, outcome: Outcome, history: History, time_s: float) -> RecordedTraining | None:
        if outcome.proposal.kind == "estimate":
            self.estimates.add(outcome, time_s)
            return None
        self.best.add(outcome.proposal, history.ranking, time_s)
        return RecordedTraining(outcome, self._lines.ended(outcome), time_s)

    def entry(self, ended: RecordedTraining, blueprint: Blueprint | None = None) -> Entry:
        """Makes the entry of a child.

        Args:
            ended: the child.
            blueprint: its architecture; None: it is made again if it can be.
        """
        outcome, line = ended.outcome, ended.line
        proposal = outcome.proposal
        blueprint = blueprint or self._blueprint(outcome)
        points, num_before = points_of(self.info.folder, line)
        latest = {name: value for point in points for name, value in point.values.items()}
        changes = {f"fidelity.{key}": value for key, value in proposal.fidelity.items()}
        facts = {"architecture": proposal.hash}
        if proposal.parent is not None:
            facts["parent_child"] = str(proposal.parent)
        if outcome.reused_from is not None:
            facts["reused_from"] = str(outcome.reused_from)
        if is_given(proposal):
            facts["given"] = "true"
        return Entry(
            name=line.name,
            kind="child" if proposal.kind == "train" else proposal.kind,
            status=outcome.told_status,
            values={**(blueprint.values if blueprint else {}), **changes},
            facts=facts,
            figures=figures_of(outcome, blueprint, latest, line.cost_s),
            points=points,
            num_before=num_before,
            ended_s=ended.time_s,
            children=line.children,
            text=blueprint.text if blueprint else "",
            error=outcome.error or "",
        )

    def _blueprint(self, outcome: Outcome) -> Blueprint | None:
        if outcome.proposal.kind == "supernet":  # which is no child of the space
            return None
        try:
            return self.inspect(outcome.proposal.genotype)
        except SpaceError:  # an invalid child has none
            return None
        except Exception as error:  # a user's module may raise anything: the study goes on
            index = outcome.proposal.index
            _log.warning("the tracker lacks the architecture of child %d: %s", index, error)
            return None


def points_of(folder: Path, line: Line) -> tuple[list[CurvePoint], int]:
    """Reads the curves of a line: each epoch from the first child that has it.

    Returns:
        The points, and how many of them are of the children before the last.
    """
    points: list[CurvePoint] = []
    num_before = 0
    for index in line.children:
        num_before = len(points)
        last = points[-1].epoch if points else -1
        read = CurveReader(ChildFolder.of(folder, index)).read()
        points += [point for point in read if point.epoch > last]
    return points, num_before


def network_entry(network: RetrainedNetwork) -> Entry:
    """Makes the entry of a network that was retrained, or of a point of a grid."""
    blueprint, outcome = network.blueprint, network.outcome
    points = CurveReader(ChildFolder(network.folder)).read()
    on_curves = {name for point in points for name in point.values}
    figures = {n: float(v) for n, v in outcome.metrics.items() if n not in on_curves}
    figures["cost_s"] = outcome.cost_s
    if network.kind == "grid" and outcome.reward is not None:
        figures["reward"] = outcome.reward
    if blueprint is not None and blueprint.parameters is not None:
        figures["parameters"] = float(blueprint.parameters)
    chosen = {f"hyperparameters/{key}": value for key, value in network.settings.items()}
    return Entry(
        name=network.name,
        kind=network.kind,
        status=outcome.told_status,
        values={**(blueprint.values if blueprint else {}), **chosen},
        facts=network.facts,
        figures=figures,
        points=points,
        num_before=0,
        ended_s=network.ended_s,
        text=blueprint.text if blueprint else "",
        error=outcome.error or "",
    )


def figures_of(
    outcome: Outcome,
    blueprint: Blueprint | None,
    latest: Mapping[str, float],
    cost_before_s: float,
) -> dict[str, float]:
    """Returns what is no curve: reward, cost, size, and the metrics that the reward is of.

    These are ``at_reward/val_accuracy`` and so on, as tables show the ends of curves.

    Args:
        outcome: what became of a child.
        blueprint: its architecture; None: not known.
        latest: the last value of each of its curves.
        cost_before_s: seconds that those before it in its line were trained.
    """
    cost_s = cost_before_s + outcome.cost_s
    facts: dict[str, float | None] = {"cost_s": cost_s, "reward": outcome.reward}
    if outcome.proposal.kind == "supernet":
        facts["found"] = len(outcome.found)
    if blueprint is not None:
        facts |= {"parameters": blueprint.parameters, "flops": blueprint.flops}
    for name, value in outcome.metrics.items():
        if name not in latest:
            facts[name] = value
        elif outcome.reward is not None:
            facts[f"at_reward/{name}"] = value
    facts |= {f"objectives/{name}": value for name, value in outcome.objectives.items()}
    return {name: float(value) for name, value in facts.items() if value is not None}
