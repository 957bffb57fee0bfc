"""The graph: the book's examples, the reverse pass, shapes, batches, and what is refused."""

import itertools
import operator
import re
import sys
import xml.etree.ElementTree as ElementTree

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from gradient_check import check_gradient

import chainrule as cr
from chainrule.graph import ops
from chainrule.graph.evaluate import Plan
from chainrule.graph.walk import toposort

repeatable = hypothesis.settings(derandomize=True, deadline=None, database=None, max_examples=150)


def values(tensors, given=None):
    return [float(x.numpy(given)) for x in tensors]


def message(text):
    return f"^{re.escape(text)}$"


# The book's examples ------------------------------------------------------------------------


def test_one_apple():
    apple, count, tax = cr.parameter(100.0), cr.parameter(2.0), cr.parameter(1.1)
    price = apple * count * tax
    np.testing.assert_allclose(price.numpy(), 220)
    np.testing.assert_allclose(values(cr.grad(price, [apple, count, tax])), [2.2, 110, 200])


def test_apples_and_oranges():
    apple, apples = cr.parameter(100.0), cr.parameter(2.0)
    orange, oranges, tax = cr.parameter(150.0), cr.parameter(3.0), cr.parameter(1.1)
    price = (apple * apples + orange * oranges) * tax
    np.testing.assert_allclose(price.numpy(), 715)
    gradients = cr.grad(price, [apples, apple, orange, oranges, tax])
    np.testing.assert_allclose(values(gradients), [110, 2.2, 3.3, 165, 650])


def test_sigmoid_from_its_parts_is_the_sigmoid():
    x = cr.parameter([-30.0, -2.0, -0.5, 0.0, 0.5, 2.0, 30.0])
    a, b = cr.reciprocal(cr.exp(-1 * x) + 1), cr.sigmoid(x)
    for _ in range(3):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-9, atol=1e-16)
        (a,), (b,) = cr.grad(a.sum(), [x]), cr.grad(b.sum(), [x])


# The reverse pass ---------------------------------------------------------------------------


def test_gradient_of_gradient_of_gradient():
    x = cr.parameter(3.0)
    y = x**4
    found = []
    for _ in range(5):
        (y,) = cr.grad(y, [x])
        found.append(float(y.numpy()))
    np.testing.assert_allclose(found, [108, 108, 72, 24, 0])


def test_hessian_of_a_quadratic_form():
    A = np.array([[2.0, 1.0], [3.0, 5.0]])
    x = cr.parameter([[1.0], [2.0]])
    (g,) = cr.grad((x.T @ A @ x).sum(), [x])
    units = np.eye(2)[:, :, None]
    rows = [cr.grad((cr.constant(e) * g).sum(), [x])[0].numpy().ravel() for e in units]
    np.testing.assert_allclose(rows, A + A.T)


def test_a_node_used_twice_adds_up_its_gradients():
    x = cr.parameter(3.0)
    assert values(cr.grad(x + x, [x])) == [2.0]
    assert values(cr.grad(x * x + x, [x])) == [7.0]
    square = x * x
    assert values(cr.grad(square * square + square, [x, square])) == [114.0, 19.0]


def test_gradient_of_what_lies_on_the_way():
    x = cr.parameter([1.0, 2.0])
    h = x * x
    y = (3.0 * h).sum()
    dh, dx, dy = cr.grad(y, [h, x, y])
    assert dh.numpy().tolist() == [3.0, 3.0]
    assert dx.numpy().tolist() == [6.0, 12.0]
    assert dy.numpy() == 1.0


def test_gradient_of_what_has_no_influence_is_0_in_its_shape():
    x, other = cr.parameter(3.0), cr.parameter(np.ones((2, 3)))
    (g,) = cr.grad(x * x, [other])
    assert g.shape == (2, 3)
    assert not g.numpy().any()


def test_taking_a_gradient_twice_gives_the_same():
    x = cr.parameter([0.3, -0.7])
    y = (cr.tanh(x) * cr.exp(x)).sum()
    first, second = cr.grad(y, [x])[0], cr.grad(y, [x])[0]
    assert np.array_equal(first.numpy(), second.numpy())
    assert len(toposort([first])) == len(toposort([second]))


def test_10_000_nodes_deep():
    assert sys.getrecursionlimit() < 10_000
    x = cr.parameter(0.5, name="x")
    y = x
    for i in range(5000):
        y = y * 1.0001 + (x if i == 0 else 1e-5)
    (g,) = cr.grad(y, [x])
    np.testing.assert_allclose(g.numpy(), 1.0001**5000 + 1.0001**4999)
    np.testing.assert_allclose(cr.grad(g * g + y, [x])[0].numpy(), g.numpy())
    shown = y.show().splitlines()
    assert len(shown) == 1 + 1 + 10_000
    assert shown[-1].split()[-1] == "1"
    assert float(shown[1].split()[-1]) == pytest.approx(float(g.numpy()), rel=1e-4)


@pytest.mark.parametrize("output", [cr.relu, lambda x: x.sum(axis=0), lambda x: x.sum() > 0])
def test_gradient_of_no_float_scalar_is_refused(output):
    x = cr.parameter([[1.0, 2.0]])
    with pytest.raises(cr.ShapeError, match="expected a float scalar; take its mean or sum first"):
        cr.grad(output(x), [x])


def test_gradient_by_whole_numbers_is_refused():
    table, index = cr.parameter(np.eye(3)), cr.batch(dtype="int")
    with pytest.raises(cr.InputError, match="expected floats"):
        cr.grad(cr.take(table, index).sum(), [index])


# Immutable nodes ----------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["op", "inputs", "attrs", "shape", "dtype", "name", "new"])
def test_a_node_cannot_be_changed(field):
    x = cr.parameter(1.0)
    with pytest.raises((AttributeError, TypeError)):
        setattr(x, field, None)


@pytest.mark.parametrize(
    ("make", "attr"),
    [
        (cr.constant, "value"),
        (cr.parameter, "initial"),
        (cr.state, "initial"),
        (lambda a: cr.parameter(a, shape=a.shape), "initial"),
    ],
    ids=["constant", "parameter", "state", "parameter with shape"],
)
def test_a_leaf_has_its_own_array_which_nobody_changes(make, attr):
    array = np.array([1.0, 2.0])
    x = make(array)
    array[0] = 7.0
    assert x.numpy().tolist() == [1.0, 2.0]
    assert not x.attrs[attr].flags.writeable


def test_a_computed_value_may_be_changed_without_changing_the_graph():
    x = cr.parameter([1.0, 2.0])
    value = x.numpy()
    if value.flags.writeable:
        value += 1
    assert x.numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("number", [2.0, 2, np.float64(2), np.float32(2), np.int64(2)])
def test_a_parameter_of_one_number_for_all_elements(number):
    assert cr.parameter(number, shape=(2, 1)).numpy().tolist() == [[2.0], [2.0]]


@pytest.mark.parametrize(
    "function", [cr.relu, lambda x: x.max(axis=1), cr.absolute, lambda x: cr.maximum(x, 0.0)]
)
def test_neither_pass_writes_into_the_arrays_it_is_given(function):
    x = cr.batch(3)
    rows = np.array([[-1.0, 2.0, -3.0], [4.0, -5.0, 6.0]])
    before = rows.copy()
    y = function(x).sum()
    given = {x: rows}
    Plan([y, *cr.grad(y * y, [x])], "float64").run(given, 2)
    assert np.array_equal(rows, before)


def test_running_a_plan_twice_gives_the_same():
    x, W = cr.batch(3), cr.parameter(np.arange(6.0).reshape(3, 2))
    y = cr.softmax(cr.tanh(x) @ W).max(axis=1).mean()
    plan = Plan([y, *cr.grad(y, [x, W])], "float32")
    given = {x: np.linspace(-1, 1, 12).reshape(4, 3), W: W.attrs["initial"]}
    first = [value.tobytes() for value in plan.run(given, 4)]
    assert first == [value.tobytes() for value in plan.run(given, 4)]
    assert plan.run({**given, x: given[x][:1]}, 1)[1].shape == (1, 3)
    assert first == [value.tobytes() for value in plan.run(given, 4)]


# Operators ----------------------------------------------------------------------------------

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
          operator.gt, operator.ge, operator.lt, operator.le]  # fmt: skip


@pytest.mark.parametrize("other", [3.0, 3, np.float64(3), np.float32(3), np.array([3.0, 0.5])])
@pytest.mark.parametrize("function", BINARY)
def test_numbers_and_arrays_on_either_side_give_tensors(function, other):
    array = np.array([2.0, 4.0])
    x = cr.parameter(array)
    for found, expected in (
        (function(other, x), function(other, array)),
        (function(x, other), function(array, other)),
    ):
        assert isinstance(found, cr.Tensor)
        assert np.array_equal(found.numpy(), expected)


def test_matrix_products_with_arrays_give_tensors():
    array, x = np.ones((2, 3)), cr.parameter(np.ones((3, 2)))
    assert isinstance(array @ x, cr.Tensor)
    assert isinstance(x @ array, cr.Tensor)
    assert (array @ x).numpy().tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_a_tensor_has_no_truth_value_and_no_items():
    x = cr.parameter(1.0, name="x")
    for ask in (bool, lambda x: x > 0 and x, lambda x: 1 if x else 2):
        with pytest.raises(cr.InputError, match="no truth value until it is computed"):
            ask(x)
    with pytest.raises(TypeError):
        iter(x)


def test_equality_is_identity():
    x, y = cr.parameter(1.0), cr.parameter(1.0)
    assert x == x
    assert x != y
    assert len({x, y, x}) == 2


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: cr.constant("x"), "'x' is no number and no array of numbers"),
        (lambda: cr.parameter(["x"]), r"\['x'\] is no number and no array of numbers"),
        (lambda: cr.parameter(1.0, shape=(0,)), r"shape is \(0,\), expected lengths of 1 and more"),
        (lambda: cr.relu(cr.parameter(1.0), 2.0), "relu: 2 operands, expected 1"),
        (lambda: cr.relu(cr.batch(dtype="int")), "relu: operand 0 is int, expected float"),
        (
            lambda: cr.greater(cr.batch(dtype="int"), cr.batch()),
            "greater: operands are int and float, expected one dtype",
        ),
    ],
)
def test_wrong_operands_are_refused(make, error):
    with pytest.raises(cr.InputError, match=f"^{error}$"):
        make()


def test_an_op_of_ones_own_may_have_any_attributes():
    """An array has no hash, `kinds` is a word of ours too, and NumPy's numbers are no lengths."""
    names = "scaled by an array", "spread"
    try:
        scaled = cr.Op(names[0], lambda x, *, kinds: x, lambda x, *, kinds: x * kinds)
        x = cr.batch(2)
        y = scaled(x, kinds=np.array([1.0, 2.0]))
        np.testing.assert_array_equal(y.numpy({x: [[1, 1], [2, 2]]}), [[1, 2], [2, 4]])
        spread = cr.Op(names[1], lambda x, *, shape: shape, None)
        assert all(type(n) is int for n in spread(x, shape=(np.int64(2), 3)).shape)
    finally:
        for name in names:
            cr.OPS.pop(name, None)


# Shapes -------------------------------------------------------------------------------------


def array(*shape):
    return cr.constant(np.ones(shape))


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: array(2, 3) + array(2), "add: [2, 3] and [2] do not broadcast"),
        (lambda: array(4) * array(3), "multiply: [4] and [3] do not broadcast"),
        (
            lambda: cr.where(array(2) > 0, array(3), array(2)),
            "where: [2] and [3] and [2] do not broadcast",
        ),
        (
            lambda: array(2, 3) @ array(2, 3),
            "matmul: [2, 3] @ [2, 3], expected [n, k] @ [k, m]",
        ),
        (lambda: array(3) @ array(3, 2), "matmul: [3] @ [3, 2], expected [n, k] @ [k, m]"),
        (lambda: cr.batch(3) @ array(2, 4), "matmul: [N, 3] @ [2, 4], expected [n, k] @ [k, m]"),
        (lambda: cr.batch(3) @ cr.batch(3), "matmul: [N, 3] @ [N, 3], expected [n, k] @ [k, m]"),
        (lambda: array(3).T, "transpose: [3], expected a matrix"),
        (lambda: array(2, 3).sum(axis=2), "axis is 2, but [2, 3] has 2 axes"),
        (lambda: array(2, 3).max(axis=(0, -3)), "axis is (0, -3), but [2, 3] has 2 axes"),
        (
            lambda: cr.take(array(3), cr.batch(dtype="int")),
            "take: [3] by [N], expected a table by a vector",
        ),
        (lambda: cr.batch(2) + array(5, 2), "add: [N, 2] and [5, 2] do not broadcast"),
        (lambda: cr.batch() - array(7), "subtract: [N] and [7] do not broadcast"),
        (
            lambda: cr.batch() - cr.batch(1),
            "subtract: [N] and [N, 1] would pair every row with every other row",
        ),
        (
            lambda: cr.batch(1) * cr.batch(),
            "multiply: [N, 1] and [N] would pair every row with every other row",
        ),
        (
            lambda: ops.broadcast_to(array(3), shape=(2, 2)),
            "broadcast_to: [3] and [2, 2] do not broadcast",
        ),
        (
            lambda: ops.broadcast_to(array(2, 2), shape=(2,)),
            "broadcast_to: [2, 2] does not stretch to [2]",
        ),
        (
            lambda: ops.squeeze(array(2, 3), axes=(1,)),
            "squeeze: [2, 3] is not of length 1 along (1,)",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_when_building(build, error):
    with pytest.raises(cr.ShapeError, match=message(error)):
        build()


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (-1, 0), ()])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_reduce_as_numpy_does(name, axis, keepdims):
    rows = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    expected = getattr(rows, name)(axis=axis, keepdims=keepdims)
    x = cr.batch(3)
    for tensor, given in ((x, {x: rows}), (cr.constant(rows), {})):
        found = getattr(tensor, name)(axis, keepdims)
        assert len(found.shape) == expected.ndim
        assert np.array_equal(found.numpy(given), expected)


# Batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_batch_axis_takes_any_number_of_rows(rows):
    random = np.random.default_rng(rows)
    X, t = random.normal(size=(rows, 3)), random.normal(size=rows)
    x, target, W = cr.batch(3), cr.batch(), cr.parameter(random.normal(size=(3, 1)))
    error = (x @ W).sum(axis=1) - target
    loss = (error * error).mean()
    given = {x: X, target: t}
    e = (X @ W.numpy()).ravel() - t
    np.testing.assert_allclose(loss.numpy(given), (e**2).sum() / rows)
    (dW,) = cr.grad(loss, [W])
    np.testing.assert_allclose(dW.numpy(given), 2 * (X.T @ e)[:, None] / rows)
    np.testing.assert_allclose(x.mean(axis=0).numpy(given), X.sum(axis=0) / rows)
    check_gradient(loss, {x: X, W: W.numpy(), target: t}, order=2)


@pytest.mark.parametrize("reduce", [lambda x: x.sum(), lambda x: x.mean(), lambda x: 0.0 * x.sum()])
def test_a_gradient_that_does_not_read_the_batch_still_has_its_rows(reduce):
    x = cr.batch(2)
    (dx,) = cr.grad(reduce(x), [x])
    assert dx.numpy({x: np.ones((3, 2))}).shape == (3, 2)


def test_values_that_are_missing_or_do_not_fit_are_refused():
    x, t, W = cr.batch(2), cr.batch(name="t"), cr.parameter(np.ones((2, 1)), name="W")
    y = (x @ W).sum(axis=1) - t
    rows = np.ones((3, 2))
    for given, error in (
        ({}, "input x [N, 2] has no value: give one, as in tensor.numpy({x: rows})"),
        ({t: [1.0]}, "input x [N, 2] has no value: give one, as in tensor.numpy({x: rows})"),
        ({x: rows}, "input t [N] has no value: give one, as in tensor.numpy({x: rows})"),
        ({x: np.ones((3, 4)), t: np.ones(3)}, "input x is [3, 4], expected [N, 2] with N = 3"),
        ({x: np.ones(2), t: np.ones(3)}, "input x is [2], expected [N, 2]"),
        ({x: 1.0, t: np.ones(3)}, "input x is scalar, expected [N, 2]"),
        ({x: rows, t: np.ones(4)}, "input t is [4], expected [N] with N = 3"),
        ({x: rows, t: np.ones((3, 1))}, "input t is [3, 1], expected [N] with N = 3"),
        ({x: rows, t: np.ones(3), W: [1.0]}, "parameter W is [1], expected [2, 1]"),
    ):
        with pytest.raises(cr.InputError, match=message(error)):
            y.numpy(given)


def test_a_weight_that_is_not_drawn_is_refused():
    W = cr.nn.Affine(2, 3).W
    error = "parameter W [2, 3] is not drawn yet: give chainrule.nn.initial_values(model, seed)"
    with pytest.raises(cr.InputError, match=message(error)):
        W.sum().numpy()


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1e-15)])
def test_precisions(dtype, rtol):
    x = cr.batch(2)
    rows = np.array([[0.1, 0.7], [1 / 3, 2.0]])
    y = (cr.exp(x) * 0.1).sum()
    found = y.numpy({x: rows}, dtype), cr.grad(y, [x])[0].numpy({x: rows}, dtype)
    assert [value.dtype for value in found] == [dtype] * 2
    np.testing.assert_allclose(found[0], 0.1 * np.exp(rows).sum(), rtol)
    with pytest.raises(cr.InputError, match="dtype is 'int8', expected 'float32' or 'float64'"):
        y.numpy({x: rows}, "int8")


def test_scalars_keep_their_precision_until_they_meet_an_array():
    """Adam's 1 − β₂ᵗ: in float32 it would be off by 1e-5."""
    t, x = cr.scalar(1.0), cr.parameter([1.0])
    found = (x * (1.0 - 0.999**t)).numpy(dtype="float32")
    np.testing.assert_allclose(found, 0.001, 1e-7)


# Random graphs ------------------------------------------------------------------------------

FREE_SHAPES = {"x": (5, 4), "w": (4, 4), "v": (4,), "column": (5, 1), "s": ()}
SMOOTH = [cr.tanh, cr.sigmoid, cr.softplus, cr.silu, cr.gelu, cr.erf, cr.exp,
          lambda x: cr.sqrt(1.0 + x * x), lambda x: cr.log(2.0 + x * x),
          lambda x: cr.reciprocal(1.0 + x * x), lambda x: (1.5 + cr.tanh(x)) ** 1.7,
          lambda x: -x]  # fmt: skip
KINKED = [cr.relu, cr.absolute, cr.selu, lambda x: cr.leaky_relu(x, 0.1)]
PAIRED = [ops.add, ops.subtract, ops.multiply, lambda a, b: a / (1.0 + b * b),
          lambda a, b: cr.where(a > b, a * b, b)]  # fmt: skip
ORDERED = [cr.maximum, cr.minimum]
REDUCED = ["sum", "mean", "logsumexp", "max"]
MARGIN = 1e-3  # from a kink; a hundred steps of the difference


def margin(x, given):
    """The smallest gap to 0."""
    return abs(x.numpy(given)).min()


@st.composite
def random_graphs(draw):
    """A random scalar DAG over leaves of mixed shapes, and values for the leaves."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, column = cr.batch(4, name="x"), cr.batch(1, name="column")
    made = {name: cr.parameter(np.zeros(FREE_SHAPES[name]), name=name) for name in "wvs"}
    given = {
        leaf: random.normal(size=FREE_SHAPES[leaf.name]) for leaf in (x, column, *made.values())
    }
    nodes = list(given)
    for _ in range(draw(st.integers(1, 14))):
        a, b = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(["unary", "kinked", "pair", "ordered", "matmul", "reduce"]))
        try:
            gap = a - b if kind in ("pair", "ordered") else a
            if kind in ("pair", "ordered", "kinked") and margin(gap, given) < MARGIN:
                continue
            if kind == "unary":
                node = draw(st.sampled_from(SMOOTH))(a)
            elif kind == "kinked":
                node = draw(st.sampled_from(KINKED))(a)
            elif kind == "matmul":
                node = draw(st.sampled_from([a @ b, a @ b.T, a.T @ b]))
            elif kind == "reduce":
                axes = draw(st.sampled_from([None, 0, -1]))
                reduction = draw(st.sampled_from(REDUCED))
                node = getattr(a, reduction)(axis=axes, keepdims=draw(st.booleans()))
            else:
                node = draw(st.sampled_from(PAIRED if kind == "pair" else ORDERED))(a, b)
        except cr.ShapeError:
            continue
        if abs(node.numpy(given)).max() > 4:  # keeps the difference exact
            node = cr.tanh(0.2 * node)
        nodes.append(node)
    tail = nodes[-draw(st.integers(1, 4)) :]
    output = sum((node.mean() for node in tail), 0.0)
    return output, given


@repeatable
@hypothesis.given(random_graphs())
def test_gradients_of_random_graphs(graph):
    output, at = graph
    used = set(toposort([output]))
    at = {leaf: value for leaf, value in at.items() if leaf in used}
    check_gradient(output, at)


@st.composite
def dags(draw):
    nodes = [cr.parameter(1.0)]
    for _ in range(draw(st.integers(0, 40))):
        a, b = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        nodes.append(draw(st.sampled_from([a + b, -a, cr.parameter(1.0)])))
    return nodes, draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=4))


@repeatable
@hypothesis.given(dags())
def test_toposort_has_each_node_once_after_its_inputs(dag):
    nodes, outputs = dag
    order = toposort(outputs)
    place = {node: i for i, node in enumerate(order)}
    assert len(place) == len(order)
    assert all(place[x] < place[node] for node in order for x in node.inputs)
    needed = set(outputs)
    for node in reversed(nodes):
        if node in needed:
            needed |= set(node.inputs)
    assert needed == set(order)
    assert toposort(outputs) == order


# As text and as a picture -------------------------------------------------------------------


def apples(name="apple"):
    apple, count = cr.parameter(100.0, name=name), cr.parameter(2.0, name="count")
    return cr.parameter(1.1, name="tax") * (apple * count)


def texts(picture, kind):
    """What is written in one style of a picture, as a reader of the SVG sees it."""
    found = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return sorted(text.text for text in found if text.get("class") == kind)


def drawn(output, folder, given=None):
    path = folder / "graph.svg"
    output.svg(path, given)
    return path.read_text(encoding="utf-8")


def test_show_has_a_line_a_node_with_its_value_and_gradient():
    lines = [re.split(r"\s{2,}", line) for line in apples().show().splitlines()]
    assert lines == [
        ["node", "computes", "value", "gradient"],
        ["%0", "parameter tax", "1.1", "200"],
        ["%1", "parameter apple", "100", "2.2"],
        ["%2", "parameter count", "2", "110"],
        ["%3", "%1 × %2", "200", "1.1"],
        ["%4", "%0 × %3", "220", "1"],
    ]


def test_show_writes_numbers_where_they_are_used_and_no_gradient_above_an_array():
    x = cr.batch(2, name="x")
    shown = (cr.relu(x) * 3.0).show({x: [[1.0, -2.0], [0.5, 4.0]]})
    lines = [re.split(r"\s{2,}", line) for line in shown.splitlines()]
    assert [line[1] for line in lines] == ["computes", "input x", "relu(%0)", "%1 × 3"]
    assert {len(line) for line in lines} == {3}
    assert "[[3, 0], [1.5, 12]]" in lines[-1]


def test_show_and_svg_of_a_batch_that_is_not_given_say_so(tmp_path):
    y = cr.batch(2, name="rows").sum()
    for ask in (y.show, lambda: y.svg(tmp_path / "graph.svg")):
        with pytest.raises(cr.InputError, match=r"input rows \[N, 2\] has no value"):
            ask()
    assert not list(tmp_path.iterdir())


def test_svg_has_names_values_and_gradients(tmp_path):
    picture = drawn(apples(), tmp_path)
    assert texts(picture, "name") == ["apple", "count", "tax", "×", "×"]
    assert texts(picture, "value") == sorted(["100", "2", "1.1", "200", "220"])
    assert texts(picture, "gradient") == sorted(["2.2", "110", "200", "1.1", "1"])
    numbers = re.findall(r" (?:width|height|x|y)=\"([^\"]+)\"", picture)
    assert np.isfinite([float(number) for number in numbers]).all()


def test_svg_without_a_scalar_has_no_gradients(tmp_path):
    x = cr.batch(2)
    picture = drawn(cr.relu(x), tmp_path, {x: np.ones((9, 2))})
    assert texts(picture, "gradient") == []
    assert texts(picture, "value") == ["[9, 2] mean 1, std 0"] * 2


@pytest.mark.parametrize("name", ["a<b>&c", "</text><script>", "\"'", "x & y", "&lt;"])
def test_svg_escapes_names_and_show_leaves_them(name, tmp_path):
    output = apples(name)
    assert name in texts(drawn(output, tmp_path), "name")
    assert f"parameter {name}" in output.show()
    leaf = cr.parameter(1.0, name=name)  # alone, its name stands in the title too
    title = ElementTree.fromstring(drawn(leaf, tmp_path))[0]
    assert title.text == repr(leaf)


def test_svg_boxes_do_not_overlap(tmp_path):
    picture = drawn(apples() + apples() * apples(), tmp_path)
    rects = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}rect")
    boxes = [[float(r.get(key)) for key in ("x", "y", "width", "height")] for r in rects]
    assert len(boxes) == 3 * 5 + 2
    for (x, y, w, h), (u, v, a, b) in itertools.combinations(boxes, 2):
        assert x + w <= u or u + a <= x or y + h <= v or v + b <= y
