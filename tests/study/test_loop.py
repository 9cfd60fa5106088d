import dataclasses
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import (
    Blueprint,
    LedgerError,
    OneByOne,
    Outcome,
    Proposal,
    Searcher,
    SearchSpace,
    StudyInfo,
    Summary,
)
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.randomness.seeds import child_seed
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from nasrunner.study.proposals.budget import MAX_KNOWN
from nasrunner.study.rules import Rules
from tests.toys import RULES, ToyExecutor, ToyTrainer, chain, figure1, toy_reward


class Stubborn(RandomSearch):
    """Proposes the same child again and again."""

    def rng(self, index: int) -> Any:
        return super().rng(0)


class Recorder:
    """A tracker that remembers what it was told."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.started_indices: list[int] = []
        self.outcomes: list[Outcome] = []
        self.summaries: list[Summary] = []

    def open(self, info: StudyInfo, state: StudyState, inspect: Any) -> None:
        self.opened = [outcome.proposal.index for outcome in state.history.outcomes]

    def started(self, proposal: Proposal, blueprint: Blueprint) -> None:
        self.started_indices.append(proposal.index)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self.outcomes.append(outcome)

    def close(self, summary: Summary) -> None:
        self.summaries.append(summary)


@dataclasses.dataclass
class Run:
    """One session of a study in a folder, with everything that took part in it."""

    folder: Path
    space: SearchSpace = dataclasses.field(default_factory=chain)
    rules: Rules = RULES
    searcher: Callable[..., Searcher] = RandomSearch
    executor: ToyExecutor = dataclasses.field(default_factory=ToyExecutor)
    trainer: ToyTrainer | None = None
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trainer = self.trainer or ToyTrainer(self.space)
        self.recorder = Recorder()
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.study = Study(
            space=self.space,
            searcher=self.searcher(space=self.space, seed=self.rules.seed),
            trainer=self.trainer,
            executor=self.executor,
            trackers=[self.recorder],
            ledger=self.ledger,
            rules=self.rules,
            info=StudyInfo("toy", self.folder, {}, self.rules.max_children, self.fingerprints),
        )

    def run(self) -> Summary:
        try:
            return self.study.run()
        finally:
            self.ledger.close()


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    clocks = ("time", "monotonic_s")
    return [
        {k: v for k, v in event.items() if k not in clocks}
        for event in found
        if event["event"] == kind
    ]


def with_rules(**changes: Any) -> Rules:
    return dataclasses.replace(RULES, **changes)


@pytest.mark.parametrize("slots", [1, 3])
def test_the_budget_is_spent_exactly(tmp_path: Path, slots: int) -> None:
    run = Run(tmp_path, executor=ToyExecutor(slots))
    summary = run.run()
    assert len(events(tmp_path, "proposed")) == 20
    assert len(events(tmp_path, "outcome")) == 20
    assert summary.reason == "max_children=20 is spent"
    assert summary.counts == {"completed": 20}
    assert summary.cost_s == 40.0


def test_an_outcome_is_in_the_ledger_before_the_searcher_learns_it(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watcher(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            seen.append(outcome.proposal.index)
            assert events(tmp_path, "outcome")[-1]["index"] == outcome.proposal.index

    Run(tmp_path, searcher=Watcher).run()
    assert sorted(seen) == list(range(20))


def test_the_best_children_are_the_best_rewards_best_first(tmp_path: Path) -> None:
    run = Run(tmp_path)
    summary = run.run()
    rewards = sorted({toy_reward(o.proposal.genotype) for o in run.recorder.outcomes}, reverse=True)
    assert [child["reward"] for child in summary.best] == rewards[:5]
    assert json.loads((tmp_path / "summary.json").read_text())["best"] == list(summary.best)


def test_a_duplicate_is_reused_and_not_trained_again(tmp_path: Path) -> None:
    run = Run(tmp_path, figure1(), with_rules(max_children=60))
    summary = run.run()
    reused = summary.counts["reused"]
    assert reused > 0
    assert run.executor.num_trained + reused == len(run.recorder.outcomes)
    for outcome in run.recorder.outcomes:
        assert outcome.reward == toy_reward(outcome.proposal.genotype)
        if outcome.reused_from is not None:
            source = run.recorder.outcomes[outcome.reused_from]
            assert source.proposal.genotype == outcome.proposal.genotype
            assert outcome.cost_s == 0


def test_a_duplicate_of_a_child_in_flight_waits_for_its_outcome(tmp_path: Path) -> None:
    run = Run(tmp_path, searcher=Stubborn, executor=ToyExecutor(3))
    summary = run.run()
    assert run.executor.num_trained == 1
    assert summary.counts == {"completed": 1, "reused": 19}


def test_resample_proposes_another_child_and_spends_no_budget(tmp_path: Path) -> None:
    run = Run(tmp_path, figure1(), with_rules(max_children=20, duplicates="resample"))
    summary = run.run()
    hashes = {o.proposal.hash for o in run.recorder.outcomes if o.status == "completed"}
    assert len(hashes) == run.executor.num_trained == 20
    assert summary.counts["duplicate"] > 0


def test_retrain_trains_the_same_genotype_again(tmp_path: Path) -> None:
    run = Run(tmp_path, figure1(), with_rules(max_children=60, duplicates="retrain"))
    summary = run.run()
    assert run.executor.num_trained == 60
    assert summary.counts == {"completed": 60}


@pytest.mark.parametrize("searcher", [RandomSearch, ExhaustiveSearch])
@pytest.mark.parametrize("slots", [1, 4])
def test_a_small_space_is_exhausted_and_the_study_says_so(
    tmp_path: Path, searcher: Callable[..., Searcher], slots: int
) -> None:
    rules = with_rules(max_children=1000)
    run = Run(tmp_path, figure1(), rules, searcher, ToyExecutor(slots))
    summary = run.run()
    assert "exhausted" in summary.reason
    assert run.executor.num_trained == 24


def test_a_space_of_one_architecture_trains_its_one_child(tmp_path: Path) -> None:
    run = Run(tmp_path, chain(3, 1))
    assert "all 1 architectures" in run.run().reason
    assert run.executor.num_trained == 1


def test_an_impossible_network_is_recorded_and_spends_no_budget(tmp_path: Path) -> None:
    space = chain()
    trainer = ToyTrainer(space, invalid=lambda genotype: genotype["0/affine/units"] == 0)
    run = Run(tmp_path, space, trainer=trainer)
    summary = run.run()
    assert summary.counts["completed"] == run.executor.num_trained == 20
    assert summary.counts["invalid"] > 0
    invalid = [o for o in run.recorder.outcomes if o.status == "invalid"]
    assert all("'1/max_pool'" in (o.error or "") for o in invalid)


def test_a_space_without_a_valid_child_ends_with_a_reason(tmp_path: Path) -> None:
    space = chain()
    trainer = ToyTrainer(space, invalid=lambda genotype: True)
    run = Run(tmp_path, space, with_rules(max_fruitless=30), trainer=trainer)
    assert (
        run.run().reason == "max_fruitless=30 proposals in a row were invalid, known or too large"
    )
    assert len(run.recorder.outcomes) == 30


def test_a_reused_outcome_is_as_fruitless_as_an_invalid_child(tmp_path: Path) -> None:
    rules = with_rules(max_children=None, max_fruitless=7)
    summary = Run(tmp_path, rules=rules, searcher=Stubborn).run()
    assert summary.reason == "max_fruitless=7 proposals in a row were invalid, known or too large"
    assert summary.counts == {"completed": 1, "reused": 7}


def test_who_goes_on_with_a_fruitless_study_gets_as_many_proposals_again(tmp_path: Path) -> None:
    rules = with_rules(max_children=None, max_fruitless=7)
    for session in (1, 2):
        summary = Run(tmp_path, rules=rules, searcher=Stubborn).run()
        assert summary.counts == {"completed": 1, "reused": 7 * session}


def test_no_number_of_invalid_children_ends_an_exhaustive_search(tmp_path: Path) -> None:
    space = chain(4)
    trainer = ToyTrainer(space, invalid=lambda genotype: genotype["0/affine/units"] < 3)
    rules = with_rules(max_children=None, max_fruitless=7)
    summary = Run(tmp_path, space, rules, trainer=trainer, searcher=ExhaustiveSearch).run()
    assert summary.counts == {"completed": 64, "invalid": 192}
    assert summary.reason == (
        "the space is exhausted: all 256 architectures were proposed, 192 of them invalid"
    )


@pytest.mark.parametrize("slots", [1, 3])
def test_unseen_architectures_are_drawn_where_a_searcher_keeps_to_known_ones(
    tmp_path: Path, slots: int
) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    rules = with_rules(max_children=20, duplicates="resample")
    whole = Run(tmp_path / "whole", figure1(), rules, Stubborn, ToyExecutor(slots))
    summary = whole.run()
    assert summary.counts["completed"] == len({o.proposal.hash for o in whole.recorder.outcomes})
    assert summary.counts["completed"] == 20
    assert summary.counts["duplicate"] <= 20 * MAX_KNOWN
    for limit in (8, 20, 24):
        halved = Run(
            tmp_path / "parts",
            figure1(),
            with_rules(max_children=limit, duplicates="resample"),
            Stubborn,
            ToyExecutor(slots),
        )
        assert halved.run().counts["completed"] == limit
    if slots == 1:  # with more, other children are in flight where the first session ends
        first = len(events(tmp_path / "whole", "proposed"))
        again = events(tmp_path / "parts", "proposed")
        assert again[:first] == events(tmp_path / "whole", "proposed")


def test_an_invalid_architecture_counts_once(tmp_path: Path) -> None:
    space = figure1()
    trainer = ToyTrainer(space, invalid=lambda genotype: True)
    summary = Run(tmp_path, space, trainer=trainer).run()
    assert summary.counts["invalid"] == 24
    assert summary.counts["repeated"] > 0
    assert summary.reason == (
        "the space is exhausted: all 24 architectures were proposed, 24 of them invalid"
    )


def test_a_trained_child_starts_the_count_of_fruitless_proposals_again(tmp_path: Path) -> None:
    space, inspected = chain(), itertools.count(1)
    trainer = ToyTrainer(space, invalid=lambda genotype: next(inspected) % 7 > 0)
    rules = with_rules(max_children=3, max_fruitless=7)
    summary = Run(tmp_path, space, rules, trainer=trainer).run()
    assert summary.counts == {"completed": 3, "invalid": 18}
    assert summary.reason == "max_children=3 is spent"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_parameters": 99}, "100 parameters are more than limits.parameters=99"),
        ({"max_flops": 199}, "200 flops are more than limits.flops=199"),
        (
            {"max_memory_gb": 7e-7},
            "100 parameters and gradients take 8e-07 GB, more than limits.memory_gb=7e-07 (null: "
            "what this machine has)",
        ),
    ],
)
def test_a_child_above_a_limit_is_never_trained(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run = Run(tmp_path, figure1(), with_rules(**changes))
    run.run()
    assert run.executor.num_trained == 0
    assert {o.error for o in run.recorder.outcomes} == {message}


def test_failed_children_do_not_end_a_study(tmp_path: Path) -> None:
    space = chain()
    trainer = ToyTrainer(space, failing=lambda proposal: proposal.index % 2 == 0)
    summary = Run(tmp_path, space, trainer=trainer).run()
    assert summary.counts == {"completed": 10, "failed": 10}
    assert events(tmp_path, "outcome")[0]["error"] == "ZeroDivisionError: made to fail"


def test_more_failures_than_allowed_end_a_study(tmp_path: Path) -> None:
    space = chain()
    trainer = ToyTrainer(space, failing=lambda proposal: proposal.index > 4)
    summary = Run(tmp_path, space, with_rules(max_failures=2), trainer=trainer).run()
    assert summary.counts == {"completed": 5, "failed": 3}
    assert summary.reason == "3 children failed, more than max_failures=2"


@pytest.mark.parametrize(
    ("trainer", "stopped", "failure"),
    [
        ({"failing": lambda proposal: proposal.index > 0}, False, None),
        (
            {"failing": lambda proposal: True},
            False,
            "no child was completed: 3 failed, because: ZeroDivisionError: made to fail",
        ),
        (
            {"invalid": lambda genotype: True},
            False,
            "no child was completed: 1,000 invalid, because: '1/max_pool': no max_pool on an input "
            "of shape (1,)",
        ),
        ({"failing": lambda proposal: True}, True, None),
    ],
)
def test_a_study_in_which_nothing_worked_says_why(
    tmp_path: Path, trainer: dict[str, Any], stopped: bool, failure: str | None
) -> None:
    space = chain()
    run = Run(tmp_path, space, with_rules(max_failures=2), trainer=ToyTrainer(space, **trainer))
    if stopped:
        run.executor.on_wait = lambda: run.study.stop("interrupted")
    summary = run.run()
    assert summary.failure == failure
    assert json.loads((tmp_path / "summary.json").read_text())["failure"] == failure


def test_reasons_that_differ_in_numbers_are_one_reason() -> None:
    history = History()
    for index, error in enumerate(["12 > 3", "1,200 > 3", "no module"]):
        history.add(Outcome(Proposal(index, {"a": index}), "invalid", error=error))
    assert history.failure() == (
        "no child was completed: 3 invalid, most often (2) because: 12 > 3"
    )
    assert History().failure() == "no child was completed: none was begun"


def test_the_target_reward_ends_a_study(tmp_path: Path) -> None:
    summary = Run(tmp_path, rules=with_rules(max_children=None, target_reward=0.9)).run()
    assert summary.best[0]["reward"] >= 0.9
    assert sum(child["reward"] >= 0.9 for child in summary.best) == 1
    assert summary.reason == "target_reward=0.9 is reached"


def test_the_time_budget_counts_all_sessions(tmp_path: Path) -> None:
    Run(tmp_path, rules=with_rules(max_children=3)).run()
    path = tmp_path / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["monotonic_s"] = lines[0]["monotonic_s"] + 7200
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = Run(tmp_path, rules=with_rules(max_hours=2.0)).run()
    assert summary.reason == "max_hours=2.0 is spent"
    assert summary.counts == {"completed": 3}
    assert 7200 <= summary.wall_s < 7260


def test_a_clock_that_jumps_a_day_ahead_spends_no_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, rules=with_rules(max_children=3, max_hours=2.0))
    wall_s = time.time()
    with monkeypatch.context() as patch:
        jumping = (wall_s + 24 * 3600 * number for number in itertools.count())
        patch.setattr(time, "time", lambda: next(jumping))
        run.run()
    summary = Run(tmp_path, rules=with_rules(max_hours=2.0)).run()
    assert summary.reason == "max_children=20 is spent"
    assert summary.wall_s < 60


@pytest.mark.parametrize(
    ("failed_reward", "told"),
    [("worst", [0.5, 0.25, 0.25]), ("ignore", [0.5, 0.25]), (-1.0, [-1.0, 0.5, 0.25, -1.0])],
)
def test_what_a_searcher_is_told_for_a_failure(
    tmp_path: Path, failed_reward: Any, told: list[float]
) -> None:
    learnt: list[float] = []

    class Listener(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            learnt.append(outcome.known_reward)

    class Scripted(ToyTrainer):
        def task(self, folder: Path, seed: int, policy: Any = None) -> Any:
            rewards = [None, 0.5, 0.25, None]

            def train(proposal: Proposal) -> Outcome:
                reward = rewards[proposal.index]
                status = "failed" if reward is None else "completed"
                return Outcome(proposal, status, reward)

            return OneByOne(train)

    space = chain()
    rules = with_rules(max_children=4, failed_reward=failed_reward)
    Run(tmp_path, space, rules, Listener, trainer=Scripted(space)).run()
    assert learnt == told


def test_a_childs_seed_follows_from_the_studys_the_child_and_how_often_it_was_proposed(
    tmp_path: Path,
) -> None:
    space = chain()
    rules = with_rules(max_children=40, duplicates="retrain")
    for name, searcher in (("random", RandomSearch), ("evolution", evolution)):
        (tmp_path / name).mkdir()
        Run(tmp_path / name, space, rules, searcher).run()
    found: dict[tuple[str, int], int] = {}
    for name in ("random", "evolution"):
        times: Counter[str] = Counter()
        for event in events(tmp_path / name, "proposed"):
            child = json.dumps(event["genotype"], sort_keys=True)
            seed = found.setdefault((child, times[child]), event["seed"])
            assert event["seed"] == seed == child_seed(rules.seed, event["genotype"], times[child])
            times[child] += 1
    assert len(set(found.values())) == len(found) > 40
    assert child_seed(rules.seed + 1, {"a": 1}, 0) != child_seed(rules.seed, {"a": 1}, 0)


def test_a_study_that_began_without_seeds_of_children_goes_on_without(tmp_path: Path) -> None:
    space = chain()
    Run(tmp_path, space, with_rules(max_children=3)).run()
    ledger = tmp_path / "ledger.jsonl"
    earlier = [json.loads(line) for line in ledger.read_text().splitlines()]
    for event in earlier:
        if event["event"] == "proposed":
            del event["seed"]
    ledger.write_text("".join(json.dumps(event) + "\n" for event in earlier))
    Run(tmp_path, space, with_rules(max_children=6)).run()
    assert not any("seed" in event for event in events(tmp_path, "proposed"))


def test_an_architecture_that_was_trained_again_counts_with_its_mean(tmp_path: Path) -> None:
    rewards = [0.5, 0.9, 0.4]

    class Scripted(ToyTrainer):
        def task(self, folder: Path, seed: int, policy: Any = None) -> Any:
            return OneByOne(
                lambda proposal: Outcome(proposal, "completed", rewards[proposal.index])
            )

    space = chain()
    rules = with_rules(max_children=3, duplicates="retrain", target_reward=0.8)
    summary = Run(tmp_path, space, rules, Stubborn, trainer=Scripted(space)).run()
    assert summary.reason == "max_children=3 is spent"
    assert [(b["index"], b["reward"], b["trainings"]) for b in summary.best] == [
        (0, pytest.approx(0.6), 3)
    ]


def evolution(**arguments: Any) -> Searcher:
    return RegularizedEvolution(population_size=5, tournament_size=2, **arguments)


class Crash(Exception):
    pass


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    slots=st.integers(1, 3),
    order=st.integers(0, 5),
)
def test_interrupted_and_resumed_equals_uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], slots: int, order: int
) -> None:
    """Killed while children run, at random moments; the arrival order is that of the slots."""
    space = chain(4, 3)
    trainer = ToyTrainer(space, failing=lambda proposal: proposal.index % 7 == 5)

    def first_in(slots: int) -> ToyExecutor:
        executor = ToyExecutor(slots)
        executor.random.randrange = lambda n: order % n  # type: ignore[assignment,method-assign]
        return executor

    whole = tmp_path_factory.mktemp("whole")
    Run(whole, space, RULES, evolution, first_in(slots), trainer).run()

    parts = tmp_path_factory.mktemp("parts")
    for cut in cuts:
        executor = first_in(slots)
        left = [cut]

        def crash(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash

        executor.on_wait = crash
        run = Run(parts, space, RULES, evolution, executor, trainer)
        try:
            run.run()
        except Crash:
            continue
    Run(parts, space, RULES, evolution, first_in(slots), trainer).run()
    for kind in ("proposed", "outcome"):
        assert events(parts, kind) == events(whole, kind)


def dead_with_an_ended_child(folder: Path) -> None:
    """Leaves a study whose driver has died, in which child 1 has ended meanwhile."""

    def die() -> None:
        raise Crash

    dead = Run(folder, executor=ToyExecutor(2, on_wait=die))
    with pytest.raises(Crash):
        dead.run()
    (proposal,), outcomes = dead.executor.running[1]
    child = folder / "children" / "0001"
    child.mkdir(parents=True)
    (child / "proposal.json").write_text(json.dumps(proposal.to_json()))
    (child / "outcome.json").write_text(json.dumps(next(outcomes).to_json()))


def test_a_child_that_ended_while_the_driver_was_dead_is_harvested(tmp_path: Path) -> None:
    dead_with_an_ended_child(tmp_path)
    run = Run(tmp_path, executor=ToyExecutor(2))
    run.run()
    assert run.executor.num_trained == 19
    assert next(event["index"] for event in events(tmp_path, "outcome")) == 1
    assert len(events(tmp_path, "outcome")) == 20


def test_what_becomes_of_a_child_on_a_virtual_cluster_is_not_read_from_its_folder(
    tmp_path: Path,
) -> None:
    dead_with_an_ended_child(tmp_path)
    executor = ToyExecutor(2)
    executor.is_simulated = True
    Run(tmp_path, executor=executor).run()
    assert executor.num_trained == 20
    assert len(events(tmp_path, "outcome")) == 20


def test_what_a_study_knows_of_an_outcome_is_what_its_ledger_says(tmp_path: Path) -> None:
    """Seconds are recorded with fewer digits: a searcher must not learn more, once."""
    learnt: list[Outcome] = []

    class Learns(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            learnt.append(outcome)

    class Thirds(ToyTrainer):
        def task(self, folder: Path, seed: int, policy: Any = None) -> Any:
            return OneByOne(lambda proposal: Outcome(proposal, "completed", 0.5, cost_s=1 / 3))

    run = Run(tmp_path, searcher=Learns, trainer=Thirds(chain()))
    run.run()
    replayed = StudyState.of(read_events(tmp_path / "ledger.jsonl")[0])
    assert learnt == replayed.history.outcomes == run.study.history.outcomes
    assert replayed.history.cost_s == run.study.history.cost_s


def test_a_stopped_study_finishes_running_children_and_goes_on_later(tmp_path: Path) -> None:
    run = Run(tmp_path, executor=ToyExecutor(3))
    run.executor.on_wait = lambda: run.study.stop("interrupted")
    summary = run.run()
    assert summary.reason == "interrupted"
    assert summary.counts == {"completed": 3}
    again = Run(tmp_path, executor=ToyExecutor(3))
    assert again.run().counts == {"completed": 20}
    assert sorted(again.recorder.opened) == [0, 1, 2]


def test_a_finished_study_continues_with_a_larger_budget(tmp_path: Path) -> None:
    Run(tmp_path).run()
    assert Run(tmp_path).run().reason == "max_children=20 is spent"
    summary = Run(tmp_path, rules=with_rules(max_children=25)).run()
    assert summary.counts == {"completed": 25}


@pytest.mark.parametrize(
    ("space", "rules", "message"),
    [
        (chain(6, 5), RULES, r"another space: decision '0/affine/units'.*\[1, 2, 3, 4\].*5\]"),
        (chain(7, 4), RULES, "another space: decision '6/affine/units' had the options None"),
        (chain(), with_rules(seed=4), "written with seed=3, not 4"),
    ],
)
def test_a_ledger_of_another_space_or_seed_is_refused(
    tmp_path: Path, space: SearchSpace, rules: Rules, message: str
) -> None:
    Run(tmp_path).run()
    before = (tmp_path / "ledger.jsonl").read_bytes()
    with pytest.raises(LedgerError, match=message):
        Run(tmp_path, space, rules).run()
    assert (tmp_path / "ledger.jsonl").read_bytes() == before


def test_parameters_and_flops_are_metrics_of_a_trained_child(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.run()
    assert all(o.metrics["parameters"] == 100 for o in run.recorder.outcomes)
    assert all(o.metrics["flops"] == 200 for o in run.recorder.outcomes)


def test_children_after_a_change_of_source_or_data_are_marked_in_every_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = {"module nets": "1", "data.root a.csv": "1"}
    other = {"module nets": "2", "data.root a.csv": "1"}
    for num_children, now in ((2, first), (4, first), (6, other), (8, other)):
        Run(tmp_path, rules=with_rules(max_children=num_children), fingerprints=now).run()
    marked = [event.get("changed", False) for event in events(tmp_path, "outcome")]
    assert marked == 4 * [False] + 4 * [True]
    assert [event.get("changed") for event in events(tmp_path, "resumed")] == [
        None,
        ["module nets is another"],
        None,
    ]
    (told,) = [r.getMessage() for r in caplog.records if "last session" in r.getMessage()]
    assert "module nets is another: children from here on are marked" in told


def test_a_ledger_without_fingerprints_goes_on_without_a_mark(tmp_path: Path) -> None:
    Run(tmp_path, rules=with_rules(max_children=2)).run()
    Run(tmp_path, rules=with_rules(max_children=4), fingerprints={"module nets": "1"}).run()
    assert not any("changed" in event for event in events(tmp_path, "outcome"))
