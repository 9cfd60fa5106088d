"""Whether a space holds multi-layer perceptrons only, which scikit-learn has one of."""

from collections.abc import Iterator

from nasrunner.core.space import Space, argument_names
from nasrunner.spaces import activations
from nasrunner.spaces.basic import Affine, ClassLogits, Dropout, Empty, Flatten
from nasrunner.spaces.composite import Concat, MaybeSwap, Optional, Or, Repeat, RepeatTied
from nasrunner.spaces.named import Named
from nasrunner.spaces.string import String

_PARTS = (
    *(Affine, ClassLogits, Dropout, Empty, Flatten),
    *(Concat, MaybeSwap, Named, Optional, Or, Repeat, RepeatTied, String),
    *(each for each in vars(activations).values() if isinstance(each, type)),
)


def is_mlp(network: Space) -> bool:
    """Tells whether all networks of a space are affine layers, activations and dropout in
    series.
    """
    return all(type(module) in _PARTS for module in _modules(network))


def _modules(space: Space) -> Iterator[Space]:
    """A module and all below it."""
    yield space
    for name in argument_names(type(space)):
        value = getattr(space, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Space):
                yield from _modules(each)
