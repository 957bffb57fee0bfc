"""A graph as text: a line a node, in the order of computation."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import shape as shapes
from .evaluate import evaluate
from .gradient import grad
from .tensor import Array, Tensor
from .walk import toposort


def listing(outputs: Mapping[str, Tensor], updates: Mapping[Tensor, Tensor]) -> str:
    """One line a node; → names an output, and ⇒ the leaf that an update changes."""
    order = toposort([*outputs.values(), *updates.values(), *updates])
    names = number(order)
    notes: dict[Tensor, list[str]] = {node: [] for node in order}
    for name, output in outputs.items():
        notes[output].append(f"→ {name}")
    for leaf, value in updates.items():
        notes[value].append(f"⇒ {names[leaf]}")
    rows = [
        [names[node], label(node, names), shapes.text(node.shape), " ".join(notes[node])]
        for node in order
        if not is_number(node)
    ]
    return align(rows)


def show(output: Tensor, given: Mapping[Tensor, Any]) -> str:
    """One line a node: its value and, where `output` is a scalar, ∂output/∂node.

    >>> import chainrule as cr
    >>> apple, count = cr.parameter(100.0, name="apple"), cr.parameter(2.0, name="count")
    >>> print((1.1 * (apple * count)).show())
    node  computes         value  gradient
    %0    parameter apple  100    2.2
    %1    parameter count  2      110
    %2    %0 × %1          200    1.1
    %3    1.1 × %2         220    1
    """
    order = toposort([output])
    values, gradients = values_and_gradients(output, order, given)
    names = number(order)
    rows = [["node", "computes", "value", "gradient" if gradients else ""]]
    for node in order:
        if not is_number(node):
            gradient = brief(gradients[node]) if node in gradients else ""
            rows.append([names[node], label(node, names), brief(values[node]), gradient])
    return align(rows)


def is_number(node: Tensor) -> bool:
    """Whether a node is a number of the formula, which is best written where it is used."""
    return node.op.name == "constant" and node.shape == ()


def number(order: Sequence[Tensor]) -> dict[Tensor, str]:
    """%0, %1, … for the nodes; a number of the formula is called by its value."""
    count = itertools.count()
    return {
        node: brief(node.attrs["value"]) if is_number(node) else f"%{next(count)}" for node in order
    }


def values_and_gradients(
    output: Tensor, order: Sequence[Tensor], given: Mapping[Tensor, Any]
) -> tuple[dict[Tensor, Array], dict[Tensor, Array]]:
    """The value of every node and, where `output` is a scalar, its gradient where one flows."""
    values = dict(zip(order, evaluate(order, given), strict=True))
    if output.shape != () or output.dtype != "float":
        return values, {}
    flowing = [node for node in order if node.dtype == "float" and _flows(node)]
    return values, dict(zip(flowing, evaluate(grad(output, flowing), given), strict=True))


def _flows(node: Tensor) -> bool:
    return node.op.vjp is not None or node.op.name in ("parameter", "input")


def label(node: Tensor, names: Mapping[Tensor, str]) -> str:
    """What a node computes, e.g. `%0 × %1` or `relu(%3)`."""
    operands = [names[x] for x in node.inputs]
    symbol = node.op.symbol or node.op.name
    if not operands:
        return f"{symbol} {node.name}".strip()
    if len(operands) == 2 and not symbol.isidentifier():
        return f" {symbol} ".join(operands)
    attrs = [f"{key}={value}" for key, value in node.attrs.items()]
    return f"{symbol}({', '.join(operands + attrs)})"


def brief(value: Array) -> str:
    """A number in full, a small array as a list, a large one by its shape, mean and spread."""
    if value.ndim == 0:
        return f"{value[()]:.6g}" if value.dtype.kind == "f" else str(value[()])
    if value.size <= 4:
        written = np.array2string(value, separator=", ", formatter={"float": "{:.4g}".format})
        return re.sub(r"\s+", " ", written)
    size = shapes.text(value.shape)
    if value.dtype.kind != "f":
        return size
    return f"{size} mean {value.mean():.4g}, std {value.std():.4g}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
