"""The affine layer."""

from ..graph.leaves import parameter
from ..graph.tensor import Tensor
from ..limits import Count
from .context import EVALUATION, Context
from .initial import Init, as_init
from .layer import Layer, expect_columns


class Affine(Layer):
    """Y = X·W + b, with X [N, inputs], W [inputs, outputs], b [outputs], Y [N, outputs].

    Initial values of W by `init`: "auto" (by the activation that follows), "he", "xavier",
    "glorot", "lecun" (each also with "_uniform"), a standard deviation, or an `Initializer`;
    b starts at 0.

    >>> from chainrule import nn
    >>> nn.Affine(784, 50, init="he")
    Affine(784, 50, 'he')
    >>> nn.Affine(784, 0)
    Traceback (most recent call last):
    chainrule.errors.InputError: Affine: outputs is 0, not in [1, 2147483647]

    Source: "Deep Learning from Scratch", section 5.6.
    """

    inputs: Count
    outputs: Count
    init: Init = "auto"
    bias: bool = True

    def setup(self) -> None:
        shape = (self.inputs, self.outputs)
        self.W = parameter(as_init(self.init), shape=shape, name="W", role="weight")
        self.b = parameter(0.0, shape=(self.outputs,), name="b", role="bias") if self.bias else None

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        expect_columns(x, self.inputs)
        y = x @ self.W
        return y if self.b is None else y + self.b
