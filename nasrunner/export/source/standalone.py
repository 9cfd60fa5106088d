"""Writes one Python file that holds a network as plain PyTorch code."""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nasrunner.core.space import Shape
from nasrunner.export.errors import ExportError
from nasrunner.export.source.classes import ClassWriter
from nasrunner.export.source.construction import Constructions
from nasrunner.export.source.included import Sources
from nasrunner.export.source.layers import LayerWriter
from nasrunner.export.source.parts import parts_of
from nasrunner.export.streamed import Streamed


@dataclass(frozen=True)
class InputNormalization:
    """What the inputs of a network were normalized with.

    Attributes:
        mean: of each channel or feature.
        std: the same.
        features: what they are called, of a table: a number that is missing, NaN, is 0 once it is
            normalized. Of other data there are none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    features: tuple[str, ...] = ()

    @property
    def too_close(self) -> tuple[str, ...]:
        """Features whose values differ by less than float32 resolves."""
        each = zip(self.features, self.mean, self.std, strict=bool(self.features))
        return tuple(name for name, mean, std in each if abs(mean) * 1e-7 > 1e-4 * std)


@dataclass(frozen=True)
class StandAlone:
    """A network as plain PyTorch code.

    Attributes:
        source: of the file.
        keys: key of a layer in the network -> its key in the file's ``Network``. Layers that
            cannot reach the output are not among them.
    """

    source: str
    keys: dict[str, str]

    def name_of(self, key: str) -> str | None:
        """Returns what the file calls a parameter or buffer of the network; None: it has it not."""
        words = key.split(".")
        for length in range(len(words), -1, -1):
            layer = self.keys.get(".".join(words[:length]))
            if layer is not None:
                return ".".join([layer, *words[length:]])
        return None

    def state(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """Returns the network's parameters and buffers under their names in the file."""
        named = ((self.name_of(key), value) for key, value in network.state_dict().items())
        return {name: value.detach().clone() for name, value in named if name is not None}

    def load(self, state: dict[str, torch.Tensor], *, is_streamed: bool = False) -> nn.Module:
        """Runs the file and returns its ``Network`` with these weights, or that in ``Streamed``.

        Raises:
            ExportError: the file does not run, or holds another state.
        """
        module = types.ModuleType("network")
        try:
            exec(compile(self.source, "network.py", "exec"), vars(module))
            network: nn.Module = module.Network()
            network.load_state_dict(state)
        except Exception as error:  # a user's code raises what it likes
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ExportError(f"the network cannot be written as plain code: {reason}") from error
        return module.Streamed(network) if is_streamed else network


def write(
    network: nn.Module,
    calls: Constructions,
    in_shape: Shape,
    *,
    title: Sequence[str],
    normalization: InputNormalization | None,
    is_streamed: bool = False,
) -> StandAlone:
    """Writes a network as plain PyTorch code.

    Args:
        network: the built network.
        calls: what its layers were constructed with.
        in_shape: shape of one example.
        title: lines for the top of the file: where the network comes from.
        normalization: of its inputs; None where it is not known, or there is none.
        is_streamed: whether the file has ``Streamed``, too, through which state goes in and out.

    Raises:
        ExportError: a layer, or the source of a class, cannot be written so that it stands alone.
    """
    sources = Sources()
    if is_streamed:
        sources.include(Streamed)
    was_training = network.training
    path = parts_of(network.eval(), in_shape, LayerWriter(calls, sources.include))
    network.train(was_training)
    classes = ClassWriter(sources.free)
    shapes = f"(B, {_sizes(in_shape)}) to (B, {_sizes(path.shape)}); B = batch."
    keys = classes.network(path, "Network", shapes)
    code = list(classes.source())
    blocks = [*sources.blocks, *code, *_functions(normalization)]
    uses = "\n".join(blocks)
    tops = [_header(title), *_imports(sources, uses), _constants(normalization), sources.comments]
    head = "\n\n".join("\n".join(top) for top in map(list, tops) if top)
    return StandAlone("\n\n\n".join([head, *(block.rstrip() for block in blocks)]) + "\n", keys)


def _header(title: Sequence[str]) -> Iterator[str]:
    first, *others = [line.replace("\\", "\\\\").replace('"""', "'''") for line in title]
    yield f'"""{first}'
    yield from others
    yield '"""'


def _imports(sources: Sources, uses: str) -> Iterator[list[str]]:
    """Groups of import statements in the order that import sorters want."""
    statements = {"import torch": None, "from torch import nn": None}
    if "F." in uses:
        statements["import torch.nn.functional as F"] = None
    statements |= sources.imports
    future = [each for each in statements if "__future__" in each]
    torchs = [each for each in statements if each.split()[1].partition(".")[0] == "torch"]
    others = [each for each in statements if each not in (*future, *torchs)]
    for group in (future, others, torchs):
        yield sorted(_joined(group), key=lambda each: (each.startswith("from"), each))


def _joined(statements: Sequence[str]) -> Iterator[str]:
    """The imports with those of several names from one module in one statement."""
    by_place: dict[str, list[str]] = {}
    for statement in statements:
        place, is_from, name = statement.partition(" import ")
        if is_from:
            by_place.setdefault(place, []).append(name)
        else:
            yield statement
    for place, names in by_place.items():
        # As sorters want them: constants, classes, functions.
        ordered = sorted(names, key=lambda each: (not each.isupper(), each[0].islower(), each))
        yield f"{place} import {', '.join(ordered)}"


def _constants(normalization: InputNormalization | None) -> Iterator[str]:
    if normalization is not None:
        for name, values in (("MEAN", normalization.mean), ("STD", normalization.std)):
            yield f"{name} = [{', '.join(f'{value:.9g}' for value in values)}]"


def _functions(normalization: InputNormalization | None) -> Iterator[str]:
    if normalization is not None:
        yield _NORMALIZE_TABLE if normalization.features else _NORMALIZE
    yield _LOAD


_NORMALIZE = '''def normalize(x: torch.Tensor) -> torch.Tensor:
    """What the network was trained on: each channel or feature less MEAN, divided by STD."""
    shape = (-1, *[1] * (x.dim() - 2))
    return (x - x.new_tensor(MEAN).view(shape)) / x.new_tensor(STD).view(shape)
'''

_NORMALIZE_TABLE = '''def normalize(x: torch.Tensor) -> torch.Tensor:
    """What the network was trained on: features less MEAN, divided by STD, 0 where they are NaN."""
    return ((x - x.new_tensor(MEAN)) / x.new_tensor(STD)).nan_to_num(0.0)
'''

_LOAD = '''def load(path: str) -> Network:
    """The trained network in evaluation mode; call its train() to train it further."""
    from safetensors.torch import load_file  # the network itself needs torch alone

    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()
'''


def _sizes(shape: Shape) -> str:
    return ", ".join(map(str, shape))
