"""Activations as layers. Each is one op, which the graph sees as one node."""

from ..graph import ops
from ..graph.composed import softmax
from ..graph.leaves import scalar
from ..graph.tensor import Tensor
from ..limits import Finite
from .context import EVALUATION, Context
from .layer import Layer


class ReLU(Layer):
    """max(x, 0), element by element.

    Source: "Deep Learning from Scratch", section 5.5.1.
    """

    recommended_init = "he"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.relu(x)


class LeakyReLU(Layer):
    """x where x > 0, and slope·x elsewhere.

    Source: Maas, Hannun, Ng 2013.
    """

    slope: Finite = 0.01
    recommended_init = "he"

    def setup(self) -> None:
        self.slope_scalar = scalar(self.slope, name="slope")

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.leaky_relu(x, self.slope_scalar)


class Sigmoid(Layer):
    """1 / (1 + exp(−x)), element by element.

    Source: "Deep Learning from Scratch", section 5.5.2.
    """

    recommended_init = "xavier"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Layer):
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ), element by element."""

    recommended_init = "xavier"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.tanh(x)


class SiLU(Layer):
    """x·σ(x), also called swish.

    Source: Hendrycks & Gimpel 2016; Elfwing et al. 2018; Ramachandran et al. 2017.
    """

    recommended_init = "he"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.silu(x)


class GELU(Layer):
    """x·Φ(x), with Φ the normal distribution function (the exact form, through erf).

    Source: Hendrycks & Gimpel 2016.
    """

    recommended_init = "he"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.gelu(x)


class SELU(Layer):
    """λx where x > 0, and λα(eˣ − 1) elsewhere, with the λ and α that keep mean 0 and variance 1.

    Source: Klambauer et al. 2017.
    """

    recommended_init = "lecun"

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return ops.selu(x)


class Softmax(Layer):
    """exp(xₖ) / Σⱼ exp(xⱼ) along each row.

    `SoftmaxCrossEntropy` has a softmax inside and wants scores: don't put this layer before it.

    Source: "Deep Learning from Scratch", section 3.5.
    """

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        return softmax(x)
