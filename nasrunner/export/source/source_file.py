"""Looks up in a Python file which statement defines a name, and what that statement uses."""

import ast
import builtins
import importlib
import inspect
import re
import symtable
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from nasrunner.export.errors import ExportError

_LEGEND = re.compile(r"# [A-Z](, [A-Z])* = .*")


@dataclass(frozen=True)
class Binding:
    """A statement at the top level of a file.

    Attributes:
        statement: a function, a class, an assignment or an import.
        names: what it defines.
        package: what relative imports in it are relative to.
    """

    statement: ast.stmt
    names: tuple[str, ...]
    package: str


@dataclass(frozen=True)
class SourceFile:
    """The source of a module.

    Attributes:
        module_name: its dotted name.
        text: all of it.
        bindings: name -> what defines it. Names that several statements define, or one that may
            not be run (below ``if``), are not among them.
    """

    module_name: str
    text: str
    bindings: dict[str, Binding]

    @classmethod
    def read(cls, module_name: str, who: str) -> "SourceFile":
        """Returns the source of a module that was imported, or can be.

        Args:
            module_name: its dotted name.
            who: what it is read for, for the error message.

        Raises:
            ExportError: there is no source of it.
        """
        try:
            module = sys.modules.get(module_name) or importlib.import_module(module_name)
            text = inspect.getsource(module)
        except (ImportError, OSError, TypeError) as error:
            raise ExportError(
                f"the source of {who} cannot be included: there is none of {module_name}"
            ) from error
        package = module_name if hasattr(module, "__path__") else module_name.rpartition(".")[0]
        bindings: dict[str, Binding] = {}
        twice: set[str] = set()
        for statement in ast.parse(text).body:
            binding = Binding(statement, tuple(_names_bound(statement)), package)
            twice |= set(binding.names) & set(bindings)
            bindings |= dict.fromkeys(binding.names, binding)
        return cls(module_name, text, {n: b for n, b in bindings.items() if n not in twice})

    @property
    def legend(self) -> list[str]:
        """Comments such as ``# B = batch``, which tell what letters in names stand for."""
        return [line for line in self.text.splitlines() if _LEGEND.fullmatch(line)]

    @property
    def defers_annotations(self) -> bool:
        """Whether annotations are not evaluated in this file."""
        return (
            "annotations" in self.bindings
            and isinstance((found := self.bindings["annotations"].statement), ast.ImportFrom)
            and found.module == "__future__"
        )

    def text_of(self, binding: Binding) -> str:
        """Returns the lines of a statement with its decorators."""
        statement = binding.statement
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(each.lineno for each in decorators)])
        return "\n".join(self.text.splitlines()[first - 1 : statement.end_lineno])

    def names_in(self, text: str) -> list[str]:
        """Returns the global names that a statement of this file uses, its own and builtins left
        out.
        """
        table = symtable.symtable(text, self.module_name, "exec")
        own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
        used = {
            symbol.get_name()
            for scope in _scopes(table)
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (scope is table or symbol.is_global())
        }
        builtin = set(dir(builtins)) - set(self.bindings)
        return sorted(used - own - builtin - {"__name__", "__file__", "__class__"})


def bound_name(alias: ast.alias) -> str:
    """Returns the name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top level binds; none where it may not be run."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from map(bound_name, statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)
