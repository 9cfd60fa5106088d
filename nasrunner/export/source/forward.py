"""Writes the statements of a forward pass."""

from collections.abc import Iterable, Mapping, Sequence

from nasrunner.core.space import Shape
from nasrunner.export.source.layout import INDENT, WIDTH
from nasrunner.export.source.parts import CellPaths, ForkedPaths, Layer, Part, Path, steps_of

_VARIABLES = "xyzuvw"
"""The signal, what goes through a residual block, what goes through one in there, …"""

_ROOM = WIDTH - len(2 * INDENT)


class ForwardWriter:
    """Writes what a class's forward pass does.

    Args:
        attributes: ``id`` of a part that the class holds -> the attribute that holds it.
        shows_shapes: whether comments tell the shape of an example where it changes.

    Attributes:
        statements: what was written so far.
    """

    def __init__(self, attributes: Mapping[int, str], *, shows_shapes: bool) -> None:
        self._attributes = attributes
        self._shows_shapes = shows_shapes
        self._shape: Shape | None = None
        self.statements: list[str] = []

    def run(self, path: Path, source: str, into: str) -> str:
        """Statements that send a variable down a path.

        Args:
            path: the parts to run.
            source: the variable that goes in; it is not changed, unless ``into`` is the same.
            into: the variable that statements assign to.

        Returns:
            the expression of the result.
        """
        value, shape = source, path.shape
        for step in steps_of(path.parts):
            if "self." in value:  # one line for each step
                value = self._assign(value, into, shape)
            for part in step:
                if isinstance(part, ForkedPaths):
                    value = self._variable(value, into, source, shape)
                    value = self._merged(part, value, into)
                else:
                    value = self._applied(part, value, into, shape)
                shape = part.shape
        return value

    def run_cell(self, cell: CellPaths, source: str) -> str:
        """Returns a statement for each node of a cell but the last; returns the expression of
        that.
        """
        nodes = [source]
        for target in range(1, len(cell.shapes)):
            into, shape = f"node{target}", cell.shapes[target]
            edges = [(node, cell.edges[i, target]) for i, node in enumerate(nodes)]
            paths = [(node, path) for node, path in edges if path is not None]
            names = [f"edge{i}{target}" for i, (_, path) in enumerate(edges) if path is not None]
            if paths:
                value = self._sum(paths, names, [shape] * len(paths), into, "add")
                is_done = value in nodes or target == len(cell.shapes) - 1
                nodes.append(value if is_done else self._assign(value, into, shape))
            else:
                zeros = f"torch.zeros_like({source})"
                nodes.append(_padded(zeros, cell.shapes[0], shape, "add"))
        return nodes[-1]

    def _applied(self, part: Part, value: str, into: str, shape: Shape) -> str:
        form = "{x}"
        if isinstance(part, Layer) and part.written.function is not None:
            form = part.written.function
        elif id(part) in self._attributes:
            form = f"self.{self._attributes[id(part)]}({{x}})"
        if len(f"{into} = {form.format(x=value)}") > _ROOM and "(" in value:
            value = self._assign(value, into, shape)
        return form.format(x=value)

    def _merged(self, fork: ForkedPaths, source: str, into: str) -> str:
        """Statements that run the paths of a fork, and the variable of their merger."""
        is_residual = fork.merge == "add" and len(fork.paths) == 2 and not fork.paths[0].parts
        names = [f"{into}_{number}" for number in range(1, len(fork.paths) + 1)]
        if is_residual:
            names[1] = _next(into)
        depths = [
            path.shape[0] if fork.merge == "concat" else fork.padded[0] for path in fork.paths
        ]
        shapes = [(depth, *fork.padded[1:]) for depth in depths]
        paths = [(source, path) for path in fork.paths]
        value = self._sum(paths, names, shapes, into, fork.merge)
        return self._assign(value, into, fork.shape)

    def _sum(
        self,
        paths: Sequence[tuple[str, Path]],
        names: Sequence[str],
        shapes: Sequence[Shape],
        into: str,
        merge: str,
    ) -> str:
        """The paths' merged outputs: on one line if there is room, and else a line for each.

        Args:
            paths: the variable that goes into each of them, and the path.
            names: the variable of each one's output, where it has a line of its own.
            shapes: what each output is padded to.
            into: the variable that is assigned to next.
            merge: how they are merged.
        """
        before = len(self.statements)
        shape_before = self._shape
        terms = [
            _padded(self.run(path, source, name), path.shape, shape, merge)
            for (source, path), name, shape in zip(paths, names, shapes, strict=True)
        ]
        value = _joined(terms, merge)
        if len(self.statements) == before and len(f"{into} = {value}") <= _ROOM:
            return value
        del self.statements[before:]  # or what is on the line would run after them
        self._shape = shape_before
        terms = []
        for (source, path), name, shape in zip(paths, names, shapes, strict=True):
            term = self.run(path, source, name)
            if path.parts:
                term = self._assign(term, name, path.shape)
            terms.append(_padded(term, path.shape, shape, merge))
        return _joined(terms, merge)

    def _variable(self, value: str, into: str, source: str, shape: Shape) -> str:
        return value if value in (source, into) else self._assign(value, into, shape)

    def _assign(self, value: str, into: str, shape: Shape) -> str:
        if value != into:
            self.statements.append(self.commented(f"{into} = {value}", shape))
        return into

    def commented(self, statement: str, shape: Shape) -> str:
        """Returns the statement, and the shape of an example after it where it is another than
        before.
        """
        comment = f"  # {'×'.join(map(str, shape))}"
        has_room = len(statement + comment) <= _ROOM
        if not self._shows_shapes or shape == self._shape or not has_room:
            return statement
        self._shape = shape
        return statement + comment


def _joined(terms: Iterable[str], merge: str) -> str:
    if merge == "concat":
        return f"torch.cat([{', '.join(terms)}], dim=1)"
    return (" + " if merge == "add" else " * ").join(terms)


def _padded(value: str, shape: Shape, wanted: Shape, merge: str) -> str:
    """The value with zeros (ones for ``multiply``) at the end of each dimension, up to a shape."""
    if shape == wanted:
        return value
    pads = [p for n, m in zip(reversed(shape), reversed(wanted), strict=True) for p in (0, m - n)]
    while not any(pads[-2:]):
        del pads[-2:]
    ones = ", value=1.0" if merge == "multiply" else ""
    return f"F.pad({value}, ({', '.join(map(str, pads))}){ones})"


def _next(variable: str) -> str:
    """The variable of the residual block inside what ``variable`` stands for."""
    place = _VARIABLES.find(variable[0]) + 1
    return _VARIABLES[place] if 0 < place < len(_VARIABLES) else f"{variable}_1"
