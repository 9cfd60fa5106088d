import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Genotype, Space
from nasrunner.core.order import Place, key_of, rollout, rollouts, untaken
from nasrunner.spaces.basic import Affine, Empty
from nasrunner.spaces.composite import Concat, Or
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, load_space
from tests.spaces.enumeration import enumerate_genotypes
from tests.spaces.strategies import Config, modules
from tests.spaces.test_questions import Twice

REPEAT = {"repeat": {"times": {"oneof": [0, 1, 2]}, "body": {"optional": "relu"}}}


def listed(space: Space, most: int = 300) -> list[Genotype]:
    place: Place | None = Place.of(space, {})
    found: list[Genotype] = []
    while place is not None and len(found) < most:
        found.append(place.genotype)
        place = place.after()
    return found


@one_in(3, 1, "name", SPACES)
@pytest.mark.parametrize("num_before", [0, 1])  # numbers of 32 bits are drawn two at a time
def test_rollouts_draw_what_so_many_single_ones_draw(name: str, num_before: int) -> None:
    space = load_space(name)
    single, together = np.random.default_rng(7), np.random.default_rng(7)
    for rng in (single, together):
        rng.integers(9, size=num_before)
    expected = [rollout(space, single) for _ in range(5)]
    drawn = rollouts(space, together, 5)
    assert list(map(key_of, drawn)) == list(map(key_of, expected))
    assert [list(each) for each in drawn] == [list(each) for each in expected]
    assert together.bit_generator.state == single.bit_generator.state
    assert together.random() == single.random()


@settings(deadline=None)
@given(modules)
def test_places_follow_each_other_in_lexicographic_order(config: Config) -> None:
    space = parse_space(config)
    expected = list(itertools.islice(enumerate_genotypes(space), 300))
    found = listed(space)
    assert found == expected
    assert [list(each) for each in found] == [list(each) for each in expected]


def test_they_do_through_a_users_module_that_is_asked_by_being_resolved() -> None:
    space = Concat((Twice((Empty(), Affine(3))), Or((Empty(), Affine(4)))))
    answers = [tuple(genotype.values()) for genotype in listed(space)]
    assert answers == list(itertools.product((0, 1), repeat=3))


def test_the_place_of_an_architecture_is_where_the_others_are_left_off() -> None:
    space = load_space("figure1")
    every = listed(space)
    for before, genotype in itertools.pairwise(every):
        following = Place.of(space, before).after()
        assert following is not None
        assert following.genotype == genotype
    assert Place.of(space, every[-1]).after() is None


def test_what_a_schedule_answers_is_in_a_place_and_never_raised() -> None:
    text = {"affine": {"units": {"schedule": {"start": 1, "step": 1, "end": 3, "every": 2}}}}
    space = parse_space({"concat": [text, {"or": ["relu", "tanh"]}]}).at_proposal(2)
    assert [tuple(genotype.values()) for genotype in listed(space)] == [(1, 0), (1, 1)]


def test_the_next_that_is_not_taken_is_found_from_the_last_back_to_the_first() -> None:
    space = parse_space(REPEAT)
    every = listed(space)
    assert len(every) == 7
    for free in range(7):
        taken = {key_of(genotype) for genotype in every if genotype != every[free]}
        drawn = [untaken(space, taken, np.random.default_rng(seed)) for seed in range(8)]
        assert drawn == [every[free]] * 8
    for first_free in range(7):
        free = {first_free, (first_free + 3) % 7}
        taken = {key_of(each) for number, each in enumerate(every) if number not in free}
        for seed in range(8):
            start = every.index(rollout(space, np.random.default_rng(seed)))
            expected = next(n % 7 for n in range(start, start + 7) if n % 7 in free)
            assert untaken(space, taken, np.random.default_rng(seed)) == every[expected]


@given(st.integers(0, 2**32 - 1))
def test_an_architecture_that_is_free_is_taken_as_drawn(seed: int) -> None:
    space = load_space("mlp")
    drawn = untaken(space, set(), np.random.default_rng(seed))
    assert drawn == rollout(space, np.random.default_rng(seed))
