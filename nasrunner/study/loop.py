"""The study loop: propose, submit, record, observe."""

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Sequence

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError, NasRunnerError, SpaceError
from nasrunner.core.ledger.events import Ended, Event, Proposed, Recorded, Resumed
from nasrunner.core.ledger.goals import Goals
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.known import Known
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.machine.files import keep_file
from nasrunner.core.network.known import Networks
from nasrunner.core.ports import (
    BaselineComparison,
    Blueprint,
    ChildTrainer,
    Executor,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.records import Outcome, Proposal, child_folder, last_line
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.tracking import ToldTrackers
from nasrunner.study.beginning import beginning, fingerprint_changes
from nasrunner.study.keeping import Keeping
from nasrunner.study.ledger import Ledger
from nasrunner.study.listening import Listener
from nasrunner.study.proposals.budget import Budget
from nasrunner.study.proposals.checking import (
    check_beginning,
    check_example,
    check_listens,
    check_proposal,
)
from nasrunner.study.proposals.effort import Effort
from nasrunner.study.proposals.epochs import Epochs
from nasrunner.study.proposals.identity import identified
from nasrunner.study.proposals.in_flight import InFlight
from nasrunner.study.proposals.taken_over import about_gone
from nasrunner.study.proposals.unseen import unseen
from nasrunner.study.rehearsal import rehearse
from nasrunner.study.replaying import replay
from nasrunner.study.rules import Rules
from nasrunner.study.searching import Searching
from nasrunner.study.snapshots import Snapshots
from nasrunner.study.summary import summary_of

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
        networks: of the space, which the searcher is shown; None: nobody looks at them.
        keeping: what stays of children that have ended; None: all that they wrote.
        snapshots: of the searcher's state; None: a resumed study replays all of its ledger.
        known: what a study that begins knows already; None: nothing, or it is in the ledger.
        goals: what children are compared by; None: the rewards that the trainer gives them.

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
        networks: Networks | None = None,
        keeping: Keeping | None = None,
        snapshots: Snapshots | None = None,
        known: Known | None = None,
        goals: Goals | None = None,
    ) -> None:
        self.space = space
        self.trainer = trainer
        self.executor = executor
        self._trackers = ToldTrackers((f"tracker {type(each).__name__}", each) for each in trackers)
        self.ledger = ledger
        self.rules = rules
        self.info = info
        self.known = known
        self.goals = goals
        self.state = StudyState()
        self.keeping = keeping or Keeping(info.folder, "all")
        self.inspect: Callable[[Genotype], Blueprint] = _remember(trainer.inspect)
        self._train = trainer.task(info.folder, rules.seed, searcher.policy())
        self._networks = networks
        if goals is not None:
            searcher.compare(goals.objectives)
        self._searching = Searching(searcher, rules, networks, snapshots)
        self._listener = Listener(info.folder, self.state, self._searching, self._note)
        epochs = Epochs(self.state, trainer)
        self._budget = Budget(rules, self.state, space.size(), epochs)
        self._effort = Effort(self.state, trainer)
        self._in_flight = InFlight(shares=rules.duplicates != "retrain")
        self._gathered: list[Proposal] = []
        self._is_changed = False
        self._earlier_s = 0.0
        self._started = time.monotonic()
        self._stop_reason: str | None = None
        self._failure: str | None = None
        if searcher.listens:
            check_listens(searcher, trainer)
        for example in searcher.asks_for:
            check_example(example, trainer, searcher.known_as)
        self._check_beginning(searcher)
        self._rehearsal = trainer.rehearsal()  # after these: it tries what was asked for
        if lacking := [name for name in searcher.estimated if name not in trainer.estimates]:
            raise ConfigError(
                f"searcher: {searcher.known_as} asks for estimates of {lacking[0]}, and "
                f"those of {type(trainer).__name__} measure, as configured, "
                f"{', '.join(trainer.estimates) or 'nothing: it makes none'}"
            )

    def _check_beginning(self, searcher: Searcher) -> None:
        """Refuses settings that no study begins with; one that has begun goes on with them."""
        try:
            check_beginning(searcher, self.trainer, self.goals, self.info.config)
        except ConfigError as error:
            if not self.ledger.events:
                raise
            _log.warning("%s. No study begins so any more; this one goes on as it began", error)

    @property
    def searcher(self) -> Searcher:
        """It, or its state from a snapshot, once the study was replayed."""
        return self._searching.searcher

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
        if self.ledger.events:
            current = beginning(self.space, self.rules.seed, {})
            replay(self.ledger, current, self.state, self._searching)
            self._earlier_s = self.state.elapsed_s

    def rehearse(self) -> None:
        """Tries where children run what every child needs, while nothing else runs there.

        Raises:
            ConfigError: the rehearsal found what would make every child fail.
        """
        rehearse(self._rehearsal, self.executor, self.info.folder)

    def open(self) -> None:
        """Tells the trackers, and sends off what was in flight when the ledger was written."""
        pending = tuple(self.state.in_flight.values())
        self._trackers.open(self.info, self.state, self.inspect)
        now = dict(self.info.fingerprints)
        if self.ledger.events:
            self._note(Resumed(now, self._changed_since(now)))
            self.keeping.resumed(self.history.outcomes, self.history.ranking, self._needs())
        else:
            knows = self._networks is not None and self._networks.identifies
            self._note(
                beginning(
                    self.space,
                    self.rules.seed,
                    now,
                    knows_networks=knows,
                    reward=self.trainer.rewarded,
                )
            )
        self._begin_with(self.known)
        for proposal in pending:
            if not self._harvest(proposal):
                self._dispatch(proposal)
                if proposal.index in self.state.in_flight:
                    self._listener.stop_again(proposal)
        self.submit_gathered()

    def _begin_with(self, known: Known | None) -> None:
        """Records what is known before the first proposal, and tells the searcher."""
        if known is None or self.state.begins_with is not None or self.state.proposals:
            return
        self._note(known)
        if known.outcomes:
            with self._searching.at_work() as searcher:
                searcher.learn_known(known.outcomes)

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
    def effort(self) -> float:
        """How much training it has spent, or will with what runs, in whole children."""
        return self._effort.committed

    def owns(self, outcome: Outcome) -> bool:
        """Tells whether an outcome is of a child that this study has submitted."""
        return self.state.in_flight.get(outcome.proposal.index) is outcome.proposal

    def propose(self) -> bool:
        """Proposes one child if there is room for it; False where there is none, or never again.

        Raises:
            ConfigError: the trainer does not do what the searcher proposes.
            NasRunnerError: the searcher waits for outcomes while nothing runs.
        """
        if self._stop_reason is not None or not self._has_slot() or not self._is_ready():
            return False
        begins_none = self._budget.why_none_begins()
        may_begin = begins_none is None
        if reason := self._budget.why_over(self.searcher, self._elapsed_s(), may_begin=may_begin):
            self.stop(reason)
            return False
        proposal = self._next_child() if may_begin else self._next_continuation()
        if proposal is None:
            if may_begin or not self.state.in_flight:
                self.stop(begins_none or self.searcher.why_done)
            return False
        check_proposal(proposal, self.state, self.searcher.known_as)
        if not proposal.is_prediction:
            self.trainer.check(proposal)
        self._budget.check(proposal)
        proposal = identified(proposal, self.state, self.trainer, self._networks, self.rules.seed)
        self._note(Proposed(proposal))
        self._dispatch(proposal)
        return True

    def _next_child(self) -> Proposal | None:
        """One that the user gave, or what the searcher proposes; an unseen one if that is known."""
        proposal = self._given()
        if proposal is None and self.rules.duplicates == "resample" and self._budget.keeps_to_known:
            extent = self._budget.unseen_extent
            proposal = None if extent is None else unseen(extent, self.state, self.searcher)
        return proposal or self._searching.asked(lambda searcher: searcher.propose())

    def _given(self) -> Proposal | None:
        """The next of the architectures that the user gave to begin with."""
        known = self.state.begins_with
        proposal = None if known is None else known.proposal(self.searcher.num_proposed)
        if proposal is not None:
            with self._searching.at_work() as searcher:
                searcher.register(proposal)
        return proposal

    def _next_continuation(self) -> Proposal | None:
        if self._budget.is_idle:
            return None
        return self._searching.asked(lambda searcher: searcher.propose_continuation())

    def submit_gathered(self) -> None:
        """Sends off what was gathered for one call of the trainer, be it complete or not."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            folders = [child_folder(self.info.folder, each.index) for each in gathered]
            hear = self._listener if self.searcher.listens else None
            self.executor.submit(self._train, gathered, folders, hear)

    def take(self, outcome: Outcome) -> None:
        """Records a child that ended, and those that waited for one of the same identity."""
        proposal = outcome.proposal
        waited = self._in_flight.end(proposal)
        self.keeping.ended(outcome)
        if told := about_gone(outcome):
            _log.warning("%s", told)
        blueprint = None if proposal.kind == "supernet" else self.inspect(proposal.genotype)
        outcome = _with_size(outcome, blueprint)
        if self.goals is not None:
            outcome = self.goals.judged(outcome)
        self._record(outcome, blueprint)
        for duplicate in waited:
            self._record_repeated(outcome, duplicate)
        if proposal.kind == "supernet" and outcome.status == "failed":
            self._failure = f"the supernet failed: {last_line(outcome.error, None)}"
            self.stop(self._failure)

    def let_go(self) -> None:
        """Lets the trackers of a study that broke off go; those that were closed stay."""
        self._trackers.let_go()

    def close(self, baseline: BaselineComparison | None = None) -> Summary:
        """Writes the summary, into which a comparison goes, and tells the trackers."""
        reason = self._stop_reason or "nothing was left to do"
        failure = self._failure or self.history.failure()
        summary = summary_of(
            self.state,
            self.inspect,
            reason=reason,
            wall_s=self._elapsed_s(),
            failure=None if reason == "interrupted" else failure,
            baseline=baseline,
            effort=self._effort.spent,
            again=self._effort.again,
            goals=self.goals,
        )
        self._note(Ended(summary.reason))
        told = dataclasses.asdict(summary)
        text = json.dumps(told, indent=2, ensure_ascii=False, default=str)
        keep_file(self.info.folder / "summary.json", text)
        self._trackers.close(summary)
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
        if self._searching.asked(lambda searcher: searcher.is_ready):
            return True
        if not self.state.in_flight:
            raise NasRunnerError(
                f"{self.searcher.known_as} waits for outcomes, but nothing runs: its "
                "is_ready must be True as long as none of its proposals is pending"
            )
        return False

    def _dispatch(self, proposal: Proposal) -> None:
        """Sends a proposal to a worker, or finds its outcome without one."""
        if proposal.is_prediction:
            self._record_prediction(proposal)
            return
        if self.rules.duplicates != "retrain":
            if earlier := self.history.evaluated(proposal.key):
                self._record_repeated(earlier, proposal)
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
            if self.goals is not None and (
                beyond := self.goals.foreseen(proposal, _size(blueprint))
            ):
                self._record(beyond, blueprint)
                return
        self._in_flight.start(proposal)
        if self._gathered and self._gathered[0].kind != proposal.kind:
            self.submit_gathered()
        self._gathered.append(proposal)
        if len(self._gathered) >= self.trainer.num_at_once(proposal.kind):
            self.submit_gathered()
        self._trackers.started(proposal, blueprint)

    def _record_prediction(self, proposal: Proposal) -> None:
        """Records what the searcher predicts as the outcome; an impossible network has none."""
        try:
            blueprint = self.inspect(proposal.genotype)
            self.rules.check_limits(blueprint)
        except SpaceError as error:
            self._record(Outcome(proposal, "invalid", error=str(error)), None)
            return
        outcome = Outcome(proposal, "completed", proposal.predicted)
        self._record(_with_size(outcome, blueprint), blueprint)

    def _record_repeated(self, earlier: Outcome, proposal: Proposal) -> None:
        """Records the outcome of a proposal of the same identity; its size is its own."""
        source, blueprint = earlier.proposal.index, self._blueprint(proposal)
        if self.rules.duplicates == "resample":
            self._record(Outcome(proposal, "duplicate", reused_from=source), blueprint)
            return
        again = dataclasses.replace(earlier, proposal=proposal, cost_s=0.0, reused_from=source)
        self._record(_with_size(again, blueprint), blueprint)

    def _record(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Ledger first, then trackers, then the searcher."""
        is_new = outcome.reused_from is None and outcome.status != "invalid"
        is_changed = self._is_changed and is_new
        if outcome.is_changed != is_changed:
            outcome = dataclasses.replace(outcome, is_changed=is_changed)
        outcome = outcome.rounded()  # what a replay reads, which must know as much
        self._note(Recorded(outcome))
        self._trackers.recorded(outcome, blueprint)
        with self._searching.at_work():
            self._searching.observe(outcome, self.history)
        self._searching.save_if_due(self.ledger, self.state.num_events)
        self.keeping.recorded(outcome, self.history.ranking, self._needs())

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
        if self.executor.is_simulated:
            return False
        outcome = ChildFolder.of(self.info.folder, proposal.index).outcome(proposal)
        if outcome is None:
            return False
        self._in_flight.start(proposal)
        self.take(outcome)
        return True

    def _elapsed_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._started


def _with_size(outcome: Outcome, blueprint: Blueprint | None) -> Outcome:
    """The outcome with the child's parameters and FLOPs among its metrics, where they are known."""
    if blueprint is None:
        return outcome
    return dataclasses.replace(outcome, metrics={**outcome.metrics, **_size(blueprint)})


def _size(blueprint: Blueprint) -> dict[str, float]:
    """The child's parameters and FLOPs, where they are known."""
    facts = {"parameters": blueprint.parameters, "flops": blueprint.flops}
    return {name: float(value) for name, value in facts.items() if value is not None}


def _remember(
    inspect: Callable[[Genotype], Blueprint], size: int = 256
) -> Callable[[Genotype], Blueprint]:
    """The same function, keeping its latest results."""

    @functools.lru_cache(maxsize=size)
    def cached(items: tuple[tuple[str, int], ...]) -> Blueprint:
        return inspect(dict(items))

    return lambda genotype: cached(tuple(genotype.items()))
