"""Builds a network and remembers what each of its layers was constructed with."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from nasrunner.core.shapes import InShape
from nasrunner.core.space import Space
from nasrunner.export.errors import ExportError

Arguments = inspect.BoundArguments
"""The arguments of one constructor call, by name; ``self`` is not among them."""


class Constructions:
    """What the layers of a network were constructed with."""

    def __init__(self) -> None:
        self._calls: WeakKeyDictionary[nn.Module, Arguments] = WeakKeyDictionary()

    def remember(self, module: nn.Module, call: Arguments) -> None:
        """Keeps one call; the first one of a module counts."""
        self._calls.setdefault(module, call)

    def change(self, module: nn.Module, name: str, value: Any) -> None:
        """Keeps a call as if it had been made with this argument, where it could have been."""
        call = self._calls.get(module)
        if call is not None and name in call.signature.parameters:
            call.arguments[name] = value

    def of(self, module: nn.Module) -> Arguments:
        """Returns the arguments of a module's constructor.

        Raises:
            ExportError: it was not made by calling its class (but copied, for example).
        """
        if module not in self._calls:
            raise ExportError(
                f"{type(module).__module__}.{type(module).__qualname__} cannot be written as "
                "code: the network does not construct it by calling its class"
            )
        return self._calls[module]


def build(frozen: Space, in_shape: InShape) -> tuple[nn.Module, Constructions]:
    """Builds a frozen space twice: once to learn which classes it uses, once to watch them.

    Raises:
        SpaceError: the network is impossible.
    """
    with torch.device("meta"):
        plan, _ = frozen.build(in_shape)
    calls = Constructions()
    with ExitStack() as stack:
        for layer_class in dict.fromkeys(type(module) for module in plan.modules()):
            stack.enter_context(_watched(layer_class, calls))
        network, _ = frozen.build(in_shape)
    return network, calls


def build_layer(layer_class: type[nn.Module], calls: Constructions, **arguments: Any) -> nn.Module:
    """Constructs one layer, and remembers what with."""
    with _watched(layer_class, calls):
        return layer_class(**arguments)


@contextmanager
def _watched(layer_class: type[nn.Module], calls: Constructions) -> Iterator[None]:
    """Remembers every construction of this very class within the block."""
    is_own = "__init__" in vars(layer_class)
    original: Callable[..., None] = layer_class.__init__

    @functools.wraps(original)
    def initialize(self: nn.Module, *args: Any, **arguments: Any) -> None:
        original(self, *args, **arguments)
        if type(self) is layer_class:  # not the constructor of a subclass, on its way up
            calls.remember(self, _bound(original, self, args, arguments))

    layer_class.__init__ = initialize  # type: ignore[method-assign]
    try:
        yield
    finally:
        if is_own:
            layer_class.__init__ = original  # type: ignore[method-assign]
        else:
            del layer_class.__init__


def _bound(
    function: Callable[..., None], owner: nn.Module, args: Iterable[Any], named: dict[str, Any]
) -> Arguments:
    signature = inspect.signature(function)
    first, *others = signature.parameters.values()
    if first.kind is first.VAR_POSITIONAL:  # __init__(*args, **kwargs) holds self among them
        return signature.bind(*args, **named)
    return signature.replace(parameters=others).bind(*args, **named)
