"""The parts of a built network, in the order they run: layers, and where paths part and meet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nasrunner.core.shapes import TokenShape
from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError
from nasrunner.export.source.layers import LayerWriter, WrittenLayer
from nasrunner.spaces.basic import Zeros
from nasrunner.spaces.branches import Merge
from nasrunner.spaces.cell import CellNetwork, edges_of


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        key: where its weights stand in the network's state: ``2.branches.0.weight`` without the
            last word.
        written: the layer as code.
        shape: of one example of its output.
    """

    key: str
    written: WrittenLayer
    shape: Shape

    @property
    def identity(self) -> object:
        """Equal for parts whose code is the same."""
        return str(self.written.construction), self.written.kind, self.shape


@dataclass(frozen=True)
class Path:
    """Parts in series.

    Attributes:
        parts: what the signal goes through; none where it is passed on as it is.
        shape: of one example of the output.
    """

    parts: tuple["Part", ...]
    shape: Shape

    @property
    def identity(self) -> object:
        """Equal for paths whose code is the same."""
        return tuple(part.identity for part in self.parts), self.shape


@dataclass(frozen=True)
class ForkedPaths:
    """Paths from one input whose outputs are merged, padded to the same size.

    Attributes:
        merge: ``add``, ``multiply`` or ``concat``.
        padded: the shape that each output is padded to; its depth does not count in ``concat``.
        shape: of one example of the output.
    """

    paths: tuple[Path, ...]
    merge: str
    padded: Shape
    shape: Shape

    @property
    def identity(self) -> object:
        """Equal for parts whose code is the same."""
        return tuple(path.identity for path in self.paths), self.merge, self.padded


@dataclass(frozen=True)
class CellPaths:
    """A graph in which every node is the sum of what its edges make of the nodes before it.

    Attributes:
        edges: (source, target) -> the path between them; None where it carries only zeros, or
            where its target reaches no output.
        shapes: of one example in every node, node 0 first.
    """

    edges: dict[tuple[int, int], Path | None]
    shapes: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """Of one example of the output: the last node."""
        return self.shapes[-1]

    @property
    def identity(self) -> object:
        """Equal for parts whose code is the same."""
        edges = tuple((ends, path and path.identity) for ends, path in self.edges.items())
        return edges, self.shapes


@dataclass(frozen=True)
class Repetition:
    """The same parts several times, each time with weights of its own."""

    rounds: tuple[Path, ...]

    @property
    def shape(self) -> Shape:
        """Of one example of the output."""
        return self.rounds[0].shape

    @property
    def identity(self) -> object:
        """Equal for parts whose code is the same."""
        return len(self.rounds), self.rounds[0].identity


Part = Layer | ForkedPaths | CellPaths | Repetition

_PADDING = "constant_pad2d"
"""The kind of the layer that pads what the next one takes."""

_MIN_ROUNDS = 3
"""Parts that stand there so often, or more often, are written once."""


def parts_of(network: nn.Module, in_shape: Shape, writer: LayerWriter) -> Path:
    """Returns the parts of a network.

    Args:
        network: in evaluation mode; its layers are run on zeros to find their outputs' shapes.
        in_shape: of one example.
        writer: writes each layer as code.

    Raises:
        ExportError: a layer cannot be written as code.
    """
    return _Reader(writer).path(network, "", in_shape)


class _Reader:
    def __init__(self, writer: LayerWriter) -> None:
        self.writer = writer
        self._seen: dict[nn.Module, str] = {}

    def path(self, module: nn.Module, key: str, shape: Shape) -> Path:
        parts = list(self._series(module, key, shape))
        return Path(_compressed(parts), parts[-1].shape if parts else shape)

    def _series(self, module: nn.Module, key: str, shape: Shape) -> Iterator[Part]:
        if type(module) is nn.Sequential:
            for name, child in module.named_modules(remove_duplicate=False):
                if not name or "." in name:  # the network itself, or below a child
                    continue
                for part in self._series(child, _joined(key, name), shape):
                    yield part
                    shape = part.shape
        elif type(module) is Merge:
            yield self._fork(module, key, shape)
        elif type(module) is CellNetwork:
            yield self._cell(module, key, shape)
        elif type(module) is not nn.Identity:
            self._check_is_new(module, key)
            with torch.no_grad():
                out_shape = tuple(module(_zeros(shape)).shape[1:])
            yield Layer(key, self.writer.write(module), out_shape)

    def _check_is_new(self, module: nn.Module, key: str) -> None:
        """Refuses a layer in two places: two layers would be written, which part in training."""
        if module in self._seen and any(True for _ in module.parameters()):
            raise ExportError(
                f"{type(module).__name__} cannot be written as code: the network has the very "
                f"same layer as {self._seen[module]} and as {key}"
            )
        self._seen[module] = key

    def _fork(self, module: Merge, key: str, shape: Shape) -> ForkedPaths:
        paths = tuple(
            self.path(branch, _joined(key, f"branches.{index}"), shape)
            for index, branch in enumerate(module.branches)
        )
        depth = module.shape[0]
        if module.merge == "concat":
            depth = sum(path.shape[0] for path in paths)
        return ForkedPaths(paths, module.merge, module.shape, (depth, *module.shape[1:]))

    def _cell(self, module: CellNetwork, key: str, shape: Shape) -> CellPaths:
        shapes = [shape, *module.shapes]
        edges: dict[tuple[int, int], Path | None] = {}
        for index, (ends, edge) in enumerate(zip(edges_of(len(shapes)), module.edges, strict=True)):
            is_zero = type(edge) is Zeros
            place = _joined(key, f"edges.{index}")
            edges[ends] = None if is_zero else self.path(edge, place, shapes[ends[0]])
        return CellPaths(_alive(edges), tuple(shapes))


def _alive(edges: dict[tuple[int, int], Path | None]) -> dict[tuple[int, int], Path | None]:
    """The edges of a cell without those that only lead to nodes from which nothing goes on."""
    last = max(target for _, target in edges)
    alive = {last}
    for node in reversed(range(last)):
        ends = (target for source, target in edges if source == node and edges[source, target])
        if alive.intersection(ends):
            alive.add(node)
    return {ends: path if ends[1] in alive else None for ends, path in edges.items()}


def _compressed(parts: list[Part]) -> tuple[Part, ...]:
    """Puts neighbouring repetitions of the same steps together."""
    steps = list(steps_of(parts))
    found: list[Part] = []
    while steps:
        period, count = _repetition(steps)
        if count >= _MIN_ROUNDS:
            length = len(steps[period - 1])
            last = steps[period * count - 1]
            steps[period * count - 1], tail = last[:length], last[length:]
            rounds = [
                tuple(part for step in steps[start : start + period] for part in step)
                for start in range(0, period * count, period)
            ]
            found += [Repetition(tuple(Path(each, each[-1].shape) for each in rounds)), *tail]
        else:
            period, count = 1, 1
            found += steps[0]
        del steps[: period * count]
    return tuple(found)


def _repetition(steps: list[list[Part]]) -> tuple[int, int]:
    """Length and number of the repetitions that steps begin with and that cover most of them.

    The last repetition may go on, such as with the pooling at the end of a network.
    """
    names = [[part.identity for part in step] for step in steps]
    best = (1, 1)
    for period in range(1, len(names) // _MIN_ROUNDS + 1):
        count = 1
        *starts, end = names[:period]
        while (found := names[count * period : (count + 1) * period])[:-1] == starts and found:
            if found[-1][: len(end)] != end:
                break
            count += 1
            if found[-1] != end:
                break
        if count >= _MIN_ROUNDS and period * count > best[0] * best[1]:
            best = (period, count)
    return best


def steps_of(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts in steps: a layer with weights, and what is done to its output."""
    step: list[Part] = []
    for index, part in enumerate(parts):
        is_padding = isinstance(part, Layer) and part.written.kind == _PADDING
        follows_padding = (
            index > 0
            and isinstance(before := parts[index - 1], Layer)
            and (before.written.kind == _PADDING)
        )
        begins = not isinstance(part, Layer) or part.written.begins or is_padding
        if step and begins and not follows_padding:
            yield step
            step = []
        step.append(part)
    if step:
        yield step


def _zeros(shape: Shape) -> torch.Tensor:
    return torch.zeros(2, *shape, dtype=torch.int64 if type(shape) is TokenShape else None)


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
