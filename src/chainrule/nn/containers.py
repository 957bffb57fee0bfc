"""Layers made of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from ..errors import InputError, ShapeError
from ..graph import shape as shapes
from ..graph.tensor import OPS, Op, Tensor
from ..limits import Finite
from ..spec import as_spec
from .context import EVALUATION, Context
from .layer import Layer


class Sequential(Layer):
    """One layer after the other: f₃(f₂(f₁(x))). A plain function of a Tensor is a layer too.

    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> model = nn.Sequential(nn.Affine(784, 50), nn.ReLU(), nn.Affine(40, 10))
    >>> model(cr.batch(784))
    Traceback (most recent call last):
    chainrule.errors.ShapeError: layer 2, Affine(40, 10): the input is [N, 50], expected [N, 40]
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer | Callable[[Tensor], Tensor]) -> None:
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            raise InputError(
                "Sequential: a list of layers, expected them one by one: put a * first"
            )
        self.layers = tuple(_layer(f"Sequential: layer {i}", x) for i, x in enumerate(layers))

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        return cls(*fields["layers"])

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x, context)
            except ShapeError as error:
                raise ShapeError(f"layer {i}, {layer!r}: {error}") from None
        return x

    def children(self) -> Iterator[tuple[str, Any]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __getitem__(self, place: int) -> Layer:
        return self.layers[place]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class Residual(Layer):
    """x + f(x): the gradient reaches x undiminished along the sum. f keeps the shape.

    Source: He et al. 2016, "Deep residual learning", eq. 1.
    """

    body: Layer

    def setup(self) -> None:
        self.body = _layer("Residual: body", self.body)

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        y = self.body(x, context)
        if y.shape != x.shape:
            raise ShapeError(
                f"the body turns {shapes.text(x.shape)} into {shapes.text(y.shape)}, "
                "expected the same shape"
            )
        return x + y


class Rescale(Layer):
    """factor·x: brings raw values such as pixels from 0…255 to a range that suits the weights.

    As a part of the network it travels in the model file, and the data stays as it is.
    """

    factor: Finite

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return x * self.factor


class Function(Layer):
    """A plain function of a Tensor as a layer. It has no parameters. A file can hold an op, such
    as `chainrule.tanh`, by its name, and no other function."""

    function: Callable[[Tensor], Tensor]

    def fields(self) -> dict[str, Any]:
        op = self.function
        return {"function": op.name if isinstance(op, Op) else op}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        found = fields["function"]
        if isinstance(found, str):
            op = OPS.get(found)
            if op is None or not op.elementwise or op.takes != ("float",):
                raise InputError(f"function is {found!r}, expected the name of an op of a Tensor")
            found = op
        return cls(found)

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return self.function(x)


def _layer(name: str, value: Any) -> Layer:
    if isinstance(value, Layer):
        return value
    if not callable(value) or isinstance(value, type):
        return as_spec(name, value, Layer)
    return Function(value)
