"""chainrule trains and tunes dense neural networks on the CPU that people have."""

from typing import TYPE_CHECKING

from . import starting  # noqa: F401  # isort: skip  # first, to answer Ctrl-C during imports
from . import nn, optim, words
from .advice import Advice
from .errors import ChainruleError, FileError, InputError, ShapeError, TrainingError
from .graph.composed import one_hot, softmax
from .graph.gradient import grad
from .graph.leaves import batch, parameter, scalar, state
from .graph.ops import (
    absolute,
    argmax,
    equal,
    erf,
    exp,
    gelu,
    greater,
    greater_equal,
    leaky_relu,
    log,
    matmul,
    maximum,
    minimum,
    power,
    reciprocal,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
    sqrt,
    stop_gradient,
    take,
    tanh,
    uniform,
    where,
)
from .graph.tensor import OPS, Op, Tensor, constant
from .training.early_stopping import EarlyStopping
from .training.history import History
from .training.loop import Progress
from .training.model_file import load
from .training.trainer import Interrupted, Trainer

__version__ = "0.1.0"

if not TYPE_CHECKING:  # else a type checker would take any name for one that is there

    def __getattr__(name):
        for module in (nn, optim):
            if (word := words.NAMES.get(name, name)) in module.__all__:
                place = f"{module.__name__.split('.')[-1]}.{word}"
                raise words.NoSuchName(f"chainrule has no {name!r}: it is chainrule.{place} here")
        if name in words.OF_SEARCH:
            raise words.NoSuchName(f"chainrule has no {name!r}: it is chainrule.search.{name}")
        raise words.no_such_name("chainrule", name, __all__)


__all__ = [
    "OPS",
    "Advice",
    "ChainruleError",
    "EarlyStopping",
    "FileError",
    "History",
    "InputError",
    "Interrupted",
    "Op",
    "Progress",
    "ShapeError",
    "Tensor",
    "Trainer",
    "TrainingError",
    "absolute",
    "argmax",
    "batch",
    "constant",
    "equal",
    "erf",
    "exp",
    "gelu",
    "grad",
    "greater",
    "greater_equal",
    "leaky_relu",
    "load",
    "log",
    "matmul",
    "maximum",
    "minimum",
    "nn",
    "one_hot",
    "optim",
    "parameter",
    "power",
    "reciprocal",
    "relu",
    "scalar",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sqrt",
    "state",
    "stop_gradient",
    "take",
    "tanh",
    "uniform",
    "where",
]
