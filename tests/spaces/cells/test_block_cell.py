"""Cells of blocks: what they ask, what they compute, and how they are written."""

from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.core import SpaceError
from nasrunner.core.space import living
from nasrunner.spaces import BlockGraph, Conv2d, Empty, Relu, Tanh, Zero
from nasrunner.spaces.basic import Dead
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.language.writing import written
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_cell import scale


def cell(blocks: Any = 2, operation: Any = None, **arguments: Any) -> Any:
    operation = operation or scale({"oneof": [1, 2, 3]})
    return parse_space({"block_cell": {"blocks": blocks, "operation": operation, **arguments}})


def frozen(space: Any, *answers: int) -> Any:
    rest = iter(answers)
    found = space.freeze(space.walk(lambda decision: next(rest))).network
    assert next(rest, None) is None
    return found


def test_each_side_asks_what_it_takes_and_then_its_operation() -> None:
    genotype = cell().walk(lambda decision: len(decision.options) - 1)
    assert cell().values(genotype) == {
        "block_cell/2/left/from": 1,
        "block_cell/2/left/1/Scale/factor": 3,
        "block_cell/2/right/from": 1,
        "block_cell/2/right/1/Scale/factor": 3,
        "block_cell/3/left/from": 2,
        "block_cell/3/left/2/Scale/factor": 3,
        "block_cell/3/right/from": 2,
        "block_cell/3/right/2/Scale/factor": 3,
    }


def test_of_distinct_inputs_a_pair_is_chosen() -> None:
    space = cell(inputs="distinct")
    genotype = space.walk(lambda decision: len(decision.options) - 1)
    assert space.values(genotype) == {
        "block_cell/2/0/Scale/factor": 3,  # block 2 has no choice
        "block_cell/2/1/Scale/factor": 3,
        "block_cell/3/from": "1,2",
        "block_cell/3/1/Scale/factor": 3,
        "block_cell/3/2/Scale/factor": 3,
    }


def test_zero_is_no_option_of_distinct_inputs() -> None:
    operation = {"or": ["relu", "zero", {"named": {"label": "none", "module": "zero"}}, "tanh"]}
    assert cell(1, operation, inputs="distinct").size() == 2 * 2
    assert cell(1, operation).size() == (2 * 4) ** 2
    options = set(cell(1, operation, inputs="distinct").signature().values())
    assert options == {("relu", "tanh")}
    with pytest.raises(SpaceError, match="operation of block_cell must have an option that is not"):
        cell(1, {"or": ["zero"]}, inputs="distinct")


@pytest.mark.parametrize("inputs", ["any", "distinct"])
def test_the_number_of_blocks_may_be_a_decision(inputs: str) -> None:
    space = cell({"oneof": [1, 2]}, {"or": ["relu", "tanh"]}, inputs=inputs)
    of_one = 16 if inputs == "any" else 4
    of_two = of_one * (36 if inputs == "any" else 3 * 4)
    genotypes = list(enumerate_genotypes(space))
    assert len(genotypes) == space.size() == of_one + of_two


def test_how_two_are_combined_may_be_a_decision_of_each_block() -> None:
    space = cell(combine={"oneof": ["add", "concat"]})
    paths = [path for path in draw(space, 0) if path.endswith("combine")]
    assert paths == ["block_cell/2/combine", "block_cell/3/combine"]


def test_a_block_adds_what_it_makes_of_two_values() -> None:
    #   2 = 3·x0 + 2·x1, 3 = 1·(2) + 3·x1
    network, shape = frozen(cell(), 0, 2, 1, 1, 2, 0, 1, 2).pair_build((1,), (1,))
    before, last = torch.tensor([[10.0]]), torch.tensor([[1.0]])
    assert network(before, last).tolist() == [[32.0, 32.0 + 3.0]]
    assert shape == (2,)


def test_loose_ends_are_what_no_block_takes() -> None:
    taken = 0, 0, 0, 0, 2, 0, 0, 0  # block 2 takes 0 twice, 3 takes 2 and 0
    assert frozen(cell(output="loose_ends"), *taken).outputs == (1, 3)
    assert frozen(cell(output="all"), *taken).outputs == (2, 3)


def test_concatenated_blocks_are_brought_back_to_the_depth_of_the_cell() -> None:
    graph = BlockGraph(
        (Empty(), Empty(), Empty(), Empty()), ((0, 1), (2, 0)), (3,), ("concat",) * 2
    )
    network, shape = graph.build((3, 4, 4))
    assert shape == (3, 4, 4)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(6, 3), (6, 3)]
    assert network(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)


def test_smaller_results_are_padded_with_zeros() -> None:
    graph = BlockGraph((Conv2d(2, 1), Empty()), ((0, 1),), (2,))
    assert graph.build((3, 4, 4))[1] == (3, 4, 4)


def test_a_value_that_goes_out_of_a_cell_with_a_stride_is_halved() -> None:
    graph = BlockGraph((Empty(), Empty()), ((1, 1),), (0, 2)).halving()
    network, shape = graph.build((4, 6, 6))
    assert shape == (8, 3, 3)
    assert network(torch.randn(2, 4, 6, 6)).shape == (2, *shape)


def test_a_text_says_what_each_block_does() -> None:
    graph = BlockGraph(
        (Relu(), Empty(), Tanh(), Relu()), ((0, 1), (2, 0)), (2, 3), ("add", "concat")
    )
    assert graph.text() == "block_cell(2: relu(0) + empty(1); 3: tanh(2) | relu(0) → 2,3)"


@pytest.mark.parametrize("arguments", [{}, {"inputs": "distinct"}, {"combine": "concat"}])
def test_what_was_chosen_is_written_and_read_again(arguments: dict[str, Any]) -> None:
    operation = {"or": ["empty", {"conv2d": {"filters": "same", "kernel_size": 3}}]}
    space = cell(3, operation, output="loose_ends", **arguments)
    for seed in range(5):
        chosen = space.freeze(draw(space, seed))
        again = parse_space(written(chosen))
        assert again.network == chosen.network
        assert again.text() == chosen.text()


def test_what_is_dead_is_shown_as_zeros() -> None:
    graph = BlockGraph(
        (Zero(), Zero(), Relu(), Tanh(), Tanh(), Relu()), ((0, 1), (2, 2), (2, 1)), (3, 4)
    )
    shown = living(graph)
    assert isinstance(shown, BlockGraph)
    # 3 is made of zeros alone, but adds what layers with a bias would make of them
    assert [part.text() for part in shown.operations] == ["zero"] * 4 + ["tanh", "relu"]
    assert living(graph, keeps_constants=True) is graph
    assert isinstance(living(BlockGraph((Zero(), Zero()), ((0, 1),), (2,))), Dead)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), (2,)), "operations of block_graph must be two for each block"),
        (((Relu(),), ((0, 1),), (2,)), "two for each block, and 1 blocks have 1"),
        (((Relu(),) * 2, ((0, 2),), (2,)), "block 2 of block_graph may take only values before it"),
        (
            ((Relu(),) * 2, ((0, 1),), (3,)),
            "outputs of block_graph must be some of its values, 0 t",
        ),
        (((Relu(),) * 2, ((0, 1),), ()), r"in increasing order, got \[\]"),
        (((Relu(),) * 4, ((0, 1), (0, 1)), (3,)), "block 2 of block_graph goes nowhere"),
        (((Relu(),) * 2, ((0, 1),), (2,), ("add",) * 2), "combine of block_graph must be one for"),
    ],
)
def test_a_graph_that_is_none_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        BlockGraph(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, "blocks must be int >= 1, got 0"),
        ({"inputs": "both"}, r"inputs must be one of any, distinct, got 'both'"),
        (
            {"inputs": {"oneof": ["any", "distinct"]}},
            "inputs of block_cell must be any or distinct",
        ),
        ({"output": "none"}, "output must be one of all, loose_ends, got 'none'"),
    ],
)
def test_an_impossible_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        cell(**arguments)


def test_an_open_cell_cannot_be_built() -> None:
    with pytest.raises(SpaceError, match="its blocks have to be chosen: freeze it first"):
        cell().network.build((1,))
