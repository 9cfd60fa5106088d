"""What every searcher makes of outcomes of earlier studies, and of architectures that are given."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Genotype, KnownOutcome, Proposal, SearchSpace
from nasrunner.core.order import Place, key_of, rollout
from tests.searchers.test_schedules import ADMITTING, growing
from tests.searchers.worlds import (
    SEARCHERS,
    WRAPPERS,
    Loop,
    load_space,
    make_searcher,
    one_by_one,
    reward_of,
    run,
)
from tests.toys import chain

IGNORE = {
    **dict.fromkeys(  # random search is inside
        (
            "asha",
            "asha_stopping",
            "extrapolation",
            "hyperband",
            "median_stopping",
            "successive_halving",
        ),
        "rewards",
    ),
    "darts": "gradients",
    "enas": "estimates",
    "exhaustive": "rewards",
    "gdas": "gradients",
    "motpe": "objectives",
    "nsga2": "objectives",
    "ppo": "its own policy drew",
    "random": "rewards",
    "random_sharing": "estimates",
    "reinforce": "its own policy drew",
    "spos": "estimates",
}
"""Searchers that learn nothing from earlier studies, and a word of the reason they give."""

every_searcher = pytest.mark.parametrize("name", SEARCHERS)
every_learner = pytest.mark.parametrize("name", sorted({*SEARCHERS} - {*IGNORE}))
steps = st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from([False, False, True]))


def known_of(space: SearchSpace, count: int = 14) -> list[KnownOutcome]:
    """Random architectures, some twice, with their rewards."""
    rng = np.random.default_rng(5)
    genotypes = [rollout(space, rng) for _ in range(count - 2)]
    return [
        KnownOutcome(genotype, reward_of(Proposal(0, genotype)), child)
        for child, genotype in enumerate([*genotypes, *genotypes[:2]])
    ]


def architectures(space: SearchSpace) -> list[Genotype]:
    found, place = [], Place.of(space, {})
    while place is not None:
        found.append(place.genotype)
        place = place.after()
    return found


def all_of(space: SearchSpace) -> list[KnownOutcome]:
    """Every architecture of a small space with its reward."""
    return [
        KnownOutcome(genotype, reward_of(Proposal(0, genotype)), child)
        for child, genotype in enumerate(architectures(space))
    ]


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *((name, load_space("figure1")) for name in SEARCHERS),
        *((name, growing(every=4)) for name in ADMITTING),
    ],
    ids=[*(f"{name}-figure1" for name in SEARCHERS), *(f"{n}-growing" for n in ADMITTING)],
)
@settings(max_examples=3, deadline=None, derandomize=True, database=None)
@given(schedule=st.lists(steps, min_size=12, max_size=16), cut=st.integers(0, 16))
def test_a_study_that_began_with_outcomes_is_replayed_to_the_same_proposals(
    name: str, space: SearchSpace, schedule: list[tuple[bool, int, bool]], cut: int
) -> None:
    known = known_of(space)
    whole = Loop(make_searcher(name, space)).begin(known).play(schedule)
    assert len(whole.events) == 1 + len(schedule)
    resumed = Loop(make_searcher(name, space)).replay(whole.events[: cut + 1])
    assert resumed.play(schedule[cut:]).events == whole.events


@every_searcher
def test_suggest_changes_nothing_after_outcomes_of_earlier_studies(name: str) -> None:
    searcher = make_searcher(name, "mlp")
    searcher.learn_known(known_of(searcher.space))
    for index in range(4):
        suggestions = [searcher.suggest(index), searcher.suggest(index)]
        (proposal,) = run(searcher, 1)
        assert suggestions == [proposal, proposal]


@every_searcher
def test_known_outcomes_are_no_children(name: str) -> None:
    searcher = make_searcher(name, "figure1")
    searcher.learn_known(known_of(searcher.space))
    assert searcher.pending == {}
    assert searcher.num_proposed == 0
    proposals = run(searcher, 5)
    assert [proposal.index for proposal in proposals] == list(range(5))
    assert all(each.parent is None or 0 <= each.parent < each.index for each in proposals)


@pytest.mark.parametrize(
    "name", sorted({*SEARCHERS} - {*IGNORE, *WRAPPERS, "evolution", "local_search", "cmaes"})
)
def test_a_searcher_that_knows_every_reward_finds_good_children_at_once(name: str) -> None:
    """Of 24 architectures; a random one is among the best six with probability 1/4."""
    ranked = sorted(all_of(load_space("figure1")), key=lambda outcome: -outcome.reward)
    good = [key_of(outcome.genotype) for outcome in ranked[:6]]
    num_good = 0
    for seed in range(8):
        searcher = make_searcher(name, "figure1", seed)
        searcher.learn_known(all_of(searcher.space))
        num_good += sum(key_of(proposal.genotype) in good for proposal in run(searcher, 3))
    assert num_good >= 12  # of 24; 6 are expected by chance, 11 with a probability of 0.02


@pytest.mark.parametrize("name", IGNORE)
def test_searchers_that_learn_nothing_from_other_studies_say_so(name: str) -> None:
    told, untold = make_searcher(name, "mlp"), make_searcher(name, "mlp")
    told.learn_known(known_of(told.space))
    assert told.learns_known
    assert IGNORE[name] in (told.ignores_known or "")
    assert run(told, 8) == run(untold, 8)


@every_learner
def test_searchers_that_learn_from_other_studies_are_the_others(name: str) -> None:
    searcher = make_searcher(name, "mlp")
    assert searcher.learns_known
    assert searcher.ignores_known is None


@every_searcher
def test_what_the_user_gives_is_taken_and_replayed(name: str) -> None:
    space = load_space("figure1")
    every = architectures(space)
    given = [Proposal(i, every[place], notes={"given": i}) for i, place in enumerate((9, 0, 20))]
    searcher, loop = make_searcher(name, "figure1"), Loop(make_searcher(name, "figure1"))
    for each in (searcher, loop.searcher):
        each.learn_known(known_of(space))
    for proposal in given:
        loop.searcher.register(proposal)
        loop.in_flight.append(proposal)
        loop.events.append({"proposed": proposal.to_json()})
    loop.play(one_by_one(6))
    replayed = Loop(searcher).replay(json.loads(json.dumps(loop.events)))
    assert replayed.searcher.suggest(99) == loop.searcher.suggest(99)


def test_exhaustive_search_passes_over_what_was_given_and_leaves_nothing_out() -> None:
    space = load_space("figure1")
    every = architectures(space)
    searcher = make_searcher("exhaustive", "figure1")
    for index, place in enumerate((9, 0, 20)):  # 0 is what it would begin with
        searcher.register(Proposal(index, every[place]))
    proposals = []
    while (proposal := searcher.propose()) is not None:
        proposals.append(every.index(proposal.genotype))
    assert proposals == [i for i in range(24) if i not in (0, 9, 20)]


def test_local_search_begins_at_the_better_half_of_what_is_known_best_first() -> None:
    space = load_space("mlp")
    known = known_of(space, count=8)
    searcher = make_searcher("local_search", "mlp")
    searcher.learn_known(known)
    starts = [searcher.propose() for _ in range(4)]  # nobody has a reward: each is a start
    better = sorted({outcome.reward for outcome in known}, reverse=True)
    assert [reward_of(start) for start in starts if start is not None][:3] == better[:3]


def test_evolution_breeds_from_the_best_of_what_is_known_at_once() -> None:
    space = load_space("mlp")
    known = known_of(space, count=9)
    searcher = make_searcher("evolution", "mlp")  # a population of 5
    searcher.learn_known(known)
    best = sorted(known, key=lambda outcome: -outcome.reward)[:5]
    kept = [member.scores[0] for member in searcher.population]  # type: ignore[attr-defined]
    assert kept == [outcome.reward for outcome in known if outcome in best]
    (proposal,) = run(searcher, 1)
    changes = [
        sum(proposal.genotype.get(path) != index for path, index in outcome.genotype.items())
        for outcome in best
    ]
    assert min(changes) <= 1


def test_cma_es_begins_where_the_best_of_what_is_known_lie() -> None:
    space, target = chain(5, 20), 18

    def distance(genotype: Genotype) -> float:
        return sum(abs(index - target) for index in genotype.values())

    rng = np.random.default_rng(0)
    drawn = [rollout(space, rng) for _ in range(60)]
    known = [KnownOutcome(each, -distance(each), child) for child, each in enumerate(drawn)]
    found = {}
    for name, taken in (("knows", known), ("few", known[:4]), ("nothing", [])):
        distances = []
        for seed in range(4):
            searcher = make_searcher("cmaes", space, seed)
            searcher.learn_known(taken)
            distances += [distance(each.genotype) for each in run(searcher, 5, lambda _: 0.0)[1:]]
        found[name] = np.mean(distances)
    middle = 5 * (target - 9.5)
    best_tenth = np.mean(sorted(map(distance, drawn))[:6])
    best_of_four = min(map(distance, drawn[:4]))
    assert max(best_tenth + 12, best_of_four + 5) < middle, "or this would tell nothing"
    assert abs(found["nothing"] - middle) < 6
    assert abs(found["knows"] - best_tenth) < 6
    assert abs(found["few"] - best_of_four) < 6


def test_tree_search_proposes_all_of_a_space_whose_rewards_it_knows() -> None:
    searcher = make_searcher("mcts", "figure1")
    searcher.learn_known(all_of(searcher.space))
    proposals = run(searcher, 24)
    assert len({key_of(proposal.genotype) for proposal in proposals}) == 24
