"""Walking a graph in the order of computation."""

from collections.abc import Container, Iterable

from .tensor import Tensor


def toposort(outputs: Iterable[Tensor], known: Container[Tensor] = ()) -> list[Tensor]:
    """All nodes below `outputs`, each after its inputs; iterative, so depth costs no stack.

    The walk stops at nodes that are `known`.
    """
    order: list[Tensor] = []
    seen: set[Tensor] = set()
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in seen and node not in known:
            seen.add(node)
            stack.append((node, True))
            stack.extend((x, False) for x in reversed(node.inputs) if x not in seen)
    return order


def leaves(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The leaves below `outputs`, in the order of computation."""
    return [node for node in toposort(outputs) if not node.inputs]
