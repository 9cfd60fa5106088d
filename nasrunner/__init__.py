"""nasrunner: declarative, config-driven neural architecture search."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


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
