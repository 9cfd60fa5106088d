"""The shape of what goes into a network: of one tensor, or of several by name."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]
"""The shape of one example, without the batch.

(features,), (channels, time) of a signal, or (channels, height, width) of an image.
"""

InShape = Shape | Mapping[str, Shape]
"""The shape of one example; of several inputs a shape by name: {image: (3, 32, 32), text: (16,)}.

A batch of several inputs is a mapping, too: name -> (batch, ...).
"""

IN_DTYPES = ("float32", "int64")
"""What the numbers of one of several inputs may be, by torch's names."""


class TokenShape(tuple[int, ...]):
    """The shape of one of several inputs whose numbers are whole (int64), as tokens are.

    Equal to any other shape of the same sizes.
    """

    __slots__ = ()


def as_in_shape(given: Sequence[int] | Mapping[str, Sequence[int]]) -> InShape:
    """Makes tuples of the lists of a configuration."""
    found: InShape = each_input(
        given, lambda sizes: sizes if type(sizes) is TokenShape else (*sizes,)
    )
    return found


def each_input(inputs: Any, change: Callable[[Any], Any]) -> Any:
    """Changes what belongs to an input, or each of several by name: a tensor, an array, a shape."""
    if isinstance(inputs, Mapping):
        return {name: change(value) for name, value in inputs.items()}
    return change(inputs)


def dtypes_of(in_shape: InShape, in_dtype: str | Mapping[str, str]) -> dict[str, str]:
    """Returns the type of each of several inputs by name: float32 where ``data.in_dtype`` is
    silent.
    """
    assert isinstance(in_shape, Mapping)
    given = in_dtype if isinstance(in_dtype, Mapping) else {}
    return {name: given.get(name, "float32") for name in in_shape}


def in_dtype_of(data: Mapping[str, Any]) -> Any:
    """Returns the type, or types by input, of a data module's inputs: float32 where nothing is
    said.
    """
    given = data.get("in_dtype")
    return "float32" if given is None else given


def shown_inputs(in_shape: Mapping[str, Shape]) -> str:
    """Returns several inputs in words: ``image (3, 32, 32), text (16,)``."""
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in in_shape.items())


def hashable(shape: InShape) -> Hashable:
    """Returns what tells shapes apart, those of tokens too."""
    if isinstance(shape, tuple):
        return shape if type(shape) is tuple else (type(shape), shape)
    return tuple((name, hashable(each)) for name, each in shape.items())
