"""The leaves of a graph: values that come from outside."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal

import numpy as np

from ..errors import InputError, ShapeError
from ..limits import Count, check
from .shape import N, Shape, text
from .tensor import DType, Op, Tensor, frozen

Role = Literal["weight", "bias", "scale", "shift"]

input_op = Op("input", shape=lambda **_: (), numpy=None)
parameter_op = Op("parameter", shape=lambda **_: (), numpy=None)
state_op = Op("state", shape=lambda **_: (), numpy=None)
scalar_op = Op("scalar", shape=lambda **_: (), numpy=None)

MAX_NUMBERS = 2**40
"""Of a parameter: NumPy cannot address much more, not even where it takes no memory."""

STATE_OPS = (parameter_op, state_op)
"""The leaves that a program may update."""


def batch(features: int | None = None, dtype: DType = "float", name: str = "x") -> Tensor:
    """A batch of N rows, given when the graph runs: [N, features], or [N] without `features`.

    >>> batch(784), batch(dtype="int", name="t")
    (<Tensor input 'x' [N, 784] float>, <Tensor input 't' [N] int>)
    """
    check("batch: features", features, Count | None)
    shape: Shape = (N,) if features is None else (N, int(features))
    return Tensor(input_op, (), {"name": name}, shape, dtype)


def parameter(
    value: Any, *, shape: Shape | None = None, name: str = "", role: Role = "weight"
) -> Tensor:
    """A leaf that training changes, with its initial value: an array, or with `shape` a number for
    all its elements or an `nn.Initializer`.

    `role` decides whether weight decay applies: by default it does to a "weight" alone.

    >>> parameter([1.0, 2.0], name="b", role="bias")
    <Tensor parameter 'b' [2] float>
    """
    check("parameter: role", role, Role)
    return _state_leaf(parameter_op, value, shape, name, role=role)


def state(value: Any, *, shape: Shape | None = None, name: str = "") -> Tensor:
    """A leaf that a program updates, but no gradient does: a running mean, an optimizer's slot."""
    return _state_leaf(state_op, value, shape, name)


def _state_leaf(op: Op, value: Any, shape: Shape | None, name: str, **attrs: Any) -> Tensor:
    recipe = hasattr(value, "draw")
    if recipe and shape is None:
        raise InputError(f"{value!r} draws an initial value: give the shape too")
    if not recipe:
        value = frozen(frozen(value).astype(np.float64))
    if shape is None:
        shape = value.shape
    if any(not isinstance(n, Integral) or n < 1 for n in shape):
        raise InputError(f"shape is {shape}, expected lengths of 1 and more")
    shape = tuple(map(int, shape))
    if math.prod(shape) > MAX_NUMBERS:
        raise InputError(f"shape is {shape}, expected {MAX_NUMBERS} numbers at most")
    if not recipe and value.shape == ():
        value = np.broadcast_to(value, shape)  # a view: a slot's zeros are free
    if not recipe and value.shape != shape:
        raise ShapeError(f"the value is {text(value.shape)}, but shape is {text(shape)}")
    return Tensor(op, (), {"name": name, "initial": value, **attrs}, shape, "float")


def scalar(
    value: float | Callable[[float, float], float], name: str = "", dtype: DType = "float"
) -> Tensor:
    """A number that may differ at each run, or follow a schedule, without a new graph.

    >>> ratio = scalar(0.5, name="ratio")
    >>> float((1 - ratio).numpy({ratio: 0.25}))
    0.75
    """
    return Tensor(scalar_op, (), {"name": name, "value": value}, (), dtype)


def is_leaf_array(value: Any) -> bool:
    """Whether an initial value is an array, and not a recipe."""
    return hasattr(value, "dtype")
