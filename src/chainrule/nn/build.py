"""Usual networks from a few words."""

from collections.abc import Sequence

from ..errors import InputError
from .activations import GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from .affine import Affine
from .batch_norm import BatchNorm
from .containers import Rescale, Sequential
from .dropout import Dropout
from .initial import Init
from .layer import Layer

ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "silu": SiLU,
    "gelu": GELU,
    "selu": SELU,
}
"""The activations by the names that `activation=` takes."""


def multilayer(
    features: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
    init: Init = "auto",
    factor: float = 1.0,
) -> Sequential:
    """Affine [batch norm] activation [dropout] for each hidden width, and an affine output.

    >>> multilayer(784, [50], 10, dropout=0.2, factor=1 / 255)
    Sequential(Rescale(0.00392156862745098), Affine(784, 50), ReLU(), Dropout(0.2), Affine(50, 10))
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation is {activation!r}, expected {' or '.join(ACTIVATIONS)}")
    layers: list[Layer] = [Rescale(factor)] if factor != 1.0 else []
    for width in hidden:
        layers.append(Affine(features, width, init))
        if batch_norm:
            layers.append(BatchNorm(width))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
        features = width
    return Sequential(*layers, Affine(features, outputs, init))
