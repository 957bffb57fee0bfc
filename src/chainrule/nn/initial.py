"""Initial values of weights: how widely to draw them so that signals neither die nor explode."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from ..errors import InputError
from ..graph.leaves import is_leaf_array
from ..graph.tensor import Array, Tensor
from ..limits import NotNegative, Positive, check
from ..spec import Spec
from .layer import Layer

Distribution = Literal["normal", "uniform"]


class Initializer(Spec):
    """Base: a rule from a weight's shape [inputs, outputs] to its standard deviation."""

    is_base = True

    def std(self, shape: tuple[int, ...]) -> float:
        """The standard deviation of weights of that shape."""
        raise NotImplementedError

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Independent values of mean 0 and that deviation, float64."""
        std, distribution = self.std(shape), getattr(self, "distribution", "normal")
        if distribution == "uniform":
            limit = math.sqrt(3.0) * std  # U(−a, a) has the variance a²/3
            return random.uniform(-limit, limit, shape)
        return random.normal(0.0, std, shape)


class StandardDeviation(Initializer):
    """Normal with a given deviation, whatever the shape: the book's `weight_init_std`."""

    value: NotNegative

    def std(self, shape: tuple[int, ...]) -> float:
        return self.value


class VarianceScaling(Initializer):
    """The variance `scale / fan`, with fan the inputs of a unit, or the mean of in- and outputs.

    Source: Glorot & Bengio 2010; He et al. 2015.
    """

    scale: Positive
    fan: Literal["inputs", "mean"] = "inputs"
    distribution: Distribution = "normal"

    def std(self, shape: tuple[int, ...]) -> float:
        inputs, outputs = shape if len(shape) == 2 else (shape[0], shape[0])
        fan = inputs if self.fan == "inputs" else (inputs + outputs) / 2
        return math.sqrt(self.scale / fan)


def he(distribution: Distribution = "normal") -> VarianceScaling:
    """√(2/n), for ReLU, which silences half of its inputs.

    >>> round(he().std((50, 20)), 6)
    0.2

    Source: He et al. 2015, eq. 10; "Deep Learning from Scratch", section 6.2.3.
    """
    return VarianceScaling(2.0, "inputs", distribution)


def xavier(distribution: Distribution = "normal") -> VarianceScaling:
    """√(1/n): the book's Xavier, which looks at the inputs alone. Glorot's own is `glorot`.

    >>> xavier().std((100, 20))
    0.1

    Source: "Deep Learning from Scratch", section 6.2.2.
    """
    return VarianceScaling(1.0, "inputs", distribution)


def glorot(distribution: Distribution = "normal") -> VarianceScaling:
    """√(2/(n_in + n_out)): a compromise between signals forwards and gradients backwards.

    >>> glorot().std((150, 50))
    0.1

    Source: Glorot & Bengio 2010, eq. 12 and 16.
    """
    return VarianceScaling(1.0, "mean", distribution)


def lecun(distribution: Distribution = "normal") -> VarianceScaling:
    """√(1/n): keeps the variance of a linear unit; what SELU is made for.

    >>> lecun().std((400, 20))
    0.05

    Source: LeCun et al. 1998, "Efficient BackProp", eq. 16; Klambauer et al. 2017.
    """
    return VarianceScaling(1.0, "inputs", distribution)


class Automatic(Initializer):
    """What the activation that follows recommends; see `initial_values`."""


AUTO = Automatic()

NAMED: dict[str, Initializer] = {"auto": AUTO}
for _rule in (he, xavier, glorot, lecun):
    NAMED |= {_rule.__name__: _rule(), f"{_rule.__name__}_uniform": _rule("uniform")}
"""The rules by the names that `init=` takes, beside a number and an `Initializer`."""

Init = str | float | Initializer


def as_init(init: Init) -> Initializer:
    """The rule that `init=` stands for."""
    if isinstance(init, Initializer):
        return init
    if isinstance(init, str):
        if init not in NAMED:
            known = ", ".join(NAMED)
            raise InputError(
                f"init is {init!r}, expected a number, an initializer, or one of {known}"
            )
        return NAMED[init]
    check("init", init, NotNegative)
    return StandardDeviation(init)


def initial_values(model: Layer, seed: int = 0) -> dict[Tensor, Array]:
    """Values for all parameters and state of a model, drawn from `seed`; each leaf has its own
    stream, so that another width here leaves the draws elsewhere.

    "auto" takes what the next activation recommends: He before ReLU and its kin, Xavier before
    sigmoid and tanh, LeCun before SELU, Xavier where no activation follows.

    >>> from chainrule import nn
    >>> model = nn.Sequential(nn.Affine(1000, 500), nn.ReLU(), nn.Affine(500, 10))
    >>> [round(float(value.std()), 3) for value in initial_values(model).values()]
    [0.045, 0.0, 0.045, 0.0]
    """
    return dict(drawn_values(model, seed))


def drawn_values(model: Layer, seed: int) -> Iterator[tuple[Tensor, Array]]:
    """The same, one after the other: all at once would be much memory, in float64."""
    rules = _automatic_rules(model)
    for i, leaf in enumerate(model.leaves().values()):
        initial = leaf.attrs["initial"]
        if not is_leaf_array(initial):
            rule = rules.get(leaf, initial)
            random = np.random.Generator(np.random.Philox(key=[seed, i]))
            initial = rule.draw(random, leaf.shape)
        yield leaf, initial


def _automatic_rules(model: Layer) -> dict[Tensor, Initializer]:
    rules: dict[Tensor, Initializer] = {}
    following = "xavier"
    for layer in reversed(list(model.flat())):
        if layer.recommended_init:
            following = layer.recommended_init
        drawn = [x for x in layer.own_leaves() if not is_leaf_array(x.attrs["initial"])]
        automatic = [x for x in drawn if isinstance(x.attrs["initial"], Automatic)]
        rules |= dict.fromkeys(automatic, NAMED[following])
        following = "xavier" if drawn else following
    return rules
