"""The part of a picture that shows layers with skip connections: a column with lines beside it."""

from collections.abc import Sequence

from nasrunner.spaces.pictures.picture import (
    DETAIL_SIZE,
    GAP,
    Canvas,
    MergeSign,
    PicturePart,
    Series,
)

_PAD, _LANE, _CORNER, _OUT, _NUMBER = 14.0, 12.0, 6.0, 8.0, 26.0
_LINE = "#555555"


class SkipColumn(PicturePart):
    """Numbered layers from top to bottom.

    A layer that takes the one before it hangs on it by an arrow. Every other output that is taken
    runs down a line of its own, to the right of the layers, as far as the last that takes it; a
    dot marks where a line is joined, and lines without a dot only cross.

    Args:
        layers: layer 1, 2, …
        sources: the numbers of what each of them takes, and last of what goes out; 0 is what
            comes in. The last layer always goes out.
    """

    is_solid = False

    def __init__(self, layers: Sequence[Series], sources: Sequence[Sequence[int]]) -> None:
        self.layers = layers
        self.sources = dict(enumerate(sources, start=1))
        self.ends = self._ends()
        self.lanes = self._lanes()
        self.merge = MergeSign("concat")
        self.bottoms, self.joints, self.tops = [0.0], dict[int, float](), dict[int, float]()
        self.height = self._stack()
        self.edge = max([self.merge.right, *(layer.right for layer in layers)])
        self.left = max([self.merge.left, *(layer.left for layer in layers)]) + _NUMBER
        num_lanes = 1 + max(self.lanes.values(), default=-1)
        self.right = self.edge + (_PAD + _LANE * num_lanes if num_lanes else 0)

    def _ends(self) -> dict[int, int]:
        """Output that runs beside the layers -> the last that takes it."""
        return {
            source: target
            for target, sources in self.sources.items()
            for source in sorted(sources)
            if source != target - 1
        }

    def _lanes(self) -> dict[int, int]:
        """Output that runs beside the layers -> its line, counted from the layers outwards."""
        lanes: dict[int, int] = {}
        for source in sorted(self.ends, key=lambda source: (self.ends[source] - source, source)):
            taken = {
                lane
                for other, lane in lanes.items()
                if other < self.ends[source] and source < self.ends[other]
            }
            lanes[source] = min(set(range(len(lanes) + 1)) - taken)
        return lanes

    def _stack(self) -> float:
        """Finds the height of every layer and of every joint of inputs; returns where all ends."""
        for target, sources in self.sources.items():
            y = self.bottoms[-1]
            if len(sources) > 1:
                self.joints[target] = y + GAP + self.merge.height / 2
                y += GAP + self.merge.height
            elif sources[0] != target - 1:
                self.joints[target] = y = y + GAP
            if target > len(self.layers):
                return y
            self.tops[target] = y + GAP
            self.bottoms.append(self.tops[target] + self.layers[target - 1].height)
        raise AssertionError("sources end with what goes out")

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        for source in self.lanes:
            self._paint_line(canvas, x, y, source)
        for target in self.sources:
            self._paint_inputs(canvas, x, y, target)
        for number, layer in enumerate(self.layers, start=1):
            top = y + self.tops[number]
            layer.paint(canvas, x, top)
            canvas.text(
                x - self.left + _NUMBER / 3,
                top + layer.height / 2,
                str(number),
                DETAIL_SIZE,
                weight=600,
                fill=_LINE,
            )

    def _lane_x(self, x: float, source: int) -> float:
        return x + self.edge + _PAD + _LANE * self.lanes[source]

    def _paint_line(self, canvas: Canvas, x: float, y: float, source: int) -> None:
        """From an output to its line, and down to the last joint on it."""
        start, beside = y + self.bottoms[source], self._lane_x(x, source)
        level, end = start + _OUT, y + self.joints[self.ends[source]]
        if source in self.sources[source + 1]:
            canvas.line(f"M {x:.1f} {level:.1f} H {beside - _CORNER:.1f}")
            self._dot(canvas, x, level)
        else:
            canvas.line(
                f"M {x:.1f} {start:.1f} V {level - _CORNER:.1f} "
                f"Q {x:.1f} {level:.1f} {x + _CORNER:.1f} {level:.1f} H {beside - _CORNER:.1f}"
            )
        canvas.line(
            f"M {beside - _CORNER:.1f} {level:.1f} Q {beside:.1f} {level:.1f} "
            f"{beside:.1f} {level + _CORNER:.1f} V {end - _CORNER:.1f} "
            f"Q {beside:.1f} {end:.1f} {beside - _CORNER:.1f} {end:.1f}"
        )

    def _paint_inputs(self, canvas: Canvas, x: float, y: float, target: int) -> None:
        """What a layer takes, as far as its top; for what goes out, as far as the sign."""
        sources, is_last = self.sources[target], target > len(self.layers)
        above, joint = y + self.bottoms[target - 1], self.joints.get(target)
        top = y + self.tops.get(target, self.height)
        has_head = not is_last and self.layers[target - 1].is_solid
        if joint is None:
            if not is_last:
                canvas.arrow(x, above, top, has_head=has_head)
            return
        joint += y
        lanes = {source: self._lane_x(x, source) for source in sources if source != target - 1}
        farthest = max(lanes.values(), default=x)
        is_alone = len(sources) == 1
        near = x + (_CORNER if is_alone else self.merge.right)
        if lanes:
            canvas.line(f"M {farthest - _CORNER:.1f} {joint:.1f} H {near:.1f}")
        for source, beside in lanes.items():
            if self.ends[source] > target:
                canvas.line(f"M {beside:.1f} {joint:.1f} H {beside - _CORNER:.1f}")
            if self.ends[source] > target or beside < farthest:
                self._dot(canvas, beside, joint)
        if is_alone:
            canvas.line(
                f"M {near:.1f} {joint:.1f} Q {x:.1f} {joint:.1f} {x:.1f} {joint + _CORNER:.1f}"
            )
            canvas.arrow(x, joint + _CORNER, top, has_head=has_head)
            return
        half = self.merge.height / 2
        if lanes:
            canvas.head(near, joint, -1)
        if target - 1 in sources:
            canvas.arrow(x, above, joint - half)
        self.merge.paint(canvas, x, joint - half)
        if not is_last:
            canvas.arrow(x, joint + half, top, has_head=has_head)

    def _dot(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x - 1.5, y - 1.5, 3, 3, edge=_LINE, fill=_LINE, radius=1.5)
