"""The ports of the study loop: what trains children, runs them somewhere, and records them."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nasrunner.core.decision import Genotype
from nasrunner.core.ledger.agreement import PredictedLevel
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ledger.steps import FidelityCost, Reach, Step, about_steps
from nasrunner.core.records import Kind, Outcome, Proposal, Report
from nasrunner.core.relaxation import ForwardGrowth, Relaxation

if TYPE_CHECKING:
    import numpy as np

Hear = Callable[[Report], bool]
"""Receives what a running child measured; returns whether to stop the child."""


class Train(Protocol):
    """Trains proposals, wherever it is called; picklable."""

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        """Trains all of them; never raises for a child's failure.

        Args:
            proposals: at least one, and at most ``ChildTrainer.num_at_once``.
            hear: called in this thread after each epoch of each child; None if nobody in this
                process listens. A ``StopFile`` in its folder stops a child in either case.

        Yields:
            The outcome of each as soon as it has ended, in any order.
        """


@dataclass(frozen=True)
class OneByOne:
    """Trains proposals one after the other, with a function that trains one.

    Attributes:
        train: trains one proposal, without reports.
    """

    train: Callable[[Proposal], Outcome]

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            yield self.train(proposal)


@dataclass(frozen=True)
class Blueprint:
    """A child's network as known before training, found in milliseconds without weights.

    Attributes:
        text: the architecture in one readable line.
        values: decision path -> the value chosen.
        parameters: trainable parameters; None if unknown.
        flops: floating-point operations of one example's forward pass, two for each
            multiply-add; None if unknown.
        draw: makes ``drawing`` when it is first read.
    """

    text: str
    values: Mapping[str, Any]
    parameters: int | None
    flops: int | None
    draw: Callable[[], str] = field(default=str, compare=False, repr=False)

    @functools.cached_property
    def drawing(self) -> str:
        """The architecture as an SVG picture; empty if there is no network."""
        return self.draw()


Inspect = Callable[[Genotype], Blueprint]
"""Builds a child without training it; raises SpaceError if its network is impossible."""


Check = Callable[[], Sequence[str]]
"""Raises a NasRunnerError for whatever would make every child fail.

Returns a sentence for each setting that will be honoured in another way than it says.
"""


@dataclass(frozen=True)
class Lessons:
    """How often a policy learns while a supernet is trained.

    Attributes:
        num_steps: calls of ``Policy.learn`` after each epoch of the weights, >= 0.
        num_drawn: architectures of each call, >= 1.
        num_found: different architectures that are drawn once the supernet is trained, at most:
            what its outcome has found.
    """

    num_steps: int
    num_drawn: int
    num_found: int


class Policy(Protocol):
    """Draws the architectures of a supernet while it is trained, and learns how good they are.

    It belongs to a searcher and is pickled to wherever the supernet is trained: searchers and
    trainers know each other through it alone.
    """

    def draw(self, count: int, rng: "np.random.Generator") -> Sequence[Genotype]:
        """Draws ``count`` architectures of the space."""

    def learn(self, genotypes: Sequence[Genotype], rewards: Sequence[float]) -> None:
        """Updates the policy with the rewards of architectures that it drew."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns what a checkpoint of the supernet keeps of it: plain values and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""


@runtime_checkable
class LearningPolicy(Policy, Protocol):
    """A policy that is taught with validation batches, in turns with the weights."""

    @property
    def lessons(self) -> Lessons:
        """How often it learns, and how much is found by it."""

    def measured(self) -> Mapping[str, float]:
        """Returns what it says of itself after an epoch, metrics by name, and forgets it."""

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns how likely it is to draw each option now; changes nothing.

        Returns:
            Decision path -> name of an option -> its probability where the decision is asked.
        """

    def likeliest(self) -> Genotype:
        """Returns the architecture that it takes for the best one."""


class ChildTrainer(Protocol):
    """Turns a genotype into a reward."""

    def inspect(self, genotype: Genotype) -> Blueprint:
        """Builds the child without training it.

        Raises:
            SpaceError: its network is impossible.
        """

    def rehearsal(self) -> Check:
        """Returns what runs once where children will run, before the first; picklable.

        It tries what was checked until then, too.
        """

    def check(self, proposal: Proposal) -> None:
        """Refuses a proposal that it cannot train, before it is recorded.

        Raises:
            ConfigError: it supports no such kind, fidelity, pause or source.
        """

    @property
    def rewarded(self) -> Mapping[str, str]:
        """The ``metric`` that rewards are made of and its ``mode``; empty if there is none."""

    @property
    def trains_networks(self) -> bool:
        """Whether genotypes that make the same network are the same child; False for tables."""

    def plainest(self, proposal: Proposal) -> Proposal:
        """Returns the proposal without what changes nothing, to recognise equal trainings.

        That is an ``until`` beyond the training's end, and a fidelity that is configured anyway.
        """

    def most_epochs(self, proposal: Proposal) -> int | None:
        """Returns how many epochs the training has if it is not paused; None if unknown.

        Epochs of the children that it continues count. It may end by itself earlier.
        """

    @property
    def reports(self) -> bool:
        """Whether its children report while they train."""

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        """Refuses to report what a searcher has to hear of while children train.

        Called once, before ``rehearsal``, if the searcher listens. What only a training can tell,
        the rehearsal does.

        Args:
            metrics: see ``Searcher.hears``.

        Raises:
            ConfigError: its children report nothing as configured, or not after these epochs.
        """

    @property
    def estimates(self) -> Collection[str]:
        """The metrics of an estimate, that of its reward first; empty if it makes none."""

    def num_at_once(self, kind: Kind) -> int:
        """Returns how many proposals of a kind to pass to one call of the task, >= 1."""

    def task(
        self, folder: Path, seed: int, policy: Policy | Relaxation | ForwardGrowth | None = None
    ) -> Train:
        """Returns what an executor runs. Children keep their files in ``child_folder``.

        Args:
            folder: the study's.
            seed: the study's.
            policy: the searcher's, for trainers of supernets, see ``Searcher.policy``; None if it
                has none.
        """


class Executor(Protocol):
    """Runs children somewhere, each as soon as a slot is free: there is no batch barrier.

    Attributes:
        is_remote: children run in other processes than the study's.
        is_on_this_machine: children take the memory of the study's machine.
        is_simulated: when and how children end is only pretended, so that their folders do not
            tell: those in flight are submitted again when a study is resumed.
    """

    is_remote: bool
    is_on_this_machine: bool
    is_simulated: bool

    def free_slots(self) -> int:
        """Returns how many more children could start now."""

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        """Starts children in one slot, or queues them if no slot is free.

        Args:
            train: what trains them; the same object for all children of a study.
            proposals: the children.
            folders: each child's own, in which an executor may keep what it must find again if
                the study is resumed while the child still runs.
            hear: called by ``wait``, in its thread, after each epoch of the children; None if
                nobody listens.
        """

    def wait(self) -> list[Outcome]:
        """Blocks until a child has ended; returns the outcomes of all that have.

        The proposal of an outcome is the object that was submitted. An executor whose slots come
        and go may return an empty list when there are more slots.

        Raises:
            MachineError: a full disk or the like interrupted a child, which has no outcome.
        """

    def close(self) -> None:
        """Stops the workers and whatever still runs in them. Safe to call twice."""


@dataclass(frozen=True)
class StudyInfo:
    """What a tracker is told of a study when it opens.

    Attributes:
        name: the study's name; several studies may share it.
        folder: the study's output folder.
        config: its resolved configuration.
        max_children: the budget, None where it is not limited by number.
        fingerprints: what it depends on beside its configuration -> a text that changes with it.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    max_children: int | None
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BaselineComparison:
    """A study against the search that ran beside it and trained for as many epochs.

    One pair of runs has differences and no interval: how much of them is chance shows over seeds
    only. (Resampling the children of two runs of the same searcher left out 0 in 9 to 48 % of
    them, where 5 % was meant.)

    Attributes:
        name: the other searcher's class.
        num_children: evaluations of each.
        best: difference of the best rewards; None where one search has no reward.
        top_5: the same of the mean reward of the best five different children.
        efforts: how many children trained through those of each make; None: nobody knows any more.
    """

    name: str
    num_children: tuple[int, int]
    best: float | None
    top_5: float | None
    efforts: tuple[float, float] | None = None

    def text(self) -> str:
        """Returns the comparison in words."""
        budget = f"{_each(self.num_children)} children"
        pairs = zip(self.efforts or self.num_children, self.num_children, strict=True)
        if self.efforts is not None and any(abs(one - other) > 0.05 for one, other in pairs):
            budget += f" (as many epochs as {_each(self.efforts)} that are trained through)"
        parts = [
            f"{what} {found:+.4g}"
            for what, found in (
                ("best reward", self.best),
                ("mean of the best 5 different children", self.top_5),
            )
            if found is not None
        ]
        if not parts:
            return f"against {self.name} with {budget}: one of the two has no reward"
        told = ", ".join(parts)
        return (
            f"against {self.name} with {budget}: {told}, in one run of each; what of it "
            "is chance shows over seeds (--multirun seed=1,2,3,4,5)"
        )


def _each(numbers: tuple[float, float]) -> str:
    """Both numbers, or one where they are equal."""
    return " and ".join(dict.fromkeys(f"{number:.4g}" for number in numbers))


@dataclass(frozen=True)
class Summary:
    """How a study stands: written to summary.json, logged, and printed.

    Attributes:
        reason: why the study ended, in words.
        counts: as of ``History``: number of children by what became of them at last: completed,
            paused (and not gone on with), stopped, failed, invalid, reused, too_large (and not
            trained); beside these how many trainings went on (``continued``), what became of
            copies of other children (``copies_completed`` and so on), and of what is no child.
        best: the best children, best first: index, reward, architecture, parameters, hash, and
            the answers that make it, decision path -> value; whether the user gave it, where one
            did; ``begun_as``, the child that names its run in trackers, if another; where none
            was trained to its end, the epochs after which these were paused, or their fidelity.
        cost_s: seconds spent training, summed over children.
        wall_s: seconds this study has run, all its sessions together.
        baseline: the comparison with the search that ran beside it, where one did.
        failure: what kept every child from being completed, in words; None where one was, or
            where the user stopped the study before.
        num_full: how many children were trained to their ends; None where all are in one step, and
            ``counts`` says so.
        effort: how much training was asked for, in whole children; of those that the searcher
            stopped what was trained; None where all were trained to their ends.
        fidelities: how many children were trained at each fidelity, and what they took.
        steps: how alike rewards rank children that were gone on with, before and after.
        num_again: trainings that went on from a state that was gone, and so was trained again.
        again: what was trained again, in whole children; no part of ``effort``.
        num_inheriting: children that began with weights of others.
        inherited_share: of their parameters that these were, on average; None: of nobody known.
        num_without: children that were to begin with weights that were gone or not readable.
        num_predicted: children whose rewards were predicted before they were measured.
        rank_correlation: Spearman's ρ of the two; None where it is not defined.
        predicted_levels: the same of each level of a progressive search.
        began_with: what was known before the first child, in words; None: nothing.
        front: of a study with objectives: ``size``, how many children are on the front of the
            undominated, its ``hypervolume``, None where there are more than three objectives, and
            the ``reference`` point of that by objective; else None.
        unmet: a sentence for each limit of an objective that no child is within.
        one_class: that every child answers one class alone, in words; empty where one does not.
    """

    reason: str
    counts: Mapping[str, int]
    best: Sequence[Mapping[str, Any]]
    cost_s: float
    wall_s: float
    baseline: BaselineComparison | None = None
    failure: str | None = None
    num_full: int | None = None
    effort: float | None = None
    fidelities: Sequence[FidelityCost] = ()
    steps: Sequence[Step] = ()
    num_again: int = 0
    again: float = 0.0
    num_inheriting: int = 0
    inherited_share: float | None = None
    num_without: int = 0
    num_predicted: int = 0
    rank_correlation: float | None = None
    predicted_levels: Sequence[PredictedLevel] = ()
    began_with: str | None = None
    front: Mapping[str, Any] | None = None
    unmet: Sequence[str] = ()
    one_class: str = ""

    @property
    def about_front(self) -> str:
        """The front's size and hypervolume, in words; empty without objectives."""
        if self.front is None:
            return ""
        size, volume = self.front["size"], self.front["hypervolume"]
        told = f"{size:,} {'child' if size == 1 else 'children'} that no other dominates"
        if volume is None:
            return told
        point = ", ".join(f"{name}={value:g}" for name, value in self.front["reference"].items())
        return f"{told}; hypervolume {volume:.6g} from {point}"

    @property
    def about_predictions(self) -> str:
        """How alike predictions and rewards rank children, in words; empty without predictions."""
        return about_predictions(self.num_predicted, self.rank_correlation, self.predicted_levels)

    @property
    def about_ends(self) -> str:
        """What became of children that were trained in part, in words; empty without any."""
        full = [] if self.num_full is None else [f"{self.num_full} trained to the end"]
        cheaper = [each.text for each in self.fidelities]
        parts = [", ".join([*full, *cheaper])]
        if self.effort is not None:
            parts.append(f"asked for as many epochs as {_whole(self.effort)}")
        parts += [self.about_again, about_steps(self.steps), self.about_inherited]
        return "; ".join(filter(None, parts))

    @property
    def about_again(self) -> str:
        """What was trained again because it was gone, in words; empty where nothing was."""
        if not self.num_again:
            return ""
        return (
            f"{self.num_again:,} trained again from before a state that was gone, as many epochs "
            f"as {_whole(self.again)} more"
        )

    @property
    def about_inherited(self) -> str:
        """How many children began with weights of others, in words; empty without any."""
        without = f"{self.num_without:,} without weights that were gone" if self.num_without else ""
        if not self.num_inheriting or self.inherited_share is None:
            return without
        told = (
            f"{self.num_inheriting:,} began with weights of others, "
            f"{self.inherited_share:.0%} of their parameters on average"
        )
        return ", ".join(filter(None, [told, without]))

    @property
    def reach(self) -> Reach | None:
        """How far the best children came; None: to their ends, or there are none."""
        first = self.best[0] if self.best else {}
        until, fidelity = first.get("epochs"), first.get("fidelity", {})
        return Reach(until, tuple(fidelity.items())) if until is not None or fidelity else None


def _whole(effort: float) -> str:
    """``2.25 whole trainings``."""
    return f"{effort:.3g} whole training{'' if f'{effort:.3g}' == '1' else 's'}"


def about_predictions(
    num_predicted: int, rank_correlation: float | None, levels: Sequence[PredictedLevel] = ()
) -> str:
    """Returns how alike predictions and rewards rank children, in words; empty without
    predictions.
    """
    if not num_predicted:
        return ""
    found = _told(rank_correlation)
    told = f"Spearman's ρ of predictions and rewards {found} ({num_predicted:,} children)"
    each = [f"level {of.level} {_told(of.rank_correlation)} ({of.num_children:,})" for of in levels]
    return f"{told}; one level ahead: {', '.join(each)}" if each else told


def _told(correlation: float | None) -> str:
    return "cannot be told" if correlation is None else f"{correlation:.2f}"


class Tracker(Protocol):
    """Records a study for people. It must not stop a study, whatever happens to it."""

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Takes note that a study starts, or goes on.

        Args:
            info: the study.
            state: what its ledger already holds. It goes on with the study, in the thread that
                calls the tracker: whatever that is told of is in it by then.
            inspect: gives the blueprint of a recorded child where the tracker still lacks it.
        """

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        """Takes note that a child was handed to the executor; a supernet has no blueprint."""

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Takes note of an outcome in the ledger; no blueprint where the network is impossible."""

    def close(self, summary: Summary) -> None:
        """Takes note that the study has ended for now."""
