"""Backpropagation: the reverse pass over a graph, which returns graph."""

from collections.abc import Sequence

from ..errors import InputError, ShapeError
from . import ops
from .shape import Shape
from .tensor import Tensor, constant
from .walk import toposort


def grad(output: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
    """The gradient ∂output/∂x as a Tensor for each x in `wrt`, by the chain rule.

    With g(y) = ∂output/∂y, each node y = f(…, x, …) adds its share g(y)·∂y/∂x to g(x); walking
    from the output back to the leaves, every g(y) is complete before it is passed on.
    A Tensor that the output does not depend on has the gradient 0.

    >>> import chainrule as cr
    >>> x = cr.parameter(3.0)
    >>> dx, = cr.grad(x * x, [x])
    >>> float(dx.numpy())
    6.0
    >>> float(cr.grad(dx, [x])[0].numpy())
    2.0

    Source: Rumelhart, Hinton, Williams 1986; "Deep Learning from Scratch", section 5.1.
    """
    if output.shape != () or output.dtype != "float":
        raise ShapeError(f"grad of {output!r}: expected a float scalar; take its mean or sum first")
    if isinstance(wrt, Tensor):
        raise InputError("grad: wrt is a Tensor, expected a list of them")
    for x in wrt:
        if x.dtype != "float":
            raise InputError(f"grad with respect to {x!r}: expected floats")
    path = _between(wrt, output)
    gradients: dict[Tensor, Tensor] = {output: constant(1.0)}
    for y in reversed(path):
        if y not in gradients or y.op.vjp is None:
            continue
        shares = y.op.vjp(gradients[y], y, *y.inputs, **y.attrs)
        for x, share in zip(y.inputs, shares, strict=True):
            if share is not None and x in path:
                dx = sum_to(share, x.shape)
                gradients[x] = gradients[x] + dx if x in gradients else dx
    zero = constant(0.0)
    return [gradients[x] if x in gradients else ops.broadcast_to(zero, shape=x.shape) for x in wrt]


def sum_to(g: Tensor, shape: Shape) -> Tensor:
    """Undo a broadcast: sum over the axes that were stretched from `shape`."""
    new = len(g.shape) - len(shape)
    stretched = tuple(
        i for i, n in enumerate(g.shape) if i < new or (shape[i - new] == 1 and n != 1)
    )
    if stretched:
        g = ops.sum(g, axes=stretched)
    if new:
        g = ops.squeeze(g, axes=tuple(range(new)))
    return g if g.shape == shape else ops.broadcast_to(g, shape=shape)


def _between(wrt: Sequence[Tensor], output: Tensor) -> dict[Tensor, None]:
    """The nodes on a path from `wrt` to `output`: an ordered set, in the order of computation."""
    reached: dict[Tensor, None] = {}
    sources = set(wrt)
    for node in toposort([output]):
        if node in sources or any(x in reached for x in node.inputs):
            reached[node] = None
    return reached
