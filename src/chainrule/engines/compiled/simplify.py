"""Rewriting a graph into fewer and simpler nodes that mean the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...graph import ops
from ...graph import shape as shapes
from ...graph.leaves import STATE_OPS, input_op
from ...graph.tensor import Op, Tensor, constant_op
from ...graph.walk import toposort


def simplify(outputs: Sequence[Tensor]) -> list[Tensor]:
    """The same values from a graph in which each rule has been applied and no node is repeated.

    >>> from chainrule import parameter
    >>> x = parameter([1.0, 2.0])
    >>> a, b = simplify([x * 1.0 + 2.0, x + 2.0])
    >>> a is b
    True
    """
    done: dict[Tensor, Tensor] = {}
    first: dict[Any, Tensor] = {}
    rewritten: dict[Tensor, Tensor | None] = {}
    uniform: dict[Tensor, bool] = {}
    pending = list(outputs)
    while pending:
        root = pending[-1]
        for node in toposort([root], known=done):
            inputs = tuple(done[x] for x in node.inputs)
            same = node if inputs == node.inputs else _with_inputs(node, inputs)
            if node not in rewritten:
                rewritten[node] = _better(same, uniform)
            better = rewritten[node]
            if better is None:
                done[node] = first.setdefault(_key(same), same)
                done[done[node]] = done[node]
            elif better in done:
                done[node] = done[better]
            else:
                # What the rule built is simplified first, then this node is met again.
                pending.append(better)
                break
        else:
            pending.pop()
    return [done[node] for node in outputs]


def _with_inputs(node: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
    return Tensor(node.op, inputs, node.attrs, node.shape, node.dtype)


def _key(node: Tensor) -> Any:
    """What nodes that compute the same have in common; other leaves are themselves."""
    if node.op is constant_op:
        return node.dtype, node.shape, node.attrs["value"].tobytes()
    computed = node.inputs or node.op is ops.rows
    return (node.op, node.inputs, tuple(node.attrs.items())) if computed else node


def _better(node: Tensor, uniform: dict[Tensor, bool]) -> Tensor | None:
    """What to compute instead of a node, if a rule says so; `uniform` tells of scalars so far."""
    if node.op.elementwise:
        inputs = _without_stretching(node)
        if inputs != node.inputs:
            return node.op(*inputs, **node.attrs)
    if node.op is ops.divide:
        x, y = node.inputs
        return _divide(x, y, uniform)
    return RULES[node.op](*node.inputs, **node.attrs) if node.op in RULES else None


def _without_stretching(node: Tensor) -> tuple[Tensor, ...]:
    """The inputs, without a broadcast that the op itself does."""
    inputs = node.inputs
    for i, x in enumerate(inputs):
        if x.op is ops.broadcast_to:
            bare = (*inputs[:i], x.inputs[0], *inputs[i + 1 :])
            if shapes.broadcast(node.op.name, [x.shape for x in bare]) == node.shape:
                inputs = bare
    return inputs


def _is(node: Tensor, value: float) -> bool:
    return node.op is constant_op and node.shape == () and node.attrs["value"] == value


def _unless(value: float) -> Callable[[Tensor, Tensor], Tensor | None]:
    """The rule that x ∘ value is x."""
    return lambda x, y: x if _is(y, value) and x.shape != () else None


def _multiply(x: Tensor, y: Tensor) -> Tensor | None:
    return x if _is(y, 1.0) and x.shape != () else y if _is(x, 1.0) and y.shape != () else None


def _divide(x: Tensor, y: Tensor, uniform: dict[Tensor, bool]) -> Tensor | None:
    """By a number of the step: it is inverted once, in float64, instead of at each element."""
    if x.shape == ():
        return None
    return x if _is(y, 1.0) else x * ops.reciprocal(y) if _is_uniform(y, uniform) else None


def _is_uniform(node: Tensor, known: dict[Tensor, bool]) -> bool:
    """Whether a scalar depends on the step's numbers alone."""
    for x in toposort([node], known):
        is_number = x.shape == () and x.op not in STATE_OPS
        known[x] = is_number and (
            not x.inputs or (x.op.elementwise and all(known[y] for y in x.inputs))
        )
    return known[node]


def _power(x: Tensor, y: Tensor) -> Tensor | None:
    return x * x if _is(y, 2.0) else x if _is(y, 1.0) and x.shape != () else None


def _logsumexp(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    top = ops.max(x, axes=axes)
    return top + ops.log(ops.sum(ops.exp(x - top), axes=axes))


def _reduction(op: Op) -> Callable[..., Tensor | None]:
    """The rule that over a length of 1 there is nothing to reduce."""

    def rule(x: Tensor, axes: tuple[int, ...]) -> Tensor | None:
        longer = tuple(axis for axis in axes if x.shape[axis] != 1)
        return None if longer == axes else op(x, axes=longer) if longer else x

    return rule


def _matmul(a: Tensor, b: Tensor) -> Tensor | None:
    """A product with a single row or column is elementwise work, and a sum; data that is scaled is
    scaled after the product, where there are fewer numbers, and then lies in memory as it is."""
    if b.shape[1] == 1 and a.op is ops.transpose:
        return ops.transpose(ops.sum(a.inputs[0] * b, axes=(0,)))
    if a.shape[1] == 1:
        return a * b
    if b.shape[1] == 1:
        return ops.sum(a * ops.transpose(b), axes=(1,))
    if a.op is ops.transpose and (parts := _scaled_data(a.inputs[0])):
        return (ops.transpose(parts[0]) @ b) * parts[1]
    if parts := _scaled_data(a):
        return (parts[0] @ b) * parts[1]
    return None


def _scaled_data(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """x and c, where a value is x·c of rows of data and a constant number."""
    pairs = (x.inputs, x.inputs[::-1]) if x.op is ops.multiply else ()
    found = ((x, c) for x, c in pairs if x.op is input_op and c.op is constant_op and not c.shape)
    return next(found, None)


RULES: dict[Op, Callable[..., Tensor | None]] = {
    ops.multiply: _multiply,
    ops.add: _unless(0.0),
    ops.subtract: _unless(0.0),
    ops.power: _power,
    ops.logsumexp: _logsumexp,
    ops.matmul: _matmul,
    ops.sum: _reduction(ops.sum),
    ops.max: _reduction(ops.max),
    ops.stop_gradient: lambda x: x,
    ops.transpose: lambda x: x.inputs[0] if x.op is ops.transpose else None,
    ops.expand_dims: lambda x, axes: (
        x.inputs[0] if x.op is ops.squeeze and x.attrs["axes"] == axes else None
    ),
    ops.squeeze: lambda x, axes: (
        x.inputs[0] if x.op is ops.expand_dims and x.attrs["axes"] == axes else None
    ),
}
"""By op: what to compute instead, from the inputs and attributes; None for nothing better."""
