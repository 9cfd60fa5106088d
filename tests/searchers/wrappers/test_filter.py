"""Estimates in rounds, of which the best are trained: in studies, and around any searcher."""

import functools
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrunner.core import (
    ConfigError,
    Genotype,
    Hear,
    Kind,
    Outcome,
    Proposal,
    Report,
    Searcher,
    Train,
)
from nasrunner.core.network.known import Description
from nasrunner.core.order import key_of
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.surrogates.gaussian_process import GaussianProcess
from nasrunner.searchers.surrogates.ngrams import NgramRidge
from nasrunner.searchers.wrappers.filter import Filter
from nasrunner.searchers.wrappers.scored import ScoredNetworks
from tests.contracts.searchers import EverySecond, MedianStopping
from tests.contracts.test_kinds import CountingExecutor
from tests.searchers.test_schedules import growing
from tests.searchers.worlds import INNER, Loop, make_searcher, one_by_one
from tests.searchers.wrappers.test_predicted import made as predicted_around
from tests.study.test_loop import Crash, Run, events, with_rules
from tests.toys import ToyTrainer, chain, toy_reward


def estimate_of(genotype: Genotype) -> float:
    """Another order than that of the rewards."""
    return float(sum(genotype.values())) + toy_reward(genotype) / 2


@dataclass(frozen=True)
class Estimating:
    """Estimates by the sum of the answers, and trains by ``toy_reward``."""

    failing: bool = False

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            if proposal.kind == "train":
                reward = toy_reward(proposal.genotype)
                yield Outcome(proposal, "completed", reward, cost_s=2.0)
            elif self.failing and sum(proposal.genotype.values()) % 2:
                yield Outcome(proposal, "failed", error="ProxyError: synflow is nan", cost_s=0.1)
            else:
                scores = {"synflow": estimate_of(proposal.genotype), "snip": -1.0}
                yield Outcome(proposal, "completed", scores["snip"], scores, cost_s=0.1)


@dataclass
class EstimatingTrainer(ToyTrainer):
    """Children that can be estimated, many in one call."""

    estimates: Sequence[str] = ("snip", "synflow")  # type: ignore[misc]
    is_failing: bool = False
    at_once: int = 100
    calls: list[int] = field(default_factory=list)

    def num_at_once(self, kind: Kind) -> int:
        return self.at_once if kind == "estimate" else 1

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return Estimating(self.is_failing)


PROCESS = functools.partial(
    GaussianProcess, decays=[0.5, 2.0], noises=[0.001, 0.1], views=["genotype", "network", "both"]
)


def made(
    inner: Any = RandomSearch,
    n: int = 10,
    q: int = 3,
    proxy: str | None = "synflow",
    surrogate: Any = None,
) -> Any:
    return functools.partial(
        Filter,
        searcher=inner,
        num_estimates=n,
        num_trained=q,
        proxy=proxy,
        surrogate=surrogate,
    )


SMALL = functools.partial(RegularizedEvolution, population_size=4, tournament_size=2)


def run(folder: Path, searcher: Any, space: Any = None, slots: int = 1, **changes: Any) -> Run:
    of_trainer = {k: changes.pop(k) for k in ("estimates", "is_failing", "at_once") if k in changes}
    space = space or chain(12)
    folder.mkdir(exist_ok=True)
    return Run(
        folder,
        space,
        with_rules(**{"max_children": 9, **changes}),
        searcher,
        executor=CountingExecutor(slots),
        trainer=EstimatingTrainer(space, **of_trainer),
    )


def kinds(folder: Path) -> list[str]:
    return [event.get("kind", "train") for event in events(folder, "proposed")]


def genotypes(folder: Path, kind: str) -> list[Genotype]:
    return [e["genotype"] for e in events(folder, "proposed") if e.get("kind", "train") == kind]


def test_the_best_estimates_of_each_round_are_trained_best_first(tmp_path: Path) -> None:
    study = run(tmp_path, made())
    summary = study.run()
    assert kinds(tmp_path) == (["estimate"] * 10 + ["train"] * 3) * 3
    estimated, trained = genotypes(tmp_path, "estimate"), genotypes(tmp_path, "train")
    for start in range(3):
        round_ = sorted(estimated[10 * start : 10 * start + 10], key=estimate_of, reverse=True)
        assert trained[3 * start : 3 * start + 3] == round_[:3]
    assert summary.counts == {"estimates": 30, "completed": 9}
    assert isinstance(study.executor, CountingExecutor)
    assert study.executor.submitted == [10, 1, 1, 1] * 3
    best = max(trained, key=toy_reward)
    assert summary.best[0]["reward"] == toy_reward(best)


def test_the_reward_of_an_estimate_is_compared_where_no_metric_is_named(tmp_path: Path) -> None:
    run(tmp_path, made(proxy=None, n=4, q=1), max_children=2).run()
    estimated, trained = genotypes(tmp_path, "estimate"), genotypes(tmp_path, "train")
    assert trained == [estimated[0], estimated[4]]  # all are -1: the first of each round


def test_a_metric_that_estimates_lack_is_refused_before_anything_is_proposed(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        ConfigError,
        match=r"Filter asks for estimates of naswot, and those of EstimatingTrainer measure, as "
        r"configured, snip, synflow$",
    ):
        run(tmp_path / "one", made(proxy="naswot"))
    with pytest.raises(ConfigError, match=r"configured, nothing: it makes none$"):
        run(tmp_path / "none", made(), estimates=())


class TrainingOnly(EstimatingTrainer):
    """Makes no estimates, and says so where it is asked for one."""

    def check(self, proposal: Proposal) -> None:
        if proposal.kind != "train":
            raise ConfigError("trainer: makes no kind=estimate; legal: train")


def test_a_trainer_without_estimates_is_refused_before_anything_is_recorded(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="makes no kind=estimate"):
        Run(tmp_path, chain(4), with_rules(), made(proxy=None), trainer=TrainingOnly(chain(4)))
    assert (tmp_path / "ledger.jsonl").read_text() == ""


class Told(RandomSearch):
    """Remembers what it was told, and which numbers its proposals had."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.learnt: list[tuple[int, float]] = []
        self.forgotten: list[int] = []
        self.registered: list[int] = []

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        assert proposal.is_plain
        self.registered.append(proposal.index)

    def learn(self, outcome: Outcome) -> None:
        self.learnt.append((outcome.proposal.index, outcome.known_reward))
        assert outcome.known_reward == toy_reward(outcome.proposal.genotype)

    def forget(self, proposal: Proposal) -> None:
        self.forgotten.append(proposal.index)


@pytest.mark.parametrize("slots", [1, 4])
def test_the_inner_searcher_counts_without_gaps_and_learns_of_trainings_alone(
    tmp_path: Path, slots: int
) -> None:
    study = run(tmp_path, made(Told), slots=slots)
    study.run()
    assert isinstance(study.study.searcher, Filter)
    inner = study.study.searcher.inner
    assert isinstance(inner, Told)
    estimated = genotypes(tmp_path, "estimate")
    assert inner.registered == list(range(len(estimated)))
    trained = [estimated.index(each) for each in genotypes(tmp_path, "train")]
    assert sorted(index for index, _ in inner.learnt) == sorted(trained)
    assert not {index for index, _ in inner.learnt} & set(inner.forgotten)
    assert len(inner.forgotten) >= 7 * 3
    assert not set(inner.forgotten) & set(inner.pending)


def test_estimates_that_fail_are_trained_by_nobody_whatever_failed_children_count(
    tmp_path: Path,
) -> None:
    for rule in ("worst", 99.0):
        folder = tmp_path / str(rule)
        run(folder, made(), is_failing=True, failed_reward=rule).run()
        assert len(genotypes(folder, "train")) == 9
        assert all(sum(each.values()) % 2 == 0 for each in genotypes(folder, "train"))


def test_parents_are_children_that_were_trained_and_cross_by_number(tmp_path: Path) -> None:
    study = run(tmp_path, made(SMALL), max_children=15)
    study.run()
    proposed = events(tmp_path, "proposed")
    parents = {e["index"]: e["parent"] for e in proposed if "parent" in e}
    assert len(parents) > 20
    trained = {e["index"] for e in proposed if "kind" not in e}
    assert set(parents.values()) <= trained
    for child, parent in parents.items():  # one answer is another
        theirs, own = (proposed[each]["genotype"] for each in (parent, child))
        assert sum(own[path] != theirs[path] for path in own) == 1


def test_what_was_trained_is_not_trained_again_and_a_small_space_is_exhausted(
    tmp_path: Path,
) -> None:
    space = chain(2, width=3)
    for rule in ("reuse", "resample"):
        folder = tmp_path / rule
        summary = run(folder, made(n=4, q=2), space, max_children=100, duplicates=rule).run()
        trained = [json.dumps(each) for each in genotypes(folder, "train")]
        assert len(trained) == len(set(trained)) == 9
        assert summary.reason == "the space is exhausted: all 9 architectures were evaluated"


def test_a_searcher_that_ends_by_itself_ends_with_a_smaller_round(tmp_path: Path) -> None:
    summary = run(tmp_path, made(ExhaustiveSearch, n=6, q=2), chain(2, width=4)).run()
    assert (
        kinds(tmp_path) == (["estimate"] * 6 + ["train"] * 2) * 2 + ["estimate"] * 4 + ["train"] * 2
    )
    assert summary.reason == (
        "ExhaustiveSearch has nothing left to propose (the space is exhausted), and of each round "
        "the best were trained"
    )


class Waits(RandomSearch):
    """Proposes four children, and then waits for all of them, as a controller with replicas."""

    @property
    def is_ready(self) -> bool:
        return self.num_proposed % 4 != 0 or not self.pending


@pytest.mark.parametrize("slots", [1, 3])
def test_a_searcher_that_waits_for_its_proposals_has_smaller_rounds(
    tmp_path: Path, slots: int
) -> None:
    run(tmp_path, made(Waits, n=10, q=1), slots=slots, max_children=3).run()
    assert kinds(tmp_path) == (["estimate"] * 4 + ["train"]) * 3


def test_more_estimates_than_are_sent_together_are_still_one_round(tmp_path: Path) -> None:
    study = run(tmp_path, made(n=10, q=1), at_once=4, max_children=2)
    study.run()
    assert kinds(tmp_path) == (["estimate"] * 10 + ["train"]) * 2
    assert isinstance(study.executor, CountingExecutor)
    assert study.executor.submitted == [4, 4, 2, 1] * 2


@pytest.mark.parametrize("surrogate", [None, PROCESS], ids=["score", "surrogate"])
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("dies_after", [7, 14, 26, 47, 60])
def test_a_killed_study_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, slots: int, dies_after: int, surrogate: Any
) -> None:
    run(tmp_path / "whole", made(SMALL, surrogate=surrogate), slots=slots).run()
    parts = run(tmp_path / "parts", made(SMALL, surrogate=surrogate), slots=slots)
    append, left = parts.ledger.append, iter(range(dies_after))

    def dies(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    parts.ledger.append = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        parts.run()
    run(tmp_path / "parts", made(SMALL, surrogate=surrogate), slots=slots).run()
    found = genotypes(tmp_path / "parts", "train")
    assert len(found) == len(events(tmp_path / "whole", "outcome")) - kinds(
        tmp_path / "whole"
    ).count("estimate")
    if slots == 1:  # with more, outcomes come in another order
        assert events(tmp_path / "parts", "proposed") == events(tmp_path / "whole", "proposed")
        told = [
            sorted(events(tmp_path / part, "outcome"), key=lambda event: event["index"])
            for part in ("parts", "whole")
        ]
        assert told[0] == told[1]


@pytest.mark.parametrize("name", INNER)
def test_every_searcher_can_be_the_inner_one(tmp_path: Path, name: str) -> None:
    def inner(**arguments: Any) -> Searcher:
        return make_searcher(name, arguments["space"], arguments["seed"])

    run(tmp_path, made(inner, n=6, q=2), chain(4), max_children=8).run()
    assert len(genotypes(tmp_path, "train")) == 8
    before = events(tmp_path, "proposed")
    run(tmp_path, made(inner, n=6, q=2), chain(4), max_children=10).run()
    assert events(tmp_path, "proposed")[: len(before)] == before
    assert len(genotypes(tmp_path, "train")) == 10


class Unseen:
    """Networks that are all alike: what tells children apart is their genotypes and scores."""

    identifies = False

    def describe(self, genotypes: Sequence[Genotype]) -> Description:
        return Description((), np.zeros((len(genotypes), 0)), np.ones(len(genotypes), dtype=bool))

    def identity(self, genotype: Genotype) -> str:
        raise AssertionError


class BySum(Unseen):
    """Genotypes of an equal sum are one network."""

    identifies = True

    def identity(self, genotype: Genotype) -> str:
        return f"network:{sum(genotype.values())}"


def test_the_best_of_a_round_are_different_networks_that_were_not_trained() -> None:
    searcher = made(n=40, q=3, proxy=None)(space=chain(4), seed=0)
    networks = BySum()
    searcher.see(networks)
    trained = []
    for _ in range(3):
        estimates = [searcher.propose() for _ in range(40)]
        for each in estimates:  # as networks of one identity have one score
            searcher.observe(Outcome(each, "completed", float(sum(each.genotype.values()))))
        found = [searcher.propose() for _ in range(3)]
        for each in found:
            assert each.kind == "train"
            searcher.observe(Outcome(each, "completed", 0.5))
        sums = {sum(each.genotype.values()) for each in estimates} - {*trained}
        new = [sum(each.genotype.values()) for each in found]
        assert new == sorted(sums, reverse=True)[:3]
        trained += new


def test_genotypes_are_trained_where_all_networks_of_a_round_were() -> None:
    class One(BySum):
        def identity(self, genotype: Genotype) -> str:
            return "network:one"

    searcher = made(n=5, q=2, proxy=None)(space=chain(12), seed=0)
    searcher.see(One())
    found = []
    for num_new in (1, 2):
        for each in [searcher.propose() for _ in range(5)]:
            searcher.observe(Outcome(each, "completed", 1.0))
        for _ in range(num_new):
            proposal = searcher.propose()
            searcher.observe(Outcome(proposal, "completed", 0.5))
            found.append(proposal)
    assert [each.kind for each in found] == ["train"] * 3
    assert len({key_of(each.genotype) for each in found}) == 3


def test_the_inner_searcher_is_told_which_networks_were_trained() -> None:
    class Identified(RandomSearch):
        def learn(self, outcome: Outcome) -> None:
            networks.append(outcome.proposal.identity)

    networks: list[str | None] = []
    searcher = made(Identified, n=5, q=2, proxy=None)(space=chain(12), seed=0)
    searcher.see(BySum())
    for each in [searcher.propose() for _ in range(5)]:
        searcher.observe(Outcome(each, "completed", 1.0))
    trained = [searcher.propose() for _ in range(2)]
    for each in trained:
        searcher.observe(Outcome(each, "completed", 0.5))
    assert networks == [f"network:{sum(each.genotype.values())}" for each in trained]


def test_a_surrogate_that_sees_no_scores_is_refused() -> None:
    ridge = functools.partial(NgramRidge, max_length=2, min_occurrences=1, penalty=1.0)
    for surrogate in (functools.partial(PROCESS, views=["genotype"]), ridge):
        searcher = made(surrogate=surrogate)
        with pytest.raises(ValueError, match="looks at genotypes alone, as configured; legal are"):
            searcher(space=chain(12), seed=0)


def best_ranked(surrogate: Any, told: str) -> list[float]:
    """Rewards of a search whose estimates say ``told`` of them beside a proxy that says nothing."""
    searcher = made(n=20, q=4, proxy="snip", surrogate=surrogate)(space=chain(12), seed=0)
    searcher.see(Unseen())
    hidden = {}
    rewards = []
    while len(rewards) < 24:
        proposal = searcher.propose()
        # Of no answer more than of another: a surrogate that sees genotypes alone learns nothing.
        key = json.dumps(proposal.genotype, sort_keys=True)
        reward = hidden.setdefault(key, (zlib.crc32(key.encode()) % 1000) / 1000)
        if proposal.kind == "train":
            rewards.append(reward)
            searcher.observe(Outcome(proposal, "completed", reward))
        else:
            score = {"well": 1 - reward, "nothing": 0.5}[told]
            searcher.observe(Outcome(proposal, "completed", 0.0, {"snip": 0.0, "synflow": score}))
    return rewards[4:]  # the first round knows of no reward


def test_a_surrogate_learns_what_scores_say_whatever_their_sign() -> None:
    """The highest reward has the lowest score: by that alone the worst would be trained."""
    assert np.mean(best_ranked(PROCESS, "well")) > 0.75
    assert np.mean(best_ranked(PROCESS, "nothing")) < 0.7
    assert np.mean(best_ranked(None, "well")) < 0.7


def test_a_surrogate_waits_for_rewards_from_which_an_order_can_be_learnt() -> None:
    searcher = made(n=6, q=3, proxy=None, surrogate=PROCESS)(space=chain(12), seed=0)
    searcher.see(Unseen())
    searcher.surrogate.fit = None  # calling it would fail
    for _ in range(2):
        estimates = [searcher.propose() for _ in range(6)]
        for each in estimates:
            searcher.observe(Outcome(each, "completed", estimate_of(each.genotype)))
        trained = [searcher.propose() for _ in range(3)]
        ordered = sorted(estimates, key=lambda each: -estimate_of(each.genotype))
        assert [each.genotype for each in trained] == [each.genotype for each in ordered[:3]]


def test_scores_stand_among_the_statistics_of_networks() -> None:
    known, other = {"a": 0}, {"a": 1}
    networks = ScoredNetworks(Unseen(), {key_of(known): {"synflow": np.sinh(3.0), "snip": -1.0}})
    found = networks.describe([other, known])
    assert found.names == ("estimates/snip", "estimates/synflow")
    assert np.isnan(found.rows_NF[0]).all()
    np.testing.assert_allclose(found.rows_NF[1], [-np.arcsinh(1.0), 3.0])
    assert networks.describe([other]).names == found.names  # whoever is described


def test_a_searcher_of_other_things_than_plain_trainings_is_refused(tmp_path: Path) -> None:
    inner = functools.partial(EverySecond, searcher=RandomSearch)
    told = "searcher.searcher: EverySecond proposes until, which Filter does not pass on"
    with pytest.raises(ConfigError, match=told):
        run(tmp_path, made(inner)).run()
    assert events(tmp_path, "proposed") == []


def test_a_searcher_of_estimates_is_refused_as_the_inner_one() -> None:
    """A wrapper may propose its first estimate after children were trained."""
    for outer in (made, predicted_around):
        for name, told in (("predicted", "Predicted"), ("filter", "Filter")):
            inner = functools.partial(wrapped, name)
            refusal = f"does not pass on kind=estimate, which {told} proposes"
            with pytest.raises(ValueError, match=refusal):
                outer(inner)(space=chain(4), seed=0)


def wrapped(name: str, *, space: Any, seed: int) -> Searcher:
    return make_searcher(name, space, seed)


def test_what_children_report_reaches_a_searcher_that_stops_them() -> None:
    searcher = made(MedianStopping, n=8, q=4, proxy=None)(space=chain(4), seed=0)
    assert searcher.listens
    estimates = [searcher.propose() for _ in range(8)]
    for each in estimates:
        searcher.observe(Outcome(each, "completed", estimate_of(each.genotype)))
    trained = [searcher.propose() for _ in range(4)]
    assert [each.index for each in trained] == [8, 9, 10, 11]
    for place, each in enumerate(trained):
        searcher.report(Report(each.index, 1, {"val_accuracy": 0.9 - 0.1 * place}))
    assert [searcher.should_stop(each.index) for each in trained] == [False, False, True, True]


def test_a_schedule_of_the_space_counts_the_inner_searchers_proposals() -> None:
    space = growing(every=6)
    searcher = made(n=6, q=2, proxy=None)(space=space, seed=0)
    proposals = Loop(searcher).play(one_by_one(24)).proposals
    estimated = [each for each in proposals if each.get("kind") == "estimate"]
    depths = [space.values(each["genotype"])["0/skip_layers/times"] for each in estimated]
    assert depths == [2] * 6 + [3] * 6 + [4] * 6


def test_a_filter_that_trains_more_than_it_estimates_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_trained must be at most num_estimates \(2\), got 3"):
        made(n=2, q=3)(space=chain(), seed=0)


def test_a_budget_of_one_round_is_told() -> None:
    searcher = made(SMALL, n=20, q=5)(space=chain(), seed=0)
    assert searcher.advice(6) is None
    assert searcher.advice(None) is None
    assert searcher.advice(5) == (
        "A budget of 5 children is one round of the filter: they are the best of "
        "searcher.num_estimates=20 first proposals of RegularizedEvolution, which learns nothing "
        "before it has proposed them."
    )
