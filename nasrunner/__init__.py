"""nasrunner: declarative, config-driven neural architecture search.

``search`` runs a study, ``resume`` goes on with one, and ``load`` reads one.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasrunner.api.results import load
    from nasrunner.api.searching import resume, search

__all__ = ["load", "resume", "search"]

_PLACES = {
    "load": "nasrunner.api.results",
    "resume": "nasrunner.api.searching",
    "search": "nasrunner.api.searching",
}
"""Where what users import from here lies; it is imported when it is asked for, as a command is."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nasrunner")
    if name not in _PLACES:
        raise AttributeError(f"module 'nasrunner' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


class _FormerPaths(MetaPathFinder):
    """Finds modules of ours where users' own modules import them: by the paths they had before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("nasrunner."):
            return None
        from nasrunner.core.language.moved import present_module

        present = present_module(name)
        return None if present == name else ModuleSpec(name, _Alias(present))


class _Alias(Loader):
    """Gives a module that has another name."""

    def __init__(self, name: str) -> None:
        self.module = importlib.import_module(name)
        self.spec = self.module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import has put the alias's there


sys.meta_path.append(_FormerPaths())  # asked for what nobody else finds
