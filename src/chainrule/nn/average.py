"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..graph.tensor import Tensor
from .context import EVALUATION, Context
from .layer import Layer
from .losses import Loss


class Average(Layer):
    """The mean of what several networks predict: of probabilities where the loss knows them.

    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> twice, half = nn.Rescale(2.0), nn.Rescale(0.5)
    >>> nn.Average([twice, half], nn.MeanSquaredError())(cr.constant([[1.0], [4.0]])).numpy()
    array([[1.25],
           [5.  ]])

    Source: Hansen and Salamon 1990, "Neural network ensembles".
    """

    members: Sequence[Layer]
    loss: Loss

    def setup(self) -> None:
        self.members = tuple(self.members)
        if not self.members or not all(isinstance(member, Layer) for member in self.members):
            raise InputError(f"Average: members is {self.members!r}, expected a layer or more")
        if not isinstance(self.loss, Loss):
            raise InputError(f"Average: loss is {self.loss!r}, expected a Loss")

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return self.loss.average([member(x, context) for member in self.members])
