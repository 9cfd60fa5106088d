"""Expressions of Python code, and how they are laid out on lines as a formatter would."""

from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 100
"""Characters of a line of the file that is written, as in the sources that may be included."""

INDENT = "    "


@dataclass(frozen=True)
class Call:
    """A call such as ``nn.Conv2d(3, 16, kernel_size=3)``.

    Attributes:
        callee: what is called.
        arguments: each with its name, or with "" where it is given by position.
    """

    callee: str
    arguments: tuple[tuple[str, "Expression"], ...] = ()

    def __str__(self) -> str:
        return f"{self.callee}({', '.join(_named(name, v) for name, v in self.arguments)})"


@dataclass(frozen=True)
class Listing:
    """A list of expressions, or a tuple of them."""

    items: tuple["Expression", ...]
    is_tuple: bool = False

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.items))
        if self.is_tuple:
            return f"({inside},)" if len(self.items) == 1 else f"({inside})"
        return f"[{inside}]"


@dataclass(frozen=True)
class Repeated:
    """The arguments ``*(body for _ in range(count))``: ``count`` fresh ones of the same."""

    body: "Expression"
    count: int

    def __str__(self) -> str:
        return f"*({self.body} for _ in range({self.count}))"


Expression = str | Call | Listing | Repeated


def laid_out(before: str, expression: Expression, after: str, indent: str) -> Iterator[str]:
    """Yields the lines of a statement that ends with an expression: one, or one for each part of
    it.

    Args:
        before: what stands before the expression on its first line: ``self.conv = ``.
        after: what stands behind it on its last line: a comma, or nothing.
        indent: the spaces before the statement.
    """
    line = f"{indent}{before}{expression}{after}"
    if isinstance(expression, str) or len(line) <= WIDTH or not _parts(expression):
        yield line
        return
    opening, closing = _brackets(expression)
    yield f"{indent}{before}{opening}"
    if isinstance(expression, Repeated):
        yield from laid_out("", expression.body, "", indent + INDENT)
        yield f"{indent}{INDENT}for _ in range({expression.count})"
    else:
        parts = _parts(expression)
        inner = indent + INDENT
        joined = ", ".join(_named(name, part) for name, part in parts)
        # a formatter puts a call's arguments on one line of their own if they fit, but not items
        is_simple = isinstance(expression, Call) and all(isinstance(part, str) for _, part in parts)
        if is_simple and len(inner + joined) <= WIDTH:
            yield inner + joined
        else:
            for name, part in parts:
                comma = "" if isinstance(part, Repeated) and len(parts) == 1 else ","
                yield from laid_out(f"{name}=" if name else "", part, comma, inner)
    yield f"{indent}{closing}{after}"


def _parts(expression: Expression) -> tuple[tuple[str, Expression], ...]:
    if isinstance(expression, Call):
        return expression.arguments
    if isinstance(expression, Listing):
        return tuple(("", item) for item in expression.items)
    return (("", expression),)


def _brackets(expression: Expression) -> tuple[str, str]:
    if isinstance(expression, Call):
        return f"{expression.callee}(", ")"
    if isinstance(expression, Listing):
        return ("(", ")") if expression.is_tuple else ("[", "]")
    return "*(", ")"


def _named(name: str, value: Expression) -> str:
    return f"{name}={value}" if name else str(value)
