"""The meaning of a graph: NumPy, one node at a time. This is what every engine must agree with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, ShapeError
from . import shape as shapes
from .leaves import is_leaf_array
from .ops import rows as rows_op
from .shape import Free
from .tensor import Array, Tensor
from .walk import toposort

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class Instruction:
    """Compute one node: its place among the values, its operands' places, what is done with."""

    node: Tensor
    place: int
    operands: tuple[tuple[int, bool], ...]  # (place, whether to round it to the run's precision)
    function: Callable[..., Any]
    attrs: Mapping[str, Any]
    done_with: tuple[int, ...]


class Plan:
    """A graph in the order of computation, ready to be run again and again.

    A *uniform* node depends on scalars, constants and the number of rows alone, like Adam's
    1 − β₁ᵗ. It is computed in float64 at any precision, because 1 − 0.999ᵗ in float32 is off by
    6e-5 at the first steps, and is rounded where it meets an array.
    """

    def __init__(self, outputs: Sequence[Tensor], dtype: str) -> None:
        if dtype not in PRECISIONS:
            raise InputError(f"dtype is {dtype!r}, expected {' or '.join(map(repr, PRECISIONS))}")
        self.dtype = np.dtype(dtype)
        order = toposort(outputs)
        place = {node: i for i, node in enumerate(order)}
        uniform = uniform_nodes(order)
        last_use = {x: node for node in order for x in node.inputs}
        self.size = len(order)
        self.leaves = {node: place[node] for node in order if node.op.numpy is None}
        self.outputs = [place[node] for node in outputs]
        kept = set(self.outputs)
        self.instructions = [
            Instruction(
                node,
                place[node],
                tuple(
                    (place[x], x in uniform and node not in uniform and x.dtype == "float")
                    for x in node.inputs
                ),
                node.op.numpy,
                node.attrs,
                tuple(
                    place[x]
                    for x in dict.fromkeys(node.inputs)
                    if last_use[x] is node and place[x] not in kept
                ),
            )
            for node in order
            if node.op.numpy is not None
        ]
        self.exact = {leaf for leaf in self.leaves if leaf.dtype != "float" or leaf in uniform}

    def run(self, given: Mapping[Tensor, Any], rows: Any = None) -> list[Array]:
        """The values of the outputs; `given` holds the leaves' values, of the right shapes.

        A plan of uniform nodes takes arrays too, of scalars and of `rows`: a value a step.
        """
        values: list[Any] = [None] * self.size
        round_to = self.dtype.type
        for leaf, place in self.leaves.items():
            if leaf.op is rows_op:
                values[place] = np.float64(np.nan if rows is None else rows)
            else:
                value = given[leaf] if leaf in given else leaf.attrs["value"]
                values[place] = np.asarray(value, None if leaf in self.exact else self.dtype)
        # Who asked looks for values that are not finite; NumPy's warnings would only say the
        # same from a line that the user never wrote.
        with np.errstate(all="ignore"):
            for step in self.instructions:
                operands = [
                    round_to(values[place]) if must_round else values[place]
                    for place, must_round in step.operands
                ]
                attrs = step.attrs
                if "shape" in attrs:
                    attrs = {**attrs, "shape": shapes.resolve(attrs["shape"], rows)}
                values[step.place] = step.function(*operands, **attrs)
                for place in step.done_with:
                    values[place] = None
        return [
            np.asarray(values[place], self.dtype if values[place].dtype.kind == "f" else None)
            for place in self.outputs
        ]


def uniform_nodes(order: Sequence[Tensor]) -> set[Tensor]:
    """The scalar nodes that no array, input or state reaches."""
    uniform: set[Tensor] = set()
    for node in order:
        leaf = node.op.name in ("scalar", "constant", "rows")
        if node.shape == () and (leaf or (node.inputs and all(x in uniform for x in node.inputs))):
            uniform.add(node)
    return uniform


def evaluate(
    outputs: Sequence[Tensor], given: Mapping[Tensor, Any], dtype: str = "float64"
) -> list[Array]:
    """The values of `outputs`; leaves that are not `given` have their initial values.

    >>> from chainrule import batch
    >>> x = batch(2)
    >>> evaluate([x.mean(axis=0)], {x: [[1.0, 2.0], [3.0, 6.0]]})
    [array([2., 4.])]
    """
    plan = Plan(outputs, dtype)
    values, rows = {}, None
    # A batch that is given tells how many rows there are, also to a graph that does not read it.
    for leaf in dict.fromkeys([*plan.leaves, *given]):
        if leaf.op is rows_op:
            continue
        value = np.asarray(given[leaf] if leaf in given else initial_value(leaf))
        if leaf.dtype == "int" and value.dtype.kind not in "iu":
            raise InputError(f"{leaf.op.name} {leaf.name} is {value.dtype}, expected whole numbers")
        rows = matched_rows(leaf, value, rows)
        values[leaf] = value
    return [value.copy() for value in plan.run(values, rows)]


def initial_value(leaf: Tensor) -> Any:
    """The value that a leaf was made with, or an `InputError` that says where to get one."""
    name = leaf.name or "without a name"
    if leaf.op.name == "scalar":
        value = leaf.attrs["value"]
        return value(0.0, 1.0) if callable(value) else value
    if leaf.op.name == "constant":
        return leaf.attrs["value"]
    if leaf.op.name != "input" and is_leaf_array(leaf.attrs["initial"]):
        return leaf.attrs["initial"]
    kind = f"{leaf.op.name} {name} {shapes.text(leaf.shape)}"
    if leaf.op.name == "input":
        raise InputError(f"{kind} has no value: give one, as in tensor.numpy({{x: rows}})")
    raise InputError(f"{kind} is not drawn yet: give chainrule.nn.initial_values(model, seed)")


def matched_rows(leaf: Tensor, value: Array, rows: int | None) -> int | None:
    """The length of the batch, once `value` is known to fit the leaf's shape."""
    wanted = leaf.shape
    if len(value.shape) == len(wanted):
        if wanted and isinstance(wanted[0], Free):
            rows = value.shape[0] if rows is None else rows
        if value.shape == tuple(rows if isinstance(n, Free) else n for n in wanted):
            return rows
    raise ShapeError(
        f"{leaf.op.name} {leaf.name} is {shapes.text(value.shape)}, expected {shapes.text(wanted)}"
        + (
            f" with N = {rows}"
            if rows is not None and any(isinstance(n, Free) for n in wanted)
            else ""
        )
    )
