"""Batch normalization."""

from ..graph import ops
from ..graph.leaves import parameter, scalar, state
from ..graph.shape import N
from ..graph.tensor import Tensor
from ..limits import Count, Positive, Smoothing
from .context import EVALUATION, Context
from .layer import Layer, expect_columns

WHOLE_BATCH = 100.0
"""Rows of a batch for which the whole momentum counts."""


class BatchNorm(Layer):
    """γ·(x − μ)/√(σ² + ε) + β for each feature, X [N, features].

    In training μ and σ² are the batch's mean and (biased) variance. In evaluation they are the
    mean and variance of all rows so far, in which old rows weigh little: a batch multiplies the
    weights of all rows before it by m. m is `momentum` for a batch of 100 rows and more, and
    momentum^(n/100) for one of n rows: with 0.9 some 1,000 rows count, whatever the batch size.
    For weights with the sum r, with r ← m·r + n, a = n/r and d = μ_batch − μ,

        μ ← μ + a·d;  σ² ← (1 − a)·(σ² + a·d²) + a·σ²_batch.

    γ starts at 1, β at 0. A batch of one row gives β, and no gradient to what lies before.
    `momentum` counts as in the book and Keras: PyTorch's 0.1 is 0.9 here. Both of them start at
    μ = 0 and σ² = 1, keep 0.9ᵗ of that after t batches, and leave out a·d².

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2; "Deep Learning from Scratch", section 6.3;
    Chan, Golub, LeVeque 1979 (the variance of two parts).
    """

    features: Count
    momentum: Smoothing = 0.9
    epsilon: Positive = 1e-5

    def setup(self) -> None:
        shape = (self.features,)
        self.gamma = parameter(1.0, shape=shape, name="gamma", role="scale")
        self.beta = parameter(0.0, shape=shape, name="beta", role="shift")
        self.running_mean = state(0.0, shape=shape, name="running_mean")
        self.running_rest = state(0.0, shape=shape, name="running_rest")
        self.running_variance = state(1.0, shape=shape, name="running_variance")
        self.running_rows = state(0.0, shape=(), name="running_rows")
        self.keep = scalar(self.momentum, name="momentum")
        self.eps = scalar(self.epsilon, name="epsilon")

    def __call__(self, x: Tensor, context: Context = EVALUATION) -> Tensor:
        expect_columns(x, self.features)
        rest = context.value(self.running_rest)
        x = x - context.value(self.running_mean)
        if not context.training:
            return self.normalized(x - rest, self.running_variance)
        # Of what is left, not of x: the mean of a thousand numbers near 1e6 is off by 0.06 in
        # float32, which is 20 times √ε.
        left = x.mean(axis=0)
        x = x - left
        variance = (x * x).mean(axis=0)
        self._follow(context, x.shape[0], left - rest, variance)
        return self.normalized(x, variance)

    def normalized(self, centered: Tensor, variance: Tensor) -> Tensor:
        """The formula, for x − μ."""
        return self.gamma * (centered / ops.sqrt(variance + self.eps)) + self.beta

    def _follow(self, context: Context, rows: object, d: Tensor, variance: Tensor) -> None:
        n = ops.rows() if rows is N else float(rows)  # type: ignore[arg-type]
        keep = self.keep ** (ops.minimum(n, WHOLE_BATCH) / WHOLE_BATCH)
        total = keep * context.value(self.running_rows) + n
        a = n / total
        # Steps below half a unit in the last place of μ would be lost: they add up beside it.
        before, step = context.value(self.running_mean), context.value(self.running_rest) + a * d
        mean = before + step
        # (1 − a)·d first: of the first batch it is 0, and d² may be infinite.
        old, between = context.value(self.running_variance), (1.0 - a) * d * d
        context.update(self.running_rows, total)
        context.update(self.running_rest, step - (mean - before))
        context.update(self.running_mean, mean)
        context.update(self.running_variance, (1.0 - a) * old + a * (variance + between))
