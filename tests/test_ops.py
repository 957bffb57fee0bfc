"""Every op of the registry: its values and its gradients, of the first and the second order."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from gradient_check import check_gradient, distinct, leaf

import chainrule as cr
from chainrule.graph import ops
from chainrule.graph.shape import N

ROWS, F = 3, 4
SHAPES = ((N, F), (F,), (N, 1), (1, F), ())
ALL = list(cr.OPS.values())
COMPUTED = [op for op in ALL if op.numpy is not None]
DIFFERENTIABLE = [op for op in ALL if op.vjp is not None]
FLAT = [op for op in COMPUTED if op.vjp is None]
LEAVES = [op for op in ALL if op.numpy is None]
ATTRS_OF_FLAT = {"argmax": {"axis": 1}, "uniform": {"stream": 1, "shape": (ROWS, F)}}


def name(value):
    return value.name if isinstance(value, cr.Op) else str(value).replace(" ", "")


def fixed(shape):
    return tuple(ROWS if n is N else n for n in shape)


def gradient_cases(op):
    """(input shapes, attrs) to check an op with: one wide input and all that broadcasts to it."""
    if not op.elementwise:
        return op.cases
    mixed = itertools.product(SHAPES, repeat=len(op.takes))
    return [(shapes, {}) for shapes in mixed if len(shapes) == 1 or (N, F) in shapes]


def operands(op, shapes, attrs, free=False, seed=0):
    """Input leaves and arrays from the op's domain: (all the leaves, leaf → array)."""
    random = np.random.default_rng(seed)
    spread = distinct(random, *map(fixed, shapes))
    values = {}
    domains = op.domain or (ops.REAL,) * len(shapes)
    for shape, kind, domain, array in zip(shapes, op.takes, domains, spread, strict=True):
        x = leaf(shape if free else fixed(shape), kind or "float")
        if kind == "bool":
            values[x] = array > 0
        elif kind == "int":
            values[x] = random.integers(0, attrs.get("rows") or shapes[0][0], fixed(shape))
        else:
            values[x] = np.abs(array) if domain == ops.POSITIVE else array
    return values


def split(values):
    """What a gradient is taken of, and what is merely given."""
    at = {x: array for x, array in values.items() if x.dtype == "float"}
    return at, {x: array for x, array in values.items() if x not in at}


@pytest.mark.parametrize("op", ALL, ids=name)
def test_no_gradient_escapes_the_check(op):
    assert op.vjp is None or op.elementwise or op.cases, f"{op!r} has a gradient, but no cases"
    assert op.vjp is None or op.takes, f"{op!r} has a gradient, but does not say what it takes"


@pytest.mark.parametrize(
    ("op", "shapes", "attrs"),
    [(op, *case) for op in DIFFERENTIABLE for case in gradient_cases(op)],
    ids=name,
)
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_gradient(op, shapes, attrs, free):
    values = operands(op, shapes, attrs, free)
    at, given = split(values)
    check_gradient(op(*values, **attrs), at, given, order=2)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=name)
def test_the_check_notices_a_gradient_that_is_1_percent_off(op, monkeypatch):
    right, (shapes, attrs) = op.vjp, gradient_cases(op)[0]
    for i, kind in enumerate(op.takes):
        if kind in ("bool", "int"):
            continue

        def wrong(*arguments, _i=i, **attrs):
            shares = right(*arguments, **attrs)
            return tuple(s * 1.01 if j == _i else s for j, s in enumerate(shares))

        monkeypatch.setitem(op.__dict__, "vjp", wrong)
        values = operands(op, shapes, attrs)
        at, given = split(values)
        with pytest.raises(AssertionError, match="difference"):
            check_gradient(op(*values, **attrs), at, given)


def as_float(y):
    """A float graph of whatever counts otherwise."""
    if y.dtype == "bool":
        return cr.where(y, 2.0, 1.0)
    return cr.where(cr.equal(y, 0), 2.0, 1.0) if y.dtype == "int" else y


@pytest.mark.parametrize("op", FLAT, ids=name)
def test_an_op_without_gradient_gives_none_and_breaks_none(op):
    attrs = ATTRS_OF_FLAT.get(op.name, {})
    shapes = [() if kind == "int" else (ROWS, F) for kind in op.takes]
    values = operands(op, shapes, {"rows": 3})
    y = as_float(op(*values, **attrs)).sum()
    floats = list(split(values)[0])
    assert not any(g.numpy(values).any() for g in cr.grad(y, floats))
    x = cr.parameter(3.0)
    both = x * x * y + sum((a.sum() for a in floats), 0.0)
    dx, *rest = cr.grad(both, [x, *floats])
    np.testing.assert_allclose(dx.numpy(values), 6.0 * y.numpy(values))
    assert all((g.numpy(values) == 1.0).all() for g in rest)


def leaf_of(op):
    """A leaf whose value is 5, and what to give for it."""
    if op.name == "rows":
        return op(), {}
    if op.name == "input":
        x = leaf(())
        return x, {x: 5.0}
    make = {"constant": cr.constant, "parameter": cr.parameter, "state": cr.state}
    return make.get(op.name, cr.scalar)(5.0), {}


@pytest.mark.parametrize("op", LEAVES, ids=name)
def test_a_leaf_breaks_no_gradient(op):
    value, given = leaf_of(op)
    assert value.op is op
    x = cr.batch(F)
    y = (x * value).sum()
    given[x] = np.ones((5, F))
    (dx,) = cr.grad(y, [x])
    assert (dx * x).sum().numpy(given) == 5.0 * 5 * F


# Values -------------------------------------------------------------------------------------


def take_rows(table, index):
    return np.stack([table[i] for i in index.tolist()])


EXPECTED = {
    "add": lambda a, b: a - (-b),
    "subtract": lambda a, b: a + (-b),
    "multiply": lambda a, b: a / (1 / b),
    "divide": lambda a, b: a * b**-1.0,
    "power": lambda a, b: np.exp(b * np.log(a)),
    "negative": lambda x: 0 - x,
    "reciprocal": lambda x: 1.0 / x,
    "exp": np.vectorize(math.exp),
    "log": np.vectorize(math.log),
    "sqrt": lambda x: x**0.5,
    "absolute": lambda x: np.sign(x) * x,
    "maximum": lambda a, b: (a + b + abs(a - b)) / 2,
    "minimum": lambda a, b: (a + b - abs(a - b)) / 2,
    "greater": lambda a, b: a - b > 0,
    "greater_equal": lambda a, b: ~(a < b),
    "equal": lambda a, b: a - b == 0,
    "where": lambda c, a, b: c * a + (1 - c) * b,
    "stop_gradient": lambda x: x,
    "relu": lambda x: (x + abs(x)) / 2,
    "leaky_relu": lambda x, slope: x * (x > 0) + slope * x * (x <= 0),
    "sigmoid": scipy.special.expit,
    "tanh": lambda x: 1 - 2 / (np.exp(2 * x) + 1),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "silu": lambda x: x * scipy.special.expit(x),
    "erf": np.vectorize(math.erf),
    "gelu": lambda x: x * scipy.stats.norm.cdf(x),
    # The constants as PyTorch's documentation gives them.
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "matmul": lambda a, b: np.einsum("nk,km->nm", a, b),
    "transpose": lambda x: np.einsum("nk->kn", x),
    "sum": lambda x, axes: np.apply_over_axes(np.add.reduce, x, axes),
    "max": lambda x, axes: -np.apply_over_axes(np.min, -x, axes),
    "logsumexp": lambda x, axes: scipy.special.logsumexp(x, axis=axes, keepdims=True),
    "argmax": lambda x, axis: (-x).argsort(axis=axis, kind="stable").take(0, axis),
    "broadcast_to": lambda x, shape: x + np.zeros(shape),
    "squeeze": lambda x, axes: x.reshape([n for i, n in enumerate(x.shape) if i not in axes]),
    "expand_dims": lambda x, axes: x[:, None] if axes == (1,) else x[None, None],
    "take": take_rows,
    "scatter_add": lambda x, index, rows: np.eye(rows)[index].T @ x,
}


@pytest.mark.parametrize("op", [op for op in COMPUTED if op.name != "uniform"], ids=name)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 2e-5)])
def test_values(op, dtype, rtol):
    cases = gradient_cases(op) or [(((ROWS, F),), {"axis": axis}) for axis in (0, 1)]
    for shapes, attrs in cases:
        values = operands(op, shapes, attrs)
        found = op(*values, **attrs).numpy(values, dtype=dtype)
        expected = EXPECTED[op.name](*values.values(), **attrs)
        assert found.shape == expected.shape
        assert found.dtype == (dtype if expected.dtype.kind == "f" else expected.dtype)
        np.testing.assert_allclose(found, expected, rtol, atol=rtol)


def value_and_slope(op, numbers, dtype):
    x = cr.parameter(numbers)
    (dx,) = cr.grad(op(x).sum(), [x])
    return op(x).numpy(dtype=dtype), dx.numpy(dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("op", "values", "slopes"),
    [
        (cr.sigmoid, [0.0, 0.5, 1.0], [0.0, 0.25, 0.0]),
        (cr.softplus, [0.0, math.log(2), 1000.0], [0.0, 0.5, 1.0]),
        (cr.silu, [0.0, 0.0, 1000.0], [0.0, 0.5, 1.0]),
        (cr.gelu, [0.0, 0.0, 1000.0], [0.0, 0.5, 1.0]),
        (cr.tanh, [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
        (cr.erf, [-1.0, 0.0, 1.0], [0.0, 2 / math.sqrt(math.pi), 0.0]),
        (cr.relu, [0.0, 0.0, 1000.0], [0.0, 0.0, 1.0]),
        (cr.absolute, [1000.0, 0.0, 1000.0], [-1.0, 0.0, 1.0]),
    ],
    ids=name,
)
def test_far_from_zero_and_at_zero(op, values, slopes, dtype):
    found = value_and_slope(op, [-1000.0, 0.0, 1000.0], dtype)
    np.testing.assert_allclose(found, [values, slopes], 1e-6, atol=1e-12)


def test_selu_keeps_its_negative_limit():
    found = value_and_slope(cr.selu, [-1000.0, 1000.0], "float64")
    expected = [[-1.7580993408473766, 1050.7009873554804], [0.0, 1.0507009873554805]]
    np.testing.assert_allclose(found, expected, 1e-14, atol=1e-14)


def test_softplus_of_small_numbers_does_not_vanish():
    np.testing.assert_allclose(cr.softplus(cr.constant([-40.0])).numpy(), math.exp(-40), 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
def test_logsumexp_neither_overflows_nor_underflows(shift, dtype):
    x = cr.constant([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]) + shift
    expected = shift + np.array([3.40760596444438, 1.0986122886681098])
    np.testing.assert_allclose(x.logsumexp(axis=1).numpy(dtype=dtype), expected, 1e-6)
    (dx,) = cr.grad(x.logsumexp(axis=1).sum(), [x])
    np.testing.assert_allclose(dx.numpy(dtype=dtype).sum(axis=1), 1.0, 1e-3)
    np.testing.assert_allclose(cr.softmax(x).numpy(dtype=dtype)[1], 1 / 3, 1e-3)


def test_logsumexp_of_numbers_far_apart():
    x = cr.parameter([-1000.0, 1000.0, -1000.0])
    assert x.logsumexp().numpy() == 1000.0
    assert cr.grad(x.logsumexp(), [x])[0].numpy().tolist() == [0.0, 1.0, 0.0]


def test_argmax_takes_the_first_of_equals():
    x = cr.constant([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 0.0]])
    assert cr.argmax(x, axis=1).numpy().tolist() == [1, 0, 0]
    assert cr.argmax(x, axis=0).numpy().tolist() == [1, 0, 0]


def test_equal_largest_values_share_the_gradient():
    x = cr.parameter([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    (dx,) = cr.grad(x.max(axis=1).sum(), [x])
    np.testing.assert_allclose(dx.numpy(), [[0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    a, b = cr.parameter(2.0), cr.parameter(2.0)
    for op in (cr.maximum, cr.minimum):
        assert [g.numpy() for g in cr.grad(op(a, b), [a, b])] == [0.5, 0.5]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_power_of_zero_and_of_negative_numbers_by_a_whole_exponent(exponent):
    x = cr.parameter([-2.0, 0.0, 2.0])
    y, at = x**exponent, np.array([-2.0, 0.0, 2.0])
    coefficients = np.zeros(int(exponent) + 1)
    coefficients[0] = 1.0  # the polynomial xⁿ
    for _ in range(4):
        np.testing.assert_allclose(y.numpy(), np.polyval(coefficients, at), 1e-12)
        (y,), coefficients = cr.grad(y.sum(), [x]), np.polyder(coefficients)


def test_power_has_no_nan_in_the_gradient_of_the_exponent_at_zero():
    a, b = cr.parameter([0.0, 2.0]), cr.parameter([2.0, 3.0])
    (db,) = cr.grad((a**b).sum(), [b])
    np.testing.assert_allclose(db.numpy(), [0.0, 8 * math.log(2)])


def test_division_by_a_negative_number():
    a, b = cr.parameter(3.0), cr.parameter(-2.0)
    assert [float(g.numpy()) for g in cr.grad(a / b, [a, b])] == [-0.5, -0.75]


def test_where_keeps_the_infinity_of_the_other_branch_out():
    x = cr.parameter([0.0, 4.0])
    (dx,) = cr.grad(cr.where(x > 0, cr.log(cr.where(x > 0, x, 1.0)), x).sum(), [x])
    assert dx.numpy().tolist() == [1.0, 0.25]


def test_take_and_scatter_add_of_a_row_met_twice():
    table, index = cr.parameter(np.arange(6.0).reshape(3, 2)), cr.constant(np.array([2, 0, 2]))
    picked = cr.take(table, index)
    assert picked.numpy().tolist() == [[4, 5], [0, 1], [4, 5]]
    (dtable,) = cr.grad((picked * cr.constant([[1.0], [10.0], [100.0]])).sum(), [table])
    assert dtable.numpy().tolist() == [[10, 10], [0, 0], [101, 101]]


# Random numbers -----------------------------------------------------------------------------

MANY = 1 << 16
KEYS = [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 2, 1), (2, 0, 1), (0, 0, 3), (1, 1, 1),
        (1, 2, 1), (2, 1, 1), (4294967295, 0, 1), (0, 100_000, 1), (0, 0, 1000)]  # fmt: skip


def uniform(seed, step, stream, shape=(MANY,), dtype="float64"):
    seed, step = cr.scalar(seed, dtype="int"), cr.scalar(step, dtype="int")
    return cr.uniform(seed, step, stream=stream, shape=shape).numpy(dtype=dtype)


@pytest.mark.parametrize("key", KEYS, ids=name)
def test_uniform_numbers_are_uniform(key):
    u = uniform(*key)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / MANY)
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / MANY)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    assert scipy.stats.kstest((u[1:] - u[:-1]) % 1, "uniform").pvalue > 1e-3  # neighbours


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(KEYS, 2)), ids=name)
def test_uniform_numbers_of_two_keys_are_independent(a, b):
    u, v = uniform(*a), uniform(*b)
    assert scipy.stats.kstest((u - v) % 1, "uniform").pvalue > 1e-5
    # At every lag, for one stream may not be the other one shifted.
    spectrum = np.fft.rfft(u - 0.5) * np.fft.rfft(v - 0.5).conj()
    assert abs(np.fft.irfft(spectrum)).max() < 6 / 12 * math.sqrt(MANY)
    # Nor permuted: by chance two numbers in 2²⁴ agree, MANY² / 2²⁴ = 256 times.
    assert len(np.intersect1d(u, v)) < 256 + 6 * 16


def test_uniform_numbers_are_a_function_of_their_key_and_place():
    assert np.array_equal(uniform(7, 3, 2), uniform(7, 3, 2))
    assert np.array_equal(uniform(7, 3, 2, (100, 4)).ravel(), uniform(7, 3, 2, (400,)))
    assert np.array_equal(uniform(7, 3, 2, (50, 4)), uniform(7, 3, 2, (100, 4))[:50])
    assert np.array_equal(uniform(7, 3, 2), uniform(7, 3, 2, dtype="float32"))


def test_no_stream_has_the_numbers_of_another_in_another_order():
    """One round of mixing would give that to some: `element ^ key` visits a block of words."""
    draw = cr.OPS["uniform"].numpy
    streams = (draw(0, 0, stream, (1 << 14,)) for stream in range(2000))
    assert len({float(u.sum(dtype=np.float64)) for u in streams}) == 2000
