"""`Layer`: a function from Tensor to Tensor that knows its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from ..errors import ShapeError
from ..graph import shape as shapes
from ..graph.leaves import STATE_OPS, parameter_op
from ..graph.shape import Dim
from ..graph.tensor import Tensor
from ..spec import Spec
from .context import EVALUATION, Context


class Layer(Spec):
    """Base of all layers. Yours needs typed fields, `setup` for its parameters, and `__call__`.

    >>> import chainrule as cr
    >>> class Scaled(cr.nn.Layer):
    ...     features: int
    ...     def setup(self):
    ...         self.scale = cr.parameter([1.0] * self.features, role="scale")
    ...     def __call__(self, x, context=cr.nn.EVALUATION):
    ...         return x * self.scale
    >>> list(Scaled(3).leaves())
    ['scale']
    """

    is_base = True

    recommended_init: ClassVar[str | None] = None
    """For an activation: the initial values for the weights before it."""

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes")

    def children(self) -> Iterator[tuple[str, Any]]:
        """What the layer holds by name, in order of definition."""
        for name, value in vars(self).items():
            if isinstance(value, tuple | list):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value))
            else:
                yield name, value

    def leaves(self) -> dict[str, Tensor]:
        """The parameters and other state by path, each once, in order of definition."""
        found: dict[Tensor, str] = {}
        for name, child in self.children():
            if isinstance(child, Layer):
                for path, leaf in child.leaves().items():
                    found.setdefault(leaf, f"{name}.{path}")
            elif isinstance(child, Tensor) and child.op in STATE_OPS:
                found.setdefault(child, name)
        return {path: leaf for leaf, path in found.items()}

    @property
    def parameter_count(self) -> int:
        """How many numbers training can change."""
        parameters = [leaf for leaf in self.leaves().values() if leaf.op is parameter_op]
        return sum(math.prod(shapes.resolve(W.shape, None)) for W in parameters)

    def own_leaves(self) -> list[Tensor]:
        """The parameters and state that the layer itself holds."""
        held = [child for _, child in self.children() if isinstance(child, Tensor)]
        return [leaf for leaf in held if leaf.op in STATE_OPS]

    def flat(self) -> Iterator[Layer]:
        """The layer and all that it holds, in order of definition."""
        yield self
        for _, child in self.children():
            if isinstance(child, Layer):
                yield from child.flat()


def expect_columns(x: Tensor, features: Dim) -> None:
    """Raise unless `x` is a batch of rows with that many features."""
    if len(x.shape) != 2 or x.shape[1] != features:
        raise ShapeError(f"the input is {shapes.text(x.shape)}, expected [N, {features}]")
