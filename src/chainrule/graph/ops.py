"""The table of operations: each is one record of shape rule, NumPy meaning and local gradient.

A gradient is a lambda over `g`, the gradient that arrives at the result `y`, and the inputs; it
returns one Tensor for each input. It may have the shape of `y`: `gradient.py` sums over broadcast
axes. None says that nothing flows to that input.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from . import random
from . import shape as shapes
from .shape import Dim, N, Shape
from .tensor import Array, DType, Gradients, Op, Tensor

REAL = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)


def elementwise(
    name: str,
    numpy: Callable[..., Any],
    vjp: Callable[..., Gradients] | None,
    symbol: str = "",
    arity: int = 2,
    dtype: DType | None = None,
    takes: tuple[DType | None, ...] | None = None,
    domain: tuple[tuple[float, float], ...] = (),
) -> Op:
    """An op that works on each element alone, its inputs broadcast against each other."""
    real: DType = "float"
    return Op(
        name,
        shape=lambda *inputs: shapes.broadcast(name, inputs),
        numpy=numpy,
        vjp=vjp,
        symbol=symbol or name,
        elementwise=True,
        dtype=dtype,
        takes=takes or (real if vjp else None,) * arity,
        domain=domain or (REAL,) * arity,
    )


def unary(
    name: str,
    numpy: Callable[..., Any],
    vjp: Callable[..., Gradients] | None,
    symbol: str = "",
    domain: tuple[float, float] = REAL,
) -> Op:
    """An elementwise op of one input."""
    return elementwise(name, numpy, vjp, symbol, arity=1, domain=(domain,))


# Arithmetic ---------------------------------------------------------------------------------

add = elementwise("add", np.add, lambda g, y, a, b: (g, g), "+")
subtract = elementwise("subtract", np.subtract, lambda g, y, a, b: (g, -g), "−")
multiply = elementwise("multiply", np.multiply, lambda g, y, a, b: (g * b, g * a), "×")
divide = elementwise(
    "divide", np.divide, lambda g, y, a, b: (g / b, -g * y / b), "÷", domain=(REAL, POSITIVE)
)
power = elementwise(
    "power",
    np.power,
    # The two `where`s keep 0·∞ out of the gradient of a⁰ and of 0ᵇ.
    lambda g, y, a, b: (
        g * b * a ** where(equal(b, 0.0), 1.0, b - 1.0),
        g * y * log(where(equal(a, 0.0), 1.0, a)),
    ),
    "^",
    domain=(POSITIVE, REAL),
)
negative = unary("negative", np.negative, lambda g, y, x: (-g,), "−")
reciprocal = unary("reciprocal", np.reciprocal, lambda g, y, x: (-g * y * y,), "1/x", POSITIVE)
exp = unary("exp", np.exp, lambda g, y, x: (g * y,))
log: Op = unary("log", np.log, lambda g, y, x: (g / x,), domain=POSITIVE)
sqrt = unary("sqrt", np.sqrt, lambda g, y, x: (0.5 * g / y,), "√", POSITIVE)
absolute = unary(
    "absolute", np.abs, lambda g, y, x: (where(x > 0, g, where(x < 0, -g, 0.0)),), "|x|"
)
# Equal operands share the gradient, so that |x| = max(x, −x) is flat at 0.
maximum = elementwise(
    "maximum",
    np.maximum,
    lambda g, y, a, b: (
        where(a > b, g, where(a < b, 0.0, 0.5 * g)),
        where(b > a, g, where(b < a, 0.0, 0.5 * g)),
    ),
    "max",
)
minimum = elementwise(
    "minimum",
    np.minimum,
    lambda g, y, a, b: (
        where(a < b, g, where(a > b, 0.0, 0.5 * g)),
        where(b < a, g, where(b > a, 0.0, 0.5 * g)),
    ),
    "min",
)

# Comparison and choice ----------------------------------------------------------------------

greater = elementwise("greater", np.greater, None, ">", dtype="bool")
greater_equal = elementwise("greater_equal", np.greater_equal, None, "≥", dtype="bool")
equal: Op = elementwise("equal", np.equal, None, "=", dtype="bool")
where: Op = elementwise(
    "where",
    np.where,
    lambda g, y, condition, a, b: (None, where(condition, g, 0.0), where(condition, 0.0, g)),
    takes=("bool", "float", "float"),
    domain=(REAL, REAL, REAL),
)
stop_gradient = unary("stop_gradient", lambda x: x, None)

# Activations as single nodes ----------------------------------------------------------------


def _silu(x: Array) -> Array:
    half = np.exp(-0.5 * np.abs(x))  # squared late: −89·e⁻⁸⁹ is a number of float32, e⁻⁸⁹ is not
    return np.asarray(np.where(x > 0, x, x * half * half) / (1 + half * half))


def _gelu(x: Array) -> Array:
    from scipy.special import ndtr  # 60 ms to import: paid only by a graph that has one

    # In float64: from 1 + erf nothing is left below −6 in float32.
    return np.asarray(x * ndtr(np.asarray(x, np.float64)), np.asarray(x).dtype)


def _erf(x: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(x))


# Klambauer et al. 2017, "Self-normalizing neural networks", eq. 14: the fixed point (0, 1).
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

relu = unary("relu", lambda x: np.maximum(x, 0), lambda g, y, x: (where(x > 0, g, 0.0),))
leaky_relu = elementwise(
    "leaky_relu",
    lambda x, slope: np.where(x > 0, x, slope * x),
    lambda g, y, x, slope: (where(x > 0, g, slope * g), where(x > 0, 0.0, g * x)),
)
sigmoid = unary(
    "sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, y, x: (g * y * (1.0 - y),), "σ"
)
tanh = unary("tanh", np.tanh, lambda g, y, x: (g * (1.0 - y * y),))
softplus = unary("softplus", lambda x: np.logaddexp(x, 0), lambda g, y, x: (g * sigmoid(x),))
silu = unary(
    "silu",
    _silu,
    lambda g, y, x: (g * (sigmoid(x) + y * (1.0 - sigmoid(x))),),
)
erf = unary("erf", _erf, lambda g, y, x: (g * (2 / math.sqrt(math.pi)) * exp(-x * x),))
gelu = unary(
    "gelu",
    _gelu,
    lambda g, y, x: (
        g
        * (
            0.5 * (1.0 + erf(x * math.sqrt(0.5)))
            + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        ),
    ),
)
selu = unary(
    "selu",
    lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    lambda g, y, x: (g * where(x > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),),
)

# Matrices -----------------------------------------------------------------------------------


def _matmul_shape(a: Shape, b: Shape) -> Shape:
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise ShapeError(f"matmul: {shapes.text(a)} @ {shapes.text(b)}, expected [n, k] @ [k, m]")
    return a[0], b[1]


def _transpose_shape(x: Shape) -> Shape:
    if len(x) != 2:
        raise ShapeError(f"transpose: {shapes.text(x)}, expected a matrix")
    return x[::-1]


matmul = Op(
    "matmul",
    shape=_matmul_shape,
    numpy=np.matmul,
    vjp=lambda g, y, a, b: (g @ b.T, a.T @ g),
    symbol="@",
    takes=("float", "float"),
    cases=((((3, 4), (4, 2)), {}), (((1, 5), (5, 1)), {})),
)
transpose = Op(
    "transpose",
    shape=_transpose_shape,
    numpy=np.transpose,
    vjp=lambda g, y, x: (g.T,),
    symbol="ᵀ",
    takes=(None,),
    cases=((((3, 4),), {}),),
)

# Axes: reduced ones keep the length 1; squeeze drops them ------------------------------------


def _reduced_shape(x: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(x))


def _squeezed_shape(x: Shape, axes: tuple[int, ...]) -> Shape:
    if any(x[i] != 1 for i in axes):
        raise ShapeError(f"squeeze: {shapes.text(x)} is not of length 1 along {axes}")
    return tuple(n for i, n in enumerate(x) if i not in axes)


def _expanded_shape(x: Shape, axes: tuple[int, ...]) -> Shape:
    lengths = iter(x)
    return tuple(1 if i in axes else next(lengths) for i in range(len(x) + len(axes)))


def _broadcast_shape(x: Shape, shape: Shape) -> Shape:
    if shapes.broadcast("broadcast_to", [x, shape]) != shape:
        raise ShapeError(f"broadcast_to: {shapes.text(x)} does not stretch to {shapes.text(shape)}")
    return shape


def _logsumexp(x: Array, axes: tuple[int, ...]) -> Array:
    top = x.max(axis=axes, keepdims=True)
    return np.asarray(top + np.log(np.exp(x - top).sum(axis=axes, keepdims=True)))


def _max_share(g: Tensor, y: Tensor, x: Tensor, axes: tuple[int, ...]) -> Gradients:
    largest = where(equal(x, y), 1.0, 0.0)
    return (g * largest / sum(largest, axes=axes),)


_AXES_CASES = tuple((((3, 4),), {"axes": axes}) for axes in ((0,), (1,), (0, 1)))

sum = Op(
    "sum",
    shape=_reduced_shape,
    numpy=lambda x, axes: np.sum(x, axis=axes, keepdims=True),
    vjp=lambda g, y, x, axes: (broadcast_to(g, shape=x.shape),),
    symbol="Σ",
    takes=("float",),
    cases=_AXES_CASES,
)
max = Op(
    "max",
    shape=_reduced_shape,
    numpy=lambda x, axes: np.max(x, axis=axes, keepdims=True),
    vjp=_max_share,
    takes=("float",),
    cases=_AXES_CASES,
)


def _logsumexp_share(g: Tensor, y: Tensor, x: Tensor, axes: tuple[int, ...]) -> Gradients:
    # Not exp(x − y): of three scores of 1e8 y is 1e8 too in float32, and each share would be 1.
    powers = exp(x - stop_gradient(max(x, axes=axes)))
    return (g * powers / sum(powers, axes=axes),)


logsumexp = Op(
    "logsumexp",
    shape=_reduced_shape,
    numpy=_logsumexp,
    vjp=_logsumexp_share,
    symbol="log Σ exp",
    takes=("float",),
    cases=_AXES_CASES,
)
argmax = Op(
    "argmax",
    shape=lambda x, axis: _squeezed_shape(_reduced_shape(x, (axis,)), (axis,)),
    numpy=lambda x, axis: np.argmax(x, axis=axis),
    takes=("float",),
    dtype="int",
)
broadcast_to: Op = Op(
    "broadcast_to",
    shape=_broadcast_shape,
    numpy=np.broadcast_to,
    vjp=lambda g, y, x, shape: (g,),
    symbol="stretch",
    takes=("float",),
    cases=((((4,),), {"shape": (3, 4)}), (((3, 1),), {"shape": (3, 4)})),
)
squeeze = Op(
    "squeeze",
    shape=_squeezed_shape,
    numpy=lambda x, axes: np.squeeze(x, axis=axes),
    vjp=lambda g, y, x, axes: (expand_dims(g, axes=axes),),
    takes=(None,),
    cases=((((3, 1),), {"axes": (1,)}), (((1, 1),), {"axes": (0, 1)})),
)
expand_dims: Op = Op(
    "expand_dims",
    shape=_expanded_shape,
    numpy=lambda x, axes: np.expand_dims(x, axis=axes),
    vjp=lambda g, y, x, axes: (squeeze(g, axes=axes),),
    takes=(None,),
    cases=((((3,),), {"axes": (1,)}), (((),), {"axes": (0, 1)})),
)

# Rows by number (an embedding), and the length of the batch ----------------------------------


def _take_shape(table: Shape, index: Shape) -> Shape:
    if len(table) != 2 or len(index) != 1:
        raise ShapeError(
            f"take: {shapes.text(table)} by {shapes.text(index)}, expected a table by a vector"
        )
    return index[0], table[1]


def _scatter_add(x: Array, index: Array, rows: int) -> Array:
    table = np.zeros((rows, x.shape[1]), x.dtype)
    np.add.at(table, index, x)
    return table


take = Op(
    "take",
    shape=_take_shape,
    numpy=lambda table, index: table[index],
    vjp=lambda g, y, table, index: (scatter_add(g, index, rows=table.shape[0]), None),
    takes=("float", "int"),
    dtype="float",
    cases=((((3, 4), (5,)), {}),),
)
scatter_add: Op = Op(
    "scatter_add",
    shape=lambda x, index, rows: (rows, x[1]),
    numpy=_scatter_add,
    vjp=lambda g, y, x, index, rows: (take(g, index), None),
    takes=("float", "int"),
    dtype="float",
    cases=((((5, 4), (5,)), {"rows": 3}),),
)
rows = Op("rows", shape=lambda: (), numpy=None, takes=(), dtype="float", symbol="N")

# Random numbers: a function of seed, step, stream and element, the same in every engine -------


def _uniform_shape(seed: Shape, step: Shape, stream: int, shape: tuple[Dim, ...]) -> Shape:
    if N in shape[1:]:
        raise ShapeError(f"uniform: {shapes.text(shape)}, the batch axis must come first")
    return shape


uniform = Op(
    "uniform",
    shape=_uniform_shape,
    numpy=random.uniform,
    takes=("int", "int"),
    dtype="float",
    symbol="U[0, 1)",
)
