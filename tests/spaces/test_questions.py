"""Walks ask what resolving asks, from a program that is made once."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Decision, Space, SpaceError
from nasrunner.core.decision import Address, Choose
from nasrunner.core.questions import Question
from nasrunner.core.space import enter
from nasrunner.core.space import space as module_of_space
from nasrunner.spaces.basic import Affine, Empty
from nasrunner.spaces.composite import Concat, Or
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, load_space
from tests.spaces.strategies import Config, modules


def asked(space: Space, genotype: dict[str, int]) -> list[Decision]:
    """What resolving asks, with nothing kept of a walk."""
    found = []

    def ask(decision: Decision) -> int:
        found.append(decision)
        return genotype[decision.path]

    with patch.object(module_of_space, "_FEW", 0):
        space.resolve(ask, enter(space))
    return found


def walked(space: Space, seed: int) -> tuple[list[Decision], dict[str, int]]:
    found = []

    def choose(decision: Decision) -> int:
        found.append(decision)
        return (seed + 7 * len(found)) % len(decision.options)

    return found, space.walk(choose)


@settings(deadline=None)
@given(modules, st.integers(0, 1000))
def test_a_walk_asks_what_resolving_asks_in_the_same_order(config: Config, seed: int) -> None:
    space = parse_space(config)
    for again in range(2):
        decisions, genotype = walked(space, seed + again)
        assert decisions == asked(space, genotype)


@one_in(3, 1, "name", sorted({*SPACES} - {"nasrl_conv_schedule"}))
def test_it_does_on_every_shipped_space(name: str) -> None:
    space = load_space(name)
    for seed in range(3):
        decisions, genotype = walked(space, seed)
        assert decisions == asked(space, genotype)


def test_what_is_asked_again_is_the_same_object_and_the_fixed_parts_are_made_once() -> None:
    space = load_space("nasbench201")
    (first, one), (second, other) = walked(space, 0), walked(space, 0)
    assert all(a is b for a, b in zip(first, second, strict=True))
    fixed = [space.freeze(each).network.body for each in (one, other)]
    assert fixed[0] is fixed[1]


@settings(deadline=None)
@given(modules, st.integers(0, 1000))
def test_a_part_that_is_kept_is_the_one_that_would_be_made(config: Config, seed: int) -> None:
    space = parse_space(config)
    genotypes = [walked(space, seed + again)[1] for again in range(3)]
    kept = [space.freeze(genotype) for genotype in (*genotypes, *genotypes)]
    with patch.object(module_of_space, "_FEW", 0):
        made = [parse_space(config).freeze(genotype) for genotype in (*genotypes, *genotypes)]
    assert [repr(each) for each in kept] == [repr(each) for each in made]


def test_a_part_of_few_architectures_is_made_once_for_each_at_each_place() -> None:
    space = load_space("mlp")
    genotypes = [walked(space, seed)[1] for seed in range(100)]
    bodies = {
        id(body): body
        for genotype in (*genotypes, *genotypes)
        for body in space.freeze(genotype).network.modules[2].modules
    }
    assert len(bodies) == len({(each.path, each.text()) for each in bodies.values()}) > 40


def test_a_space_is_as_small_on_its_way_to_a_worker_after_walks_as_before() -> None:
    space = load_space("small_cnn")
    walked(space, 0)
    before = len(pickle.dumps(space))
    for seed in range(20):
        walked(space, seed)
    sent = pickle.dumps(space)
    assert len(sent) == before
    assert walked(pickle.loads(sent), 3) == walked(space, 3)


@dataclass(frozen=True)
class Twice(Or):
    """A user's own: it asks the decision of ``or`` twice, and uses the second answer."""

    def resolve(self, ask: Choose, at: Address) -> Space:
        super().resolve(ask, at / "first")
        return super().resolve(ask, at / "second")

    def size(self) -> int:
        return super().size() ** 2


def test_a_module_that_overrides_resolve_alone_is_asked_by_it() -> None:
    space = Concat((Twice((Empty(), Affine(3))), Or((Empty(), Affine(4)))))
    genotype = space.walk(lambda decision: 1)
    assert list(genotype) == ["0/twice/first", "0/twice/second", "1/or"]
    assert space.freeze(genotype).text() == "affine(units=3) → affine(units=4)"


@dataclass(frozen=True)
class Unlisting(Space):
    """A user's own that does not list what it asks."""

    def resolve(self, ask: Choose, at: Address) -> Space:
        ask(Decision((at / "hidden").path, (at / "hidden").kind, (1, 2), is_ordered=True))
        return Empty(path=at.path)

    def make(self, in_shape):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_a_decision_that_is_not_listed_is_refused() -> None:
    space = Concat((Unlisting(), Empty()))
    with pytest.raises(
        SpaceError, match=r"'unlisting' asks '0/unlisting/hidden', which its method"
    ):
        space.freeze({})


@dataclass(frozen=True)
class Forgetful(Or):
    """A user's own whose questions are not all that it asks."""

    def questions(self, at: Address) -> Iterator[Question]:
        yield from ()


def test_a_module_that_asks_more_than_its_questions_is_refused() -> None:
    space = Concat((Forgetful((Empty(), Affine(3))), Or((Empty(), Affine(4)))))
    with pytest.raises(SpaceError, match=r"'forgetful' asks '0/forgetful', which .* questions"):
        space.freeze({"0/forgetful": 1, "1/or": 1})
