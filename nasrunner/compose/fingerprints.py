"""What a study depends on beside its configuration: a user's own source, and files of data."""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nasrunner.core.machine.user_modules import targets

_MAX_FILES = 1000
"""Of more files in a folder, sizes and times are looked at, not what is in them."""
_MAX_BYTES = 1 << 28
"""Of larger files so many bytes are read, at the beginning and at the end together."""


def fingerprints(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns what is looked at -> a text that changes when it does.

    Args:
        config: the study's resolved configuration. Looked at are the modules of the user's that
            its ``_target_`` values name, with those they import, and the files and folders that
            its ``data`` names, or a decision about it. What a module reads without being told is
            not known.
    """
    found: dict[str, str] = {}
    for target in sorted(set(targets(config))):
        _look_at_module(target.partition(".")[0], found)
    searched = config["space"].get("hyperparameters") or {}
    of_data = {key: value for key, value in searched.items() if key.startswith("data.")}
    for key, text in _texts({"data": config["data"], **of_data}):
        found |= _looked_at(key, Path(text))
    return found


def _texts(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The dotted keys of all texts in a configuration, those in its lists, too."""
    if isinstance(value, str):
        yield prefix, value
    elif isinstance(value, Mapping | list):
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inside in named:
            if name != "_target_":
                yield from _texts(inside, f"{prefix}.{name}" if prefix else str(name))


def _look_at_module(root: str, found: dict[str, str]) -> None:
    """Takes down a module or package of the user's, and those of the user's that it imports."""
    name = f"module {root}"
    files = [] if name in found else list(_user_files(root))
    if not files:
        return
    sources = [file.read_bytes() for file in files]
    found[name] = hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]
    for imported in {each for source in sources for each in _imports(source)}:
        _look_at_module(imported, found)


def _user_files(root: str) -> Iterator[Path]:
    """The source files of a module or package that no one has installed."""
    if root in sys.stdlib_module_names or root in sys.builtin_module_names or root == "nasrunner":
        return
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    packages = spec.submodule_search_locations  # also of a folder without an __init__.py
    places = [Path(place) for place in ([spec.origin or ""] if packages is None else packages)]
    for place in places:
        if not _is_installed(place):
            files = [place] if packages is None else sorted(place.rglob("*.py"))
            yield from (path for path in files[:_MAX_FILES] if path.is_file())


def _is_installed(path: Path) -> bool:
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(path.is_relative_to(place) for place in places)


def _imports(source: bytes) -> Iterator[str]:
    """The roots of what a source file imports; nothing of one that is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _looked_at(key: str, path: Path) -> dict[str, str]:
    """The fingerprints of a file, or of the files in a folder."""
    try:
        if path.is_file():
            return {f"{key} {path.name}": _checksum(path)}
        if not path.is_dir():
            return {}
        files = sorted(each for each in path.rglob("*") if each.is_file())
        if len(files) <= _MAX_FILES:
            return {f"{key} {each.relative_to(path)}": _checksum(each) for each in files}
        stats = [(str(each.relative_to(path)), each.stat()) for each in files]
    except OSError:  # told where the data set is loaded
        return {}
    listed = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return {f"{key} {path.name}": hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]}


def _checksum(path: Path) -> str:
    """A file's size and checksum."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in (0, max(size - _MAX_BYTES // 2, 0)) if size > _MAX_BYTES else (0,):
            file.seek(start)
            left = _MAX_BYTES // 2 if size > _MAX_BYTES else size
            while left and (block := file.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
    return f"{size} {digest.hexdigest()[:16]}"
