"""Takes the source of classes that are not torch's, and of all it needs, into one file."""

import ast
import builtins
import importlib.util
import io
import sys
import tokenize
from dataclasses import dataclass, field

from nasrunner.export.errors import ExportError
from nasrunner.export.source.source_file import Binding, SourceFile, bound_name

_PLAIN = (*sys.stdlib_module_names, "torch")
"""What the file that is written may import."""

IMPORTS = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}
"""What the file imports in any case: name there -> what it is."""

_RESERVED = (*IMPORTS, "Network", "load", "normalize", "MEAN", "STD", *dir(builtins))
"""Names that mean something else in the file that is written."""


@dataclass
class Sources:
    """Collects the source of classes, with the functions, constants and imports they use.

    What a class names is looked up in the file it stands in. Functions, classes and constants are
    included too, from other files of the same package as well; imports must be of torch or of
    the standard library.

    Attributes:
        imports: import statements beside ``IMPORTS``, in the order they were met.
        comments: what letters in the names of tensors stand for, as the files say it.
        blocks: the source of functions, classes and constants, each after what it uses.
    """

    imports: dict[str, None] = field(default_factory=dict)
    comments: dict[str, None] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _imported: dict[str, str] = field(default_factory=lambda: dict(IMPORTS))

    def include(self, wanted: type) -> str:
        """Includes a class, and returns its name in the file that is written.

        Raises:
            ExportError: its source is not there, or it needs what cannot be included.
        """
        who = f"{wanted.__module__}.{wanted.__qualname__}"
        if "." in wanted.__qualname__ or wanted.__module__ == "__main__":
            raise ExportError(
                f"the source of {who} cannot be included: it must stand at the top level of a "
                "module that can be imported"
            )
        return self._include(wanted.__module__, wanted.__name__, who)

    def free(self, wanted: str) -> str:
        """Returns the name, or the same with a number where something in the file has it
        already.
        """
        taken = {*self._names.values(), *self._imported, *_RESERVED}
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}{number}", number + 1
        return name

    def _include(self, module_name: str, name: str, who: str) -> str:
        if (module_name, name) not in self._names:
            source = SourceFile.read(module_name, who)
            binding = source.bindings.get(name)
            if binding is None:
                raise ExportError(
                    f"the source of {who} cannot be included: {module_name} does not define "
                    f"{name!r} at its top level, once and in all cases"
                )
            if isinstance(binding.statement, ast.Import | ast.ImportFrom):
                self._names[module_name, name] = self._import(module_name, name, binding, who)
            else:
                self._include_statement(source, binding, who)
        return self._names[module_name, name]

    def _include_statement(self, source: SourceFile, binding: Binding, who: str) -> None:
        """Adds a function, class or constant, after everything it names."""
        for name in binding.names:
            self._names[source.module_name, name] = self.free(name.strip("_") or name)
        for node in ast.walk(binding.statement):
            _check_inner_import(node, who)
        text = source.text_of(binding)
        renames = {
            name: self._include(source.module_name, name, who) for name in source.names_in(text)
        }
        renames |= {name: self._names[source.module_name, name] for name in binding.names}
        self.comments |= dict.fromkeys(source.legend)
        if source.defers_annotations:
            self.imports["from __future__ import annotations"] = None
        self.blocks.append(_renamed(text, renames))

    def _import(self, module_name: str, name: str, binding: Binding, who: str) -> str:
        """Adds an import, or the source of what is imported from the same package."""
        statement = binding.statement
        assert isinstance(statement, ast.Import | ast.ImportFrom)
        (alias,) = [each for each in statement.names if name == bound_name(each)]
        place = alias.name
        if isinstance(statement, ast.ImportFrom):
            dots = "." * statement.level
            place = importlib.util.resolve_name(dots + (statement.module or ""), binding.package)
        top = place.partition(".")[0]
        if top in _PLAIN:
            return self._import_plain(statement, alias, place, name)
        if isinstance(statement, ast.ImportFrom) and top == module_name.partition(".")[0]:
            if f"{place}.{alias.name}" in sys.modules:
                raise ExportError(
                    f"the source of {who} cannot be included: it uses {place}.{alias.name} as a "
                    "whole; it must import what it uses of that by name"
                )
            return self._include(place, alias.name, who)
        raise _not_plain(who, place)

    def _import_plain(
        self, statement: ast.Import | ast.ImportFrom, alias: ast.alias, place: str, name: str
    ) -> str:
        """Adds an import of torch or the standard library; returns its name in the file."""
        is_from = isinstance(statement, ast.ImportFrom)
        if not is_from and not alias.asname:  # ``import torch.fft`` binds torch
            self._imported.setdefault(name, name)
            if self._imported[name] == name:
                if place not in IMPORTS:
                    self.imports[f"import {place}"] = None
                return name
        what = f"{place}.{alias.name}" if is_from else place
        new = name if self._imported.get(name, what) == what else self.free(name)
        self._imported[new] = what
        if IMPORTS.get(new) != what:
            shown = alias.name if alias.name == new else f"{alias.name} as {new}"
            self.imports[f"from {place} import {shown}" if is_from else f"import {shown}"] = None
        return new


def _check_inner_import(node: ast.AST, who: str) -> None:
    """Refuses an import inside a function, unless it is of torch or the standard library."""
    places = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        places = ["." * node.level + (node.module or "")]
    for place in places:
        if place.partition(".")[0] not in _PLAIN:
            raise _not_plain(who, place)


def _not_plain(who: str, place: str) -> ExportError:
    return ExportError(
        f"the source of {who} cannot be included: it uses {place!r}, but a file that stands "
        "alone may import torch and the standard library only"
    )


def _renamed(text: str, names: dict[str, str]) -> str:
    """Source with some of its names changed; attributes of the same name stay."""
    lines = text.splitlines()
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, token in reversed(list(zip([tokens[0], *tokens], tokens, strict=False))):
        new = names.get(token.string, token.string)
        if token.type == tokenize.NAME and before.string != "." and new != token.string:
            (row, start), (_, end) = token.start, token.end
            lines[row - 1] = lines[row - 1][:start] + new + lines[row - 1][end:]
    return "\n".join(lines)
