"""Optimizers: how a parameter W follows its gradient dW. Each is the formulas of its paper.

`slots` names what an optimizer remembers for each parameter, from 0 on. `update` is given the
parameter, its gradient, the number t of the step (from 1) and the slots, and returns the new
parameter and the new slots. The fields arrive in `update` as run-time scalars of the graph, so
another value of any of them, or a schedule for the rate, compiles nothing new.
"""

from typing import ClassVar, Self

from ..graph import ops
from ..graph.leaves import scalar
from ..graph.tensor import Tensor
from ..limits import NotNegative, Positive, Rate, Share
from ..spec import Spec
from .decay import Decay, Decoupled


class Optimizer(Spec):
    """Base of all optimizers: a rate `lr` and whatever else the rule has."""

    is_base = True

    lr: Rate = 0.01
    slots: ClassVar[tuple[str, ...]] = ()

    def own_decay(self) -> Decay | None:
        """The weight decay that is part of the rule, if one is."""
        return None

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        """The new W, and the new value of each slot."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates")

    def symbolic(self) -> Self:
        """The same rule with its fields as run-time scalars."""
        rule = object.__new__(type(self))
        for name, value in self.fields().items():
            setattr(rule, name, scalar(value, name=name))
        return rule


class SGD(Optimizer):
    """W ← W − η·dW.

    Source: "Deep Learning from Scratch", section 6.1.2.
    """

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        return (W - self.lr * dW,)


class Momentum(Optimizer):
    """v ← α·v − η·dW;  W ← W + v.

    Source: Polyak 1964; "Deep Learning from Scratch", section 6.1.4.
    """

    momentum: Share = 0.9
    slots = ("v",)

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        (v,) = slots
        v = self.momentum * v - self.lr * dW
        return W + v, v


class Nesterov(Optimizer):
    """v ← α·v − η·dW;  W ← W + α·v − η·dW: momentum that looks a step ahead.

    Source: Sutskever et al. 2013, eq. 3 and 4, in the form of Bengio et al. 2012.
    """

    momentum: Share = 0.9
    slots = ("v",)

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        (v,) = slots
        v = self.momentum * v - self.lr * dW
        return W + self.momentum * v - self.lr * dW, v


class AdaGrad(Optimizer):
    """h ← h + dW²;  W ← W − η·dW/(√h + ε): each weight slows down by how much it moved.

    Source: Duchi et al. 2011; "Deep Learning from Scratch", section 6.1.5 (ε = 1e-7).
    """

    epsilon: Positive = 1e-7
    slots = ("h",)

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        (h,) = slots
        h = h + dW * dW
        return W - self.lr * dW / (ops.sqrt(h) + self.epsilon), h


class RMSProp(Optimizer):
    """h ← ρ·h + (1 − ρ)·dW²;  W ← W − η·dW/(√h + ε): AdaGrad that forgets.

    Source: Tieleman & Hinton 2012, lecture 6.5.
    """

    rho: Share = 0.99
    epsilon: Positive = 1e-8
    slots = ("h",)

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        (h,) = slots
        h = self.rho * h + (1.0 - self.rho) * dW * dW
        return W - self.lr * dW / (ops.sqrt(h) + self.epsilon), h


class Adam(Optimizer):
    """m ← β₁·m + (1 − β₁)·dW;  v ← β₂·v + (1 − β₂)·dW²;  W ← W − η·m̂/(√v̂ + ε)

    with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ), which undo the start from 0.

    Source: Kingma & Ba 2015, algorithm 1; "Deep Learning from Scratch", section 6.1.6.
    """

    lr: Rate = 0.001
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8
    slots = ("m", "v")

    def update(self, W: Tensor, dW: Tensor, t: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        m, v = slots
        m = self.beta1 * m + (1.0 - self.beta1) * dW
        v = self.beta2 * v + (1.0 - self.beta2) * dW * dW
        m_hat = m / (1.0 - self.beta1**t)
        v_hat = v / (1.0 - self.beta2**t)
        return W - self.lr * m_hat / (ops.sqrt(v_hat) + self.epsilon), m, v


class AdamW(Adam):
    """Adam with decoupled weight decay: W ← W − η·λ·W beside Adam's step.

    Source: Loshchilov & Hutter 2019, algorithm 2.
    """

    weight_decay: NotNegative = 0.01

    def own_decay(self) -> Decay:
        return Decoupled(self.weight_decay)
