"""Arrays that a caller has in memory, as the file that a study and its workers read."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import ConfigError

_FOLDER = Path("outputs") / "arrays"
_LEGAL = (
    "data=(x, y), or ((x, y), (x_test, y_test)), where x is an array (N, ...) or a mapping of "
    "names to such arrays, and y (N,) or (N, K)"
)


def is_arrays(data: Any) -> bool:
    """Tells whether data are given as arrays."""
    return isinstance(data, tuple)


def saved(data: tuple[Any, ...]) -> dict[str, Any]:
    """Writes arrays where a study can read them again, and returns its settings for that.

    The file lies in ``outputs/arrays`` and is called by what is in it, so that several studies of
    the same arrays share it, and other arrays never take its place.

    Args:
        data: ``(x, y)``, or ``((x, y), (x_test, y_test))``; x (N, ...) or a mapping of several.

    Raises:
        ConfigError: they are no such arrays.
    """
    if len(data) != 2:
        raise ConfigError(f"data is a tuple of {len(data)}; legal is {_LEGAL}")
    has_test = all(isinstance(part, tuple) for part in data)
    parts = dict(zip(("", "_test"), data, strict=True)) if has_test else {"": data}
    arrays: dict[str, np.ndarray] = {}
    for suffix, part in parts.items():
        if len(part) != 2:
            raise ConfigError(f"data holds a tuple of {len(part)}; legal is {_LEGAL}")
        inputs, targets = part
        several = inputs if isinstance(inputs, Mapping) else {"x": inputs}
        for name, values in {**several, "y": targets}.items():
            arrays[f"{name}{suffix}"] = _array(f"{name}{suffix}", values)
    settings: dict[str, Any] = {"data": "arrays", "data.path": str(_written(arrays).absolute())}
    first = next(iter(parts.values()))[0]
    return {**settings, "data.inputs": list(first)} if isinstance(first, Mapping) else settings


def _array(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # of unequal lengths, or a type that numpy lacks
        raise ConfigError(f"data: {name} is no array: {error}; legal is {_LEGAL}") from None
    if array.dtype == object and all(isinstance(each, str) for each in array.flat):
        array = array.astype(str)  # a column of pandas
    if array.dtype.kind not in "biufSU" or array.ndim == 0:
        raise ConfigError(
            f"data: {name} is {type(values).__name__} of {array.dtype}, and no array of numbers or "
            f"text; legal is {_LEGAL}"
        )
    return array


def _written(arrays: Mapping[str, np.ndarray]) -> Path:
    """The file, which is written if it is not there."""
    content = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        content.update(np.ascontiguousarray(array).data if array.size else b"")
    path = _FOLDER / f"{content.hexdigest()[:16]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # for allow_pickle, says its stub
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)
    return path
