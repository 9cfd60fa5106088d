"""What every space must satisfy, shown on random ones."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nasrunner.core import Decision, Space, SpaceError
from nasrunner.core.space import argument_names
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.strategies import IN_SHAPE, Config, modules

seeds = st.integers(0, 2**32 - 1)


def num_modules(module: Space) -> int:
    parts = (getattr(module, name) for name in argument_names(type(module)))
    lists = (part if isinstance(part, tuple) else (part,) for part in parts)
    return 1 + sum(num_modules(each) for one in lists for each in one if isinstance(each, Space))


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@relaxed
@given(modules)
def test_the_size_is_the_number_of_distinct_genotypes(config: Config) -> None:
    space = parse_space(config)
    assume(space.size() <= 300)
    genotypes = [tuple(sorted(genotype.items())) for genotype in enumerate_genotypes(space)]
    assert len(genotypes) == space.size()
    assert len(set(genotypes)) == space.size()


@relaxed
@given(modules, seeds)
def test_freezing_a_walk_leaves_no_decision_and_gives_back_its_answers(
    config: Config, seed: int
) -> None:
    space = parse_space(config)
    genotype = draw(space, seed)
    frozen = space.freeze(genotype)
    assert frozen.size() == 1
    assert num_modules(frozen.network) <= space.network.most_modules()
    assert frozen.walk(lambda decision: pytest.fail(f"{decision} is open")) == {}
    assert space.walk(lambda decision: genotype[decision.path]) == genotype
    values = space.values(genotype)
    assert list(values) == list(genotype)


@relaxed
@given(modules, seeds)
def test_the_network_returns_the_threaded_shape_on_the_cpu_and_on_meta(
    config: Config, seed: int
) -> None:
    space = parse_space(config)
    frozen = space.freeze(draw(space, seed))
    with torch.device("meta"):
        meta, meta_shape = frozen.build(IN_SHAPE)
        assert meta(torch.empty(2, *IN_SHAPE)).shape == (2, *meta_shape)
    network, shape = frozen.build(IN_SHAPE)
    assert shape == meta_shape
    assert network.eval()(torch.randn(2, *IN_SHAPE)).shape == (2, *shape)
    counts = [sum(p.numel() for p in each.parameters()) for each in (network, meta)]
    assert counts[0] == counts[1]


@relaxed
@given(modules, seeds)
def test_the_signature_covers_every_kind_a_walk_asks_with_its_options(
    config: Config, seed: int
) -> None:
    space = parse_space(config)
    signature = space.signature()
    asked: list[Decision] = []
    drawn = draw(space, seed)

    def choose(decision: Decision) -> int:
        asked.append(decision)
        return drawn[decision.path]

    space.walk(choose)
    assert len({decision.path for decision in asked}) == len(asked)
    for decision in asked:
        assert signature[decision.kind] == decision.options


@relaxed
@given(modules)
def test_every_kind_of_the_signature_is_asked_by_some_walk(config: Config) -> None:
    space = parse_space(config)
    assume(space.size() <= 100)
    asked: set[str] = set()

    for genotype in enumerate_genotypes(space):

        def choose(decision: Decision, genotype: dict[str, int] = genotype) -> int:
            asked.add(decision.kind)
            return genotype[decision.path]

        space.walk(choose)
    assert asked == set(space.signature())


@relaxed
@given(modules, seeds)
def test_a_genotype_with_a_missing_unknown_or_impossible_answer_is_refused_by_path(
    config: Config, seed: int
) -> None:
    space = parse_space(config)
    genotype = draw(space, seed)
    with pytest.raises(SpaceError, match="answers 'nowhere', which is no active decision"):
        space.freeze({**genotype, "nowhere": 0})
    for path in genotype:
        rest = {name: index for name, index in genotype.items() if name != path}
        with pytest.raises(SpaceError, match=f"the genotype does not answer '{path}'"):
            space.freeze(rest)
        for index in (-1, 1000):
            with pytest.raises(SpaceError, match=rf"'{path}' has \d+ options, got index {index}"):
                space.freeze({**genotype, path: index})


@relaxed
@given(modules, st.integers(1000, 2000))
def test_a_walk_refuses_an_answer_that_is_no_option(config: Config, index: int) -> None:
    space = parse_space(config)
    assume(space.signature())
    if space.walk(lambda decision: 0):
        with pytest.raises(SpaceError, match=rf"has \d+ options, got index {index}"):
            space.walk(lambda decision: index)
