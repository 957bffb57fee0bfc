"""Dropout."""

from ..graph import ops
from ..graph.leaves import scalar
from ..graph.tensor import Tensor
from ..limits import Ratio
from .context import EVALUATION, Context
from .layer import Layer


class Dropout(Layer):
    """In training a value is 0 with the probability `ratio`, else x/(1 − ratio); in evaluation x.

    The scale keeps the expected value. The book scales in evaluation instead, by 1 − ratio.

    >>> from chainrule import nn
    >>> nn.Dropout(1.2)
    Traceback (most recent call last):
    chainrule.errors.InputError: Dropout: ratio is 1.2, not in [0, 1)

    Source: Srivastava et al. 2014; "Deep Learning from Scratch", section 6.4.3.
    """

    ratio: Ratio = 0.5

    def setup(self) -> None:
        self.ratio_scalar = scalar(self.ratio, name="ratio")

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        if not context.training:
            return x
        kept = context.uniform(x.shape) >= self.ratio_scalar
        return ops.where(kept, x * (1.0 / (1.0 - self.ratio_scalar)), 0.0)
