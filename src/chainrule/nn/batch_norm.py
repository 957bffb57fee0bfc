"""Batch normalization."""

from ..graph import ops
from ..graph.leaves import parameter, scalar, state
from ..graph.shape import N
from ..graph.tensor import Tensor
from ..limits import Count, Positive, Smoothing
from .context import EVALUATION, Context
from .layer import Layer, expect_columns


class BatchNorm(Layer):
    """γ·(x − μ)/√(σ² + ε) + β for each feature, X [N, features].

    In training μ and σ² are the batch's mean and (biased) variance; meanwhile running ones are
    kept, running ← momentum·running + (1 − momentum)·batch, with the unbiased variance, and used
    in evaluation. γ starts at 1, β at 0. A batch of one row gives β, and no gradient to what lies
    before. `momentum` counts as in the book and Keras: PyTorch's 0.1 is 0.9 here.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2; "Deep Learning from Scratch", section 6.3.
    """

    features: Count
    momentum: Smoothing = 0.9
    epsilon: Positive = 1e-5

    def setup(self) -> None:
        shape = (self.features,)
        self.gamma = parameter(1.0, shape=shape, name="gamma", role="scale")
        self.beta = parameter(0.0, shape=shape, name="beta", role="shift")
        self.running_mean = state(0.0, shape=shape, name="running_mean")
        self.running_variance = state(1.0, shape=shape, name="running_variance")
        self.keep = scalar(self.momentum, name="momentum")
        self.eps = scalar(self.epsilon, name="epsilon")

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        expect_columns(x, self.features)
        if not context.training:
            return self.normalized(x, self.running_mean, self.running_variance)
        mean = x.mean(axis=0)
        variance = ((x - mean) * (x - mean)).mean(axis=0)
        n = ops.rows() if x.shape[0] is N else float(x.shape[0])  # type: ignore[arg-type]
        unbiased = variance * (n / ops.maximum(n - 1.0, 1.0))
        self._follow(context, self.running_mean, mean)
        self._follow(context, self.running_variance, unbiased)
        return self.normalized(x, mean, variance)

    def normalized(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The formula, for whichever mean and variance."""
        return self.gamma * ((x - mean) / ops.sqrt(variance + self.eps)) + self.beta

    def _follow(self, context: Context, running: Tensor, value: Tensor) -> None:
        context.update(running, self.keep * running + (1.0 - self.keep) * value)
