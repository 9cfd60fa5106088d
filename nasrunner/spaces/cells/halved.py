"""Modules that keep the size of images, with a stride of 2 in the place of 1."""

import dataclasses
from typing import Any

from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Choice, Space
from nasrunner.spaces.basic import Dead, Empty, Zero
from nasrunner.spaces.branches import Fork, Residual
from nasrunner.spaces.cells.factorized import convolved
from nasrunner.spaces.cells.made_once import made_once
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.external import External
from nasrunner.spaces.named import Named
from nasrunner.spaces.windows.pools import AveragePool

_STRIDE = "stride"
_ONE = (1, (1, 1))


@made_once
def halved(module: Space) -> Space:
    """Makes a frozen module halve its images: what it is on an edge into a reduction cell.

    The first module of a series that has a ``stride`` gets 2; the identity becomes a factorised
    reduction behind a ReLU, with batch normalization after it (Liu et al. 2019, arXiv:1806.09055,
    in the authors' code). Its weights are known by the same path.

    Args:
        module: keeps the size of images.

    Raises:
        SpaceError: nothing in it has a stride, or this is not 1.
    """
    found = _halved(module)
    if found is None:
        raise SpaceError(
            f"{module.path or module.title()!r}: an operation on an edge into a reduction cell "
            f"must have stride=1 somewhere, which becomes 2 there, or be empty or zero; got "
            f"{module.text()}"
        )
    return found


def is_identity(module: Space) -> bool:
    """Tells whether a frozen module passes its input on."""
    if isinstance(module, Named):
        return is_identity(module.module)
    if isinstance(module, Concat):
        return all(map(is_identity, module.modules))
    return isinstance(module, Empty)


def _halved(module: Space) -> Space | None:
    """None: it cannot be."""
    if is_identity(module):
        return convolved("same", module.path, halves=True)
    if isinstance(module, Zero):
        return Concat((AveragePool(1, 2, "same", path=module.path), module), path=module.path)
    if isinstance(module, Dead | Named):
        return _with(module, module=_halved(module.module))
    if isinstance(module, Residual):
        return _with(module, body=_halved(module.body))
    if isinstance(module, Concat):
        return _series(module)
    if isinstance(module, Choice):
        return _of_each(module)
    if isinstance(module, Fork):
        branches = [each for each in map(_halved, module.branches) if each is not None]
        is_whole = len(branches) == len(module.branches)
        return _with(module, branches=tuple(branches)) if is_whole else None
    if isinstance(module, External):
        arguments = dict(module.arguments)
        if arguments.get(_STRIDE) not in _ONE:
            return None
        return dataclasses.replace(module, arguments=tuple((arguments | {_STRIDE: 2}).items()))
    if getattr(module, _STRIDE, None) in _ONE:
        return _with(module, stride=2)
    return None


def _of_each(choice: Choice) -> Space | None:
    options = tuple(map(_halved, choice.modules))
    found = [option for option in options if option is not None]
    if found and len(found) < len(options):
        raise SpaceError(
            f"{' and '.join(map(repr, choice.paths))} cannot be kept open: some of its options "
            "take the stride of a reduction cell, and others leave it to what follows"
        )
    return dataclasses.replace(choice, modules=tuple(found)) if found else None


def _series(module: Concat) -> Space | None:
    for place, part in enumerate(module.modules):
        if is_identity(part):
            continue
        found = _halved(part)
        if found is not None:
            before, after = module.modules[:place], module.modules[place + 1 :]
            return dataclasses.replace(module, modules=(*before, found, *after))
    return None


def _with(part: Space, **arguments: Any) -> Space | None:
    if None in arguments.values():
        return None
    return dataclasses.replace(part, **arguments)
