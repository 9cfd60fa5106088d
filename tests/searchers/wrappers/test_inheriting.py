"""Children that begin with the weights of those before them."""

import dataclasses
import functools
import json
from collections.abc import Collection
from typing import Any

import pytest

from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import Genotype, Outcome, Proposal, Searcher, SearchSpace, Source
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.stopping.median_stopping import MedianStopping
from nasrunner.searchers.wrappers.asha import Asha
from nasrunner.searchers.wrappers.inheriting import Inheriting
from nasrunner.searchers.wrappers.predicted import Predicted
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import Loop, measured

UNITS = {"affine": {"units": {"oneof": [2, 3, 4]}}}
SPACE = {"concat": [UNITS, "relu", UNITS, "relu", {"affine": {"units": 2}}]}
FIRST, SECOND = "0/affine/units", "2/affine/units"


def space() -> SearchSpace:
    return parse_space(SPACE)


def net(first: int, second: int) -> Genotype:
    return {FIRST: first, SECOND: second}


class Given(Searcher):
    """Proposes these architectures, mutations of these parents."""

    def __init__(self, given: Any, alive: Collection[int] = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.given, self.alive = given, alive
        self.learnt: list[Proposal] = []
        self.revised: list[Outcome] = []

    def suggest(self, index: int) -> Proposal | None:
        genotype, parent = self.given[index]
        return Proposal(index, genotype, parent=parent)

    def learn(self, outcome: Outcome) -> None:
        self.learnt.append(outcome.proposal)

    def revise(self, outcome: Outcome) -> None:
        self.revised.append(outcome)

    def parents(self) -> Collection[int]:
        return self.alive


def inheriting(*given: Any, bank: str = "last", most: int = 3, alive: Any = ()) -> Inheriting:
    searcher = functools.partial(Given, given, alive)
    made = Inheriting(
        searcher=searcher, bank=bank, max_sources=most, morphism_share=0, space=space(), seed=0
    )
    made.see(SpaceNetworks(made.space, (5,), "float32", identifies=True))
    return made


def end(searcher: Searcher, proposal: Proposal, reward: float = 0.5, **changes: Any) -> None:
    searcher.observe(Outcome(proposal, changes.pop("status", "completed"), reward, **changes))


def lenders(proposal: Proposal) -> list[int]:
    assert all(each.what == "weights" for each in proposal.sources)
    return [each.child for each in proposal.sources]


@pytest.mark.parametrize(("bank", "lends"), [("last", 1), ("best", 0)])
def test_a_bigram_is_held_by_the_last_or_the_best_child(bank: str, lends: int) -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 3, bank=bank)
    for reward in (0.7, 0.6):
        end(searcher, searcher.propose(), reward)
    assert lenders(searcher.propose()) == [lends]
    assert set(searcher.needs()) == {lends}


def test_of_equal_rewards_the_first_stays_the_best() -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 3, bank="best")
    for _ in range(2):
        end(searcher, searcher.propose(), 0.5)
    assert lenders(searcher.propose()) == [0]


def test_the_last_to_end_counts_not_the_last_to_be_proposed() -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 3)
    first, second = searcher.propose(), searcher.propose()
    end(searcher, second)
    end(searcher, first)
    assert lenders(searcher.propose()) == [0]


@pytest.mark.parametrize(
    "ended",
    [
        None,
        {"status": "failed", "reward": 0.1, "error": "it broke"},
        {"status": "invalid", "reward": None},
        {"reused_from": 7},
    ],
)
def test_who_was_not_trained_lends_nothing(ended: dict[str, Any] | None) -> None:
    searcher = inheriting((net(0, 0), None), (net(0, 0), 0))
    first = searcher.propose()
    if ended is not None:
        end(searcher, first, **ended)
    assert searcher.propose().sources == ()
    assert set(searcher.needs()) == set()


@pytest.mark.parametrize("status", ["paused", "stopped"])
def test_who_was_trained_in_part_lends(status: str) -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 2)
    end(searcher, searcher.propose(), status=status)
    assert lenders(searcher.propose()) == [0]


THREE_LEND = (
    (net(1, 1), None),  # 5 to 3 to 3 to 2
    (net(2, 1), None),  # 5 to 4 to 3 to 2; holds 4 to 3 and 3 to 2
    (net(2, 2), None),  # 5 to 4 to 4 to 2; holds the others
    (net(2, 1), 0),  # of child 0 it takes 3 to 2; of 2 the 24 of 5 to 4; of 1 the 15 of 4 to 3
)


def test_the_parent_comes_first_and_then_who_holds_most_of_what_is_open() -> None:
    searcher = inheriting(*THREE_LEND)
    for _ in range(3):
        end(searcher, searcher.propose())
    assert lenders(searcher.propose()) == [0, 2, 1]


def test_a_parent_that_has_nothing_in_common_lends_nothing() -> None:
    last = {"affine": {"units": {"oneof": [2, 3]}}}
    both = parse_space({"concat": [last, "relu", last]})
    given = [({FIRST: 0, SECOND: 0}, None), ({FIRST: 1, SECOND: 1}, 0)]
    searcher = Inheriting(
        searcher=functools.partial(Given, given),
        bank="last",
        max_sources=3,
        morphism_share=0,
        space=both,
        seed=0,
    )
    searcher.see(SpaceNetworks(both, (5,), "float32", identifies=True))
    end(searcher, searcher.propose())
    assert searcher.propose().sources == ()


@pytest.mark.parametrize(("most", "expected"), [(1, [0]), (2, [0, 2])])
def test_no_more_lend_than_may(most: int, expected: list[int]) -> None:
    searcher = inheriting(*THREE_LEND, most=most)
    for _ in range(3):
        end(searcher, searcher.propose())
    assert lenders(searcher.propose()) == expected


def test_who_holds_nothing_any_more_and_is_no_parent_is_not_needed() -> None:
    for alive, needed in (((), {1}), ((0,), {0, 1})):
        searcher = inheriting(*[(net(0, 0), None)] * 3, alive=alive)
        for _ in range(2):
            end(searcher, searcher.propose())
        assert set(searcher.needs()) == needed


def test_evolution_names_its_population_as_parents() -> None:
    searcher = RegularizedEvolution(population_size=2, tournament_size=1, space=space(), seed=0)
    for _ in range(4):
        end(searcher, searcher.propose())
    assert set(searcher.parents()) == {2, 3}


def test_where_networks_are_not_known_parents_alone_lend() -> None:
    given = [(net(0, 0), None), (net(1, 1), None), (net(0, 0), 1)]
    searcher = Inheriting(
        searcher=functools.partial(Given, given),
        bank="last",
        max_sources=3,
        morphism_share=0,
        space=space(),
        seed=0,
    )
    for _ in range(2):
        end(searcher, searcher.propose())
    assert lenders(searcher.propose()) == [1]


def test_the_inner_searcher_sees_plain_trainings_and_what_they_came_to() -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 3)
    for _ in range(2):
        end(searcher, searcher.propose())
    assert isinstance(searcher.inner, Given)
    assert [each.sources for each in searcher.inner.learnt] == [(), ()]
    searcher.revise(Outcome(Proposal(0, net(0, 0)), "completed", 0.9))
    assert [(each.proposal.index, each.reward) for each in searcher.inner.revised] == [(0, 0.9)]
    assert lenders(searcher.propose()) == [0]


def test_a_child_with_weights_of_others_is_another_evaluation() -> None:
    searcher = inheriting(*[(net(0, 0), None)] * 3)
    proposals = []
    for _ in range(3):
        proposals.append(searcher.propose())
        end(searcher, proposals[-1])
    assert len({each.evaluation for each in proposals}) == 3
    alike = dataclasses.replace(proposals[2], sources=proposals[1].sources)
    assert alike.evaluation == proposals[1].evaluation


def evolving(*, morphism_share: float = 0, **arguments: Any) -> Inheriting:
    inner = functools.partial(RegularizedEvolution, population_size=4, tournament_size=2)
    shared = {"bank": "best", "max_sources": 2, "morphism_share": morphism_share}
    made = Inheriting(searcher=inner, **shared, **arguments)
    made.see(SpaceNetworks(made.space, (5,), "float32", identifies=True))
    return made


STEPS = [(True, 0, False), (True, 0, False), (False, 1, False), (True, 0, False), (False, 0, True)]


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_replayed_searcher_proposes_as_one_that_was_not(share: float) -> None:
    loop = Loop(evolving(morphism_share=share, space=space(), seed=1)).play(STEPS * 8)
    assert sum(bool(each.get("sources")) for each in loop.proposals) > 5
    places = [n for n, event in enumerate(loop.events) if "proposed" in event]
    for place in places[::3]:
        proposed = loop.events[place]["proposed"]
        again = Loop(evolving(morphism_share=share, space=space(), seed=1)).replay(
            loop.events[:place]
        )
        suggestion = again.searcher.suggest(proposed["index"])
        assert suggestion is not None
        assert json.loads(json.dumps(suggestion.to_json())) == proposed


def test_asha_around_it_names_the_children_by_its_own_numbers() -> None:
    asha = Asha(
        searcher=evolving,
        num_brackets=1,
        eta=2,
        rungs=[1, 2],
        min_epochs=1,
        max_epochs=4,
        fidelity=None,
        space=space(),
        seed=0,
    )
    asha.see(SpaceNetworks(asha.space, (5,), "float32", identifies=True))
    genotypes, ended, num_borrowed, furthest = {}, set(), 0, {}
    kept: set[int] = set()
    for _ in range(40):
        proposal = asha.propose()
        genotypes[proposal.index] = proposal.genotype
        for source in proposal.sources:
            assert source.child in ended
            if source.what == "weights":
                num_borrowed += 1
                shared = asha.networks.bigrams(genotypes[source.child]).keys()
                assert shared & asha.networks.bigrams(proposal.genotype).keys()
                assert source.child not in furthest  # who has gone on lends as it is now
                assert source.child in kept
            else:
                furthest[source.child] = proposal.index
        asha.observe(measured(asha, proposal, 0.1 + 0.01 * proposal.index))
        ended.add(proposal.index)
        kept = set(asha.needs())
    assert num_borrowed > 10
    assert furthest


def test_what_trains_nothing_is_refused_around_it() -> None:
    with pytest.raises(ValueError, match="Predicted does not pass on weights, which Inheriting"):
        Predicted(
            searcher=evolving,
            predictor=None,
            quantile=0.5,
            honest_share=0.1,
            num_trained_first=4,
            max_history=100,
            refit_growth=0.1,
            space=space(),
            seed=0,
        )


def test_it_is_refused_around_who_begins_with_weights_itself() -> None:
    with pytest.raises(ValueError, match="Inheriting does not pass on weights, which Inheriting"):
        Inheriting(
            searcher=evolving, bank="last", max_sources=1, morphism_share=0, space=space(), seed=0
        )


def test_an_example_of_what_it_asks_for_takes_weights() -> None:
    searcher = Inheriting(
        searcher=RandomSearch, bank="last", max_sources=1, morphism_share=0, space=space(), seed=0
    )
    assert [each.sources for each in searcher.asks_for] == [(Source(0, "weights"),)]


def test_mutations_are_morphisms_of_their_parents_where_there_are_any() -> None:
    searcher = evolving(morphism_share=1, space=space(), seed=2)
    genotypes, kinds = {}, []
    for _ in range(30):
        proposal = searcher.propose()
        genotypes[proposal.index] = proposal.genotype
        if proposal.parent is not None:
            kinds.append([each.what for each in proposal.sources])
            parent = genotypes[proposal.parent]
            if kinds[-1] == ["morphism"]:
                assert proposal.sources == (Source(proposal.parent, "morphism"),)
                assert searcher.networks.morphism(parent, proposal.genotype) == {"wider"}
                assert sum(parent[key] != proposal.genotype[key] for key in parent) == 1
            else:  # the widest there is
                assert parent == net(2, 2)
        end(searcher, proposal, 0.1 + 0.02 * sum(proposal.genotype.values()))
    assert kinds.count(["morphism"]) > 10
    assert any("weights" in each for each in kinds)


def test_the_share_of_morphisms_is_drawn() -> None:
    searcher = evolving(morphism_share=0.5, space=space(), seed=2)
    kinds = []
    for _ in range(60):
        proposal = searcher.propose()
        if proposal.parent is not None:
            kinds.append(any(each.what == "morphism" for each in proposal.sources))
        end(searcher, proposal, 0.1 - 0.02 * sum(proposal.genotype.values()))
    assert 15 <= sum(kinds) <= 41


def test_a_space_without_morphisms_is_said_before_it_begins() -> None:
    plain = parse_space({"concat": [{"or": ["relu", "tanh"]}, {"affine": {"units": 2}}]})
    arguments = {"bank": "last", "max_sources": 1, "space": plain, "seed": 0}
    for share, said in ((0.5, "searcher.morphism_share=0.5 may be in vain"), (0, "random search")):
        inner = functools.partial(RegularizedEvolution, population_size=2, tournament_size=1)
        searcher = Inheriting(searcher=inner, morphism_share=share, **arguments)
        searcher.see(SpaceNetworks(plain, (5,), "float32", identifies=True))
        advice = searcher.advice(2)
        assert said in (advice or "")
    assert "in vain" not in (evolving(morphism_share=1, space=space(), seed=0).advice(100) or "")


def test_morphisms_are_ignored_around_who_mutates_nobody() -> None:
    arguments = {"bank": "last", "max_sources": 1, "space": space(), "seed": 0}
    around = functools.partial(
        MedianStopping,
        searcher=RandomSearch,
        metric="val_loss",
        mode="min",
        reward={},
        min_epochs=1,
        min_children=1,
    )
    for inner in (RandomSearch, around):
        told = Inheriting(searcher=inner, morphism_share=0.5, **arguments).ignored or ""
        assert told.startswith("morphism_share=0.5 is of proposals that mutate a child, and ")
        assert Inheriting(searcher=inner, morphism_share=0, **arguments).ignored is None
    evolution = functools.partial(RegularizedEvolution, population_size=4, tournament_size=2)
    mutating = functools.partial(around, searcher=evolution)
    assert Inheriting(searcher=mutating, morphism_share=0.5, **arguments).ignored is None
