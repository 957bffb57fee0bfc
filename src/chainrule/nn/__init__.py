"""Layers, losses and initial values: formulas over Tensors."""

from typing import TYPE_CHECKING

from ..words import no_such_name
from . import initial as init
from .activations import GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .affine import Affine
from .average import Average
from .batch_norm import BatchNorm
from .containers import Function, Rescale, Residual, Sequential
from .context import EVALUATION, Context, Training
from .dropout import Dropout
from .initial import Initializer, StandardDeviation, VarianceScaling, initial_values
from .layer import Layer
from .losses import (
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

__all__ = [
    "EVALUATION",
    "GELU",
    "SELU",
    "Affine",
    "Average",
    "BatchNorm",
    "Context",
    "Dropout",
    "Function",
    "Huber",
    "Initializer",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "ReLU",
    "Rescale",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "StandardDeviation",
    "Tanh",
    "Training",
    "VarianceScaling",
    "init",
    "initial_values",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one that is there

    def __getattr__(name):
        raise no_such_name("nn", name, __all__)
