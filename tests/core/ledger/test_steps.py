"""How alike cheaper and longer trainings rank children, and which of them are compared."""

from dataclasses import replace

from nasrunner.core import Outcome, Proposal, Source
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.steps import (
    PROMOTES,
    FidelityCost,
    Reach,
    Step,
    about_steps,
    fidelities_of,
    steps_of,
)


def at(index: int, reward: float, width: float | None, promotes: int | None = None) -> Outcome:
    """A child trained at a share of its widths, or whole, in ``index`` + 1 seconds."""
    fidelity = {} if width is None else {"width": width}
    notes = {} if promotes is None else {PROMOTES: promotes}
    genotype = {"0": index if promotes is None else promotes}
    proposal = Proposal(index, genotype, fidelity=fidelity, notes=notes)
    return Outcome(proposal, "completed", reward, cost_s=index + 1.0)


OUTCOMES = [
    at(0, 0.1, 0.25),
    at(1, 0.2, 0.25),
    at(2, 0.3, 0.25),
    at(3, 0.6, 0.5, promotes=1),
    at(4, 0.5, 0.5, promotes=2),
    at(5, 0.9, None, promotes=3),
]


def test_promotions_to_a_higher_fidelity_are_steps() -> None:
    found = steps_of({outcome.proposal.index: outcome for outcome in OUTCOMES})
    assert found == [Step(0.25, 0.5, 2, -1.0, "width"), Step(0.5, None, 1, None, "width")]
    assert about_steps(found) == (
        "Spearman's ρ of rewards at width 0.25 and 0.5 -1.00 (2 children), 0.5 and the whole "
        "cannot be told (1 child)"
    )


def test_what_a_limit_judged_without_a_training_is_compared_with_nothing() -> None:
    judged = [
        at(6, 0.0, 0.25),
        at(7, 0.0, 0.5, promotes=6),
        at(8, 0.0, None, promotes=7),
    ]
    untrained = [replace(each, metrics={"epochs": 0.0}) for each in judged]
    every = {outcome.proposal.index: outcome for outcome in [*OUTCOMES, *untrained]}
    assert steps_of(every) == steps_of(dict(list(every.items())[: len(OUTCOMES)]))
    assert fidelities_of(every.values()) == fidelities_of(OUTCOMES)
    assert [Reach.of(each) for each in untrained] == [None] * 3
    assert Reach.of(judged[0]) == Reach(None, (("width", 0.25),))


def test_children_are_counted_by_their_fidelity_with_what_each_took() -> None:
    assert fidelities_of(OUTCOMES) == [
        FidelityCost({"width": 0.25}, 3, 2.0),
        FidelityCost({"width": 0.5}, 2, 4.5),
        FidelityCost({}, 1, 6.0),
    ]
    assert fidelities_of(OUTCOMES[5:]) == []


def test_the_highest_fidelity_is_compared_where_nothing_was_trained_whole() -> None:
    history = History()
    for outcome in OUTCOMES[:5]:
        history.add(outcome)
    ranking, reach = history.shown()
    assert reach == Reach(None, (("width", 0.5),))
    assert (reach.short, reach.about) == ("at width=0.5", "trained at width=0.5")
    assert [ranked.index for ranked in ranking.best(5)] == [3, 4]
    assert [history.compares(outcome) for outcome in OUTCOMES[:5]] == [False] * 3 + [True] * 2
    history.add(OUTCOMES[5])
    assert history.shown()[1] is None


def test_a_child_is_counted_by_what_became_of_it_at_last() -> None:
    history = History()
    for index in (0, 1, 2):
        history.add(Outcome(Proposal(index, {"0": index}, until=1), "paused", 0.1))
    source = (Source(1, "training"),)
    again = Proposal(3, {"0": 1}, until=2, sources=source)
    history.add(Outcome(again, "paused", 0.2), is_same_child=True)
    assert (history.counts["paused"], history.counts["continued"]) == (3, 1)
    last = Proposal(4, {"0": 1}, sources=(Source(3, "training"),))
    history.add(Outcome(last, "completed", 0.3), is_same_child=True)
    history.add(Outcome(Proposal(5, {"0": 9}, sources=source), "completed", 0.4))  # a copy
    named = ("paused", "completed", "continued", "copies_completed")
    assert [history.counts[name] for name in named] == [2, 1, 3, 1]
    assert history.num_spent == 3


def test_a_copy_is_counted_by_what_became_of_it_at_last() -> None:
    history = History()
    history.add(Outcome(Proposal(0, {"0": 0}, until=1), "paused", 0.1))
    copy = Proposal(1, {"0": 1}, until=2, sources=(Source(0, "training"),))
    history.add(Outcome(copy, "paused", 0.2))
    assert history.counts == {"paused": 1, "continued": 1, "copies_paused": 1}
    last = Proposal(2, {"0": 1}, sources=(Source(1, "training"),))
    history.add(Outcome(last, "completed", 0.3), is_same_child=True)
    assert +history.counts == {"paused": 1, "continued": 2, "copies_completed": 1}
    assert history.num_full == 1
