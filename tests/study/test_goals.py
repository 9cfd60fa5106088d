"""A study that compares its children by several objectives: what it records, tells and repeats."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import (
    Blueprint,
    Genotype,
    OneByOne,
    Outcome,
    Proposal,
    Searcher,
    Source,
    StudyInfo,
    Summary,
)
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.ledger.history import History
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules
from nasrunner.trackers.table import CsvTracker
from tests.study.test_loop import events, with_rules
from tests.toys import ToyExecutor, ToyTrainer, chain, toy_reward

LIMITED = {"reward": "max", "latency": {"goal": "min", "limit": 9}}


def latency(genotype: Genotype) -> float:
    return float(sum(genotype.values()))


def train(proposal: Proposal) -> Outcome:
    reward = toy_reward(proposal.genotype)
    metrics = {"latency": latency(proposal.genotype)}
    if proposal.index == 3:
        return Outcome(proposal, "failed", error="made to fail")
    if proposal.index == 5:
        metrics = {}
    return Outcome(proposal, "completed", reward, metrics)


class Timed(ToyTrainer):
    """Measures a latency, but for one child; another fails."""

    def task(self, folder: Path, seed: int, policy: Any = None) -> OneByOne:
        return OneByOne(train)


class Listener(RandomSearch):
    """Keeps what it is told."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.told: list[Outcome] = []

    def learn(self, outcome: Outcome) -> None:
        self.told.append(outcome)


class Comparing(Listener):
    learns_objectives = True


def searched(
    folder: Path,
    objectives: Any = LIMITED,
    scalarization: Any = None,
    searcher: Callable[..., Listener] = Listener,
    rules: Rules | None = None,
    trainer: Callable[..., ToyTrainer] = Timed,
) -> tuple[Summary, Listener]:
    space, rules = chain(), rules or with_rules()
    made = searcher(space=space, seed=rules.seed)
    ledger = Ledger(folder / "ledger.jsonl")
    study = Study(
        space=space,
        searcher=made,
        trainer=trainer(space),
        executor=ToyExecutor(2),
        trackers=[CsvTracker()],
        ledger=ledger,
        rules=rules,
        info=StudyInfo("toy", folder, {}, rules.max_children, {}),
        goals=read_goals({"objectives": objectives, "scalarization": scalarization}),
    )
    try:
        return study.run(), made
    finally:
        ledger.close()


def genotypes(folder: Path) -> list[Genotype]:
    return [event["genotype"] for event in events(folder, "proposed")]


def test_objectives_stand_in_the_ledger_and_children_beyond_a_limit_have_no_reward(
    tmp_path: Path,
) -> None:
    summary, searcher = searched(tmp_path)
    drawn = genotypes(tmp_path)
    assert summary.counts == {"completed": 18, "failed": 2}
    rewards = []
    for event in events(tmp_path, "outcome"):
        genotype, index = drawn[event["index"]], event["index"]
        if index in (3, 5):
            assert event["status"] == "failed"
            assert "objectives" not in event
            continue
        own = {"reward": toy_reward(genotype), "latency": latency(genotype)}
        assert event["objectives"] == own
        is_within = own["latency"] <= 9
        assert event["reward"] == (own["reward"] if is_within else None)
        told = f"objectives.latency.limit=9: latency is {own['latency']:g}"
        assert event["error"] == (None if is_within else told)
        rewards += [own["reward"]] if is_within else []
    assert 2 < len(rewards) < 16
    assert [each["reward"] for each in summary.best] == sorted(rewards, reverse=True)[:5]
    lacking = next(e for e in events(tmp_path, "outcome") if e["index"] == 5)
    assert lacking["error"].startswith("objectives.latency: the child has no 'latency'")
    told = {o.proposal.index: o.reward for o in searcher.told}
    assert min(filter(None, told.values())) == min(rewards)  # failed_reward=worst


def test_the_summary_has_the_front_and_what_no_child_meets(tmp_path: Path) -> None:
    summary, _ = searched(tmp_path)
    assert summary.front is not None
    found = [e["objectives"] for e in events(tmp_path, "outcome") if "objectives" in e]
    within = {(e["reward"], e["latency"]) for e in found if e["latency"] <= 9}
    undominated = {
        (r, ms)
        for r, ms in within
        if not any(a >= r and b <= ms and (a, b) != (r, ms) for a, b in within)
    }
    assert summary.front["size"] == len(undominated)
    worst = min(e["reward"] for e in found)
    assert summary.front["reference"] == {"reward": worst, "latency": 9}
    steps, volume = sorted(undominated, key=lambda point: point[1]), 0.0
    for place, (reward, ms) in enumerate(steps):
        end = steps[place + 1][1] if place + 1 < len(steps) else 9
        volume += (reward - worst) * (end - ms)
    assert summary.front["hypervolume"] == pytest.approx(volume)
    assert summary.unmet == []
    assert json.loads((tmp_path / "summary.json").read_text())["front"] == summary.front
    assert f"hypervolume {volume:.6g} from reward=" in summary.about_front


def test_a_limit_that_nothing_meets_is_said_in_the_summary(tmp_path: Path) -> None:
    summary, _ = searched(tmp_path, {"reward": "max", "latency": {"goal": "min", "limit": 0.5}})
    least = min(latency(each) for each in genotypes(tmp_path))
    assert summary.unmet == [
        f"no child is within objectives.latency.limit=0.5: the best has {least:g}"
    ]
    assert summary.best == []


def test_a_scalarization_makes_the_reward_that_searchers_learn(tmp_path: Path) -> None:
    objectives = {"reward": "max", "latency": "min"}
    summary, searcher = searched(
        tmp_path, objectives, {"weighted_sum": {"reward": 2, "latency": 0.5}}
    )
    made = [
        2 * toy_reward(each) - 0.5 * latency(each)
        for i, each in enumerate(genotypes(tmp_path))
        if i not in (3, 5)
    ]
    assert [each["reward"] for each in summary.best] == sorted(made, reverse=True)[:5]
    told = [o for o in searcher.told if o.status != "failed"]
    assert sorted(o.known_reward for o in told) == sorted(made)
    assert all(o.objectives["reward"] == toy_reward(o.proposal.genotype) for o in told)


def test_objectives_are_columns_of_the_table(tmp_path: Path) -> None:
    searched(tmp_path)
    text = (tmp_path / "children.csv").read_text()
    assert "objectives/reward,objectives/latency" in text.splitlines()[0]


def test_a_searcher_of_objectives_is_told_of_children_beyond_a_limit_as_they_are(
    tmp_path: Path,
) -> None:
    ignored = with_rules(failed_reward="ignore")
    _, alone = searched(tmp_path, searcher=Comparing, rules=ignored)
    assert len(alone.told) == 18
    assert any(o.reward is None for o in alone.told)
    assert [each.name for each in alone.objectives] == ["reward", "latency"]
    (tmp_path / "rewards").mkdir()
    _, other = searched(tmp_path / "rewards", rules=ignored)
    assert len(other.told) < 18


@pytest.mark.parametrize("searcher", [Listener, Comparing])
def test_a_resumed_study_tells_its_searcher_the_same_again(
    tmp_path: Path, searcher: Callable[..., Listener]
) -> None:
    rules = with_rules(max_children=12)
    _, first = searched(tmp_path, searcher=searcher, rules=rules)
    more = dataclasses.replace(rules, max_children=20)
    _, resumed = searched(tmp_path, searcher=searcher, rules=more)
    assert _as_json(resumed)[: len(first.told)] == _as_json(first)
    assert len(resumed.told) > len(first.told)


def _as_json(searcher: Searcher) -> list[dict[str, Any]]:
    assert isinstance(searcher, Listener)
    return [outcome.to_json() for outcome in searcher.told]


def test_a_duplicate_repeats_the_judged_outcome(tmp_path: Path) -> None:
    class Stubborn(Listener):
        def rng(self, index: int) -> Any:
            return super().rng(index % 7)

    searched(tmp_path, scalarization="limit", searcher=Stubborn)
    found = {event["index"]: event for event in events(tmp_path, "outcome")}
    repeated = [event for event in found.values() if event["reused_from"] is not None]
    assert len(repeated) == 13
    for event in repeated:
        source = found[event["reused_from"]]
        assert event["reward"] == source["reward"]
        assert event.get("objectives") == source.get("objectives")


def test_a_paused_child_beyond_a_limit_is_told_the_worst_of_paused_ones_too() -> None:
    history, rules = History(), with_rules()
    paused = Proposal(1, {"a": 1}, until=1, identity="paused")
    beyond = Outcome(dataclasses.replace(paused, index=2), "paused", objectives={"latency": 12.0})
    assert rules.told_reward(beyond, history) is None
    history.add(Outcome(Proposal(0, {"a": 0}), "completed", 0.7))
    history.add(Outcome(paused, "paused", 0.2))
    assert rules.told_reward(beyond, history) == 0.2
    assert rules.told_reward(Outcome(Proposal(3, {}), "completed"), history) == 0.7
    assert rules.told_reward(Outcome(Proposal(3, {}), "failed"), history) == 0.7


class Sized(Timed):
    """Knows before it trains that each decision adds FLOPs; trains none that has many."""

    def inspect(self, genotype: Genotype) -> Blueprint:
        blueprint = super().inspect(genotype)
        return dataclasses.replace(blueprint, flops=int(latency(genotype)))

    def task(self, folder: Path, seed: int, policy: Any = None) -> OneByOne:
        return OneByOne(train_small)


def train_small(proposal: Proposal) -> Outcome:
    assert latency(proposal.genotype) <= 9
    return Outcome(proposal, "completed", toy_reward(proposal.genotype))


SMALL = {"reward": "max", "flops": {"goal": "min", "limit": 9}}


@pytest.mark.parametrize(
    ("scalarization", "beyond"), [(None, None), ({"limit": {"beyond": -1}}, -1)]
)
def test_a_size_beyond_a_limit_is_known_before_a_training(
    tmp_path: Path, scalarization: Any, beyond: float | None
) -> None:
    summary, searcher = searched(tmp_path, SMALL, scalarization, trainer=Sized)
    drawn = genotypes(tmp_path)
    rewards = {True: 0, False: 0}
    for event in events(tmp_path, "outcome"):
        genotype = drawn[event["index"]]
        flops, reward = latency(genotype), toy_reward(genotype)
        rewards[is_within := flops <= 9] += 1
        assert event["reward"] == (reward if is_within else beyond)
        assert event["objectives"] == {"flops": flops} | ({"reward": reward} if is_within else {})
        if not is_within:
            assert event["metrics"] == {"parameters": 100.0, "flops": flops, "epochs": 0.0}
            assert event["cost_s"] == 0
            assert event["error"] == f"objectives.flops.limit=9: flops is {flops:g}"
    assert min(rewards.values()) > 2
    assert summary.counts == {"completed": rewards[True], "too_large": rewards[False]}
    assert len(searcher.told) >= (20 if beyond else rewards[True])
    assert summary.front is not None
    assert summary.front["reference"]["flops"] == 9
    assert summary.front["size"] >= 1


def test_who_compares_objectives_is_told_by_how_much_an_untrained_child_is_beyond(
    tmp_path: Path,
) -> None:
    _, searcher = searched(tmp_path, SMALL, searcher=Comparing, trainer=Sized)
    told = {outcome.proposal.index: dict(outcome.objectives) for outcome in searcher.told}
    assert [told[index]["flops"] for index in range(20)] == [
        latency(genotype) for genotype in genotypes(tmp_path)
    ]


def test_a_study_of_which_all_is_beyond_a_limit_ends(tmp_path: Path) -> None:
    rules = with_rules(max_children=None, max_fruitless=5)
    none = {"reward": "max", "flops": {"goal": "min", "limit": 0.5}}
    summary, _ = searched(tmp_path, none, rules=rules, trainer=Huge)
    assert summary.reason == "max_fruitless=5 proposals in a row were invalid, known or too large"
    assert summary.counts["too_large"] >= 1
    assert summary.counts.keys() <= {"too_large", "reused"}
    assert summary.front == {"size": 0, "hypervolume": None, "reference": {}}
    assert summary.unmet == ["no child is within objectives.flops.limit=0.5: the best has 200"]


class Huge(ToyTrainer):
    """Children of 200 FLOPs each."""


def test_nothing_goes_on_with_a_child_that_is_too_large() -> None:
    goals = read_goals({"objectives": SMALL, "scalarization": {"limit": {"beyond": 0}}})
    assert goals is not None
    history = History()
    begun = Proposal(0, {"a": 1}, until=1)
    further = Proposal(1, {"a": 1}, until=2, sources=(Source(0, "training"),))
    to_its_end = Proposal(2, {"a": 1}, sources=(Source(1, "training"),))
    for proposal in (begun, further, to_its_end):
        outcome = goals.foreseen(proposal, {"flops": 10.0})
        assert outcome is not None
        history.add(outcome, is_same_child=proposal is not begun)
    assert history.counts == {"too_large": 1}
    assert (history.num_spent, history.num_full) == (1, 0)


def test_a_pause_is_one_of_a_child_that_is_beyond_a_limit_too() -> None:
    goals = read_goals({"objectives": SMALL})
    assert goals is not None
    paused = Proposal(0, {"a": 1}, until=2)
    for proposal, status in (
        (paused, "paused"),
        (dataclasses.replace(paused, identity=paused.hash), "completed"),  # beyond the end
    ):
        outcome = goals.foreseen(proposal, {"flops": 10.0, "parameters": 3.0})
        assert outcome is not None
        assert (outcome.status, outcome.is_trained) == (status, False)
        assert Outcome.from_json(outcome.to_json(), proposal) == outcome
    assert goals.foreseen(paused, {"flops": 9.0}) is None
    assert goals.foreseen(paused, {"parameters": 1e9}) is None
    supernet = dataclasses.replace(paused, kind="supernet", until=None)
    assert goals.foreseen(supernet, {"flops": 10.0}) is None
