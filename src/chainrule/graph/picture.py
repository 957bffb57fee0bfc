"""A graph as an SVG picture, as in the book: values above the arrows, gradients below them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from ..files import write_whole
from .layout import Box, lay_out
from .tensor import Tensor
from .text import brief, is_number, values_and_gradients
from .walk import toposort

CHARACTER, ROW, MARGIN, GAP = 7.4, 74, 28, 46  # pixels: a letter's width, a row, edges, arrows
HALF = 19  # half the height of a node
LONGEST_LABEL = 34  # letters: one long array must not stretch the page

STYLE = """
  svg { background: #ffffff; font: 12px ui-monospace, Menlo, Consolas, monospace }
  .edge { fill: none; stroke: #94a3b8; stroke-width: 1.4 }
  .tip { fill: #94a3b8 }
  .node { fill: #f8fafc; stroke: #475569; stroke-width: 1.4 }
  .leaf { fill: #eef6ff; stroke: #3b82f6 }
  .name { fill: #0f172a; text-anchor: middle; font-size: 13px }
  .value { fill: #0f172a }
  .gradient { fill: #c2410c }
  @media (prefers-color-scheme: dark) {
    svg { background: #0f172a }
    .edge { stroke: #64748b } .tip { fill: #64748b }
    .node { fill: #1e293b; stroke: #94a3b8 }
    .leaf { fill: #172554; stroke: #60a5fa }
    .name, .value { fill: #e2e8f0 } .gradient { fill: #fb923c }
  }
"""


def draw(output: Tensor, path: str | os.PathLike[str], given: Mapping[Tensor, Any]) -> None:
    """Write the picture of the graph below `output`."""
    write_whole(path, svg(output, given).encode())


def svg(output: Tensor, given: Mapping[Tensor, Any]) -> str:
    """The picture as text."""
    order = toposort([output])
    values, gradients = values_and_gradients(output, order, given)
    labels = {
        node: [] if is_number(node) else [("value", _cut(brief(values[node])))] for node in order
    }
    for node, gradient in gradients.items():
        labels[node].append(("gradient", _cut(brief(gradient))))
    layout = lay_out(order)
    middles, rights, x = [], [], float(MARGIN)
    for column in layout.columns:
        nodes = [box.tensor for box in column if box.tensor is not None]
        width = max(map(_width, nodes), default=0.0)
        letters = max((len(text) for node in nodes for _, text in labels[node]), default=0)
        middles.append(x + width / 2)
        x += width + letters * CHARACTER
        rights.append(x)
        x += GAP
    ends = [place for node in order for place in _ends(len(node.inputs))]
    height = max(box.y for column in layout.columns for box in column) * ROW + 2 * (HALF + MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x:.0f} {height:.0f}" '
        f'width="{x:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(repr(output))}</title><style>{STYLE}</style>",
        *(_edge(edge, middles, rights, end) for edge, end in zip(layout.edges, ends, strict=True)),
        *(
            _node(box.tensor, middles[box.column], _y(box), labels[box.tensor])
            for column in layout.columns
            for box in column
            if box.tensor is not None
        ),
    ]
    if output.shape == ():
        start, y = middles[-1] + _width(output) / 2, _y(layout.columns[-1][0])
        parts.append(f'<path class="edge" d="M {start:.1f} {y:.1f} H {x - 14:.1f}"/>')
        parts.append(_tip(x - 14, y))
    return "\n".join([*parts, "</svg>\n"])


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _title(node: Tensor) -> str:
    """What stands in a node: a leaf's name, or an op's symbol."""
    if is_number(node):
        return brief(node.attrs["value"])
    return node.name or node.op.symbol or node.op.name


def _width(node: Tensor | None) -> float:
    return 0.0 if node is None else max(2.0 * HALF, len(_title(node)) * CHARACTER + 22)


def _y(box: Box) -> float:
    return box.y * ROW + HALF + MARGIN


def _node(node: Tensor, x: float, y: float, labels: Sequence[tuple[str, str]]) -> str:
    width = _width(node)
    kind, radius = ("node", HALF) if node.inputs else ("node leaf", 7)
    lines = [
        f'<rect class="{kind}" x="{x - width / 2:.1f}" y="{y - HALF:.1f}" width="{width:.1f}" '
        f'height="{2 * HALF}" rx="{radius}"/>',
        f'<text class="name" x="{x:.1f}" y="{y + 4:.1f}">{escape(_title(node))}</text>',
    ]
    for (style, text), dy in zip(labels, (-7, 17), strict=False):
        place = f'x="{x + width / 2 + 7:.1f}" y="{y + dy:.1f}"'
        lines.append(f'<text class="{style}" {place}>{escape(text)}</text>')
    return "\n".join(lines)


def _ends(count: int) -> list[float]:
    """How far from its middle a node's arrows end, so that both of x × x are seen."""
    return [7.0 * (2 * i - count + 1) / max(count - 1, 1) for i in range(count)]


def _edge(
    edge: Sequence[Box], middles: Sequence[float], rights: Sequence[float], end: float
) -> str:
    """A line through the boxes: level along the labels of a column, a bend between columns."""
    points = [(middles[box.column], _y(box)) for box in edge]
    points[-1] = (points[-1][0], points[-1][1] + end)
    points[0] = (points[0][0] + _width(edge[0].tensor) / 2, points[0][1])
    points[-1] = (points[-1][0] - _width(edge[-1].tensor) / 2 - 6, points[-1][1])
    path = f"M {points[0][0]:.1f} {points[0][1]:.1f}"
    for (_, y0), (x1, y1), box in zip(points, points[1:], edge, strict=False):
        x0 = rights[box.column]
        half = (x1 - x0) / 2
        path += f" H {x0:.1f} C {x0 + half:.1f} {y0:.1f} {x1 - half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return f'<path class="edge" d="{path}"/>{_tip(*points[-1])}'


def _tip(x: float, y: float) -> str:
    return f'<path class="tip" d="M {x + 6:.1f} {y:.1f} l -8 -4.5 v 9 z"/>'
