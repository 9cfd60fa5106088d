"""Draws a frozen architecture as an SVG picture, for MLflow and reports."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from nasrunner.core.decision import OneOf
from nasrunner.core.space import SearchSpace, Space, argument_names
from nasrunner.spaces import activations, basic
from nasrunner.spaces.composite import Concat, Fork, Repeat, RepeatTied, Residual
from nasrunner.spaces.external import External

# Okabe & Ito's palette, which people with any colour vision can tell apart, as (edge, tint).
_COLOURS = {
    "conv": ("#0072B2", "#DCEBF5"),
    "dense": ("#D55E00", "#FBE6D8"),
    "activation": ("#009E73", "#DAF1EA"),
    "norm": ("#A8528A", "#F6E4EF"),
    "pool": ("#2F8FC4", "#E6F4FC"),
    "dropout": ("#A68A00", "#FBF7D2"),
    "other": ("#666666", "#F0F0F0"),
}
_FAMILIES: dict[type[Space], str] = {
    basic.Affine: "dense",
    basic.AveragePool: "pool",
    basic.BatchNorm: "norm",
    basic.Conv2d: "conv",
    basic.DilatedConv2d: "conv",
    basic.Dropout: "dropout",
    basic.GlobalPool: "pool",
    basic.LayerNorm: "norm",
    basic.MaxPool: "pool",
    basic.SeparableConv2d: "conv",
} | {
    value: "activation"
    for value in vars(activations).values()
    if isinstance(value, type) and issubclass(value, Space) and value is not Space
}
_TORCH_FAMILIES = {
    "activation": "activation",
    "batchnorm": "norm",
    "conv": "conv",
    "dropout": "dropout",
    "linear": "dense",
    "normalization": "norm",
    "pooling": "pool",
}
_MERGE_SIGNS = {"add": "+", "multiply": "×", "concat": "concat"}

_MARGIN, _GAP, _PAD, _BUS, _CORNER = 24.0, 22.0, 18.0, 26.0, 8.0
_TITLE_SIZE, _DETAIL_SIZE, _DETAIL_CHARS = 13.0, 11.0, 34
_LINE = "#555555"
_FONT = "font-family=\"'Segoe UI', Inter, Roboto, 'Helvetica Neue', Arial, sans-serif\""


def draw(space: Space) -> str:
    """The architecture as SVG text: boxes from top to bottom, branches side by side.

    A pure function of ``space``. Blocks that are repeated in series are drawn once, in a frame
    marked with how often. Decisions that are still open show all their options.
    """
    settings: tuple[tuple[str, Any], ...] = ()
    title = space.text()
    if isinstance(space, SearchSpace):
        settings, space = space.hyperparameters, space.network
    body = _Series((_Pill("input"), *_items(space), _Pill("output")))
    notes = [f"{key} = {_shown(value)}" for key, value in settings]
    side = max([body.left, body.right, *(_width(note, _DETAIL_SIZE) / 2 for note in notes)])
    width = 2 * (side + _MARGIN)
    height = body.height + 2 * _MARGIN + (_GAP + 16 * len(notes) if notes else 0)
    # Centred unless one side is much wider, as with a skip connection.
    canvas = _Canvas()
    body.paint(canvas, width / 2, _MARGIN)
    for row, note in enumerate(notes):
        y = _MARGIN + body.height + _GAP + 16 * row + 8
        canvas.text(width / 2, y, note, _DETAIL_SIZE, fill="#444444")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="#FFFFFF"/>\n'
        f'<g {_FONT} text-anchor="middle">\n{canvas.join()}\n</g>\n</svg>\n'
    )


# What is drawn: every part knows how far it reaches to each side of the line through it.


@dataclass
class _Canvas:
    """Collects SVG elements in the order they are painted."""

    elements: list[str] = field(default_factory=list)

    def join(self) -> str:
        return "\n".join(self.elements)

    def text(
        self, x: float, y: float, text: str, size: float, *, weight: int = 400, fill: str = "#222"
    ) -> None:
        """Text centred on (x, y)."""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y + 0.36 * size:.1f}" font-size="{size:g}" '
            f'font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
        )

    def path(self, commands: str, *, has_head: bool = False) -> None:
        """A line; its head is painted where the commands end with ``V y`` or ``H x``."""
        self.elements.append(f'<path d="{commands}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>')

    def head(self, x: float, y: float, dx: float = 0.0) -> None:
        """An arrow head that points at (x, y): down, or sideways along ``dx`` = ±1."""
        ends = f"{x - 6 * dx:.1f} {y - 4:.1f} L {x - 6 * dx:.1f} {y + 4:.1f}"
        if not dx:
            ends = f"{x - 4:.1f} {y - 6:.1f} L {x + 4:.1f} {y - 6:.1f}"
        self.elements.append(f'<path d="M {x:.1f} {y:.1f} L {ends} Z" fill="{_LINE}"/>')

    def arrow(self, x: float, y0: float, y1: float) -> None:
        self.path(f"M {x:.1f} {y0:.1f} V {y1 - 4:.1f}")
        self.head(x, y1)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        edge: str,
        fill: str,
        radius: float = 6,
        dash: str = "",
    ) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{radius:g}" fill="{fill}" stroke="{edge}" stroke-width="1.5"{dashed}/>'
        )


class _Part:
    """One part of a picture, entered at its top and left at its bottom, on its line."""

    left: float
    right: float
    height: float

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        raise NotImplementedError


class _Pill(_Part):
    """Where the signal enters and leaves the network."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.left = self.right = _width(label, 12) / 2 + 14
        self.height = 24.0

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        canvas.box(
            x - self.left, y, 2 * self.left, self.height, edge="#888888", fill="#FFFFFF", radius=12
        )
        canvas.text(x, y + self.height / 2, self.label, 12, fill="#444444")


class _Box(_Part):
    """A module without submodules."""

    def __init__(self, title: str, arguments: Sequence[str], family: str) -> None:
        self.title, self.family = title, family
        self.details = _wrapped(arguments)
        widths = [_width(title, _TITLE_SIZE, is_bold=True)]
        widths += [_width(line, _DETAIL_SIZE) for line in self.details]
        self.left = self.right = max(70.0, max(widths) / 2 + 14)
        self.height = 30.0 + 15 * len(self.details) + (4 if self.details else 0)

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        edge, tint = _COLOURS[self.family]
        canvas.box(x - self.left, y, 2 * self.left, self.height, edge=edge, fill=tint)
        canvas.text(x, y + 16, self.title, _TITLE_SIZE, weight=600)
        for row, line in enumerate(self.details):
            canvas.text(x, y + 34 + 15 * row, line, _DETAIL_SIZE, fill="#333333")


class _Series(_Part):
    """Parts one after another; without any, a plain line."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.parts = parts
        self.left = max((part.left for part in parts), default=20.0)
        self.right = max((part.right for part in parts), default=20.0)
        self.height = sum(part.height for part in parts) + _GAP * max(0, len(parts) - 1)

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        for position, part in enumerate(self.parts):
            if position:
                canvas.arrow(x, y, y + _GAP)
                y += _GAP
            part.paint(canvas, x, y)
            y += part.height


class _Merge(_Part):
    """The sign where branches meet."""

    def __init__(self, sign: str) -> None:
        self.sign = sign
        self.left = self.right = 11.0 if len(sign) == 1 else _width(sign, 11) / 2 + 9
        self.height = 22.0

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        canvas.box(
            x - self.left, y, 2 * self.left, self.height, edge=_LINE, fill="#FFFFFF", radius=11
        )
        size = 15 if len(self.sign) == 1 else 11
        canvas.text(x, y + self.height / 2, self.sign, size, fill="#222222")


class _Skip(_Part):
    """A block whose input is added to its output."""

    def __init__(self, body: _Series) -> None:
        self.body, self.merge = body, _Merge("+")
        self.left, self.right = body.left, max(body.right, self.merge.right) + 30
        self.height = _BUS + body.height + _GAP + self.merge.height

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        end = y + self.height - self.merge.height
        beside, middle, corner = x + self.right - 10, end + self.merge.height / 2, _CORNER
        canvas.path(
            f"M {x:.1f} {y + 8:.1f} H {beside - corner:.1f} "
            f"Q {beside:.1f} {y + 8:.1f} {beside:.1f} {y + 8 + corner:.1f} "
            f"V {middle - corner:.1f} Q {beside:.1f} {middle:.1f} {beside - corner:.1f} {middle:.1f} "
            f"H {x + self.merge.right + 4:.1f}"
        )
        canvas.head(x + self.merge.right, middle, -1)
        if self.body.parts:
            canvas.arrow(x, y, y + _BUS)
            self.body.paint(canvas, x, y + _BUS)
            y += _BUS + self.body.height
        canvas.arrow(x, y, end)
        self.merge.paint(canvas, x, end)


class _Branches(_Part):
    """Blocks side by side on one input, merged."""

    def __init__(self, branches: Sequence[_Series], sign: str) -> None:
        self.branches, self.merge = branches, _Merge(sign)
        width = sum(branch.left + branch.right for branch in branches)
        self.left = self.right = (width + _PAD * (len(branches) - 1)) / 2
        self.inner = max(branch.height for branch in branches)
        self.height = 2 * _BUS + self.inner + self.merge.height

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        left, top, end = x - self.left, y + _BUS, y + _BUS + self.inner + _BUS
        for branch in self.branches:
            axis = left + branch.left
            bottom = top + branch.height
            canvas.path(_bent(x, y, axis, y + 8, top - (4 if branch.parts else 0)))
            if branch.parts:
                canvas.head(axis, top)
            branch.paint(canvas, axis, top)
            canvas.path(_bent(axis, bottom, x, end - 14, end - 4))
            left += branch.left + branch.right + _PAD
        canvas.head(x, end)
        self.merge.paint(canvas, x, end)


class _Frame(_Part):
    """A block in a frame: repeated in series, or the inside of a module of the user's own."""

    def __init__(self, body: _Series, label: str) -> None:
        self.body, self.label = body, label
        label_width = _width(label, 12, is_bold=True) + 18
        self.left = self.right = max(body.left, body.right) + _PAD
        self.right = max(self.right, label_width - self.left + 20)
        self.height = body.height + 2 * _GAP

    def paint(self, canvas: _Canvas, x: float, y: float) -> None:
        canvas.box(
            x - self.left,
            y,
            self.left + self.right,
            self.height,
            edge="#888888",
            fill="#FAFAFA",
            radius=10,
            dash="5 4",
        )
        canvas.arrow(x, y, y + _GAP)
        self.body.paint(canvas, x, y + _GAP)
        canvas.path(f"M {x:.1f} {y + self.height - _GAP:.1f} V {y + self.height:.1f}")
        width = _width(self.label, 12, is_bold=True) + 18
        right = x + self.right - 10
        canvas.box(right - width, y - 10, width, 20, edge="#444444", fill="#444444", radius=10)
        canvas.text(right - width / 2, y, self.label, 12, weight=600, fill="#FFFFFF")


def _bent(x0: float, y0: float, x1: float, level: float, y1: float) -> str:
    """A line down from (x0, y0), across at ``level`` and down to (x1, y1), with round corners."""
    if abs(x0 - x1) < 1:
        return f"M {x0:.1f} {y0:.1f} V {y1:.1f}"
    corner = min(_CORNER, abs(x1 - x0) / 2, level - y0, y1 - level)
    side = corner if x1 > x0 else -corner
    return (
        f"M {x0:.1f} {y0:.1f} V {level - corner:.1f} "
        f"Q {x0:.1f} {level:.1f} {x0 + side:.1f} {level:.1f} H {x1 - side:.1f} "
        f"Q {x1:.1f} {level:.1f} {x1:.1f} {level + corner:.1f} V {y1:.1f}"
    )


# From the space to its parts.


def _items(space: Space) -> list[_Part]:
    """The parts of a module in series; none for an empty one."""
    if isinstance(space, Concat):
        return [part for block in _folded(_flat(space)) for part in _block(*block)]
    if isinstance(space, basic.Empty):
        return []
    if isinstance(space, Residual):
        return [_Skip(_Series(_items(space.body)))]
    if isinstance(space, Fork):
        branches = [_Series(_items(branch)) for branch in space.branches]
        return [_Branches(branches, _MERGE_SIGNS.get(space.merge, str(space.merge)))]
    if isinstance(space, Repeat | RepeatTied):  # still open
        return [_Frame(_Series(_items(space.body)), f"×{_shown(space.times)}")]
    if isinstance(space, External):
        home, _, file = space.module.__module__.rpartition(".")
        family = _TORCH_FAMILIES.get(file, "other") if home == "torch.nn.modules" else "other"
        arguments = [f"{name}={_shown(value)}" for name, value in space.arguments]
        return [_Box(space.module.__name__, arguments, family)]
    return _generic(space)


def _generic(space: Space) -> list[_Part]:
    """Any other module: a box with its arguments, or a frame around its submodules."""
    arguments, inside = [], []
    defaults = {f.name: f.default for f in dataclasses.fields(space)}
    for name in argument_names(type(space)):
        value = getattr(space, name)
        modules = value if isinstance(value, tuple) else (value,)
        if modules and all(isinstance(module, Space) for module in modules):
            inside += [part for module in modules for part in _items(module)]
        elif isinstance(value, OneOf) or value != defaults[name]:
            arguments.append(f"{name}={_shown(value)}")
    if inside:
        return [_Frame(_Series(inside), ", ".join([space.name(), *arguments]))]
    family = next((_FAMILIES[c] for c in type(space).__mro__ if c in _FAMILIES), "other")
    return [_Box(space.name(), arguments, family)]


_Block = tuple[tuple[Space, ...], int]
"""Modules in series, and how often they stand one after another."""


def _flat(concat: Concat) -> Iterator[_Block]:
    """The modules of nested series, equal neighbours counted."""
    position, modules = 0, concat.modules
    while position < len(modules):
        module, count = modules[position], 1
        while position + count < len(modules) and modules[position + count] == module:
            count += 1
        position += count
        if isinstance(module, Concat) and count == 1:
            yield from _flat(module)
        elif not isinstance(module, basic.Empty):
            yield (module,), count


def _folded(blocks: Iterator[_Block]) -> list[_Block]:
    """Merges runs of equal sequences that follow each other: A B A B is (A B) twice."""
    given = list(blocks)
    folded: list[_Block] = []
    position = 0
    while position < len(given):
        period, count = _longest_run(given, position)
        if count > 1:
            inside = tuple(m for modules, times in given[position : position + period]
                           for m in modules * times)
            folded.append((inside, count))
        else:
            folded.append(given[position])
        position += period * count
    return folded


def _longest_run(given: list[_Block], start: int) -> tuple[int, int]:
    """(period, count) of the repetition at ``start`` that covers most; (1, 1) for none."""
    best = (1, 1)
    for period in range(2, (len(given) - start) // 2 + 1):
        first, count = given[start : start + period], 1
        while given[start + count * period : start + (count + 1) * period] == first:
            count += 1
        if count > 1 and count * period > best[0] * best[1]:
            best = (period, count)
    return best


def _block(modules: tuple[Space, ...], count: int) -> list[_Part]:
    """A block drawn once; framed where that is shorter than drawing each repetition."""
    parts = _items(Concat(modules)) if len(modules) > 1 else _items(modules[0])
    if count == 1 or not parts:
        return parts
    if len(parts) == 1 and count == 2:
        return parts * 2
    return [_Frame(_Series(parts), f"×{count}")]


def _shown(value: object) -> str:
    if isinstance(value, OneOf):
        return "{" + ", ".join(map(_shown, value.options)) + "}"
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrapped(arguments: Sequence[str]) -> list[str]:
    """Arguments on lines of at most ``_DETAIL_CHARS`` characters, none of them broken."""
    lines: list[str] = []
    for argument in arguments:
        if lines and len(lines[-1]) + len(argument) + 2 <= _DETAIL_CHARS:
            lines[-1] += f", {argument}"
        else:
            lines.append(argument)
    return lines


def _width(text: str, size: float, *, is_bold: bool = False) -> float:
    """How wide a text will be, about: fonts differ, so it is rounded up."""
    narrow, wide = sum(text.count(c) for c in "ijl.,:;|!'()[]ft "), sum(map(text.count, "mwMW@"))
    return size * (0.6 * len(text) - 0.22 * narrow + 0.25 * wide) * (1.06 if is_bold else 1.0)


