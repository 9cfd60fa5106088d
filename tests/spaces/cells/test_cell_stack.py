"""Stacks of cells: where the images are halved, what is built, and what training adds."""

from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.children.blueprint import measure
from nasrunner.children.networks import SpaceNetworks
from nasrunner.children.supernets.relaxed.report import mixture_size
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import SpaceError
from nasrunner.core.space import living, narrowed
from nasrunner.core.training_step import stepping
from nasrunner.spaces.cells.path_dropout import DropsPaths
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.language.writing import written
from nasrunner.spaces.pictures.drawing import draw as picture
from tests.spaces.enumeration import draw

OPERATION = {
    "or": [
        "empty",
        {"concat": ["relu", {"conv2d": {"filters": "same", "kernel_size": 3}}]},
        {"max_pool": {"kernel_size": 3, "stride": 1, "padding": "same"}},
    ]
}
CELL = {"block_cell": {"blocks": 2, "operation": OPERATION}}
TOWER = {"concat": ["global_pool", {"affine": {"units": 5}}]}
IMAGE = (3, 16, 16)


def stack(normal: Any = None, end: Any = (), **arguments: Any) -> Any:
    given = {"normal": normal or CELL, "filters": 4, "times": 1, **arguments}
    return parse_space({"concat": [{"cell_stack": given}, *end]})


def graph(inputs: Any, **arguments: Any) -> Any:
    """A cell of one block."""
    operations = ["empty", {"conv2d": {"filters": "same", "kernel_size": 1}}]
    return {
        "block_graph": {"operations": operations, "inputs": inputs, "outputs": [2], **arguments}
    }


def shapes_of(space: Any) -> list[tuple[int, ...]]:
    """Filters, rows and columns of what goes out of each cell."""
    network, _ = space.freeze({}).network.build(IMAGE)
    found: list[tuple[int, ...]] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda *args: found.append(tuple(args[2].shape[1:])))
    network(torch.randn(2, *IMAGE))
    return found


BOTH = graph([[0, 1]])


def test_reductions_between_stages_halve_images_and_double_filters() -> None:
    wide, middle, small = (4, 16, 16), (8, 8, 8), (16, 4, 4)
    assert shapes_of(stack(BOTH, times=2)) == [wide] * 2 + [middle] * 3 + [small] * 3
    counted = stack(BOTH, times=2, reduction_counts=True)
    assert shapes_of(counted) == [wide] * 2 + [middle] * 2 + [small] * 2
    assert shapes_of(stack(BOTH, stages=1, times=3)) == [wide] * 3
    assert shapes_of(stack(BOTH, times=1, reduction_counts=True)) == [wide, middle, small]


def test_a_stem_has_so_many_times_the_filters() -> None:
    network, _ = stack(BOTH, stem=3).freeze({}).build(IMAGE)
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert (first.in_channels, first.out_channels, first.kernel_size) == (3, 12, (3, 3))
    network, _ = stack(BOTH, stem=0).freeze({}).build(IMAGE)
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert (first.in_channels, first.out_channels, first.kernel_size) == (3, 4, (1, 1))


def test_without_a_reduction_cell_of_its_own_it_is_the_normal_one() -> None:
    assert stack().size() == parse_space(CELL).size()
    assert stack(reduction=CELL).size() == parse_space(CELL).size() ** 2
    paths = list(draw(stack(reduction=CELL), 0))
    assert paths[0] == "0/cell_stack/normal/block_cell/2/left/from"
    assert paths[-1].startswith("0/cell_stack/reduction/block_cell/3/right/")


def test_depth_and_width_may_be_searched_with_the_cell() -> None:
    space = stack(times={"oneof": [1, 2]}, filters={"oneof": [4, 8]})
    assert space.size() == 4 * parse_space(CELL).size()


@pytest.mark.parametrize(
    ("inputs", "numbers"),
    [
        ([[0, 1]], [0, 1, 2, 3, 4]),
        ([[1, 1]], [0, 1, 2, 3, 4]),
        ([[0, 0]], [0, 2, 4]),  # the others go nowhere
    ],
)
def test_what_the_output_does_not_need_is_not_built(inputs: Any, numbers: list[int]) -> None:
    network, _ = stack(graph(inputs)).freeze({}).network.build(IMAGE)
    assert [cell.number for cell in network.cells] == numbers
    network(torch.randn(2, *IMAGE)).sum().backward()
    assert all(each.grad is not None for each in network.parameters())


def test_a_value_before_a_reduction_is_halved_for_the_cell_behind_it() -> None:
    network, _ = stack(BOTH).freeze({}).network.build(IMAGE)
    halving = [
        (cell.number, name)
        for cell in network.cells
        for name, module in cell.named_modules()
        if type(module).__name__ == "TwoHalves"
    ]
    # cells 1 and 3 reduce, with the identity on an input; 2 and 4 stand behind them
    assert [number for number, _ in halving] == [1, 2, 3, 4]
    assert [name.split(".")[0] for _, name in halving] == ["cell", "of_before"] * 2


def test_paths_are_dropped_behind_operations_but_identities() -> None:
    network, _ = stack(BOTH, path_dropout=0.2).freeze({}).network.build(IMAGE)
    found = [
        sum(isinstance(module, DropsPaths) for module in cell.modules()) for cell in network.cells
    ]
    assert found == [1, 2, 1, 2, 1]  # what halves is no identity
    assert {m.p for m in network.modules() if isinstance(m, DropsPaths)} == {0.2}
    by_depth, _ = (
        stack(BOTH, path_dropout=0.5, path_dropout_by_depth=True).freeze({}).network.build(IMAGE)
    )
    shares = {m.p for m in by_depth.modules() if isinstance(m, DropsPaths)}
    assert sorted(shares) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def towered(**arguments: Any) -> Any:
    return stack(BOTH, [*TOWER["concat"]], auxiliary=TOWER, auxiliary_weight=0.4, **arguments)


def test_the_auxiliary_tower_adds_its_output_in_training_alone() -> None:
    network, shape = towered().freeze({}).build(IMAGE)
    x = torch.randn(2, *IMAGE)
    with stepping(0.0) as step:
        network.eval()(x)
        assert step.outputs == []
        assert network.train()(x).shape == (2, *shape)
        ((output, weight),) = step.outputs
    assert (output.shape, weight) == ((2, 5), 0.4)
    network(x)  # that no step is made of


def test_the_auxiliary_tower_stands_behind_the_last_reduction() -> None:
    for inputs in ([[0, 1]], [[0, 0]]):
        space = stack(graph(inputs), auxiliary=TOWER, auxiliary_weight=1.0, times=2)
        network, _ = space.freeze({}).network.build(IMAGE)
        (affine,) = (m for m in network.tower.modules() if isinstance(m, nn.Linear))
        assert network.tower_after == 5
        assert affine.in_features == 16
        with stepping(0.0) as step:
            network(torch.randn(2, *IMAGE))
            assert len(step.outputs) == 1


def test_the_auxiliary_tower_is_no_part_of_the_size() -> None:
    plain = stack(BOTH, [*TOWER["concat"]]).freeze({})
    assert measure(towered().freeze({}), IMAGE, 5) == measure(plain, IMAGE, 5)
    network, _ = plain.build(IMAGE)
    assert measure(plain, IMAGE, 5).parameters == sum(p.numel() for p in network.parameters())


def test_a_narrower_stack_has_all_outputs() -> None:
    space = towered(filters=8)
    narrow = narrowed(space.freeze({}).network, 0.5)
    assert narrow.modules[0].filters == 4
    assert narrow.build(IMAGE)[1] == (5,)
    assert narrow.modules[0].auxiliary == space.network.modules[0].auxiliary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"normal": "relu"},
            "normal of cell_stack must be a cell of two inputs, legal: block_cell",
        ),
        ({"reduction": "relu"}, "reduction of cell_stack must be a cell of two inputs"),
        ({"auxiliary_weight": 0.4}, "auxiliary_weight=0.4 needs auxiliary, the module that it"),
        (
            {"auxiliary_weight": 0.4, "auxiliary": TOWER, "stages": 1},
            "auxiliary stands behind the last reduction cell, and stages=1 has none",
        ),
    ],
)
def test_a_stack_that_is_none_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        stack(**{"normal": BOTH, **arguments}).freeze({}).build(IMAGE)


def test_what_was_found_is_written_and_rebuilt_deeper_and_wider() -> None:
    space = stack(reduction=CELL, end=[*TOWER["concat"]], auxiliary=TOWER)
    chosen = space.freeze(draw(space, 3))
    found = written(chosen, num_outputs=5)
    given = found["concat"][0]["cell_stack"]
    assert found["concat"][-1] == {"affine": {"units": "${data.num_outputs}"}}
    assert given["auxiliary"]["concat"][-1] == {"affine": {"units": "${data.num_outputs}"}}
    given.update(
        times=2, filters=6, auxiliary={"concat": ["global_pool", {"affine": {"units": 7}}]}
    )
    found["concat"][-1] = {"affine": {"units": 7}}
    rebuilt = parse_space(found).freeze({})
    assert len(rebuilt.network.modules[0].cells) > len(chosen.network.modules[0].cells)
    assert rebuilt.build((1, 28, 28))[1] == (7,)


def test_equal_cells_in_other_words_are_one_network() -> None:
    space = stack()
    networks = SpaceNetworks(space, IMAGE, "float32", identifies=True)
    genotype = draw(space, 0)
    swapped = {
        path.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right"): index
        for path, index in genotype.items()
    }
    assert swapped != genotype
    assert networks.identity(swapped) == networks.identity(genotype)
    assert networks.identity(draw(space, 1)) != networks.identity(genotype)
    drops = stack(path_dropout={"oneof": [0.1, 0.2]})
    networks = SpaceNetworks(drops, IMAGE, "float32", identifies=True)
    (path,) = (path for path in draw(drops, 0) if path.endswith("path_dropout"))
    both = [{**draw(drops, 0), path: index} for index in (0, 1)]
    assert len({networks.identity(each) for each in both}) == 2


def test_shallow_and_deep_networks_share_the_weights_of_their_first_cells() -> None:
    space = stack(BOTH, stages=1, times={"oneof": [1, 2]})
    shared = SharedWeights(space, IMAGE)
    deep, shallow = ({"0/cell_stack/times": index} for index in (1, 0))
    values = shared.values(deep)
    changes = shared.num_changes
    for name, value in shared.values(shallow).items():
        assert torch.equal(value, values[name])
    assert shared.num_changes == changes


def test_a_mixture_of_cells_of_other_sizes_is_refused_by_their_decision() -> None:
    of_edges = {"inputs": "distinct", "output": "all", "blocks": {"oneof": [1, 2]}}
    cell = {"block_cell": {**CELL["block_cell"], **of_edges}}
    refused = mixture_size(stack(cell), IMAGE, "slices").refused
    assert refused is not None
    assert "'0/cell_stack/normal/block_cell/blocks' cannot be kept open: normal of" in refused


def test_a_picture_shows_the_cells_once() -> None:
    space = stack(reduction=CELL, times=2)
    svg = picture(space.freeze(draw(space, 0)))
    assert "cell_stack" in svg
    assert svg.count(">normal<") == svg.count(">reduction<") == 1


def test_a_stack_that_leads_nowhere_is_dead() -> None:
    dead = {"block_graph": {"operations": ["zero", "zero"], "inputs": [[0, 1]], "outputs": [2]}}
    assert living(stack(dead).freeze({})).text() == "zero"
    frozen = stack(BOTH, reduction=dead).freeze({})
    assert living(frozen) is frozen, "paths lead past the reduction cell"


def test_a_cell_has_the_same_weights_whatever_of_the_others_is_not_built() -> None:
    operation = {"conv2d": {"filters": "same", "kernel_size": 3}}
    space = stack({"block_cell": {"blocks": 1, "operation": operation}})
    paths = list(draw(space, 0))
    shared = SharedWeights(space, IMAGE)
    every, second = (dict(zip(paths, answers, strict=True)) for answers in ((0, 1), (0, 0)))
    shared.network(every)
    changes = shared.num_changes
    shared.network(second)
    # Of the second network cells 0, 2 and 4 are built. Their left convolutions are there already.
    new = list(shared.weights)[changes:]
    places = {key.partition("~")[2].partition(":conv2d")[0] for key in new}
    assert all("/right/0/" in key for key in new)
    assert places == {"0:0", "1:0", "2:0"}
