"""Elementwise ops at the edges of float32, in both engines, against float64."""

import numpy as np
import pytest
from scipy import special

import chainrule as cr
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.engines.program import Feed, Program
from chainrule.engines.reference import ReferenceEngine

SMALLEST, LARGEST = np.finfo(np.float32).tiny, np.finfo(np.float32).max
RELATIVE, ABSOLUTE = 4e-7, 1.2e-38
"""The absolute error counts where the exact result is below the smallest normal number: an engine
may give 0 there."""

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772

EXACT = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.float_power,
    "negative": np.negative,
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "absolute": np.fabs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "greater": lambda x, y: np.where(x > y, 1.0, 0.0),
    "greater_equal": lambda x, y: np.where(x >= y, 1.0, 0.0),
    "equal": lambda x, y: np.where(x == y, 1.0, 0.0),
    "where": lambda x, y: np.where(x > 0, x, y),
    "stop_gradient": lambda x: x,
    "relu": lambda x: np.where(x < 0, 0.0, x),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, x * slope),
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "softplus": lambda x: np.where(x > 0, x, 0) + np.log1p(np.exp(-np.fabs(x))),
    "silu": lambda x: x * special.expit(x),
    "erf": special.erf,
    "gelu": lambda x: x * special.ndtr(x),
    "selu": lambda x: SCALE * np.where(x > 0, x, ALPHA * special.expm1(np.minimum(x, 0))),
}
"""What each op means, in formulas that are not those of the package."""
ELEMENTWISE = [op for op in cr.OPS.values() if op.elementwise]

EDGES = [1e-45, 1e-42, 1.17e-38, SMALLEST, 1 / LARGEST, 0.5, 1.0, 1.5, 2.0, 3.0, 87.33, 87.34, 88.0,
         88.72, 88.73, 89.0, 91.0, 103.0, 2.0**23, 2.0**24 + 2, LARGEST, np.inf]  # fmt: skip


def signed(*magnitudes):
    positive = np.unique(np.concatenate(magnitudes).astype(np.float32))
    return np.concatenate([positive, -positive, [0.0, -0.0, np.nan]]).astype(np.float32)


def near(x, count):
    """The numbers of float32 next to x."""
    return (np.float32(x).view(np.int32) + np.arange(-count, count)).view(np.float32)


ONE = signed(
    np.geomspace(1e-38, 3e38, 6000), np.linspace(0, 120, 30_000), np.geomspace(1e-45, 1e-38, 200),
    near(1.0, 2000), near(np.sqrt(0.5), 200), near(87.33654, 300), near(88.72284, 300), EDGES,
)  # fmt: skip
FEW = signed(np.geomspace(1e-38, 3e38, 53), np.geomspace(0.1, 100, 40), near(1.0, 5), EDGES)


def operands(op):
    count = 2 if op.name == "where" else len(op.takes)
    if count == 1:
        return [ONE]
    return [x.ravel() for x in np.meshgrid(FEW, FEW)]


def applied(op, x):
    if op.name == "where":
        return op(x[0] > 0.0, *x)
    y = op(*x)
    return cr.where(y, 1.0, 0.0) if y.dtype == "bool" else y


def wrong(found, exact):
    """Where a value is not the exact one, rounded or nearly."""
    near_overflow = np.abs(np.abs(exact) / LARGEST - 1) < RELATIVE
    bound = np.where(np.abs(exact) < SMALLEST, ABSOLUTE, RELATIVE * np.abs(exact))
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    same = (found == rounded) | (np.isnan(found) & np.isnan(exact))
    return ~(same | (np.abs(found - exact) <= bound) | (near_overflow & np.isinf(found)))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_an_op_at_all_magnitudes(op, engine):
    data = operands(op)
    leaves = [cr.batch(1, name=f"x{i}") for i in range(len(data))]
    run = CompiledEngine(1).run if engine == "compiled" else ReferenceEngine("float32").run
    feed = Feed({x: values[:, None] for x, values in zip(leaves, data, strict=True)}, 4096)
    found = run(Program({"y": applied(op, leaves)}, {}), feed)["y"][:, 0]
    exact = EXACT[op.name](*[values.astype(np.float64) for values in data])
    bad = wrong(found.astype(np.float64), exact)
    cases = zip(*[values[bad] for values in data], found[bad], exact[bad], strict=True)
    shown = [tuple(map(float, case)) for case in cases][:: max(1, bad.sum() // 8)]
    assert not bad.any(), f"{bad.sum()} are wrong, as (operands, found, exact): {shown}"
