"""Forward search as a study sees it: who grows, by what, and what is handed on."""

import json

import numpy as np
import pytest

from nasrunner.core import Outcome, Source
from nasrunner.core.space import smallest
from nasrunner.searchers.one_shot.petridish import GrowingChild, Petridish, lower_hull
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.searchers.worlds import (
    Loop,
    golden_path,
    load_space,
    make_searcher,
    measured,
    one_by_one,
    reward_of,
)

SPACES = ("mlp", "nasbench201", "small_cnn")
SETTINGS = {"num_joined": 1, "max_parts": 9, "learning_rate": 0.1, "penalty": 0.0}
SETTINGS |= {"cost": "parameters", "is_random": False, "supernet": {"trainer.max_epochs": 2}}


def petridish(space="nasbench201", seed=0, **changes):
    return Petridish(space=load_space(space), seed=seed, **{**SETTINGS, **changes})


def found_by(searcher, proposal):
    """What a supernet finds."""
    return measured(searcher, proposal, 0.0).found


def end(searcher, proposal, reward=None, cost=1.0, found=()):
    metrics = {"parameters": cost} if reward is not None else {}
    searcher.observe(Outcome(proposal, "completed", reward, metrics, found=found))


def begun(*children, **changes):
    """A searcher after children that were given to it, as (answers of the cell, reward, cost)."""
    searcher = petridish(**changes)
    for answers, reward, cost in children:
        paths = list(smallest(searcher.space, np.random.default_rng(0)))
        genotype = dict(zip(paths, answers, strict=True))
        proposal = type(searcher.suggest(0) or PLAIN)(searcher.num_proposed, genotype)
        searcher.register(proposal)
        end(searcher, proposal, reward, cost)
    return searcher


PLAIN = petridish().suggest(0)


def test_the_smallest_architecture_is_trained_then_grown_and_what_has_joined_is_trained():
    searcher = petridish()
    first = searcher.propose()
    assert first.asked == ()
    assert first.genotype == smallest(searcher.space, searcher.rng(0))
    assert not searcher.is_ready
    assert searcher.suggest(1) is None
    end(searcher, first, 0.5)
    whole = searcher.propose()
    assert (whole.kind, whole.genotype) == ("supernet", first.genotype)
    assert whole.fidelity == {"trainer.max_epochs": 2}
    assert whole.sources == (Source(0, "weights"),)
    assert not searcher.is_ready
    found = found_by(searcher, whole)
    end(searcher, whole, found=found)
    assert set(searcher.needs()) == {0, 1}
    child = searcher.propose()
    assert child.asked == ("weights",)
    assert child.genotype == found[0]
    assert child.sources == (Source(1, "weights"), Source(0, "weights"))
    assert child.parent == 0
    assert not searcher.is_ready
    end(searcher, child, 0.4)
    assert searcher.propose().genotype == child.genotype  # the first child has been a parent


@one_in(3, 0, "space", SPACES)
def test_it_follows_from_the_seed_and_resumes_from_any_event(space):
    rng = np.random.default_rng(1)
    steps = [
        (bool(rng.random() < 0.6), int(rng.integers(5)), number in (11, 17)) for number in range(24)
    ]
    whole = Loop(make_searcher("petridish", space, 3)).play(steps)
    assert Loop(make_searcher("petridish", space, 3)).play(steps).events == whole.events
    kinds = [each.get("kind", "train") for each in whole.proposals]
    assert kinds.count("supernet") > 2
    assert kinds.count("train") > 2
    for cut in range(0, len(whole.events), 5):
        again = Loop(make_searcher("petridish", space, 3)).replay(whole.events[:cut])
        assert again.play(steps[cut:]).events == whole.events


def test_first_proposals_are_the_recorded_ones():
    """Kinds and answers; the file is changed where proposals are meant to change alone."""
    found = Loop(make_searcher("petridish", "mlp")).play(one_by_one(20)).proposals
    told = [[each.get("kind", "train"), *each["genotype"].values()] for each in found]
    assert told == json.loads(golden_path("petridish", "mlp").read_text())


def test_another_seed_begins_with_another_smallest_architecture():
    starts = [petridish("mlp", seed=seed).suggest(0).genotype for seed in range(8)]
    assert len({tuple(each.items()) for each in starts}) > 1
    assert all(next(iter(each.values())) == 0 for each in starts)  # the fewest units


def test_the_best_child_of_the_convex_hull_grows_first_and_each_once():
    searcher = begun(
        ([1, 1, 1, 1, 1, 1], 0.50, 1.0),
        ([1, 1, 1, 1, 1, 2], 0.55, 3.0),  # below the line of the two around it
        ([1, 1, 1, 1, 2, 1], 0.70, 4.0),
        ([1, 1, 1, 2, 1, 1], 0.69, 5.0),  # dearer and worse
    )
    parents = []
    while (whole := searcher.propose()) is not None:
        parents.append(whole.sources[0].child)
        end(searcher, whole)
    assert parents == [2, 0, 3, 1]
    assert searcher.why_done == "none of 4 trained children has a part left to grow by"


def test_the_hull_is_of_the_cheapest_of_equals():
    def child(number, reward, cost):
        return GrowingChild(number, {}, reward, cost)

    def hull(*children):
        return [
            each.child for each in lower_hull([child(n, *one) for n, one in enumerate(children)])
        ]

    assert hull((0.5, 1.0), (0.6, 1.0)) == [1]
    assert hull((0.5, 2.0), (0.5, 1.0)) == [1]
    assert hull((0.1, 0.0), (0.2, 1.0), (0.3, 2.0)) in ([0, 2], [0, 1, 2])
    assert hull((0.1, 0.0), (0.25, 1.0), (0.3, 2.0)) == [0, 1, 2]
    assert hull((0.1, 0.0), (0.15, 1.0), (0.3, 2.0)) == [0, 2]


def test_several_supernets_run_at_once_and_their_children_wait_for_nobody():
    searcher = begun(([1, 1, 1, 1, 1, 1], 0.5, 1.0), ([1, 1, 1, 1, 1, 2], 0.6, 2.0))
    one, other = searcher.propose(), searcher.propose()
    assert [each.kind for each in (one, other)] == ["supernet", "supernet"]
    end(searcher, other, found=found_by(searcher, other))
    assert searcher.propose().sources[0].child == other.index
    end(searcher, one, found=found_by(searcher, one))
    assert searcher.propose().sources[0].child == one.index


def test_a_child_that_was_trained_before_is_not_trained_again():
    searcher = begun(([1, 1, 1, 1, 1, 1], 0.5, 1.0))
    whole = searcher.propose()
    both, one = ({**whole.genotype, **changes} for changes in changed(whole, 2))
    given = type(whole)(searcher.num_proposed, both)
    searcher.register(given)
    end(searcher, whole, found=[both, one])
    assert searcher.propose().genotype == one


def changed(proposal, count):
    paths = list(proposal.genotype)
    return [dict.fromkeys(paths[:number], 2) for number in range(count, 0, -1)]


def test_without_a_start_that_can_be_trained_the_search_ends():
    searcher = petridish("nasbench201")  # whose smallest architecture is one alone
    first = searcher.propose()
    searcher.observe(Outcome(first, "failed", error="it broke"))
    assert searcher.propose() is None
    assert searcher.why_done == "no smallest architecture could be trained"


def test_a_start_that_cannot_be_trained_is_followed_by_another():
    searcher = petridish("mlp")
    first = searcher.propose()
    searcher.observe(Outcome(first, "failed", error="it broke"))
    second = searcher.propose()
    assert second.asked == ()
    assert second.genotype != first.genotype


def test_children_of_the_user_are_parents_too():
    searcher = begun(([1, 1, 1, 1, 1, 3], 0.5, 1.0))
    assert searcher.propose().sources == (Source(0, "weights"),)


def test_outcomes_that_were_reused_lend_the_weights_of_who_was_trained():
    searcher = petridish("mlp")
    first = searcher.propose()
    outcome = Outcome(first, "completed", 0.5, {"parameters": 3.0})
    searcher.observe(outcome)
    supernet = searcher.propose()
    again = type(first)(searcher.num_proposed, first.genotype)
    searcher.register(again)
    searcher.observe(Outcome(again, "completed", 0.5, {"parameters": 3.0}, reused_from=0))
    end(searcher, supernet)
    assert searcher.propose() is None


def test_a_space_with_schedules_is_refused():
    growing = {"schedule": {"start": 1, "step": 1, "end": 3, "every": 2}}
    space = parse_space(
        {"concat": [{"repeat": {"times": growing, "body": "relu"}}, {"affine": {"units": 3}}]}
    )
    with pytest.raises(ValueError, match="space must have no schedule, since Petridish finds"):
        Petridish(space=space, seed=0, **SETTINGS)


def test_rewards_decide_who_grows():
    searcher = begun(([1, 1, 1, 1, 1, 2], 0.6, 2.0), ([1, 1, 1, 1, 2, 1], 0.5, 2.0))
    assert searcher.propose().sources[0].child == 0
    assert reward_of(searcher.propose()) is not None
