"""What a checkpoint may hold beside tensors and plain values: objects of harmless classes."""

import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_HARMLESS = (
    "builtins.frozenset",
    "builtins.range",
    "builtins.slice",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
)
"""What callbacks keep in their states beside what torch allows: none of them does anything."""

_LIBRARIES = ("builtins", "nasrunner", "pytorch_lightning", "torch", "torchmetrics")
"""Packages that a configuration names without any of their classes being the user's own."""


def load_checkpoint(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a checkpoint of a child holds, its tensors on the CPU.

    Args:
        path: the checkpoint.
        config: as of ``allowed_classes``.

    Raises:
        Exception: of nearly any kind: it is no checkpoint, was cut off or changed, or holds what
            ``allowed_classes`` does not let torch load.
    """
    with zipfile.ZipFile(path) as archive:  # torch reads changed bytes as the numbers they make
        if (changed := archive.testzip()) is not None:
            raise ValueError(f"{changed} is not what was written (its checksum differs)")
    with allowed_classes(config, path):
        held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return held


@contextmanager
def allowed_classes(config: Mapping[str, Any], path: Path | None) -> Iterator[None]:
    """Lets torch load a checkpoint of a child within the block, with ``weights_only=True``.

    A checkpoint is a pickle, which could call anything: of functions and classes that torch does
    not allow, only the harmless ones and a user's own classes may stand in it. These are defined
    in a package that the child's configuration names, as its callbacks are.

    Args:
        config: the child's configuration; whoever built from it has trusted it.
        path: the checkpoint; None: there is none.

    Raises:
        ValueError: the checkpoint holds anything else.
    """
    if path is None:
        yield
        return
    own = set(_packages(config)) - set(_LIBRARIES)
    named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    found = {name: _found(name, own) for name in named}
    if refused := sorted(name for name, what in found.items() if what is None):
        raise ValueError(
            f"it holds {', '.join(refused)}; legal are tensors, plain values, numpy arrays and "
            "classes of the packages that the configuration names"
        )
    numpy_types = [np.dtypes.__dict__[each] for each in np.dtypes.__all__]  # made without a name
    with torch.serialization.safe_globals([*found.values(), *numpy_types]):
        yield


def _packages(node: Any) -> Iterator[str]:
    """The packages of every ``_target_``."""
    if isinstance(node, Mapping):
        if isinstance(target := node.get("_target_"), str):
            yield target.partition(".")[0]
        for value in node.values():
            yield from _packages(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _packages(value)


def _found(name: str, own: set[str]) -> Any:
    """What a name in a checkpoint stands for, where it may; modules are not imported for it."""
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None)
    if name in _HARMLESS:
        return found
    is_own = isinstance(found, type) and found.__module__.partition(".")[0] in own
    return found if is_own else None
