"""Draws a frozen architecture as an SVG picture, for trackers and reports."""

import dataclasses
from collections.abc import Iterator
from html import escape
from typing import Any

from nasrunner.core.decision import OneOf, is_open, label_of, shown
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space, argument_names
from nasrunner.spaces import activations, basic, images
from nasrunner.spaces.branches import Fork, Residual
from nasrunner.spaces.cell import Graph, edges_of
from nasrunner.spaces.cells.block_graph import NUM_INPUTS, BlockGraph
from nasrunner.spaces.cells.cell_stack import CellStack
from nasrunner.spaces.cells.factorized import FactorizedReduction
from nasrunner.spaces.cells.path_dropout import PathDropout
from nasrunner.spaces.cells.skip_chain import SkipChain
from nasrunner.spaces.composite import Concat, Optional, Or, Repeat, RepeatTied
from nasrunner.spaces.external import External
from nasrunner.spaces.inputs import Input, inputs_in
from nasrunner.spaces.named import Named
from nasrunner.spaces.pictures.graph_picture import GraphPicture
from nasrunner.spaces.pictures.picture import (
    DETAIL_SIZE,
    GAP,
    MARGIN,
    Box,
    Branches,
    Canvas,
    Frame,
    PicturePart,
    Pill,
    Series,
    Skip,
    text_width,
)
from nasrunner.spaces.pictures.recurrent_picture import Cells, cell_parts
from nasrunner.spaces.pictures.skip_picture import SkipColumn
from nasrunner.spaces.share import Share, Shared
from nasrunner.spaces.skip_graph import SkipGraph
from nasrunner.spaces.windows import pools, signals

_FAMILIES: dict[type, str] = {
    basic.Affine: "dense",
    pools.AveragePool: "pool",
    basic.BatchNorm: "norm",
    signals.Conv1d: "conv",
    images.Conv2d: "conv",
    signals.DilatedConv1d: "conv",
    images.DilatedConv2d: "conv",
    basic.Dropout: "dropout",
    FactorizedReduction: "conv",
    pools.GlobalPool: "pool",
    basic.LayerNorm: "norm",
    PathDropout: "dropout",
    pools.MaxPool: "pool",
    signals.SeparableConv1d: "conv",
    images.SeparableConv2d: "conv",
}
_FAMILIES.update(
    (value, "activation")
    for value in vars(activations).values()
    if isinstance(value, type) and issubclass(value, Space) and value is not Space
)
_TORCH_FAMILIES = {
    "activation": "activation",
    "batchnorm": "norm",
    "conv": "conv",
    "dropout": "dropout",
    "linear": "dense",
    "normalization": "norm",
    "pooling": "pool",
}
_COLOURED_FIRST = ("conv", "dense", "pool", "norm", "activation", "dropout")
"""A block under one name has the colour of the first of these that is in it."""
_MOST_LOOSE = 10
"""Parts in series, of which each has a box of its own."""

_MERGE_SIGNS = {"add": "+", "multiply": "×", "concat": "concat"}

_FONT = "font-family=\"'Segoe UI', Inter, Roboto, 'Helvetica Neue', Arial, sans-serif\""


def draw(space: Space) -> str:
    """Returns the architecture as SVG text: boxes from top to bottom, branches side by side.

    A pure function of ``space``. Blocks that are repeated in series are drawn once, in a frame
    marked with how often; what is shared between places is drawn in the first. In a long series
    what has no arguments stands in the box before it. Decisions that are still open show all
    their options.
    """
    settings: tuple[tuple[str, Any], ...] = ()
    title = space.text()
    if isinstance(space, SearchSpace):
        settings, space = space.hyperparameters, space.network
    begin = Pill("inputs" if any(inputs_in(space)) else "input")
    parts = _items(space)
    if len(parts) > _MOST_LOOSE:
        parts = _compact(parts)
    body = Series((begin, *parts, Pill("output")))
    notes = [f"{key} = {_shown(value)}" for key, value in settings]
    side = max([body.left, body.right, *(text_width(note, DETAIL_SIZE) / 2 for note in notes)])
    width = 2 * (side + MARGIN)
    height = body.height + 2 * MARGIN + (GAP + 16 * len(notes) if notes else 0)
    canvas = Canvas()
    body.paint(canvas, width / 2, MARGIN)
    for row, note in enumerate(notes):
        y = MARGIN + body.height + GAP + 16 * row + 8
        canvas.text(width / 2, y, note, DETAIL_SIZE, fill="#444444")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="#FFFFFF"/>\n'
        f'<g {_FONT} text-anchor="middle">\n{canvas.join()}\n</g>\n</svg>\n'
    )


# From the space to its parts.


def _items(space: Space) -> list[PicturePart]:
    """The parts of a module in series; none for an empty one."""
    if isinstance(space, Concat):
        return [part for block in _folded(_flat(space)) for part in _block(*block)]
    if isinstance(space, basic.Empty) or (isinstance(space, Residual) and space.is_empty):
        return []
    if isinstance(space, basic.Dead):
        return _generic(basic.Zero())
    if isinstance(space, Input):
        return [Pill(_shown(space.label))]
    if isinstance(space, Residual):
        return [Skip(Series(_items(space.body)))]
    if isinstance(space, Fork):
        branches = [Series(_items(branch)) for branch in space.branches]
        return [Branches(branches, _MERGE_SIGNS.get(space.merge, _shown(space.merge)))]
    if isinstance(space, Graph):
        return [_graph(space)]
    if isinstance(space, SkipGraph):
        layers = [Series(_compact(_items(layer))) for layer in space.layers]
        return [SkipColumn(layers, space.sources())]
    if isinstance(space, BlockGraph):
        return [_blocks(space)]
    if isinstance(space, CellStack):
        return [_stack(space)]
    if isinstance(space, SkipChain):
        return _chain(space)
    if isinstance(space, Cells):
        return cell_parts(space)
    if isinstance(space, Named):
        return _named(space)
    if isinstance(space, Share):
        return _items(_whole_once(space))
    if isinstance(space, Shared):
        return [Box(space.label, ["as above"], "other")]
    if isinstance(space, Repeat | RepeatTied):  # still open
        return [Frame(Series(_items(space.body)), f"×{_shown(space.times)}")]
    if isinstance(space, Or):
        return [Branches([Series(_items(each)) for each in space.modules], "or")]
    if isinstance(space, Optional):
        return [Branches([Series(_items(space.module)), Series(())], "or")]
    if isinstance(space, External):
        home, _, file = space.module.__module__.rpartition(".")
        family = _TORCH_FAMILIES.get(file, "other") if home == "torch.nn.modules" else "other"
        arguments = [f"{name}={_shown(value)}" for name, value in space.arguments]
        return [Box(space.module.__name__, arguments, family)]
    return _generic(space)


def _whole_once(share: Share) -> Space:
    """The body with the shared module in its first place, and neighbours that are equal to it."""
    if isinstance(share.module, basic.Empty) or share.module.is_zero:
        return share.placed()
    is_found = False

    def placed(value: Any) -> Any:
        nonlocal is_found
        if is_found:
            return value
        if isinstance(value, Shared) and value.label == share.label:
            is_found = True
            return Named(share.label, share.module)
        if isinstance(value, tuple):
            found = [placed(each) for each in value]
            for place in range(1, len(found)):
                if value[place] == value[place - 1]:
                    found[place] = found[place - 1]
            return tuple(found)
        if not isinstance(value, Space):
            return value
        given = {name: getattr(value, name) for name in argument_names(type(value))}
        changed = {name: placed(each) for name, each in given.items()}
        is_same = all(changed[name] is each for name, each in given.items())
        return value if is_same else dataclasses.replace(value, **changed)

    body = placed(share.body)
    assert isinstance(body, Space)
    return body


def _graph(cell: Graph) -> GraphPicture:
    """A cell without the edges that carry nothing."""
    edges = zip(edges_of(cell.num_nodes), cell.edges, strict=True)
    return GraphPicture(
        cell.num_nodes,
        {ends: Series(_items(edge)) for ends, edge in edges if not edge.is_zero},
    )


def _blocks(cell: BlockGraph) -> GraphPicture:
    """A cell of blocks, whose values are nodes, and last what is stacked of them."""
    edges: dict[tuple[int, int], Series] = {}
    for number, pair, sources, how in cell.blocks():
        shown = [Series(_items(operation)) for operation in pair]
        if sources[0] == sources[1]:
            edges[sources[0], number] = Series([Branches(shown, _MERGE_SIGNS[how])])
        else:
            edges |= {(source, number): part for source, part in zip(sources, shown, strict=True)}
    last = len(cell.inputs) + NUM_INPUTS
    edges |= {(number, last): Series(()) for number in cell.outputs}
    return GraphPicture(last + 1, edges, last="concat")


def _stack(stack: CellStack) -> Frame:
    """Each kind of cell once, in a frame with what the stack is made of."""
    kinds = {"normal": stack.normal, "reduction": stack.reduction}
    frames = [
        Frame(Series(_items(cell)), name, is_left=True)
        for name, cell in kinds.items()
        if not isinstance(cell, basic.Empty)
    ]
    given = ((name, getattr(stack, name)) for name in ("filters", "times", "stages"))
    label = ", ".join([stack.name(), *(f"{name}={_shown(value)}" for name, value in given)])
    return Frame(Series(frames), label, is_left=True)


def _chain(chain: SkipChain) -> list[PicturePart]:
    """Layers one after another, each in a frame with its number and what is added to it."""
    found: list[PicturePart] = []
    for number, (layer, sources, pool) in enumerate(
        zip(chain.layers, chain.inputs, chain.pools, strict=True), start=1
    ):
        added = [Box("add", [", ".join(map(str, sources))], "other")] if sources else []
        inside = Series([*_compact(_items(layer)), *added])
        found += [Frame(inside, str(number), is_left=True), *_compact(_items(pool))]
    return found


def _compact(parts: list[PicturePart]) -> list[PicturePart]:
    """The parts with each box that has no arguments put into the box before it."""
    compact: list[PicturePart] = []
    for part in parts:
        before = compact[-1] if compact else None
        if isinstance(before, Box) and isinstance(part, Box) and not part.details:
            title = f"{before.title} → {part.title}"
            compact[-1] = Box(title, before.details, before.family)
        else:
            compact.append(part)
    return compact


def _named(space: Named) -> list[PicturePart]:
    """One box under the name, or a frame where there is more than a series of boxes in it."""
    parts = _items(space.module)
    if not all(isinstance(part, Box) for part in parts):
        return [Frame(Series(parts), space.label, is_left=True)]
    families = [part.family for part in parts if isinstance(part, Box)]
    family = next((each for each in _COLOURED_FIRST if each in families), "other")
    titles = " → ".join(part.title for part in parts if isinstance(part, Box))
    return [Box(space.label, [titles], family)] if parts else []


def _generic(space: Space) -> list[PicturePart]:
    """Any other module: a box with its arguments, or a frame around its submodules."""
    arguments, inside = [], []
    defaults = {f.name: f.default for f in dataclasses.fields(space)}
    for name in argument_names(type(space)):
        value = getattr(space, name)
        modules = value if isinstance(value, tuple) else (value,)
        if modules and all(isinstance(module, Space) for module in modules):
            inside += [part for module in modules for part in _items(module)]
        elif is_open(value) or value != defaults[name]:
            arguments.append(f"{name}={_shown(value)}")
    if inside:
        return [Frame(Series(inside), ", ".join([space.name(), *arguments]), is_left=True)]
    family = next((_FAMILIES[c] for c in type(space).__mro__ if c in _FAMILIES), "other")
    return [Box(space.name(), arguments, family)]


_Block = tuple[tuple[Space, ...], int]
"""Modules in series, and how often they stand one after another."""


def _flat(concat: Concat) -> Iterator[_Block]:
    """The modules of nested series, equal neighbours counted."""
    position, modules = 0, concat.modules
    while position < len(modules):
        module, count = modules[position], 1
        while position + count < len(modules) and modules[position + count] == module:
            count += 1
        position += count
        if isinstance(module, Concat) and count == 1:
            yield from _flat(module)
        elif not isinstance(module, basic.Empty):
            yield (module,), count


def _folded(blocks: Iterator[_Block]) -> list[_Block]:
    """Merges runs of equal sequences that follow each other: A B A B is (A B) twice."""
    given = list(blocks)
    folded: list[_Block] = []
    position = 0
    while position < len(given):
        period, count = _longest_run(given, position)
        if count > 1:
            inside = tuple(
                m for modules, times in given[position : position + period] for m in modules * times
            )
            folded.append((inside, count))
        else:
            folded.append(given[position])
        position += period * count
    return folded


def _longest_run(given: list[_Block], start: int) -> tuple[int, int]:
    """(period, count) of the repetition at ``start`` that covers most; (1, 1) for none."""
    best = (1, 1)
    for period in range(2, (len(given) - start) // 2 + 1):
        first, count = given[start : start + period], 1
        while given[start + count * period : start + (count + 1) * period] == first:
            count += 1
        if count > 1 and count * period > best[0] * best[1]:
            best = (period, count)
    return best


def _block(modules: tuple[Space, ...], count: int) -> list[PicturePart]:
    """A block drawn once; framed where that is shorter than drawing each repetition."""
    parts = _items(Concat(modules)) if len(modules) > 1 else _items(modules[0])
    if count == 1 or not parts:
        return parts
    if len(parts) == 1 and count == 2:
        return parts * 2
    return [Frame(Series(parts), f"×{count}")]


def _shown(value: object) -> str:
    if isinstance(value, OneOf):
        options = ", ".join(map(_shown, value.options))
        return value.label if len(value.options) > 8 else f"{{{options}}}"
    return "×".join(map(_shown, value)) if isinstance(value, tuple) else shown(label_of(value))
