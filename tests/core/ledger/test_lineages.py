from nasrunner.core import Proposal, Source
from nasrunner.core.ledger.lineages import LineagePlace, Lineages


def training(index: int, source: int | None, lr: int = 0) -> Proposal:
    sources = () if source is None else (Source(source, "training"),)
    return Proposal(index, {"lr": lr}, sources=sources)


def lineages(*proposals: Proposal) -> Lineages:
    made = Lineages()
    for proposal in proposals:
        made.add(proposal)
    return made


def test_what_goes_on_with_a_training_is_of_its_line() -> None:
    found = lineages(*(training(i, s) for i, s in ((0, None), (1, None), (2, 0), (3, 2))))
    assert found.line(0) == [0, 2, 3]
    assert found.line(1) == [1]
    assert found.place_of(3) == LineagePlace(first=0, place=2, root=0)


def test_a_second_one_that_goes_on_begins_a_line_of_the_same_root() -> None:
    found = lineages(*(training(i, s) for i, s in ((0, None), (1, 0), (2, 0), (3, 2))))
    assert (found.line(0), found.line(2)) == ([0, 1], [2, 3])
    assert found.place_of(3) == LineagePlace(first=2, place=1, root=0)


def test_a_copy_with_other_hyperparameters_leaves_the_line_to_who_keeps_them() -> None:
    found = lineages(training(0, None), training(1, 0, lr=1), training(2, 0), training(3, 1, lr=1))
    assert (found.line(0), found.line(1)) == ([0, 2], [1, 3])
    assert found.place_of(1) == LineagePlace(first=1, place=0, root=0)


def test_who_borrows_weights_is_a_root() -> None:
    heir = Proposal(1, {"lr": 0}, sources=(Source(0, "weights"),))
    assert lineages(training(0, None), heir).place_of(1) == LineagePlace(first=1, place=0, root=1)
