"""Gradient clipping."""

from collections.abc import Mapping

from ..graph import ops
from ..graph.tensor import Tensor, constant


def clip_by_global_norm(
    gradients: Mapping[Tensor, Tensor], limit: Tensor | float
) -> dict[Tensor, Tensor]:
    """Scale all gradients by min(1, limit/‖g‖), where ‖g‖ is the norm of all of them together.

    The direction stays. A gradient of norm 0 stays 0.

    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    square = sum(((g * g).sum() for g in gradients.values()), start=constant(0.0))
    scale = ops.minimum(1.0, limit / (ops.sqrt(square) + 1e-6))
    return {W: scale * g for W, g in gradients.items()}
