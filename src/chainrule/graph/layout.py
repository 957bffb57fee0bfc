"""Where the nodes of a drawing lie: columns by depth, edges through the gaps between nodes.

The method of Sugiyama, Tagawa, Toda 1981: layers, ordering by barycentres, coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .tensor import Tensor

SWEEPS = 12  # orders settle after about 5 on graphs that fit a page


@dataclass(eq=False)
class Box:
    """A node, or a bend of an edge that passes a column (then without a tensor)."""

    tensor: Tensor | None
    column: int
    y: float = 0.0
    before: list["Box"] = field(default_factory=list)
    after: list["Box"] = field(default_factory=list)

    @property
    def room(self) -> float:
        """The height it takes, in rows."""
        return 1.0 if self.tensor is not None else 0.45


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns of boxes from left to right, and each edge as the boxes that it goes through."""

    columns: list[list[Box]]
    edges: list[list[Box]]


def lay_out(order: Sequence[Tensor]) -> Layout:
    """Place nodes that are given in the order of computation; y is counted in rows."""
    columns_of = _depths(order)
    columns: list[list[Box]] = [[] for _ in range(max(columns_of.values()) + 1)]
    boxes = {node: Box(node, columns_of[node]) for node in order}
    edges = []
    for node in order:
        columns[columns_of[node]].append(boxes[node])
        for x in node.inputs:
            bends = [Box(None, i) for i in range(columns_of[x] + 1, columns_of[node])]
            for bend in bends:
                columns[bend.column].append(bend)
            edge = [boxes[x], *bends, boxes[node]]
            for left, right in pairwise(edge):
                left.after.append(right)
                right.before.append(left)
            edges.append(edge)
    for column in columns:
        _spread(column)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        for column in columns if forwards else columns[::-1]:
            for box in column:
                neighbours = box.before if forwards else box.after
                if neighbours:
                    box.y = sum(other.y for other in neighbours) / len(neighbours)
            column.sort(key=lambda box: box.y)
            _spread(column)
    top = min(box.y for column in columns for box in column)
    for column in columns:
        for box in column:
            box.y -= top
    return Layout(columns, edges)


def _depths(order: Sequence[Tensor]) -> Mapping[Tensor, int]:
    """Each node right of its inputs; a leaf right before the first node that uses it."""
    depth: dict[Tensor, int] = {}
    for node in order:
        depth[node] = max((depth[x] + 1 for x in node.inputs), default=0)
    users: dict[Tensor, int] = {}
    for node in order:
        for x in node.inputs:
            users[x] = min(users.get(x, depth[node]), depth[node])
    return {x: users.get(x, 1) - 1 if not x.inputs else depth[x] for x in order}


def _spread(column: list[Box]) -> None:
    """Push boxes apart until none overlap, and keep their middle where it was."""
    if not column:
        return
    wanted = sum(box.y for box in column) / len(column)
    for above, box in pairwise(column):
        box.y = max(box.y, above.y + (above.room + box.room) / 2)
    shift = wanted - sum(box.y for box in column) / len(column)
    for box in column:
        box.y += shift
