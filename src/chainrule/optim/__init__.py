"""Optimizers, schedules, weight decay and clipping."""

from typing import TYPE_CHECKING

from ..words import no_such_name
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

if not TYPE_CHECKING:  # else a type checker would take any name for one that is there

    def __getattr__(name):
        raise no_such_name("optim", name, __all__)
