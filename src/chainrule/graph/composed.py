"""Functions that are formulas over the ops, as a textbook would write them."""

import numpy as np

from . import ops
from .tensor import Tensor, constant


def below_maximum(x: Tensor, axis: int = 1) -> Tensor:
    """x − max x along an axis: no exponential of it overflows, and its softmax is that of x.

    The maximum counts as a constant, because a softmax and its loss do not depend on it.
    """
    return x - ops.stop_gradient(x.max(axis, keepdims=True))


def softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Probabilities: exp(zₖ) / Σⱼ exp(zⱼ) with z = x − max x.

    >>> import chainrule as cr
    >>> cr.softmax(cr.constant([[0.3, 2.9, 4.0]])).numpy().round(3)
    array([[0.018, 0.245, 0.737]])

    Source: "Deep Learning from Scratch", section 3.5.
    """
    powers = ops.exp(below_maximum(x, axis))
    return powers / powers.sum(axis, keepdims=True)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 in the column of a class number and 0 elsewhere: [N] → [N, classes].

    >>> import chainrule as cr
    >>> import numpy as np
    >>> cr.one_hot(cr.constant(np.array([2, 0])), 3).numpy()
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    column = ops.expand_dims(labels, axes=(1,))
    return ops.where(ops.equal(column, constant(np.arange(classes))), 1.0, 0.0)
