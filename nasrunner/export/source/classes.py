"""Writes the parts of a network as classes of plain PyTorch code."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from nasrunner.export.source.forward import ForwardWriter
from nasrunner.export.source.layout import INDENT, Call, Expression, Repeated, laid_out
from nasrunner.export.source.parts import CellPaths, ForkedPaths, Layer, Part, Path, Repetition

_CELL = "Every node is the sum of what its edges make of the nodes before it."
_SIZED = ("nn.Conv1d", "nn.Conv2d", "nn.BatchNorm1d", "nn.BatchNorm2d")


@dataclass(frozen=True)
class Written:
    """Something of the network as code that holds it.

    Attributes:
        kind: what an attribute that holds it is called, before it is numbered.
        made: the expression that makes it.
        keys: key of a layer in the network -> its key below the attribute, with a dot before it.
    """

    kind: str
    made: Expression
    keys: dict[str, str]


@dataclass
class ClassWriter:
    """Writes classes; those that would have the same code are one.

    Attributes:
        free: makes a class name that nothing else in the file has.
        classes: the code of every class after its first line -> its name, those used first.
    """

    free: Callable[[str], str]
    classes: dict[str, str] = field(default_factory=dict)

    def network(self, path: Path, name: str, doc: str) -> dict[str, str]:
        """Writes the class of a whole network; returns where it keeps each layer.

        Returns:
            key of a layer in the network -> its key in the class.
        """
        own = _Class(self, path.parts)
        forward = ForwardWriter(own.names, shows_shapes=True)
        result = forward.run(path, "x", "x")
        statements = [*forward.statements, forward.commented(f"return {result}", path.shape)]
        self.classes[own.text(doc, "x", statements)] = name
        return own.keys

    def held(self, part: Part) -> Written:
        """Returns a part that its class holds as an attribute."""
        if isinstance(part, Layer):
            return Written(part.written.kind, part.written.construction, {part.key: ""})
        if isinstance(part, CellPaths):
            return self._cell(part)
        assert isinstance(part, Repetition)
        return self._repetition(part)

    def source(self) -> Iterator[str]:
        """Yields each class's code, those used first."""
        for text, name in self.classes.items():
            yield f"class {name}(nn.Module):\n{text}"

    def _cell(self, cell: CellPaths) -> Written:
        parts = [part for path in cell.edges.values() if path for part in path.parts]
        own = _Class(self, parts)
        depths = {shape[0] for shape in cell.shapes}
        channels = str(*depths) if len(depths) == 1 else None
        is_sized = channels is not None and own.size(channels)
        forward = ForwardWriter(own.names, shows_shapes=False)
        result = forward.run_cell(cell, "node0")
        text = own.text(_CELL, "node0", [*forward.statements, f"return {result}"])
        given = (("", channels),) if channels is not None and is_sized else ()
        keys = {key: f".{below}" for key, below in own.keys.items()}
        return Written("cell", Call(self._named(text, "Cell"), given), keys)

    def _block(self, path: Path) -> Written:
        own = _Class(self, path.parts)
        forward = ForwardWriter(own.names, shows_shapes=False)
        result = forward.run(path, "x", "x")
        text = own.text("", "x", [*forward.statements, f"return {result}"])
        keys = {key: f".{below}" for key, below in own.keys.items()}
        return Written("block", Call(self._named(text, "Block")), keys)

    def _series(self, path: Path) -> Written:
        """Layers in series, each as a layer: also those that a function could replace."""
        layers = [part for part in path.parts if isinstance(part, Layer)]
        made = Call("nn.Sequential", tuple(("", each.written.construction) for each in layers))
        keys = {each.key: f".{i}" for i, each in enumerate(layers) if is_held(each)}
        return Written("block", made, keys)

    def _repetition(self, part: Repetition) -> Written:
        first = part.rounds[0].parts
        if len(first) == 1 and is_held(first[0]):
            rounds = [self.held(path.parts[0]) for path in part.rounds]
        elif all(isinstance(each, Layer) for each in first):
            rounds = [self._series(path) for path in part.rounds]
        else:
            rounds = [self._block(path) for path in part.rounds]
        made = Call("nn.Sequential", (("", Repeated(rounds[0].made, len(rounds))),))
        keys = {
            key: f".{index}{below}"
            for index, each in enumerate(rounds)
            for key, below in each.keys.items()
        }
        return Written(f"{rounds[0].kind}s", made, keys)

    def _named(self, text: str, wanted: str) -> str:
        """The name of the class with this code."""
        if text not in self.classes:
            name, number = self.free(wanted), 2
            while name in self.classes.values():
                name, number = self.free(f"{wanted}{number}"), number + 1
            self.classes[text] = name
        return self.classes[text]


class _Class:
    """What a class holds.

    Attributes:
        names: ``id`` of a part -> the attribute that holds it.
        keys: key of a layer in the network -> its key in the class.
    """

    def __init__(self, writer: ClassWriter, parts: Iterable[Part]) -> None:
        held = [(part, writer.held(part)) for part in _inner(parts) if is_held(part)]
        counts = Counter(written.kind for _, written in held)
        numbers: Counter[str] = Counter()
        self.names: dict[int, str] = {}
        self.keys: dict[str, str] = {}
        self._made: dict[str, Expression] = {}
        self._parameter = ""
        for part, written in held:
            numbers[written.kind] += 1
            number = str(numbers[written.kind]) if counts[written.kind] > 1 else ""
            name = self.names[id(part)] = f"{written.kind}{number}"
            self._made[name] = written.made
            self.keys |= {key: f"{name}{below}" for key, below in written.keys.items()}

    def size(self, channels: str) -> bool:
        """Makes the number of channels an argument; returns whether anything depends on it."""
        before = self._made
        self._made = {name: _sized(made, channels) for name, made in before.items()}
        self._parameter = ", channels: int" if self._made != before else ""
        return bool(self._parameter)

    def text(self, doc: str, variable: str, statements: Iterable[str]) -> str:
        """Returns the class after its first line."""
        lines = [f'{INDENT}"""{doc}"""', ""] if doc else []
        if self._made:
            lines.append(f"{INDENT}def __init__(self{self._parameter}) -> None:")
            lines.append(f"{2 * INDENT}super().__init__()")
            for name, made in self._made.items():
                lines += laid_out(f"self.{name} = ", made, "", 2 * INDENT)
            lines.append("")
        lines.append(f"{INDENT}def forward(self, {variable}: torch.Tensor) -> torch.Tensor:")
        return "\n".join([*lines, *(f"{2 * INDENT}{each}" for each in statements)]) + "\n"


def is_held(part: Part) -> bool:
    """Tells whether the class it runs in keeps it as an attribute."""
    return not (
        isinstance(part, ForkedPaths) or (isinstance(part, Layer) and part.written.function)
    )


def _inner(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts in the order they run, those of forks' paths among them."""
    for part in parts:
        if isinstance(part, ForkedPaths):
            for path in part.paths:
                yield from _inner(path.parts)
        else:
            yield part


def _sized(made: Expression, channels: str) -> Expression:
    """The expression with ``channels`` for a number of channels, in torch's layers."""
    if isinstance(made, Repeated):
        return replace(made, body=_sized(made.body, channels))
    if not isinstance(made, Call):
        return made
    if made.callee not in _SIZED:
        parts = tuple((name, _sized(each, channels)) for name, each in made.arguments)
        return replace(made, arguments=parts) if made.callee == "nn.Sequential" else made
    sizes = {("", channels), ("groups", channels)}
    given = tuple(
        (name, "channels") if (name, v) in sizes else (name, v) for name, v in made.arguments
    )
    return replace(made, arguments=given)
