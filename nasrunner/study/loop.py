"""The study loop: propose, submit, record, observe."""

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError, LedgerError, NasRunnerError, SpaceError
from nasrunner.core.ledger.checks import times
from nasrunner.core.ledger.events import (
    Began,
    Ended,
    Event,
    Proposed,
    Recorded,
    Reported,
    Resumed,
    Stopping,
    read_event,
)
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.machine.files import keep_file
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.core.order import untaken
from nasrunner.core.ports import (
    BaselineComparison,
    Blueprint,
    ChildTrainer,
    Executor,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.records import (
    MEASURED,
    Outcome,
    Proposal,
    Report,
    child_folder,
    last_line,
)
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.seeds import child_seed
from nasrunner.study.beginning import beginning, check_same, fingerprint_changes
from nasrunner.study.in_flight import InFlight
from nasrunner.study.keeping import Keeping
from nasrunner.study.ledger import Ledger
from nasrunner.study.one_thread import OneThread
from nasrunner.study.proposing import check_proposal
from nasrunner.study.rehearsal import rehearse
from nasrunner.study.rules import Rules
from nasrunner.study.snapshots import Snapshots

MAX_KNOWN = 10
"""After so many known proposals in a row, with ``duplicates=resample``, an unseen one is drawn."""

_log = logging.getLogger(__name__)


class Study:
    """One search, from its first proposal or from where its ledger ends.

    Args:
        space: what is searched.
        searcher: proposes children and learns from their outcomes.
        trainer: turns a genotype into a reward.
        executor: runs children; the study neither opens nor closes it.
        trackers: told of everything that happens, after the ledger.
        ledger: open, new or with the events to continue from.
        rules: budgets and policies.
        info: what trackers are told of the study.
        keeping: what stays of children that have ended; None: all that they wrote.
        snapshots: of the searcher's state; None: a resumed study replays all of its ledger.

    Attributes:
        state: what follows from the ledger's events.

    Raises:
        ConfigError: the searcher needs what the trainer does not do.
    """

    def __init__(
        self,
        *,
        space: SearchSpace,
        searcher: Searcher,
        trainer: ChildTrainer,
        executor: Executor,
        trackers: Sequence[Tracker],
        ledger: Ledger,
        rules: Rules,
        info: StudyInfo,
        keeping: Keeping | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.space = space
        self.searcher = searcher
        self.trainer = trainer
        self.executor = executor
        self.trackers = trackers
        self.ledger = ledger
        self.rules = rules
        self.info = info
        self.snapshots = snapshots
        self.state = StudyState()
        self.keeping = keeping or Keeping(info.folder, "all")
        self.inspect: Callable[[Genotype], Blueprint] = _remember(trainer.inspect)
        self._train = trainer.task(info.folder, rules.seed, searcher.policy())
        self._rehearsal = trainer.rehearsal()
        self._hear = self.hear if searcher.listens else None
        self._size = space.size()
        self._in_flight = InFlight(shares=rules.duplicates != "retrain")
        self._gathered: list[Proposal] = []
        self._one_thread = OneThread()
        self._has_seeds = self._has_identities = True
        self._num_known = 0  # duplicates in a row
        self._fruitless = 0
        self._is_changed = False
        self._earlier_s = 0.0
        self._started = time.monotonic()
        self._stop_reason: str | None = None
        self._failure: str | None = None
        if searcher.listens and not trainer.reports:
            raise ConfigError(
                f"searcher: {type(searcher).__name__} stops children by what they report while "
                f"they train, and those of {type(trainer).__name__} report nothing as configured"
            )
        if lacking := [name for name in searcher.estimated if name not in trainer.estimates]:
            raise ConfigError(
                f"searcher: {type(searcher).__name__} asks for estimates of {lacking[0]}, and "
                f"those of {type(trainer).__name__} measure, as configured, "
                f"{', '.join(trainer.estimates) or 'nothing: it makes none'}"
            )

    @property
    def history(self) -> History:
        """The outcomes so far."""
        return self.state.history

    def stop(self, reason: str) -> None:
        """Proposes nothing more; ``run`` returns when the running children have ended."""
        self._stop_reason = self._stop_reason or reason

    def run(self) -> Summary:
        """Searches until a budget is spent, the space is exhausted, or ``stop`` was called.

        Raises:
            LedgerError: the ledger belongs to another space or seed, or cannot be written.
            ConfigError: the rehearsal found what would make every child fail, or the searcher
                proposes what the trainer does not do.
            NasRunnerError: the searcher waits for outcomes while nothing runs.
        """
        self.replay()
        self.rehearse()
        self.open()
        while True:
            while self.propose():
                pass
            self.submit_gathered()
            if not self.is_waiting:
                return self.close()
            for outcome in self.executor.wait():
                self.take(outcome)

    def replay(self) -> None:
        """Brings searcher and state to where the ledger ends.

        Raises:
            LedgerError: the ledger belongs to another space or seed.
        """
        if not self.ledger.events:
            return
        found = None if self.snapshots is None else self.snapshots.read(self.ledger)
        if found is not None and type(found.searcher) is not type(self.searcher):
            found = None
        if found is not None:
            self.searcher = found.searcher
        with self._searching():
            for record, time_s in zip(self.ledger.events, times(self.ledger.events), strict=True):
                event = read_event(record, self.state.in_flight)
                if isinstance(event, Began):
                    current = beginning(self.space, self.rules.seed, {})
                    check_same(event, current, self.ledger.path)
                is_known = found is not None and self.state.num_events < found.num_events
                self.state.apply(event, time_s)
                self._replay(event, is_known=is_known)
        self._earlier_s = self.state.elapsed_s
        self._fruitless = 0  # who goes on with a study that ended of them wants more of them

    def _replay(self, event: Event | None, *, is_known: bool) -> None:
        """Tells the searcher, unless it knows, what it was told when the event was written."""
        match event:
            case Proposed(proposal):
                self._has_seeds = proposal.seed is not None
                self._has_identities = proposal.identity is not None
                if not is_known:
                    self._register(proposal)
            case Recorded(outcome):
                self._count(outcome)
                if not is_known:
                    self._learn(outcome)
            case Reported(report) if not is_known:
                self.searcher.report(report)

    def _register(self, proposal: Proposal) -> None:
        try:
            self.searcher.register(proposal)
        except SpaceError as error:
            raise LedgerError(
                f"{self.ledger.path} is damaged: child {proposal.index} is none of its space's: "
                f"{error}"
            ) from error

    def rehearse(self) -> None:
        """Tries where children run what every child needs, while nothing else runs there.

        Raises:
            ConfigError: the rehearsal found what would make every child fail.
        """
        rehearse(self._rehearsal, self.executor, self.info.folder)

    def open(self) -> None:
        """Tells the trackers, and sends off what was in flight when the ledger was written."""
        pending = tuple(self.state.in_flight.values())
        for tracker in self.trackers:
            tracker.open(self.info, self.state, self.inspect)
        now = dict(self.info.fingerprints)
        if self.ledger.events:
            self._note(Resumed(now, self._changed_since(now)))
            self.keeping.resumed(self.history.outcomes, self.history.ranking, self._needs())
        else:
            self._note(beginning(self.space, self.rules.seed, now))
        for proposal in pending:
            if not self._harvest(proposal):
                self._dispatch(proposal)
                if proposal.index in self.state.in_flight:
                    self._stop_again(proposal)
        self.submit_gathered()

    def _stop_again(self, proposal: Proposal) -> None:
        """Asks a child that runs once more to stop where that was, or would have been, decided."""
        index = proposal.index
        if (epoch := self.state.stopping.get(index)) is not None:
            self._stop_file(index).write(epoch)
        elif index in self.state.heard and self._is_to_stop(index):
            self._stop_child(index, self.state.heard[index])

    def _changed_since(self, now: dict[str, str]) -> list[str]:
        """What was changed between the sessions; children are marked from here on."""
        before = self.state.fingerprints
        changed = [] if before is None else fingerprint_changes(before, now)
        self._is_changed = bool(changed or self.state.changed)
        if changed:
            shown = ", ".join(changed[:3])
            shown += f" and {len(changed) - 3} more" if changed[3:] else ""
            _log.warning(
                "since the study's last session %s: children from here on are marked in its ledger",
                shown,
            )
        return changed

    @property
    def is_waiting(self) -> bool:
        """Whether children run; without any, and nothing to propose, a study is over."""
        return self._in_flight.num_running > 0

    @property
    def num_committed(self) -> int:
        """Children that have spent budget, or will unless they turn out to be invalid."""
        return self.history.num_spent + self.state.num_roots_in_flight

    def owns(self, outcome: Outcome) -> bool:
        """Whether an outcome is of a child that this study has submitted."""
        return self.state.in_flight.get(outcome.proposal.index) is outcome.proposal

    def propose(self) -> bool:
        """Proposes one child if there is room for it; False where there is none, or never again.

        Raises:
            ConfigError: the trainer does not do what the searcher proposes.
            NasRunnerError: the searcher waits for outcomes while nothing runs.
        """
        if self._stop_reason is not None or not self._has_slot() or not self._is_ready():
            return False
        begins_none = self._begins_none()
        if reason := self._is_over(begins_none):
            self.stop(reason)
            return False
        if begins_none is not None:
            proposal = self._suggested(self.searcher.propose_continuation)
        else:
            proposal = self._unseen() or self._suggested(self.searcher.propose)
        if proposal is None:
            if begins_none is None or not self.state.in_flight:
                self.stop(begins_none or self.searcher.why_done)
            return False
        check_proposal(proposal, self.state, type(self.searcher).__name__)
        self.trainer.check(proposal)
        proposal = self._identified(proposal)
        self._note(Proposed(proposal))
        self._dispatch(proposal)
        return True

    def _suggested(self, propose: Callable[[], Proposal | None]) -> Proposal | None:
        with self._searching():
            return propose()

    @contextmanager
    def _searching(self) -> Iterator[None]:
        """Lets the searcher compute on one thread, and counts for how long."""
        start_s = time.perf_counter()
        with self._one_thread.held():
            yield
        if self.snapshots is not None:
            self.snapshots.worked(time.perf_counter() - start_s)

    def submit_gathered(self) -> None:
        """Sends off what was gathered for one call of the trainer, be it complete or not."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            folders = [child_folder(self.info.folder, each.index) for each in gathered]
            self.executor.submit(self._train, gathered, folders, self._hear)

    def hear(self, report: Report) -> bool:
        """Takes what a running child has measured; returns whether the child is to stop."""
        index = report.index
        if index not in self.state.in_flight:
            return False  # it has ended meanwhile
        source = self.state.in_flight[index].continues
        before = 0 if source is None else self.state.num_epochs.get(source, 0)
        if report.epoch > max(before, self.state.heard.get(index, 0)):
            self._note(Reported(report))
            with self._searching():
                self.searcher.report(report)
            if index not in self.state.stopping and self._is_to_stop(index):
                self._stop_child(index, report.epoch)
        return report.epoch >= self.state.stopping.get(index, report.epoch + 1)

    def _is_to_stop(self, index: int) -> bool:
        with self._searching():
            return self.searcher.should_stop(index)

    def _stop_child(self, index: int, epoch: int) -> None:
        self._note(Stopping(index, epoch))
        self._stop_file(index).write(epoch)

    def _stop_file(self, index: int) -> StopFile:
        return StopFile(child_folder(self.info.folder, index))

    def take(self, outcome: Outcome) -> None:
        """Records a child that ended, and those that waited for one of the same identity."""
        proposal = outcome.proposal
        waited = self._in_flight.end(proposal)
        blueprint = None if proposal.kind == "supernet" else self.inspect(proposal.genotype)
        if blueprint is not None:
            facts = {"parameters": blueprint.parameters, "flops": blueprint.flops}
            known = {name: float(value) for name, value in facts.items() if value is not None}
            outcome = dataclasses.replace(outcome, metrics={**outcome.metrics, **known})
        self._record(outcome, blueprint)
        for duplicate in waited:
            self._record(self._repeat(outcome, duplicate), blueprint)
        if proposal.kind == "supernet" and outcome.status == "failed":
            self._failure = f"the supernet failed: {last_line(outcome.error)}"
            self.stop(self._failure)

    def close(self, baseline: BaselineComparison | None = None) -> Summary:
        """Writes the summary, into which a comparison goes, and tells the trackers."""
        summary = self._summary(baseline)
        self._note(Ended(summary.reason))
        text = json.dumps(dataclasses.asdict(summary), indent=2, ensure_ascii=False)
        keep_file(self.info.folder / "summary.json", text)
        for tracker in self.trackers:
            tracker.close(summary)
        return summary

    def _note(self, event: Event) -> None:
        """Writes an event to the ledger, of which the state follows."""
        self.ledger.append(event.kind, event.to_json(), must_last=event.must_last)
        self.state.apply(event, time.time())

    def _has_slot(self) -> bool:
        """Whether a child that was proposed now could be started."""
        return bool(self._gathered) or (
            self.executor.free_slots() - self._in_flight.num_waiting > 0
        )

    def _is_ready(self) -> bool:
        if self.searcher.is_ready:
            return True
        if not self.state.in_flight:
            raise NasRunnerError(
                f"{type(self.searcher).__name__} waits for outcomes, but nothing runs: its "
                "is_ready must be True as long as none of its proposals is pending"
            )
        return False

    def _is_over(self, begins_none: str | None) -> str | None:
        """Why nothing at all is proposed any more, in words."""
        if reason := self.rules.spent(self.history, self._elapsed_s()):
            return reason
        limit = self.rules.max_fruitless
        if limit is None or begins_none is not None:
            return None
        if self._fruitless >= limit and self.searcher.repeats:
            return f"max_fruitless={limit} proposals in a row were invalid or known"
        return None

    def _begins_none(self) -> str | None:
        """Why no further child is begun, in words, once those in flight are recorded."""
        limit = self.rules.max_children
        if limit is not None and self.num_committed >= limit:
            return f"max_children={limit} is spent"
        distinct = self.history.num_distinct + self._in_flight.num_plain
        if self.rules.duplicates != "retrain" and distinct >= self._size:
            invalid = self.history.counts["invalid"]
            what = f"proposed, {invalid:,} of them invalid" if invalid else "evaluated"
            return f"the space is exhausted: all {self._size} architectures were {what}"
        return None

    def _identified(self, proposal: Proposal) -> Proposal:
        """The proposal with its identity and its training's seed.

        A study keeps the rules that it began with. A training that is gone on with keeps its seed.
        """
        identity = proposal.evaluation if self._has_identities else None
        seed = self._seed_of(proposal, identity or proposal.hash) if self._has_seeds else None
        return dataclasses.replace(proposal, identity=identity, seed=seed)

    def _seed_of(self, proposal: Proposal, identity: str) -> int | None:
        if (source := proposal.continues) is not None:
            return self.state.proposals[source].seed
        repetition = self.state.times_proposed[identity]
        return child_seed(self.rules.seed, proposal.genotype, repetition)

    def _unseen(self) -> Proposal | None:
        """An architecture that was never proposed, where the searcher keeps to those that were."""
        if self.rules.duplicates != "resample" or self._num_known < MAX_KNOWN:
            return None
        index, known = self.searcher.num_proposed, self.state.known
        space = self.searcher.space_at(index)
        if len(known) >= space.size():
            return None  # a schedule's stage may be used up before the space is
        rng = np.random.default_rng([self.searcher.seed, index, 1])  # it draws from no such
        proposal = Proposal(index, untaken(space, known, rng))
        self.searcher.register(proposal)
        return proposal

    def _dispatch(self, proposal: Proposal) -> None:
        """Sends a proposal to a worker, or finds its outcome without one."""
        if self.rules.duplicates != "retrain":
            if earlier := self.history.evaluated(proposal.key):
                self._record(self._repeat(earlier, proposal), self._blueprint(proposal))
                return
            if self._in_flight.waits(proposal):
                return
        blueprint = None
        if proposal.kind != "supernet":  # which is no child of the space
            try:
                blueprint = self.inspect(proposal.genotype)
                self.rules.check_limits(blueprint)
            except SpaceError as error:
                self._record(Outcome(proposal, "invalid", error=str(error)), None)
                return
        self._in_flight.start(proposal)
        if self._gathered and self._gathered[0].kind != proposal.kind:
            self.submit_gathered()
        self._gathered.append(proposal)
        if len(self._gathered) >= self.trainer.num_at_once(proposal.kind):
            self.submit_gathered()
        for tracker in self.trackers:
            tracker.started(proposal, blueprint)

    def _repeat(self, earlier: Outcome, proposal: Proposal) -> Outcome:
        source = earlier.proposal.index
        if self.rules.duplicates == "resample":
            return Outcome(proposal, "duplicate", reused_from=source)
        return dataclasses.replace(earlier, proposal=proposal, cost_s=0.0, reused_from=source)

    def _record(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Ledger first, then trackers, then the searcher."""
        is_new = outcome.reused_from is None and outcome.status != "invalid"
        is_changed = self._is_changed and is_new
        if outcome.is_changed != is_changed:
            outcome = dataclasses.replace(outcome, is_changed=is_changed)
        self._note(Recorded(outcome))
        for tracker in self.trackers:
            tracker.recorded(outcome, blueprint)
        self._count(outcome)
        with self._searching():
            self._learn(outcome)
        if self.snapshots is not None and self.snapshots.is_due:
            self.snapshots.write(self.searcher, self.ledger, self.state.num_events)
        self.keeping.recorded(outcome, self.history.ranking, self._needs())

    def _count(self, outcome: Outcome) -> None:
        """Takes an outcome that stands in the ledger, now or when the study is replayed."""
        is_new = outcome.reused_from is None and outcome.status in (*MEASURED, "failed")
        self._fruitless = 0 if is_new else self._fruitless + 1
        is_known = outcome.status == "duplicate" and outcome.proposal.is_plain
        self._num_known = self._num_known + 1 if is_known else 0

    def _learn(self, outcome: Outcome) -> None:
        """Tells the searcher of an outcome, with the reward that it has by the study's rules."""
        told = self.rules.told_reward(outcome, self.history)
        if told != outcome.reward:
            outcome = dataclasses.replace(outcome, reward=told)
        self.searcher.observe(outcome)

    def _needs(self) -> set[int]:
        """The children whose checkpoints another one will or may go on with, or borrow from."""
        sources = (each.child for p in self.state.in_flight.values() for each in p.sources)
        return {*self.searcher.needs(), *sources}

    def _blueprint(self, proposal: Proposal) -> Blueprint | None:
        try:
            return self.inspect(proposal.genotype)
        except SpaceError:
            return None

    def _harvest(self, proposal: Proposal) -> bool:
        """Records a child that ended while no driver was there to see it."""
        outcome = ChildFolder.of(self.info.folder, proposal.index).outcome(proposal)
        if outcome is None:
            return False
        self._in_flight.start(proposal)
        self.take(outcome)
        return True

    def _elapsed_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._started

    def _summary(self, baseline: BaselineComparison | None) -> Summary:
        ranking, until = self.history.shown()
        rung = {} if until is None else {"epochs": until}
        best = [
            {
                "index": ranked.index,
                "reward": ranked.reward,
                "trainings": ranked.num_trainings,
                "reward_std": ranked.spread,
                "parameters": ranked.outcome.metrics.get("parameters"),
                "architecture": self.inspect(ranked.outcome.proposal.genotype).text,
                "hash": ranked.outcome.proposal.hash,
                **rung,
            }
            for ranked in ranking.best(5)
        ]
        return Summary(
            reason=self._stop_reason or "nothing was left to do",
            counts=dict(self.history.counts),
            best=best,
            cost_s=round(self.history.cost_s, 3),
            wall_s=round(self._elapsed_s(), 3),
            baseline=baseline,
            failure=None if self._stop_reason == "interrupted" else self._why_failed(),
        )

    def _why_failed(self) -> str | None:
        return self._failure or self.history.failure()


def _remember(
    inspect: Callable[[Genotype], Blueprint], size: int = 256
) -> Callable[[Genotype], Blueprint]:
    """The same function, keeping its latest results."""

    @functools.lru_cache(maxsize=size)
    def cached(items: tuple[tuple[str, int], ...]) -> Blueprint:
        return inspect(dict(items))

    return lambda genotype: cached(tuple(genotype.items()))
