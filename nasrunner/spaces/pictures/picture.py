"""The parts an architecture's picture is made of, and the SVG they paint."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

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

MARGIN, GAP, _PAD, _BUS, _CORNER = 24.0, 22.0, 18.0, 26.0, 8.0
_TITLE_SIZE, DETAIL_SIZE, _DETAIL_CHARS = 13.0, 11.0, 34
_LINE = "#555555"


# What is drawn: every part knows how far it reaches to each side of the line through it.


@dataclass
class Canvas:
    """Collects SVG elements in the order they are painted."""

    elements: list[str] = field(default_factory=list)

    def join(self) -> str:
        return "\n".join(self.elements)

    def text(
        self, x: float, y: float, text: str, size: float, *, weight: int = 400, fill: str = "#222"
    ) -> None:
        """Draws a text centred on (x, y)."""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y + 0.36 * size:.1f}" font-size="{size:g}" '
            f'font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
        )

    def line(self, commands: str) -> None:
        """Draws a line along SVG path commands."""
        self.elements.append(
            f'<path d="{commands}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'
        )

    def head(self, x: float, y: float, dx: float = 0.0) -> None:
        """Draws an arrow head that points at (x, y): down, or sideways along ``dx`` = ±1."""
        ends = f"{x - 6 * dx:.1f} {y - 4:.1f} L {x - 6 * dx:.1f} {y + 4:.1f}"
        if not dx:
            ends = f"{x - 4:.1f} {y - 6:.1f} L {x + 4:.1f} {y - 6:.1f}"
        self.elements.append(f'<path d="M {x:.1f} {y:.1f} L {ends} Z" fill="{_LINE}"/>')

    def arrow(self, x: float, y0: float, y1: float, *, has_head: bool = True) -> None:
        """Draws a straight line down."""
        self.line(f"M {x:.1f} {y0:.1f} V {y1 - 4 if has_head else y1:.1f}")
        if has_head:
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


class PicturePart:
    """One part of a picture, entered at its top and left at its bottom, on its line."""

    left: float
    right: float
    height: float
    is_solid: bool = True
    """Whether an arrow ends at its top; through the top of the others the line goes on."""

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        raise NotImplementedError


class Pill(PicturePart):
    """Where the signal enters and leaves the network."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.left = self.right = text_width(label, 12) / 2 + 14
        self.height = 24.0

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.box(
            x - self.left, y, 2 * self.left, self.height, edge="#888888", fill="#FFFFFF", radius=12
        )
        canvas.text(x, y + self.height / 2, self.label, 12, fill="#444444")


class Box(PicturePart):
    """A module without submodules."""

    def __init__(self, title: str, arguments: Sequence[str], family: str) -> None:
        self.title, self.family = title, family
        self.details = _wrapped(arguments)
        widths = [text_width(title, _TITLE_SIZE, is_bold=True)]
        widths += [text_width(line, DETAIL_SIZE) for line in self.details]
        self.left = self.right = max(70.0, max(widths) / 2 + 14)
        self.height = 30.0 + 15 * len(self.details) + (4 if self.details else 0)

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        edge, tint = _COLOURS[self.family]
        canvas.box(x - self.left, y, 2 * self.left, self.height, edge=edge, fill=tint)
        canvas.text(x, y + 16, self.title, _TITLE_SIZE, weight=600)
        for row, line in enumerate(self.details):
            canvas.text(x, y + 34 + 15 * row, line, DETAIL_SIZE, fill="#333333")


class Series(PicturePart):
    """Parts one after another; without any, a plain line."""

    def __init__(self, parts: Sequence[PicturePart]) -> None:
        self.parts = parts
        self.is_solid = not parts or parts[0].is_solid
        boxes = [part for part in parts if isinstance(part, Box)]
        for box in boxes:  # of equal width: a tidy column
            box.left = box.right = max(each.left for each in boxes)
        self.left = max((part.left for part in parts), default=20.0)
        self.right = max((part.right for part in parts), default=20.0)
        self.height = sum(part.height for part in parts) + GAP * max(0, len(parts) - 1)

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        for position, part in enumerate(self.parts):
            if position:
                canvas.arrow(x, y, y + GAP, has_head=part.is_solid)
                y += GAP
            part.paint(canvas, x, y)
            y += part.height


class MergeSign(PicturePart):
    """The sign where branches meet."""

    def __init__(self, sign: str) -> None:
        self.sign = sign
        self.left = self.right = 11.0 if len(sign) == 1 else text_width(sign, 11) / 2 + 9
        self.height = 22.0

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.box(
            x - self.left, y, 2 * self.left, self.height, edge=_LINE, fill="#FFFFFF", radius=11
        )
        size = 15 if len(self.sign) == 1 else 11
        canvas.text(x, y + self.height / 2, self.sign, size, fill="#222222")


class Skip(PicturePart):
    """A block whose input is added to its output."""

    is_solid = False

    def __init__(self, body: Series) -> None:
        self.body, self.merge = body, MergeSign("+")
        self.left, self.right = body.left, max(body.right, self.merge.right) + 30
        self.height = _BUS + body.height + GAP + self.merge.height

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        end = y + self.height - self.merge.height
        beside, middle, corner = x + self.right - 10, end + self.merge.height / 2, _CORNER
        canvas.line(
            f"M {x:.1f} {y + 8:.1f} H {beside - corner:.1f} "
            f"Q {beside:.1f} {y + 8:.1f} {beside:.1f} {y + 8 + corner:.1f} "
            f"V {middle - corner:.1f} Q {beside:.1f} {middle:.1f} "
            f"{beside - corner:.1f} {middle:.1f} H {x + self.merge.right + 4:.1f}"
        )
        canvas.head(x + self.merge.right, middle, -1)
        if self.body.parts:
            canvas.arrow(x, y, y + _BUS, has_head=self.body.is_solid)
            self.body.paint(canvas, x, y + _BUS)
            y += _BUS + self.body.height
        canvas.arrow(x, y, end)
        self.merge.paint(canvas, x, end)


class Branches(PicturePart):
    """Blocks side by side on one input, merged."""

    is_solid = False

    def __init__(self, branches: Sequence[Series], sign: str) -> None:
        self.branches, self.merge = branches, MergeSign(sign)
        width = sum(branch.left + branch.right for branch in branches)
        self.left = self.right = (width + _PAD * (len(branches) - 1)) / 2
        self.inner = max(branch.height for branch in branches)
        self.height = 2 * _BUS + self.inner + self.merge.height

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        left, top, end = x - self.left, y + _BUS, y + _BUS + self.inner + _BUS
        for branch in self.branches:
            axis = left + branch.left
            bottom = top + branch.height
            canvas.line(_bent(x, y, axis, y + 8, top - (4 if branch.parts else 0)))
            if branch.parts:
                canvas.head(axis, top)
            branch.paint(canvas, axis, top)
            canvas.line(_bent(axis, bottom, x, end - 14, end - 4))
            left += branch.left + branch.right + _PAD
        canvas.head(x, end)
        self.merge.paint(canvas, x, end)


class Frame(PicturePart):
    """A block in a frame: repeated in series, or the inside of a module of the user's own."""

    is_solid = False

    def __init__(self, body: Series, label: str, *, is_left: bool = False) -> None:
        self.body, self.label, self.is_left = body, label, is_left
        label_width = text_width(label, 12, is_bold=True) + 18
        self.left = self.right = max(max(body.left, body.right) + _PAD, label_width / 2 + 16)
        self.height = body.height + 2 * GAP

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
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
        canvas.arrow(x, y, y + GAP, has_head=self.body.is_solid)
        self.body.paint(canvas, x, y + GAP)
        canvas.line(f"M {x:.1f} {y + self.height - GAP:.1f} V {y + self.height:.1f}")
        width = text_width(self.label, 12, is_bold=True) + 18
        left = x - self.left + 10 if self.is_left else x + self.right - 10 - width
        canvas.box(left, y - 10, width, 20, edge="#444444", fill="#444444", radius=10)
        canvas.text(left + width / 2, y, self.label, 12, weight=600, fill="#FFFFFF")


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


def _wrapped(arguments: Sequence[str]) -> list[str]:
    """Arguments on lines of at most ``_DETAIL_CHARS`` characters, none of them broken."""
    lines: list[str] = []
    for argument in arguments:
        if lines and len(lines[-1]) + len(argument) + 2 <= _DETAIL_CHARS:
            lines[-1] += f", {argument}"
        else:
            lines.append(argument)
    return lines


def text_width(text: str, size: float, *, is_bold: bool = False) -> float:
    """Returns how wide a text will be, about: fonts differ, so it is rounded up."""
    narrow, wide = sum(text.count(c) for c in "ijl.,:;|!'()[]ft "), sum(map(text.count, "mwMW@"))
    return size * (0.6 * len(text) - 0.22 * narrow + 0.25 * wide) * (1.06 if is_bold else 1.0)
