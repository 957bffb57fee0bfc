"""What people type who know another library, and what it is called here."""

import difflib
from collections.abc import Iterable

from .errors import ChainruleError

FIELDS = {
    "learning_rate": "lr", "eta": "lr", "in_features": "inputs", "out_features": "outputs",
    "units": "outputs", "p": "ratio", "rate": "ratio", "eps": "epsilon", "alpha": "slope",
    "negative_slope": "slope", "num_features": "features", "kernel_initializer": "init",
    "use_bias": "bias", "criterion": "loss", "net": "model", "network": "model",
    "random_state": "seed",
}  # fmt: skip
"""Fields by their names elsewhere."""

WAYS_OUT = {
    "activation": "put the activation behind it as a layer of its own, such as nn.ReLU()",
    "weight_decay": "give weight_decay to the Trainer",
    "betas": "give beta1 and beta2",
    "input_shape": "the number of inputs is the first argument",
}
"""What to do in the place of a field that does not exist here."""

NAMES = {
    "Linear": "Affine", "Dense": "Affine", "BatchNorm1d": "BatchNorm",
    "BatchNormalization": "BatchNorm", "CrossEntropyLoss": "SoftmaxCrossEntropy",
    "CrossEntropy": "SoftmaxCrossEntropy", "BCEWithLogitsLoss": "SigmoidCrossEntropy",
    "BinaryCrossEntropy": "SigmoidCrossEntropy", "MSELoss": "MeanSquaredError",
    "MSE": "MeanSquaredError", "L1Loss": "MeanAbsoluteError", "MAE": "MeanAbsoluteError",
    "HuberLoss": "Huber", "SmoothL1Loss": "Huber", "Module": "Layer", "Lambda": "Function",
    "Swish": "SiLU", "Adagrad": "AdaGrad", "RMSprop": "RMSProp", "StepLR": "Step",
    "CosineAnnealingLR": "Cosine", "OneCycleLR": "OneCycle",
}  # fmt: skip
"""Classes and functions by their names elsewhere."""


OF_SEARCH = ("Choice", "Integer", "LogUniform", "Result", "Search", "Uniform", "When")
"""Names of `chainrule.search`, which nobody imports who only trains."""

SHOWN = 40
"""Characters of a value that an error shows."""


def shown(value: object) -> str:
    """A value as an error names it; of a long one its kind and its beginning."""
    text = " ".join(repr(value).split())
    if len(text) <= SHOWN:
        return text
    return f"{with_article(type(value).__name__)}, {text[:SHOWN]}…"


def with_article(name: str) -> str:
    """A name after "a" or "an"."""
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def near(word: str, words: Iterable[str]) -> str:
    """A question after the likeliest of some words, in any capitals; empty for none."""
    small = {other.lower(): other for other in words}
    found = difflib.get_close_matches(word.lower(), small, 1)
    return f"; did you mean {small[found[0]]!r}?" if found else ""


class NoSuchName(ChainruleError, AttributeError):
    """A module of chainrule has no such name."""


def no_such_name(module: str, name: str, known: Iterable[str]) -> NoSuchName:
    """The error for a name that a module does not have, with the one it has."""
    there = sorted(known)
    if NAMES.get(name) in there:
        return NoSuchName(f"{module} has no {name!r}: it is {module}.{NAMES[name]} here")
    return NoSuchName(f"{module} has no {name!r}{near(name, there)}")
