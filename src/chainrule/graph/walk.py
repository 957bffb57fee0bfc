"""Walking a graph in the order of computation."""

from collections.abc import Container, Iterable

from .tensor import Tensor


def toposort(outputs: Iterable[Tensor], known: Container[Tensor] = ()) -> list[Tensor]:
    """All nodes below `outputs`, each after its inputs; iterative, so depth costs no stack.

    The walk stops at nodes that are `known`.
    """
    order: list[Tensor] = []
    seen: set[Tensor] = set()
    stack: list[Tensor | None] = []
    stack += reversed([*outputs])
    while stack:
        node = stack.pop()
        if node is None:  # the inputs of the node below this mark are done
            order.append(stack.pop())  # type: ignore[arg-type]
        elif node not in seen and node not in known:
            seen.add(node)
            stack += (node, None)
            stack += [x for x in node.inputs[::-1] if x not in seen]
    return order
