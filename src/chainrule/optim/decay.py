"""Weight decay: what pulls weights towards 0."""

from typing import get_args

from ..errors import InputError
from ..graph.leaves import Role, scalar
from ..graph.tensor import Tensor
from ..limits import Strength
from ..spec import Spec


class Decay(Spec):
    """Base: a strength λ, and the roles of the parameters it applies to, by default the weights.

    Biases and batch norm's scale and shift are left alone unless `roles` names "bias", "scale" or
    "shift": shrinking them does not make a function simpler.
    """

    is_base = True

    strength: Strength = 0.0
    roles: tuple[str, ...] = ("weight",)

    def setup(self) -> None:
        known = get_args(Role)
        fits = isinstance(self.roles, list | tuple) and all(role in known for role in self.roles)
        if not fits:
            expected = ", ".join(map(repr, known))
            raise InputError(
                f"{type(self).__name__}: roles is {self.roles!r}, expected some of {expected}"
            )
        self.roles = tuple(self.roles)
        self.strength_scalar = scalar(self.strength, name="weight_decay")

    def applies_to(self, W: Tensor) -> bool:
        """Whether a parameter decays."""
        return W.attrs.get("role") in self.roles

    def gradient(self, W: Tensor, dW: Tensor) -> Tensor:
        """The gradient, with the decay's share."""
        return dW

    def weight(self, W: Tensor, lr: Tensor) -> Tensor:
        """The weight that the optimizer's step starts from."""
        return W


class Coupled(Decay):
    """The book's: a term λ/2·‖W‖² in the loss, so dW ← dW + λ·W, which the optimizer then rescales.

    The loss that is reported is that of the data, without the term.

    Source: "Deep Learning from Scratch", section 6.4.2; Krogh & Hertz 1991.
    """

    def gradient(self, W: Tensor, dW: Tensor) -> Tensor:
        return dW + self.strength_scalar * W


class Decoupled(Decay):
    """W ← W − η·λ·W beside the optimizer's step, out of reach of its rescaling.

    Source: Loshchilov & Hutter 2019.
    """

    def weight(self, W: Tensor, lr: Tensor) -> Tensor:
        return W - lr * self.strength_scalar * W
