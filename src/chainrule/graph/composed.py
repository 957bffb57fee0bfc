"""Functions that are formulas over the ops, as a textbook would write them."""

import numpy as np

from . import ops
from .tensor import Tensor, constant


def softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Probabilities: exp(xₖ) / Σⱼ exp(xⱼ), computed as exp(x − log Σ exp(x)).

    >>> import chainrule as cr
    >>> cr.softmax(cr.constant([[0.3, 2.9, 4.0]])).numpy().round(3)
    array([[0.018, 0.245, 0.737]])

    Source: "Deep Learning from Scratch", section 3.5.
    """
    return ops.exp(x - x.logsumexp(axis, keepdims=True))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 in the column that a class number names and 0 elsewhere: [N] → [N, classes].

    >>> import chainrule as cr
    >>> import numpy as np
    >>> cr.one_hot(cr.constant(np.array([2, 0])), 3).numpy()
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    column = ops.expand_dims(labels, axes=(1,))
    return ops.where(ops.equal(column, constant(np.arange(classes))), 1.0, 0.0)
