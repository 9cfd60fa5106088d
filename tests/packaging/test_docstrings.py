"""A docstring's first line is a verb and what it acts on, as "Returns the reward of a child."."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nasrunner"
VERB = re.compile(r"[A-Z][a-z]+s\b")
NO_NAMES = ("property", "cached_property")
"""What is read like a value is called like one."""

OTHERS = ("As of ", "Called ", "Ctrl-C ", "Like ", "None: ", "With ", "Within ")
"""What refers to another docstring, or says when something is called or holds."""


def public_functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                decorators = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
                if not decorators & {*NO_NAMES, "setter", "contextmanager"}:
                    yield path, node


def test_a_function_does_what_its_docstring_begins_with() -> None:
    told = [(path, node, ast.get_docstring(node)) for path, node in public_functions()]
    assert sum(text is not None for _, _, text in told) > 1500
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}: {text.splitlines()[0]}"
        for path, node, text in told
        if text and not VERB.match(text) and not text.startswith(OTHERS)
    ]
    assert wrong == []
