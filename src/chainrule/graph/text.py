"""A graph as text: a line a node, in the order of computation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import shape as shapes
from .evaluate import evaluate
from .gradient import grad
from .tensor import Array, Tensor
from .walk import toposort


def listing(outputs: Sequence[Tensor], notes: Mapping[Tensor, str]) -> str:
    """One line a node: its number, what it computes from which nodes, its shape, and a note."""
    order = toposort(outputs)
    number = {node: f"%{i}" for i, node in enumerate(order)}
    rows = [
        [number[node], label(node, number), shapes.text(node.shape), notes.get(node, "")]
        for node in order
    ]
    return align(rows)


def show(output: Tensor, given: Mapping[Tensor, Any]) -> str:
    """One line a node: its value and, where `output` is a scalar, ∂output/∂node.

    >>> import chainrule as cr
    >>> apple, count = cr.parameter(100.0, name="apple"), cr.parameter(2.0, name="count")
    >>> print((apple * count).show())
    node         computes   value  gradient
    %0 apple     parameter  100    2
    %1 count     parameter  2      100
    %2           %0 × %1    200    1
    """
    order = toposort([output])
    values, gradients = values_and_gradients(output, order, given)
    number = {node: f"%{i}" for i, node in enumerate(order)}
    width = max(len(name) for name in number.values())
    head = ["node", "computes", "value"] + (["gradient"] if gradients else [])
    rows = [head]
    for node in order:
        row = [f"{number[node]:{width}} {node.name}", label(node, number), brief(values[node])]
        rows.append([*row, brief(gradients[node]) if node in gradients else ""])
    return align(rows)


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
        return symbol
    if len(operands) == 2 and not symbol.isalnum():
        return f" {symbol} ".join(operands)
    attrs = ", ".join(f"{key}={value}" for key, value in node.attrs.items())
    return f"{symbol}({', '.join([*operands, attrs] if attrs else operands)})"


def brief(value: Array) -> str:
    """A number in full, a small array as a list, a large one by its shape, mean and spread."""
    if value.ndim == 0:
        return f"{value[()]:.6g}" if value.dtype.kind == "f" else str(value[()])
    if value.size <= 4:
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    size = shapes.text(value.shape)
    if value.dtype.kind != "f":
        return size
    return f"{size} mean {value.mean():.4g}, std {value.std():.4g}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

