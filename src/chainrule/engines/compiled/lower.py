"""From a simplified graph to kernels: which values lie in memory, and which work is fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...graph import ops
from ...graph.evaluate import uniform_nodes
from ...graph.leaves import input_op
from ...graph.tensor import Op, Tensor
from ...graph.walk import toposort
from .kernels import (
    Action,
    Buffer,
    Gather,
    Kernel,
    Loop,
    Over,
    Product,
    Sink,
    Space,
    Turn,
    source_of,
    space_of,
    takes_one_thread,
    walked,
)

REDUCTIONS: dict[Op, Action] = {ops.sum: "sum", ops.max: "max"}
GATHERED = (ops.take, ops.uniform)
"""Computed element by element, though not from elements at the same place."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """Kernels in the order of running, and the buffers that stand for leaves and results."""

    kernels: list[Kernel]
    buffers: list[Buffer]
    leaves: dict[Tensor, Buffer]
    outputs: list[Buffer]
    updates: dict[Tensor, Buffer]

    def __str__(self) -> str:
        return "\n".join(map(str, self.kernels))


def lower(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor]) -> Lowered:
    """Kernels for a simplified graph; each update of a leaf has a buffer of its own."""
    return _Lowering([*outputs, *updates.values()]).run(outputs, updates)


def _unstretched(node: Tensor) -> Tensor:
    """What a view looks at, if that is as large as the view."""
    source = source_of(node)
    return source if space_of(source) == space_of(node) else node


class _Lowering:
    def __init__(self, results: Sequence[Tensor]) -> None:
        self.order = toposort(results)
        self.uniform = uniform_nodes(self.order)
        self.kernels: list[Kernel] = []
        self.buffers: list[Buffer] = []
        self.held: dict[Tensor, Buffer] = {}
        self.ready: dict[int, int] = {}  # slot → the kernel that fills it; leaves are ready at −1

    def run(self, outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor]) -> Lowered:
        wanted = self._wanted()
        leaves = {leaf: self._buffer(leaf) for leaf in updates}
        self.held |= leaves
        for node in self.order:
            if node in self.uniform:
                continue
            if not node.inputs:
                self._leaf(node, leaves)
            elif node.op is ops.matmul:
                self._product(node)
            elif node.op in REDUCTIONS:
                x = node.inputs[0]
                self._reduce(node, REDUCTIONS[node.op], x, node.attrs["axes"])
            elif node.op is ops.argmax:
                self._reduce(node, "argmax", node.inputs[0], (node.attrs["axis"],))
            elif node.op is ops.scatter_add:
                x, index = node.inputs
                self._sink(node, "scatter", "nothing", x, index)
            elif node in wanted:
                self._sink(node, "store", "nothing", node)
        shown = [self.in_memory(node) for node in outputs]
        taken = {buffer.slot for buffer in leaves.values()}
        changed = {}
        for leaf, node in updates.items():
            buffer = self.in_memory(node)
            if buffer.slot in taken:
                buffer = self._sink(node, "store", "nothing", node, copy=True)
            taken.add(buffer.slot)
            changed[leaf] = buffer
        self._drop_unread([*shown, *changed.values()])
        return Lowered(self.kernels, self.buffers, leaves, shown, changed)

    def _leaf(self, node: Tensor, leaves: dict[Tensor, Buffer]) -> None:
        if node not in leaves:
            leaves[node] = self.held[node] = self._buffer(node)
        if node.op is input_op:
            self._add(Gather(self.held[node]), self.held[node])

    def _drop_unread(self, results: Sequence[Buffer]) -> None:
        """Store nothing that only the loop itself goes on to use."""
        read = {buffer.slot for buffer in results}
        for kernel in self.kernels:
            read |= {buffer.slot for buffer in kernel.reads}
        for kernel in self.kernels:
            if isinstance(kernel, Loop):
                kernel.sinks = [sink for sink in kernel.sinks if sink.into.slot in read]

    def in_memory(self, node: Tensor) -> Buffer:
        """The buffer of a value; what is not in memory yet is put there now."""
        node = _unstretched(node)
        if node in self.held:
            return self.held[node]
        if (
            node is not source_of(node)
            or node in self.uniform
            or node.op.elementwise
            or node.op in GATHERED
        ):
            return self._sink(node, "store", "nothing", node)
        below = self.in_memory(node.inputs[0])
        if 1 in (below.space.rows, below.space.columns):  # a line in memory, read the other way
            self.held[node] = replace(below, space=space_of(node))
        else:
            self.held[node] = self._buffer(node)
            self._add(Turn(below, self.held[node]), self.held[node])
        return self.held[node]

    def _wanted(self) -> set[Tensor]:
        """What must lie in memory: what is read more than once, or from another space."""
        wanted: set[Tensor] = set()
        uses: dict[Tensor, int] = {}
        for node in self.order:
            for x in node.inputs:
                source = source_of(x)
                if source_of(node) is source:
                    continue  # a view uses nothing by itself
                uses[source] = uses.get(source, 0) + 1
                if space_of(source) != space_of(node if node.op.elementwise else x):
                    wanted.add(source)
        wanted |= {node for node, count in uses.items() if count > 1}
        return {node for node in wanted if node.op.elementwise or node.op in GATHERED}

    def _buffer(self, node: Tensor) -> Buffer:
        buffer = Buffer(len(self.buffers), space_of(node), node.dtype, node.name)
        self.buffers.append(buffer)
        self.ready[buffer.slot] = -1
        return buffer

    def _add(self, kernel: Kernel, into: Buffer) -> None:
        self.ready[into.slot] = len(self.kernels)
        self.kernels.append(kernel)

    def _product(self, node: Tensor) -> None:
        a, b = (_unstretched(x) for x in node.inputs)
        turned = a.op is ops.transpose
        left = self.in_memory(a.inputs[0] if turned else a)
        right = self.in_memory(b)
        self.held[node] = self._buffer(node)
        self._add(Product(left, right, self.held[node], turned), self.held[node])

    def _reduce(self, node: Tensor, action: Action, x: Tensor, axes: tuple[int, ...]) -> None:
        """A reduction, said in rows and columns of memory; over a length of 1 it is a copy."""
        space = space_of(x)
        ranks: dict[int, Over] = {0: "rows", 1: "columns"}
        if len(x.shape) == 1:
            ranks = {0: "rows" if space.columns == 1 else "columns"}
        over = {ranks[axis] for axis in axes}
        if space.rows == 1:
            over.discard("rows")
        if space.columns == 1:
            over = {"columns"} if "rows" in over else set()
        direction: Over = "nothing"
        if over:
            direction = "all" if len(over) == 2 else over.pop()
        if action == "argmax" and direction == "rows":
            x, direction = ops.transpose(x), "columns"  # a row at a time finds an index
        if direction == "nothing" and action != "argmax":
            action = "store"
        self._sink(node, action, direction, x)

    def _sink(
        self,
        node: Tensor,
        action: Action,
        over: Over,
        value: Tensor,
        index: Tensor | None = None,
        *,
        copy: bool = False,
    ) -> Buffer:
        """Compute `value` in a loop, the first one that can, and put it into the node's buffer."""
        space = walked(space_of(node if action == "store" else value))
        value = source_of(value)
        at = None if index is None else self.in_memory(index)
        body, loads, tables = self._cone(value)
        into = self._buffer(node)
        sink = Sink(action, over, value, into, at)
        alone = takes_one_thread(space, sink)
        place = len(self.kernels) if alone else self._place(space, loads, tables)
        if place == len(self.kernels):
            self.kernels.append(Loop(space))
        loop = self.kernels[place]
        assert isinstance(loop, Loop)
        loop.body |= dict.fromkeys(body)
        loop.loads |= {x: b for x, b in loads.items() if x not in loop.body or x in tables}
        loop.sinks.append(sink)
        self.ready[into.slot] = place
        if not copy:
            self.held[node] = into
        return into

    def _cone(self, value: Tensor) -> tuple[list[Tensor], dict[Tensor, Buffer], set[Tensor]]:
        """The nodes to compute for a value, in order; what they load; and of that the tables, of
        which any row may be taken."""
        body: list[Tensor] = []
        loads: dict[Tensor, Buffer] = {}
        tables: set[Tensor] = set()
        stack = [(value, False)]
        seen: set[Tensor] = set()
        while stack:
            node, inputs_done = stack.pop()
            if inputs_done:
                body.append(node)
                continue
            if node in seen or node in self.uniform:
                continue
            seen.add(node)
            if node in self.held:
                loads[node] = self.held[node]
            elif node.op.elementwise:
                stack.append((node, True))
                stack.extend((source_of(x), False) for x in node.inputs)
            elif node.op in GATHERED:
                body.append(node)
                for x in node.inputs:
                    if x not in self.uniform:
                        loads[source_of(x)] = self.in_memory(x)
                if node.op is ops.take:
                    tables.add(source_of(node.inputs[0]))
            else:
                loads[node] = self.in_memory(node)
        return body, loads, tables

    def _place(self, space: Space, loads: dict[Tensor, Buffer], tables: set[Tensor]) -> int:
        """The first loop over that space which runs when all that is loaded is there.

        A value that a loop itself computes is there for the rest of its body, at the same element;
        a table is there when the loop is over.
        """
        earliest = 0
        for x, buffer in loads.items():
            maker = self.ready[buffer.slot]
            loop = self.kernels[maker] if maker >= 0 else None
            inside = (
                isinstance(loop, Loop)
                and loop.space == space
                and x in loop.body
                and x not in tables
            )
            earliest = max(earliest, maker if inside else maker + 1)
        for place in range(earliest, len(self.kernels)):
            kernel = self.kernels[place]
            if isinstance(kernel, Loop) and kernel.space == space and not kernel.alone:
                return place
        return len(self.kernels)
