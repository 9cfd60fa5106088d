"""Searches by gradients, as a study sees them."""

import pytest

from nasrunner.core import Outcome, Proposal
from nasrunner.searchers.one_shot.darts import Darts
from nasrunner.searchers.one_shot.gdas import Gdas
from tests.searchers.worlds import load_space, make_searcher, reward_of


def darts(num_sampled=0):
    return Darts(
        order="first",
        learning_rate=3e-4,
        betas=(0.5, 0.999),
        weight_decay=1e-3,
        affine=False,
        takes_zero=False,
        max_skips=None,
        num_sampled=num_sampled,
        supernet=None,
        space=load_space("nasbench_macro"),
        seed=0,
    )


def genotype(*options):
    space = load_space("nasbench_macro")
    answers = iter(options)
    return space.walk(lambda _: next(answers))


FOUND = [genotype(*[k] * 8) for k in (1, 0, 2)]


def test_what_the_supernet_has_found_is_trained_in_its_order():
    searcher = darts()
    supernet = searcher.propose()
    assert (supernet.kind, supernet.genotype, dict(supernet.fidelity)) == ("supernet", {}, {})
    assert not searcher.is_ready
    searcher.observe(Outcome(supernet, "completed", found=[*FOUND, FOUND[0]]))
    proposals = []
    while (proposal := searcher.propose()) is not None:
        assert proposal.asked == ()
        proposals.append(proposal.genotype)
        searcher.observe(Outcome(proposal, "completed", reward_of(proposal)))
    assert proposals == FOUND
    assert searcher.why_done == "what the supernet has found is trained, 3 architectures"


def test_what_was_given_to_begin_with_does_not_end_the_search_while_the_supernet_is_trained():
    searcher = darts()
    searcher.register(Proposal(0, FOUND[0]))
    supernet = searcher.propose()
    assert supernet.kind == "supernet"
    assert not searcher.is_ready
    searcher.observe(Outcome(supernet, "completed", found=FOUND))
    assert [searcher.propose().genotype for _ in range(2)] == FOUND[1:]
    assert searcher.propose() is None


def test_one_architecture_is_told_as_one():
    searcher = darts()
    searcher.observe(Outcome(searcher.propose(), "completed", found=FOUND[:1]))
    assert searcher.why_done == "what the supernet has found is trained, 1 architecture"


def test_fewer_architectures_than_were_asked_for_are_told():
    searcher = darts(num_sampled=3)
    searcher.observe(Outcome(searcher.propose(), "completed", found=FOUND))
    assert "3 architectures; for searcher.num_sampled=3 no further netw" in searcher.why_done


def test_a_budget_that_is_too_small_is_told_by_its_key():
    searcher = make_searcher("spos", "nasbench_macro")
    assert searcher.advice(1).startswith("max_children=1 ends the search before the best searcher.")
    assert searcher.advice(searcher.num_trained) is None


def test_a_supernet_that_failed_leaves_nothing_to_train():
    searcher = darts()
    searcher.observe(Outcome(searcher.propose(), "failed", error="it broke"))
    assert searcher.propose() is None


@pytest.mark.parametrize(("kind", "weighs"), [(Darts, "softmax"), (Gdas, "gumbel")])
def test_a_supernet_is_told_what_the_searcher_was(kind, weighs):
    searcher = make_searcher(kind.__name__.lower(), "nasbench_macro")
    told = searcher.policy()
    assert (told.weighs, told.order, told.affine) == (weighs, "first", False)
    assert (told.learning_rate, told.betas, told.weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    assert told.temperatures == ((10.0, 0.1) if kind is Gdas else (1.0, 1.0))
    assert told.takes_zero is (kind is Gdas)
