"""The part of a picture that shows a cell: numbered nodes in a column, operations between them."""

from collections.abc import Mapping

from nasrunner.spaces.pictures.picture import GAP, Canvas, MergeSign, PicturePart, Series

_BUS, _PAD, _CORNER, _SIDE = 16.0, 18.0, 8.0, 40.0

Edge = tuple[int, int]
"""(source, target): numbers of two nodes, the smaller one first."""


class GraphPicture(PicturePart):
    """Nodes from top to bottom; edges to the next node between them, the longer ones beside.

    Args:
        num_nodes: how many, >= 2.
        edges: what stands on each edge that is drawn.
        last: what stands in the last node instead of its number; empty: that.
    """

    def __init__(self, num_nodes: int, edges: Mapping[Edge, Series], last: str = "") -> None:
        labels = [*map(str, range(num_nodes - 1)), last or str(num_nodes - 1)]
        self.nodes = [MergeSign(label) for label in labels]
        self.edges = edges
        self.tops = self._levels()
        self.height = self.tops[-1] + self.nodes[-1].height
        self.axes, self.left, self.right = self._spread()

    def _levels(self) -> list[float]:
        """The height at which each node stands: below all that leads to it."""
        tops = [0.0]
        for target in range(1, len(self.nodes)):
            tops.append(tops[-1] + self.nodes[target - 1].height + GAP)
            for (source, end), series in self.edges.items():
                if end == target:
                    room = 2 * _BUS + series.height if series.parts else GAP
                    tops[target] = max(tops[target], tops[source] + self.nodes[0].height + room)
        return tops

    def _spread(self) -> tuple[dict[Edge, float], float, float]:
        """Where each edge runs beside the line through the nodes, and how far all reaches."""
        lanes: dict[int, list[Edge]] = {0: []}  # 1, 2, … to the right, -1, -2, … to the left
        for edge in sorted(self.edges, key=lambda edge: (edge[1] - edge[0], edge)):
            lane = 0 if edge[1] - edge[0] == 1 else self._free_lane(lanes, edge)
            lanes.setdefault(lane, []).append(edge)
        axes, reach = {}, {}
        for side in (1, -1):
            edge_of_last = max([self.nodes[0].right, *self._halves(lanes[0], side)])
            for lane in range(side, side * len(lanes), side):
                if lane not in lanes:
                    break
                axis = edge_of_last + _PAD + max(self._halves(lanes[lane], -side))
                axes.update(dict.fromkeys(lanes[lane], side * axis))
                edge_of_last = axis + max(self._halves(lanes[lane], side))
            reach[side] = max(_SIDE, edge_of_last)
        axes.update(dict.fromkeys(lanes[0], 0.0))
        return axes, reach[-1], reach[1]

    def _free_lane(self, lanes: Mapping[int, list[Edge]], edge: Edge) -> int:
        """The nearest lane in which an edge overlaps no other; of two, on the narrower side."""
        source, target = edge
        widths = {
            side: sum(max(self._halves(lanes[lane], side)) for lane in lanes if lane * side > 0)
            for side in (1, -1)
        }
        distance = 0
        while True:
            distance += 1
            for side in sorted(widths, key=lambda side: widths[side]):
                taken = lanes.get(side * distance, [])
                if all(target <= start or end <= source for start, end in taken):
                    return side * distance

    def _halves(self, edges: list[Edge], side: int) -> list[float]:
        """How far each of these reaches to one side of its own line."""
        shown = [self.edges[edge] for edge in edges]
        return [
            (series.right if side > 0 else series.left) if series.parts else 4.0 for series in shown
        ]

    def paint(self, canvas: Canvas, x: float, y: float) -> None:
        for edge, series in self.edges.items():
            self._paint_edge(canvas, x, y, edge, series)
        for node, top in zip(self.nodes, self.tops, strict=True):
            node.paint(canvas, x, y + top)

    def _paint_edge(self, canvas: Canvas, x: float, y: float, edge: Edge, series: Series) -> None:
        size, axis = self.nodes[0].height, self.axes[edge]
        start, end = (y + self.tops[node] for node in edge)
        top = (start + size + end - series.height) / 2
        if not axis:
            canvas.arrow(x, start + size, top if series.parts else end)
            series.paint(canvas, x, top)
            if series.parts:
                canvas.arrow(x, top + series.height, end)
            return
        side = 1 if axis > 0 else -1
        near, corner = x + side * self.nodes[0].right, _CORNER
        start, end = start + 0.7 * size, end + 0.3 * size  # leaving lines and entering ones apart
        beside = x + axis
        canvas.line(
            f"M {near:.1f} {start:.1f} H {beside - side * corner:.1f} Q {beside:.1f} {start:.1f} "
            f"{beside:.1f} {start + corner:.1f} V {top - 4 if series.parts else end - corner:.1f}"
        )
        if series.parts:
            canvas.head(beside, top)
            series.paint(canvas, beside, top)
            canvas.line(f"M {beside:.1f} {top + series.height:.1f} V {end - corner:.1f}")
        canvas.line(
            f"M {beside:.1f} {end - corner:.1f} Q {beside:.1f} {end:.1f} "
            f"{beside - side * corner:.1f} {end:.1f} H {near + 4 * side:.1f}"
        )
        canvas.head(near, end, -side)
