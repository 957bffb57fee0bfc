"""`Tensor`, a node of the computational graph, and `Op`, the record of what a node does."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ShapeError
from . import shape as shapes
from .shape import Dim, Free, Shape

DType = Literal["float", "int", "bool"]
Array: TypeAlias = npt.NDArray[Any]
Gradients: TypeAlias = "tuple[Tensor | None, ...]"


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """An immutable node of a computational graph. Building one computes nothing.

    `dtype` says what a value counts in: "float" (32 or 64 bits: the engine that runs the graph
    decides), "int" or "bool". `==` compares identity; `chainrule.equal` compares values.

    >>> import chainrule as cr
    >>> apple, count, tax = cr.parameter(100.0), cr.parameter(2.0), cr.parameter(1.1)
    >>> price = apple * count * tax
    >>> round(float(price.numpy()), 6)
    220.0
    """

    op: Op
    inputs: tuple[Tensor, ...]
    attrs: Mapping[str, Any]
    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    def __repr__(self) -> str:
        name = self.name and f" {self.name!r}"
        return f"<Tensor {self.op.name}{name} {shapes.text(self.shape)} {self.dtype}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy, which know no read-only mapping."""
        return Tensor, (self.op, self.inputs, dict(self.attrs), self.shape, self.dtype)

    @property
    def name(self) -> str:
        """What a leaf is called; empty for other nodes."""
        return str(self.attrs.get("name", ""))

    # A graph is compared by identity and walked as a tree of inputs: neither a truth value nor
    # iteration has a meaning before values are known, and Python would guess one.
    def __bool__(self) -> bool:
        raise InputError(f"{self!r} has no truth value until it is computed; use chainrule.where")

    __iter__ = None

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Tensor:
        """`array * tensor` and its kin make nodes; `np.exp(tensor)` is told what to use."""
        name = ufunc.__name__
        if method == "__call__" and not options:
            if name in ARITHMETIC:
                return OPS[name](*inputs)
            if name in SWAPPED:
                return OPS[SWAPPED[name]](*inputs[::-1])
        raise _numpy_cannot(name)

    def __array_function__(self, function: Any, *_: Any) -> Tensor:
        """`np.sum(tensor)` is told what to use; NumPy would take the tensor for an object."""
        raise _numpy_cannot(function.__name__)

    def __add__(self, other: TensorLike) -> Tensor:
        return OPS["add"](self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return OPS["add"](other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return OPS["subtract"](self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return OPS["subtract"](other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return OPS["multiply"](self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return OPS["multiply"](other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return OPS["divide"](self, other)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return OPS["divide"](other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return OPS["power"](self, other)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return OPS["power"](other, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return OPS["matmul"](self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return OPS["matmul"](other, self)

    def __neg__(self) -> Tensor:
        return OPS["negative"](self)

    def __gt__(self, other: TensorLike) -> Tensor:
        return OPS["greater"](self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return OPS["greater_equal"](self, other)

    def __lt__(self, other: TensorLike) -> Tensor:
        return OPS["greater"](other, self)

    def __le__(self, other: TensorLike) -> Tensor:
        return OPS["greater_equal"](other, self)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        return OPS["transpose"](self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis`: 0 over rows, 1 over columns, None over everything."""
        return self._reduce("sum", axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`; over the batch axis it divides by the rows that are there."""
        total = self.sum(axis, keepdims)
        for n in (self.shape[i] for i in self._axes(axis)):
            total = total / (n if isinstance(n, int) else OPS["rows"]())
        return total

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest value along `axis`; equal largest values share the gradient."""
        return self._reduce("max", axis, keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """log Σ exp(x) along `axis`, without overflow."""
        return self._reduce("logsumexp", axis, keepdims)

    def _axes(self, axis: Axis) -> tuple[int, ...]:
        rank = len(self.shape)
        axes = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
        if any(not -rank <= a < rank for a in axes):
            raise ShapeError(f"axis is {axis}, but {shapes.text(self.shape)} has {rank} axes")
        return tuple(sorted({a % rank for a in axes}))

    def _reduce(self, op: str, axis: Axis, keepdims: bool) -> Tensor:
        axes = self._axes(axis)
        result = OPS[op](self, axes=axes) if axes else self
        return result if keepdims or not axes else OPS["squeeze"](result, axes=axes)

    # The next three stand for modules of this folder that import this one.
    def numpy(self, given: Mapping[Tensor, Any] | None = None, dtype: str = "float64") -> Array:
        """The value, computed now. `given` has the values of batches, and of other leaves.

        >>> import chainrule as cr
        >>> x = cr.batch(2)
        >>> x.sum(axis=1).numpy({x: [[1, 2], [3, 4]]})
        array([3., 7.])
        """
        from .evaluate import evaluate

        return evaluate([self], given or {}, dtype)[0]

    def show(self, given: Mapping[Tensor, Any] | None = None) -> str:
        """The graph as text: values forwards and, below a scalar, gradients backwards."""
        from .text import show

        return show(self, given or {})

    def svg(self, path: str | os.PathLike[str], given: Mapping[Tensor, Any] | None = None) -> None:
        """Draw the graph: values above the arrows, gradients below them."""
        from .picture import draw

        draw(self, path, given or {})


Axis: TypeAlias = int | Sequence[int] | None
TensorLike: TypeAlias = Tensor | float | npt.ArrayLike


@dataclass(frozen=True, eq=False, repr=False)
class Op:
    """All there is to know about an operation. No op carries state; calling one makes a node.

    | field | what it says |
    | --- | --- |
    | `shape` | (*input shapes, **attrs) → the shape of the result, or a `ShapeError` |
    | `numpy` | (*arrays, **attrs) → array: the meaning; None for a leaf, whose value is given |
    | `vjp` | (g, y, *inputs, **attrs) → for each input x the graph of g·∂y/∂x; None where flat |
    | `dtype` | what the result counts in; None: as the last input |
    | `takes` | what each input counts in; None: anything, but all such inputs alike |
    | `domain` | the open interval that each float input must lie in |
    | `cases` | (input shapes, attrs) to check the gradient with |
    """

    name: str
    shape: Callable[..., Shape]
    numpy: Callable[..., Any] | None
    vjp: Callable[..., Gradients] | None = None
    symbol: str = ""
    elementwise: bool = False
    dtype: DType | None = None
    takes: tuple[DType | None, ...] | None = None
    domain: tuple[tuple[float, float], ...] = ()
    cases: tuple[tuple[tuple[Shape, ...], Mapping[str, Any]], ...] = ()

    def __post_init__(self) -> None:
        if self.name in OPS:
            raise InputError(f"there is an op named {self.name!r} already")
        OPS[self.name] = self

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Ops are compared by identity, so a copy is the op of the same name; only an op of the
        user's own carries its fields, to a process without it."""
        from . import leaves, ops

        homes = (*vars(ops).values(), *vars(leaves).values(), constant_op)
        if any(found is self for found in homes):
            return _op_named, (self.name,)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return _op_named, (self.name, fields)

    def __call__(self, *operands: TensorLike, **attrs: Any) -> Tensor:
        """Make a node; numbers and arrays among the operands become constants."""
        inputs = self._tensors(operands)
        kinds = tuple([(x.shape, x.dtype) for x in inputs])
        try:
            shape, dtype = _result(self, kinds, **attrs)
        except TypeError:  # an array among the attributes has no hash
            shape, dtype = _result.__wrapped__(self, kinds, **attrs)
        return Tensor(self, inputs, attrs, shape, dtype)

    def _tensors(self, operands: tuple[TensorLike, ...]) -> tuple[Tensor, ...]:
        """The operands as tensors; a number counts as what stands beside it."""
        peers = [x.dtype for x in operands if isinstance(x, Tensor)]
        if len(peers) == len(operands):
            return operands  # type: ignore[return-value]
        wanted = self.takes or (None,) * len(operands)
        alike: DType = next((kind for kind in peers if kind != "bool"), "float")
        pairs = itertools.zip_longest(operands, wanted[: len(operands)])
        return tuple([as_tensor(x, kind or alike) for x, kind in pairs])


def _op_named(name: str, fields: Mapping[str, Any] | None = None) -> Op:
    """The op of that name, made of its fields where the process does not have it yet."""
    return OPS[name] if fields is None or name in OPS else Op(**fields)


@functools.lru_cache(4096)  # a network asks for the same few, thousands of times in a search
def _result(op: Op, kinds: tuple[tuple[Shape, DType], ...], /, **attrs: Any) -> tuple[Shape, DType]:
    """The shape and dtype of what an op makes of inputs of such shapes and dtypes."""
    wanted = op.takes or (None,) * len(kinds)
    if len(kinds) != len(wanted):
        raise InputError(f"{op.name}: {len(kinds)} operands, expected {len(wanted)}")
    free: list[DType] = []
    for i, ((_, found), kind) in enumerate(zip(kinds, wanted, strict=True)):
        if kind is None:
            free.append(found)
        elif found != kind:
            raise InputError(f"{op.name}: operand {i} is {found}, expected {kind}")
    if len(set(free)) > 1:
        raise InputError(f"{op.name}: operands are {' and '.join(free)}, expected one dtype")
    lengths = op.shape(*[shape for shape, _ in kinds], **attrs)
    shape = tuple([n if isinstance(n, Free) else int(n) for n in lengths])
    return shape, op.dtype or kinds[-1][1]


OPS: dict[str, Op] = {}
"""Every op by its name, in the order of definition."""

ARITHMETIC = frozenset(
    ("add", "subtract", "multiply", "divide", "power", "matmul", "greater", "greater_equal")
)
"""The ops behind Python's operators; NumPy's functions for them have the same names."""

SWAPPED = {"less": "greater", "less_equal": "greater_equal"}
"""NumPy's comparisons without an op: a < b is b > a."""


constant_op = Op("constant", shape=lambda value, **_: value.shape, numpy=None)


def constant(value: npt.ArrayLike, name: str = "") -> Tensor:
    """A leaf whose value never changes.

    >>> constant([1.0, 2.0])
    <Tensor constant [2] float>
    """
    array = frozen(value)
    return Tensor(constant_op, (), {"value": array, "name": name}, array.shape, kind_of(array))


def as_tensor(value: TensorLike, dtype: DType = "float") -> Tensor:
    """The tensor itself, or a constant; a Python number counts in `dtype`."""
    if isinstance(value, Tensor):
        return value
    if type(value) is int and dtype == "int":
        return constant(np.asarray(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return constant(float(value))
    return constant(value)


def frozen(value: npt.ArrayLike) -> Array:
    """A read-only copy as float64, int64 or bool; whole numbers in a Python list are floats."""
    try:
        array = np.array(value)
    except ValueError:
        raise InputError("an array has rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{value!r} is no number and no array of numbers")
    if array.dtype.kind in "iu":
        array = array.astype(np.int64 if isinstance(value, np.ndarray | np.generic) else np.float64)
    elif array.dtype.kind == "f":
        array = array.astype(np.float64)
    array.flags.writeable = False
    return array


def _numpy_cannot(name: str) -> InputError:
    """The error for a function of NumPy's that got a tensor, with what to use."""
    way_out = "the functions of chainrule"
    if hasattr(Tensor, name):
        way_out = f"the tensor's own .{name}"
    elif name in OPS and OPS[name].elementwise:
        way_out = f"chainrule.{name}"
    return InputError(f"np.{name} of a Tensor: NumPy computes arrays, use {way_out}")


def kind_of(array: Array) -> DType:
    """What an array counts in."""
    return "float" if array.dtype.kind == "f" else "bool" if array.dtype.kind == "b" else "int"


__all__ = [
    "OPS",
    "Array",
    "Axis",
    "DType",
    "Dim",
    "Op",
    "Tensor",
    "TensorLike",
    "as_tensor",
    "constant",
]
