"""Files of named arrays: numpy's npz, torch's pt, and safetensors."""

import pickle
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasrunner.core.errors import DataError, suggest

FORMS = (".npz", ".pt", ".pth", ".safetensors")

INPUTS = ("x", "inputs", "images", "features", "data")
TARGETS = ("y", "targets", "labels", "target", "label", "classes")
"""What arrays are usually called, in lower case."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a file; a pair without names is ``x`` and ``y``.

    Nothing but arrays is ever unpickled.

    Raises:
        DataError: it is of another form, damaged, or holds something else.
    """
    read = {
        ".npz": _read_npz,
        ".pt": _read_pt,
        ".pth": _read_pt,
        ".safetensors": _read_safetensors,
    }.get(path.suffix.lower())
    if read is None:
        raise DataError(f"data.path={path} must end in one of {', '.join(FORMS)}")
    try:
        arrays = read(path)
    except (
        *(EOFError, OSError, RuntimeError, TypeError, ValueError),
        *(NotImplementedError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise DataError(
            f"data.path={path} cannot be read as arrays of numbers or texts: {reason}"
        ) from error
    if not arrays:
        raise DataError(f"data.path={path} holds no arrays")
    return arrays


def named_array(
    arrays: Mapping[str, np.ndarray], wanted: str | None, usual: Iterable[str], key: str
) -> str | None:
    """Returns the name of an array: the one that is wanted, or the only one with a usual name.

    Args:
        arrays: those that there are.
        wanted: None: any with a usual name.
        usual: usual names, in lower case; with ``_train`` or ``train_`` they are, too.
        key: of the setting, for error messages.

    Returns:
        None: there is none.

    Raises:
        DataError: what is wanted is not there, or several have a usual name.
    """
    if wanted is not None:
        if wanted not in arrays:
            legal = suggest(wanted, arrays)
            raise DataError(f"data.{key}={wanted} is no array of the file, {legal}")
        return wanted
    forms = {form for each in usual for form in (each, f"{each}_train", f"train_{each}")}
    found = [name for name in arrays if name.lower() in forms]
    if len(found) > 1:
        raise DataError(
            f"data.{key} may be any of {', '.join(found)}, so that it must be given: "
            f"data.{key}={found[0]}"
        )
    return found[0] if found else None


def test_name(name: str, arrays: Mapping[str, np.ndarray]) -> str | None:
    """Returns the name of an array's part for the test: ``x_test`` of ``x_train`` or ``x``; None:
    none.
    """
    forms = (name.replace("train", "test"), f"{name}_test", f"test_{name}")
    return next((form for form in forms if form != name and form in arrays), None)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_pt(path: Path) -> dict[str, np.ndarray]:
    held: Any = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(held, tuple | list) and len(held) == 2:
        held = dict(zip(("x", "y"), held, strict=True))
    if not isinstance(held, Mapping):
        raise ValueError(f"it must hold tensors by name, or a pair of them; got {type(held)}")
    return {str(name): _as_array(value, str(name)) for name, value in held.items()}


def _as_array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        if value.dtype is torch.bfloat16:
            value = value.float()
        return np.asarray(value.detach())
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return np.array(value)
    raise ValueError(f"{name} must be a tensor or a list of texts, got {type(value)}")


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.torch import load_file  # an extra: not everyone has it
    except ImportError as error:
        raise DataError(
            f"data.path={path} needs safetensors: pip install 'nasrunner[export]'"
        ) from error
    try:
        return {name: _as_array(value, name) for name, value in load_file(path).items()}
    except Exception as error:  # of a type of its own
        raise ValueError(str(error)) from error
