"""Writes layers as code: what constructs one, and what applies it to a tensor."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nasrunner.export.errors import ExportError
from nasrunner.export.source.construction import Arguments, Constructions
from nasrunner.export.source.layout import Call, Expression, Listing
from nasrunner.spaces.basic import Zeros

_FUNCTIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "F.relu",
    nn.ELU: "F.elu",
    nn.GELU: "F.gelu",
    nn.LeakyReLU: "F.leaky_relu",
    nn.SELU: "F.selu",
    nn.SiLU: "F.silu",
    nn.Sigmoid: "torch.sigmoid",
    nn.Tanh: "torch.tanh",
    nn.MaxPool1d: "F.max_pool1d",
    nn.MaxPool2d: "F.max_pool2d",
    nn.AvgPool1d: "F.avg_pool1d",
    nn.AvgPool2d: "F.avg_pool2d",
    nn.AdaptiveAvgPool1d: "F.adaptive_avg_pool1d",
    nn.AdaptiveAvgPool2d: "F.adaptive_avg_pool2d",
    nn.AdaptiveMaxPool1d: "F.adaptive_max_pool1d",
    nn.AdaptiveMaxPool2d: "F.adaptive_max_pool2d",
    nn.ConstantPad1d: "F.pad",
    nn.ConstantPad2d: "F.pad",
    Zeros: "torch.zeros_like",  # it multiplies by 0.0, which is the same for finite numbers
}
"""Layers without state, and the functions that do the same with the same arguments."""

_KINDS = {
    nn.Conv1d: "conv",
    nn.Conv2d: "conv",
    nn.BatchNorm1d: "norm",
    nn.BatchNorm2d: "norm",
    nn.LayerNorm: "norm",
}
"""What layers are called; all others have the name of their class in snake case."""

_ALWAYS_SHOWN = ("p",)
"""Arguments that a reader wants to see, also where they have torch's default."""

_PAIRS = ("kernel_size", "stride", "padding", "dilation")


@dataclass(frozen=True)
class WrittenLayer:
    """A layer as code.

    Attributes:
        construction: the expression that makes it.
        function: applied to a tensor it does the same without a layer: a format with ``{x}``;
            None where the layer has state, or behaves differently in training.
        kind: what the attribute that holds it is called, before it is numbered.
        begins: whether a new step of the network begins with it; an activation, for example,
            belongs to what comes before it.
    """

    construction: Expression
    function: str | None
    kind: str
    begins: bool


class LayerWriter:
    """Writes layers of one network as code.

    Args:
        calls: what the layers were constructed with.
        include: puts the source of a class that is not torch's into the file, and returns the
            class's name there.
    """

    def __init__(self, calls: Constructions, include: Callable[[type], str]) -> None:
        self._calls = calls
        self._include = include

    def write(self, layer: nn.Module) -> WrittenLayer:
        """Returns one layer as code.

        Raises:
            ExportError: its class, or an argument of it, cannot be written.
        """
        if type(layer) is Zeros:
            zeros = "torch.zeros_like({x})"
            if layer.shape is not None:
                zeros = f"{{x}}.new_zeros({{x}}.shape[0], {', '.join(map(str, layer.shape))})"
            return WrittenLayer("", zeros, "zero", False)
        construction = self.construction(layer)
        is_torch = _is_torch(type(layer))
        return WrittenLayer(
            construction,
            _function(layer, construction) if is_torch else None,
            _KINDS.get(type(layer)) or _snake(type(layer).__name__),
            not is_torch or isinstance(layer, nn.modules.conv._ConvNd | nn.Linear),
        )

    def construction(self, layer: nn.Module) -> Call:
        """Returns the expression that makes a layer anew."""
        layer_class = type(layer)
        if layer_class is nn.Sequential:
            parts = tuple(("", self.construction(each)) for each in layer)  # type: ignore[attr-defined]
            return Call("nn.Sequential", parts)
        call = self._calls.of(layer)
        where = f"{layer_class.__module__}.{layer_class.__qualname__}"
        given = _torch_arguments(call) if _is_torch(layer_class) else _own_arguments(call)
        name = _torch_name(layer_class) or self._include(layer_class)
        return Call(name, tuple((key, self._literal(value, where)) for key, value in given))

    def _literal(self, value: Any, where: str) -> Expression:
        """A constructor's argument as code."""
        if isinstance(value, nn.Module):
            return self.construction(value)
        if isinstance(value, list):
            return Listing(tuple(self._literal(item, where) for item in value))
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if value is None or isinstance(value, bool | int | float | str | torch.dtype):
            return repr(value).replace("'", '"') if "'" not in str(value) else repr(value)
        if isinstance(value, tuple | dict):
            return self._collection(value, where)
        if (name := _torch_name(value)) is not None:
            return name
        raise ExportError(
            f"{where} cannot be written as code: one of its arguments is {value!r}; legal are "
            "numbers, texts, lists, dictionaries, layers and what torch has a name for"
        )

    def _collection(self, value: Any, where: str) -> Expression:
        if isinstance(value, dict):
            pairs = (
                f"{self._literal(key, where)}: {self._literal(item, where)}"
                for key, item in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
        made = Listing(tuple(self._literal(item, where) for item in value), is_tuple=True)
        # A flat one, such as a size, stays on its line.
        return made if any(isinstance(item, tuple) for item in value) else str(made)


def _torch_arguments(call: Arguments) -> list[tuple[str, Any]]:
    """Arguments as people write them for torch: sizes first, and nothing that is the default."""
    given: list[tuple[str, Any]] = []
    arguments = dict(call.arguments)
    if arguments.get("stride") == arguments.get("kernel_size") and "stride" in arguments:
        default = call.signature.parameters["stride"].default
        if default is None:  # of pooling: the kernel's size
            arguments["stride"] = None
    for position, (name, parameter) in enumerate(call.signature.parameters.items()):
        if name not in arguments:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            return _own_arguments(call)
        value = arguments[name]
        if name in _PAIRS and isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        is_default = type(value) is type(parameter.default) and value == parameter.default
        if is_default and name not in _ALWAYS_SHOWN:
            continue
        is_plain = position == 0 or (position == 1 and parameter.default is parameter.empty)
        is_plain = is_plain and parameter.kind is not parameter.KEYWORD_ONLY
        given.append(("" if is_plain else name, value))
    return given


def _own_arguments(call: Arguments) -> list[tuple[str, Any]]:
    """The arguments of any other class: by name where that is possible."""
    parameters = call.signature.parameters
    has_star = any(
        parameters[name].kind is inspect.Parameter.VAR_POSITIONAL for name in call.arguments
    )
    by_position = ("", *call.args) if has_star else ()
    given: list[tuple[str, Any]] = [("", value) for value in by_position[1:]]
    for name, value in call.arguments.items():
        kind = parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given += value.items()
        elif kind is inspect.Parameter.POSITIONAL_ONLY and not has_star:
            given.append(("", value))
        elif kind is inspect.Parameter.KEYWORD_ONLY or (
            kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and not has_star
        ):
            given.append((name, value))
    return given


def _function(layer: nn.Module, construction: Call) -> str | None:
    """The format of the function that does what a layer does, if there is one."""
    if type(layer) is nn.Flatten:
        return None if construction.arguments else "{x}.flatten(1)"
    function = _FUNCTIONS.get(type(layer))
    if function is None or any(name == "inplace" for name, _ in construction.arguments):
        return None
    if isinstance(layer, nn.GELU) and construction.arguments:
        return None  # the function takes it by name only
    given = [f"{name}={value}" if name else str(value) for name, value in construction.arguments]
    if isinstance(layer, nn.ConstantPad1d | nn.ConstantPad2d):
        given = [given[0], *([] if layer.value == 0 else [f'value=float("{layer.value}")'])]
    return f"{function}({', '.join(['{x}', *given])})"


def _is_torch(layer_class: type) -> bool:
    return layer_class.__module__.partition(".")[0] == "torch"


def _torch_name(value: Any) -> str | None:
    """How a file that has ``torch`` and ``nn`` calls one of torch's classes or functions."""
    name = getattr(value, "__name__", None)
    if name is None:
        return None
    if getattr(nn, name, None) is value:
        return f"nn.{name}"
    if getattr(nn.functional, name, None) is value:
        return f"F.{name}"
    if getattr(torch, name, None) is value:
        return f"torch.{name}"
    return None


def _snake(name: str) -> str:
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parts.strip("_").lower()
