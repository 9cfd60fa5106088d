"""The study loop: propose, submit, record, observe."""

import dataclasses
import functools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import LedgerError, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.machine.files import keep_file
from nasrunner.core.order import Key, key_of, untaken
from nasrunner.core.ports import (
    BaselineComparison,
    Blueprint,
    ChildTrainer,
    Executor,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.records import Outcome, Proposal, child_folder
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.seeds import child_seed
from nasrunner.study.events import sessions
from nasrunner.study.header import check_header, fingerprint_changes, header
from nasrunner.study.history import History
from nasrunner.study.in_flight import InFlight
from nasrunner.study.keeping import Keeping
from nasrunner.study.ledger import Ledger
from nasrunner.study.one_thread import OneThread
from nasrunner.study.rehearsal import rehearse
from nasrunner.study.rules import Rules

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
    ) -> None:
        self.space = space
        self.searcher = searcher
        self.executor = executor
        self.trackers = trackers
        self.ledger = ledger
        self.rules = rules
        self.info = info
        self.keeping = keeping or Keeping(info.folder, "all")
        self.history = History()
        self.inspect: Callable[[Genotype], Blueprint] = _remember(trainer.inspect)
        self._train = trainer.task(info.folder, rules.seed)
        self._rehearsal = trainer.rehearsal()
        self._size = space.size()
        self._in_flight = InFlight(shares=rules.duplicates != "retrain")
        self._one_thread = OneThread()
        self._known: Counter[Key] = Counter()
        self._has_seeds = True
        self._num_known = 0  # duplicates in a row
        self._fruitless = 0
        self._is_changed = False
        self._earlier_s = 0.0
        self._started = time.monotonic()
        self._stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Proposes nothing more; ``run`` returns when the running children have ended."""
        self._stop_reason = self._stop_reason or reason

    def run(self) -> Summary:
        """Searches until a budget is spent, the space is exhausted, or ``stop`` was called.

        Raises:
            LedgerError: the ledger belongs to another space or seed, or cannot be written.
            ConfigError: the rehearsal found what would make every child fail.
        """
        self.replay()
        self.rehearse()
        self.open()
        while True:
            while self.propose():
                pass
            if not self.is_waiting:
                return self.close()
            for outcome in self.executor.wait():
                self.take(outcome)

    def replay(self) -> None:
        """Brings searcher and history to where the ledger ends.

        Raises:
            LedgerError: the ledger belongs to another space or seed.
        """
        if not self.ledger.events:
            return
        current = header(self.space, self.rules.seed)
        check_header(self.ledger.events[0], current, self.ledger.path)
        with self._one_thread.held():
            self._replay_events()

    def _replay_events(self) -> None:
        for event in self.ledger.events:
            match event["event"]:
                case "proposed":
                    proposal = Proposal.from_json(event)
                    self._has_seeds = proposal.seed is not None
                    self._register(proposal)
                    self._known[key_of(proposal.genotype)] += 1
                    self._in_flight.add(proposal)
                case "outcome":
                    proposed = self._in_flight.of(event["index"])
                    assert proposed is not None, "an outcome follows its proposal"
                    self._learn(Outcome.from_json(event, proposed))
        self._earlier_s = sum(last_s - first_s for first_s, last_s in sessions(self.ledger.events))
        self._fruitless = 0  # who goes on with a study that ended of them wants more of them

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
        pending = self._in_flight.proposals
        for tracker in self.trackers:
            tracker.open(self.info, tuple(self.history.outcomes), self.inspect)
        now = dict(self.info.fingerprints)
        noted = {"fingerprints": now} if now else {}
        if self.ledger.events:
            self.ledger.append("resumed", {**noted, **self._changed_since(now)})
            self.keeping.resumed(self.history.outcomes, self.history.ranking)
        else:
            self.ledger.append("study", {**header(self.space, self.rules.seed), **noted})
        for proposal in pending:
            if not self._harvest(proposal):
                self._dispatch(proposal)

    def _changed_since(self, now: Mapping[str, str]) -> dict[str, list[str]]:
        """What was changed between the sessions; children are marked from here on."""
        noted = [event for event in self.ledger.events if "fingerprints" in event]
        self._is_changed = any("changed" in event for event in self.ledger.events)
        changed = fingerprint_changes(noted[-1]["fingerprints"], now) if noted else []
        if not changed:
            return {}
        self._is_changed = True
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        _log.warning(
            "since the study's last session %s: children from here on are marked in its ledger",
            shown,
        )
        return {"changed": changed}

    @property
    def is_waiting(self) -> bool:
        """Whether children run; without any, and nothing to propose, a study is over."""
        return self._in_flight.num_running > 0

    @property
    def num_committed(self) -> int:
        """Children that have spent budget, or will unless they turn out to be invalid."""
        return self.history.num_spent + len(self._in_flight)

    def owns(self, outcome: Outcome) -> bool:
        """Whether an outcome is of a child that this study has submitted."""
        return self._in_flight.of(outcome.proposal.index) is outcome.proposal

    def propose(self) -> bool:
        """Proposes one child if there is room for it; False where there is none, or never again."""
        if self._stop_reason is not None or not self._has_room():
            return False
        if reason := self._is_over():
            self.stop(reason)
            return False
        with self._one_thread.held():
            proposal = self._unseen() or self.searcher.propose()
        if proposal is None:
            self.stop("the space is exhausted")
            return False
        proposal = self._seeded(proposal)
        self._known[key_of(proposal.genotype)] += 1
        self.ledger.append("proposed", proposal.to_json(), must_last=False)
        self._dispatch(proposal)
        return True

    def take(self, outcome: Outcome) -> None:
        """Records a child that ended, and those that waited for the same genotype."""
        waited = self._in_flight.end(outcome.proposal)
        blueprint = self.inspect(outcome.proposal.genotype)
        facts = {"parameters": blueprint.parameters, "flops": blueprint.flops}
        known = {name: float(value) for name, value in facts.items() if value is not None}
        outcome = dataclasses.replace(outcome, metrics={**outcome.metrics, **known})
        self._record(outcome, blueprint)
        for duplicate in waited:
            self._record(self._repeat(outcome, duplicate), blueprint)

    def close(self, baseline: BaselineComparison | None = None) -> Summary:
        """Writes the summary, into which a comparison goes, and tells the trackers."""
        summary = self._summary(baseline)
        self.ledger.append("ended", {"reason": summary.reason})
        text = json.dumps(dataclasses.asdict(summary), indent=2, ensure_ascii=False)
        keep_file(self.info.folder / "summary.json", text)
        for tracker in self.trackers:
            tracker.close(summary)
        return summary

    def _has_room(self) -> bool:
        free = self.executor.free_slots() - self._in_flight.num_waiting
        return free > 0 and self.searcher.is_ready and not self._is_committed()

    def _is_committed(self) -> bool:
        """Whether the children in flight, once recorded, use up the budget or the space."""
        if not self._in_flight:
            return False
        limit = self.rules.max_children
        return (limit is not None and self.num_committed >= limit) or self._is_exhausted()

    def _is_exhausted(self) -> bool:
        distinct = self.history.num_distinct + self._in_flight.num_running
        return self.rules.duplicates != "retrain" and distinct >= self._size

    def _is_over(self) -> str | None:
        """Why no further child is proposed, in words."""
        if reason := self.rules.spent(self.history, self._elapsed_s()):
            return reason
        if self._is_exhausted():
            invalid = self.history.counts["invalid"]
            what = f"proposed, {invalid:,} of them invalid" if invalid else "evaluated"
            return f"the space is exhausted: all {self._size} architectures were {what}"
        limit = self.rules.max_fruitless
        if limit is not None and self._fruitless >= limit and self.searcher.repeats:
            return f"max_fruitless={limit} proposals in a row were invalid or known"
        return None

    def _seeded(self, proposal: Proposal) -> Proposal:
        """The proposal with its training's seed; a study keeps the rule that it began with."""
        if not self._has_seeds:
            return proposal
        repetition = self._known[key_of(proposal.genotype)]
        seed = child_seed(self.rules.seed, proposal.genotype, repetition)
        return dataclasses.replace(proposal, seed=seed)

    def _unseen(self) -> Proposal | None:
        """An architecture that was never proposed, where the searcher keeps to those that were."""
        if self.rules.duplicates != "resample" or self._num_known < MAX_KNOWN:
            return None
        index = self.searcher.num_proposed
        space = self.searcher.space_at(index)
        if len(self._known) >= space.size():
            return None  # a schedule's stage may be used up before the space is
        rng = np.random.default_rng([self.searcher.seed, index, 1])  # it draws from no such
        proposal = Proposal(index, untaken(space, self._known, rng))
        self.searcher.register(proposal)
        return proposal

    def _dispatch(self, proposal: Proposal) -> None:
        """Sends a proposal to a worker, or finds its outcome without one."""
        self._in_flight.add(proposal)
        if self.rules.duplicates != "retrain":
            if earlier := self.history.evaluated(proposal.hash):
                self._record(self._repeat(earlier, proposal), self._blueprint(proposal))
                return
            if self._in_flight.waits(proposal):
                return
        try:
            blueprint = self.inspect(proposal.genotype)
            self.rules.check_limits(blueprint)
        except SpaceError as error:
            self._record(Outcome(proposal, "invalid", error=str(error)), None)
            return
        self._in_flight.start(proposal)
        self.executor.submit(self._train, proposal, child_folder(self.info.folder, proposal.index))
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
        outcome = dataclasses.replace(outcome, is_changed=self._is_changed and is_new)
        self.ledger.append("outcome", outcome.to_json())
        for tracker in self.trackers:
            tracker.recorded(outcome, blueprint)
        with self._one_thread.held():
            self._learn(outcome)
        self.keeping.recorded(outcome, self.history.ranking)

    def _learn(self, outcome: Outcome) -> None:
        """Takes an outcome that stands in the ledger, now or when the study is replayed."""
        self._in_flight.remove(outcome.proposal.index)
        self.history.add(outcome)
        spent = outcome.is_evaluation and outcome.reused_from is None
        self._fruitless = 0 if spent else self._fruitless + 1
        self._num_known = self._num_known + 1 if outcome.status == "duplicate" else 0
        self.searcher.observe(
            dataclasses.replace(outcome, reward=self.rules.told_reward(outcome, self.history))
        )

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
        best = [
            {
                "index": ranked.index,
                "reward": ranked.reward,
                "trainings": ranked.num_trainings,
                "reward_std": ranked.spread,
                "parameters": ranked.outcome.metrics.get("parameters"),
                "architecture": self.inspect(ranked.outcome.proposal.genotype).text,
                "hash": ranked.outcome.proposal.hash,
            }
            for ranked in self.history.ranking.best(5)
        ]
        return Summary(
            reason=self._stop_reason or "nothing was left to do",
            counts=dict(self.history.counts),
            best=best,
            cost_s=round(self.history.cost_s, 3),
            wall_s=round(self._elapsed_s(), 3),
            baseline=baseline,
            failure=None if self._stop_reason == "interrupted" else self.history.failure(),
        )


def _remember(
    inspect: Callable[[Genotype], Blueprint], size: int = 256
) -> Callable[[Genotype], Blueprint]:
    """The same function, keeping its latest results."""

    @functools.lru_cache(maxsize=size)
    def cached(items: tuple[tuple[str, int], ...]) -> Blueprint:
        return inspect(dict(items))

    return lambda genotype: cached(tuple(genotype.items()))
