"""Optimizers, schedules, weight decay and clipping."""

from .clipping import clip_by_global_norm
from .decay import Coupled, Decay, Decoupled
from .optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from .schedules import Constant, Cosine, OneCycle, Piecewise, Schedule, Step, Warmup

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Coupled",
    "Decay",
    "Decoupled",
    "Momentum",
    "Nesterov",
    "OneCycle",
    "Optimizer",
    "Piecewise",
    "RMSProp",
    "Schedule",
    "Step",
    "Warmup",
    "clip_by_global_norm",
]
