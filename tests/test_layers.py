"""Layers, losses and initial values: gradients, the papers' formulas and numbers, limits."""

import re

import numpy as np
import pytest
from gradient_check import check_gradient, distinct

import chainrule as cr
from chainrule import nn, optim
from chainrule.graph.evaluate import evaluate
from chainrule.nn.build import multilayer
from chainrule.spec import KINDS
from chainrule.training.programs import inputs, training_program
from chainrule.training.recipe import Recipe

OURS = [kind for kind in KINDS.values() if kind.__module__.split(".")[0] == "chainrule"]
LAYERS = [kind for kind in OURS if issubclass(kind, nn.Layer) and kind is not nn.Layer]
LOSSES = [kind for kind in OURS if issubclass(kind, nn.Loss) and kind is not nn.Loss]

LAYER_EXAMPLES = {  # for each class, layers for a width
    nn.Affine: [lambda w: nn.Affine(w, 3), lambda w: nn.Affine(w, 1, init=0.5, bias=False)],
    # A batch of two is all but blind to its input unless ε is large.
    nn.BatchNorm: [nn.BatchNorm, lambda w: nn.BatchNorm(w, 0.5, epsilon=0.5)],
    nn.Dropout: [lambda w: nn.Dropout(), lambda w: nn.Dropout(0.2)],
    nn.ReLU: [lambda w: nn.ReLU()],
    nn.LeakyReLU: [lambda w: nn.LeakyReLU(), lambda w: nn.LeakyReLU(0.3)],
    nn.Sigmoid: [lambda w: nn.Sigmoid()],
    nn.Tanh: [lambda w: nn.Tanh()],
    nn.SiLU: [lambda w: nn.SiLU()],
    nn.GELU: [lambda w: nn.GELU()],
    nn.SELU: [lambda w: nn.SELU()],
    nn.Softmax: [lambda w: nn.Softmax()],
    nn.Rescale: [lambda w: nn.Rescale(-2.5)],
    nn.Function: [lambda w: nn.Function(lambda x: x * x + cr.exp(x))],
    nn.Residual: [
        lambda w: nn.Residual(nn.Affine(w, w)),
        lambda w: nn.Residual(nn.Sequential(nn.Affine(w, 5), nn.Tanh(), nn.Affine(5, w))),
    ],
    nn.Average: [
        lambda w: nn.Average([nn.Affine(w, 3), nn.Affine(w, 3)], nn.MeanSquaredError()),
        lambda w: nn.Average([nn.Affine(w, 3), nn.Affine(w, 3)], nn.SoftmaxCrossEntropy()),
        lambda w: nn.Average([nn.Affine(w, 3), nn.Affine(w, 3)], nn.SigmoidCrossEntropy()),
    ],
    nn.Sequential: [
        lambda w: nn.Sequential(),
        lambda w: nn.Sequential(
            nn.Affine(w, 4), nn.BatchNorm(4, epsilon=0.1), nn.SiLU(), nn.Dropout(0.3),
            nn.Residual(nn.Affine(4, 4)), cr.tanh, nn.Affine(4, 2),
        ),
    ],
}  # fmt: skip
CE, BCE = nn.SoftmaxCrossEntropy, nn.SigmoidCrossEntropy
LOSS_EXAMPLES = {  # for each class, losses for a number of columns, and what their target is
    CE: [
        (lambda k: CE(), "class"),
        (lambda k: CE(), "probabilities"),
        (lambda k: CE(label_smoothing=0.2), "class"),
        (lambda k: CE(label_smoothing=0.2), "probabilities"),
        (lambda k: CE(class_weight=range(1, k + 1)), "class"),
        (lambda k: CE(class_weight=range(1, k + 1)), "probabilities"),
    ],
    BCE: [(lambda k: BCE(), "binary"), (lambda k: BCE(class_weight=(0.5, 3.0)), "binary")],
    nn.MeanSquaredError: [(lambda k: nn.MeanSquaredError(), "real")],
    nn.MeanAbsoluteError: [(lambda k: nn.MeanAbsoluteError(), "real")],
    nn.Huber: [(lambda k: nn.Huber(), "real"), (lambda k: nn.Huber(0.3), "real")],
}
CASES_OF_LAYERS = [
    pytest.param(make, id=f"{kind.__name__}-{i}")
    for kind, examples in LAYER_EXAMPLES.items()
    for i, make in enumerate(examples)
]
CASES_OF_LOSSES = [
    pytest.param(make, target, id=f"{kind.__name__}-{target}-{i}")
    for kind, examples in LOSS_EXAMPLES.items()
    for i, (make, target) in enumerate(examples)
]


def message(text):
    return f"^{re.escape(text)}$"


def training(seed=0, step=0):
    return nn.Training(cr.scalar(seed, dtype="int"), cr.scalar(step, dtype="int"))


def rows(n, width, seed=0):
    return distinct(np.random.default_rng(seed), (n, width))[0]


def states(layer, seed=1):
    """Values for every leaf that are neither 0 nor 1: variances and scales positive."""
    random = np.random.default_rng(seed)
    values = {}
    for leaf in layer.leaves().values():
        positive = leaf.op.name == "state" or leaf.attrs["role"] == "scale"
        values[leaf] = random.uniform(0.5, 1.5, leaf.shape) * (
            1.0 if positive else random.choice([-1.0, 1.0], leaf.shape)
        )
    return values


# Gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_every_layer_has_an_example(kind):
    assert LAYER_EXAMPLES.get(kind), f"{kind.__name__} needs an example in LAYER_EXAMPLES"
    assert all(type(make(2)) is kind for make in LAYER_EXAMPLES[kind])


@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_every_loss_has_an_example(kind):
    assert LOSS_EXAMPLES.get(kind), f"{kind.__name__} needs an example in LOSS_EXAMPLES"
    assert all(type(make(2)) is kind for make, _ in LOSS_EXAMPLES[kind])


@pytest.mark.parametrize("mode", ["training", "evaluation"])
@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("make", CASES_OF_LAYERS)
def test_gradients_of_layers(make, n, width, mode):
    layer, x = make(width), cr.batch(width)
    y = layer(x, training(seed=5) if mode == "training" else nn.EVALUATION)
    values = states(layer)
    at = {x: rows(n, width)} | {W: v for W, v in values.items() if W.op.name == "parameter"}
    given = {leaf: value for leaf, value in values.items() if leaf not in at}
    check_gradient(y, at, given)
    for leaf, value in at.items():  # alone too, lest a large gradient hide a small one
        check_gradient(y, {leaf: value}, values | at)


def targets(kind, n, k):
    """A target leaf and values for it."""
    random = np.random.default_rng(n)
    if kind == "class":
        return cr.batch(dtype="int", name="t"), random.integers(0, k, n)
    values = random.uniform(0.1, 0.9, (n, k))
    if kind == "probabilities":
        values /= values.sum(axis=1, keepdims=True)
    return cr.batch(k, name="t"), values + (5.0 * random.integers(-1, 2, (n, k)) * (kind == "real"))


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize(("make", "target"), CASES_OF_LOSSES)
def test_gradients_of_losses(make, target, n, k):
    loss, y, (t, T) = make(k), cr.batch(k, name="y"), targets(target, n, k)
    given = {y: rows(n, k), t: T}
    for value in (loss.rows(y, t), loss.row_weights(y, t)):
        if value is not None:
            assert value.numpy(given).shape == (n,)
            check_gradient(value, {y: given[y]}, {t: T})
            if t.dtype == "float":
                check_gradient(value, given)


# Dropout ------------------------------------------------------------------------------------


def dropped(ratio, seed=0, step=0, n=400, width=50, value=1.0, dtype="float64"):
    x = cr.batch(width)
    y = nn.Dropout(ratio)(x, training(seed, step))
    (dx,) = cr.grad(y.sum(), [x])
    return evaluate([y, dx], {x: np.full((n, width), value)}, dtype)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_scales_once(ratio):
    y, _ = dropped(ratio, value=3.0)
    assert set(np.unique(y.round(12))) == {0.0, round(3.0 / (1 - ratio), 12)}
    error = np.sqrt(ratio * (1 - ratio) / y.size)
    assert abs((y == 0).mean() - ratio) < 4 * error
    assert abs(y.mean() - 3.0) < 4 * 3.0 * error / (1 - ratio)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropouts_gradient_is_0_exactly_where_the_output_is(dtype):
    y, dx = dropped(0.3, dtype=dtype)
    assert np.array_equal(y, dx)
    assert (dx == 0).any()
    np.testing.assert_allclose(dx[dx != 0], 1 / 0.7, 1e-6)


def test_dropout_of_nothing_changes_nothing():
    y, _ = dropped(0.0)
    assert (y == 1.0).all()


def test_a_mask_belongs_to_its_seed_and_step():
    y = dropped(0.5, seed=3, step=4)[0]
    assert np.array_equal(y, dropped(0.5, seed=3, step=4)[0])
    assert np.array_equal(y, dropped(0.5, seed=3, step=4, dtype="float32")[0])
    for seed, step in ((4, 3), (3, 5), (2, 4)):
        agreement = (y == dropped(0.5, seed, step)[0]).mean()
        assert abs(agreement - 0.5) < 4 * 0.5 / np.sqrt(y.size)


def test_two_dropouts_of_a_network_have_different_masks():
    context, x = training(), cr.batch(50)
    layer = nn.Dropout(0.5)
    first, second = layer(x, context), layer(x, context)
    both = evaluate([first, second], {x: np.ones((400, 50))})
    assert abs((both[0] == both[1]).mean() - 0.5) < 4 * 0.5 / np.sqrt(20_000)


def test_dropout_in_evaluation_is_the_identity():
    x = cr.batch(3)
    assert nn.Dropout(0.5)(x) is x


# Batch normalization ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8])
def test_batch_norm_gives_mean_beta_and_deviation_gamma(n):
    layer, x = nn.BatchNorm(4, epsilon=1e-12), cr.batch(4)
    values = states(layer)
    y = layer(x, training()).numpy(values | {x: 10 * rows(n, 4) + 100})
    np.testing.assert_allclose(y.mean(axis=0), values[layer.beta], 1e-9)
    np.testing.assert_allclose(y.std(axis=0), values[layer.gamma], 1e-9)


def test_batch_norm_adds_epsilon_below_the_root():
    layer, x = nn.BatchNorm(1, epsilon=3.0), cr.batch(1)
    y = layer(x, training()).numpy({x: [[-1.0], [1.0]]})
    np.testing.assert_allclose(y, [[-0.5], [0.5]])  # ±1 / √(1 + 3)


def follow(layer, batches, dtype="float64"):
    """The running statistics after some batches of training: mean, rest, variance, rows."""
    x, context = cr.batch(layer.features), training()
    layer(x, context)
    leaves, values = list(context.updates), states(layer)
    values |= {leaf: leaf.attrs["initial"] for leaf in leaves}
    for X in batches:
        found = evaluate(context.updates.values(), values | {x: X}, dtype)
        values |= dict(zip(leaves, found, strict=True))
    return {leaf.name: values[leaf] for leaf in leaves}


@pytest.mark.parametrize("sizes", [[8], [2, 3, 1, 8], [1] * 30, [150, 40, 150, 100]])
@pytest.mark.parametrize("momentum", [0.9, 0.0, 1.0])
def test_running_statistics_are_those_of_all_rows_with_weights_that_fall(sizes, momentum):
    batches = [10 * rows(n, 4, seed=i) + i for i, n in enumerate(sizes)]
    found = follow(nn.BatchNorm(4, momentum), batches)
    keep = [momentum ** min(1.0, n / 100) for n in sizes]
    weights = [np.full(n, np.prod(keep[i + 1 :])) for i, n in enumerate(sizes)]
    X, w = np.concatenate(batches), np.concatenate(weights)
    mean = np.average(X, axis=0, weights=w)
    variance = np.average((X - mean) ** 2, axis=0, weights=w)
    np.testing.assert_allclose(found["running_mean"] + found["running_rest"], mean, 1e-9)
    np.testing.assert_allclose(found["running_variance"], variance, 1e-9, 1e-12)
    np.testing.assert_allclose(found["running_rows"], w.sum(), 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1e6 + 0.5, 1e7 / 3, -1e-20, 0.0])
def test_a_constant_column_is_beta_in_training_and_evaluation(value, dtype):
    """The float32 mean of a thousand numbers near 1e6 is off by 0.06, 20 times √ε."""
    layer, x = nn.BatchNorm(1), cr.batch(1)
    X = np.full((1000, 1), value)
    values = follow(layer, [X] * 200, dtype)
    given = {leaf: values.get(leaf.name, leaf.attrs["initial"]) for leaf in layer.leaves().values()}
    context = training()
    for y in (layer(x, context), layer(x)):
        assert np.abs(y.numpy(given | {x: X}, dtype)).max() < 1e-3


def test_one_row_a_batch_gives_the_variance_of_the_rows():
    X = rows(4000, 2) * [1.0, 0.01] + [3.0, 1000.0]
    found = follow(nn.BatchNorm(2), X[:, None])
    np.testing.assert_allclose(found["running_variance"], X[-1500:].var(axis=0), 0.15)


def test_batch_norm_in_evaluation_uses_the_running_statistics():
    layer, x = nn.BatchNorm(2, epsilon=0.25), cr.batch(2)
    values = {
        layer.running_mean: [1.0, 2.0], layer.running_variance: [0.75, 3.75],
        layer.gamma: [2.0, 3.0], layer.beta: [10.0, 20.0],
    }  # fmt: skip
    y = layer(x).numpy(values | {x: [[2.0, 4.0], [1.0, 2.0]]})
    np.testing.assert_allclose(y, [[12.0, 23.0], [10.0, 20.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "x", [cr.batch(3), cr.parameter(np.zeros((1, 3)))], ids=["[N, 3]", "[1, 3]"]
)
def test_a_batch_of_one_row_gives_beta_and_no_gradient(x, dtype):
    layer, context = nn.BatchNorm(3), training()
    y = layer(x, context)
    values = states(layer)
    wrt = [x, layer.gamma, layer.beta]
    outputs = [y, *context.updates.values(), *cr.grad((y * y).sum(), wrt)]
    y, *state, dx, dgamma, dbeta = evaluate(outputs, values | {x: rows(1, 3)}, dtype)
    np.testing.assert_allclose(y[0], values[layer.beta], 1e-6)
    assert not dx.any()
    assert not dgamma.any()
    np.testing.assert_allclose(dbeta, 2 * values[layer.beta], 1e-6)
    assert all(np.isfinite(value).all() for value in state)


# Containers ---------------------------------------------------------------------------------


def test_residual_adds_its_input():
    layer, x = nn.Residual(nn.Rescale(3.0)), cr.batch(2)
    assert layer(x).numpy({x: [[1.0, 2.0]]}).tolist() == [[4.0, 8.0]]


def test_plain_functions_are_layers():
    x = cr.batch(2)
    model = nn.Sequential(lambda x: x * 2.0, cr.relu, nn.Residual(cr.relu))
    assert model(x).numpy({x: [[-1.0, 2.0]]}).tolist() == [[0.0, 8.0]]
    assert [type(layer) for layer in model] == [nn.Function, nn.Function, nn.Residual]


def test_dropout_and_batch_norm_inside_containers_see_the_mode():
    layer = nn.Sequential(nn.Residual(nn.Sequential(nn.BatchNorm(2), nn.Dropout(0.5))))
    x, context, X = cr.batch(2), training(), rows(200, 2)
    y = layer(x, context).numpy({x: X})
    assert len(context.updates) == 4
    assert abs((y == X).mean() - 0.5) < 4 * 0.5 / np.sqrt(X.size)
    assert not (layer(x).numpy({x: X}) == X).any()


A = nn.Affine


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (
            nn.Sequential(A(4, 5), nn.ReLU(), A(6, 2)),
            "layer 2, Affine(6, 2): the input is [N, 5], expected [N, 6]",
        ),
        (
            nn.Sequential(nn.BatchNorm(5)),
            "layer 0, BatchNorm(5): the input is [N, 4], expected [N, 5]",
        ),
        (
            nn.Sequential(nn.Tanh(), nn.Sequential(A(4, 3), A(4, 3))),
            "layer 1, Sequential(Affine(4, 3), Affine(4, 3)): layer 1, Affine(4, 3): "
            "the input is [N, 3], expected [N, 4]",
        ),
        (
            nn.Sequential(nn.Residual(A(4, 3))),
            "layer 0, Residual(Affine(4, 3)): the body turns [N, 4] into [N, 3], "
            "expected the same shape",
        ),
        (
            nn.Sequential(A(4, 1), lambda x: x.sum(axis=1), A(1, 1)),
            "layer 2, Affine(1, 1): the input is [N], expected [N, 1]",
        ),
    ],
)
def test_the_layer_that_does_not_fit_is_named(model, error):
    with pytest.raises(cr.ShapeError, match=message(error)):
        model(cr.batch(4))


def test_a_sequence_has_its_layers_and_their_leaves_in_order():
    shared = A(4, 4)
    model = nn.Sequential(A(4, 4, bias=False), nn.BatchNorm(4), nn.Residual(shared), shared)
    assert len(model) == 4
    assert model[-1] is shared
    assert list(model.leaves()) == [
        "0.W", "1.gamma", "1.beta", "1.running_mean", "1.running_rest", "1.running_variance",
        "1.running_rows", "2.body.W", "2.body.b",
    ]  # fmt: skip
    assert model.parameter_count == 16 + 8 + 20


# Losses -------------------------------------------------------------------------------------

Y = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]])
P = np.exp(Y) / np.exp(Y).sum(axis=1, keepdims=True)
S = 1 / (1 + np.exp(-Y))
T = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
E = Y - T


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        (CE(), T, -(T * np.log(P)).sum(axis=1)),
        (CE(), np.array([0, 2]), -np.log(P[[0, 1], [0, 2]])),
        (
            CE(label_smoothing=0.1),
            np.array([0, 2]),
            -0.9 * np.log(P[[0, 1], [0, 2]]) - 0.1 * np.log(P).mean(axis=1),
        ),
        (CE(label_smoothing=0.1), T, -((0.9 * T + 0.1 / 3) * np.log(P)).sum(axis=1)),
        (BCE(), T, -(T * np.log(S) + (1 - T) * np.log(1 - S)).mean(axis=1)),
        (nn.MeanSquaredError(), T, (E**2).mean(axis=1)),
        (nn.MeanAbsoluteError(), T, abs(E).mean(axis=1)),
        (
            nn.Huber(0.75),
            T,
            np.where(abs(E) <= 0.75, E**2 / 2, 0.75 * (abs(E) - 0.375)).mean(axis=1),
        ),
    ],
)
def test_losses_follow_their_formulas(loss, target, expected):
    found = loss.rows(cr.constant(Y), cr.constant(target)).numpy()
    np.testing.assert_allclose(found, expected, 1e-12)


def test_class_weights():
    weights = CE(class_weight=(1, 2, 4)).row_weights(cr.constant(Y), cr.constant(np.array([2, 1])))
    assert weights.numpy().tolist() == [4.0, 2.0]
    loss, y, t = BCE(class_weight=(1, 3)), cr.constant([[0.3, -2.0]]), cr.constant([[1.0, 0.0]])
    elements = -np.log([1 / (1 + np.exp(-0.3)), 1 / (1 + np.exp(-2.0))])
    expected = (3 * elements[0] + elements[1]) / 4
    np.testing.assert_allclose(loss.rows(y, t).numpy(), [expected], 1e-12)
    assert loss.row_weights(y, t).numpy().tolist() == [2.0]


def test_gradients_of_cross_entropies_are_the_books():
    y = cr.parameter(Y)
    (dy,) = cr.grad(CE().rows(y, cr.constant(T)).sum(), [y])
    np.testing.assert_allclose(dy.numpy(), P - T, 1e-12)
    (dy,) = cr.grad(BCE().rows(y, cr.constant(T)).sum(), [y])
    np.testing.assert_allclose(dy.numpy(), (S - T) / 3, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "target"), CASES_OF_LOSSES)
def test_extreme_scores_stay_finite(make, target, dtype):
    y, (t, T) = cr.batch(2), targets(target, 4, 2)
    loss = make(2).rows(y, t)
    given = {y: [[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4]], t: T}
    value, dy = evaluate([loss, *cr.grad(loss.sum(), [y])], given, dtype)
    assert np.isfinite(value).all()
    assert np.isfinite(dy).all()
    # 1e-2: scores of 1e4 have no finer steps in float32.
    assert (value > -1e-2).all()


def test_extreme_scores_have_the_right_loss():
    y = cr.constant([[1e4, -1e4], [-1e4, 1e4]])
    found = CE().rows(y, cr.constant(np.array([0, 0]))).numpy()
    assert found.tolist() == [0.0, 2e4]
    assert BCE().rows(y, cr.constant([[1.0, 0.0], [1.0, 0.0]])).numpy().tolist() == [0.0, 1e4]


@pytest.mark.parametrize(("make", "target"), CASES_OF_LOSSES)
@pytest.mark.parametrize("normalize", ["data", "batch"])
def test_weighting_a_row_is_repeating_it(make, target, normalize):
    model = nn.Sequential(A(3, 4), nn.Tanh(), A(4, 2))
    start, X = states(model), rows(5, 3)
    _, t = targets(target, 5, 2)
    counts = np.array([1, 3, 0, 2, 1])
    loss = type(make(2))(**make(2).fields() | {"normalize": normalize})

    def step(X, t, weight):
        given = inputs(3, 2 if t.ndim == 2 else None, weight is not None)
        recipe = Recipe(model, loss, optim.SGD(lr=1.0), optim.Coupled(), None, [])
        program = training_program(recipe, given)
        values = (
            start
            | {given.x: X, given.target: t}
            | ({given.weight: weight} if weight is not None else {})
        )
        (total,) = evaluate([program.outputs["weight"]], values)
        values |= {given.loss_scale: len(X) / float(total)}
        names = [*program.outputs, *program.updates]
        return dict(zip(names, evaluate(program.results, values), strict=True))

    weighted = step(X, t, counts.astype(float))
    repeated = step(np.repeat(X, counts, axis=0), np.repeat(t, counts, axis=0), None)
    weighted.pop("metric weight", None)  # repeated rows have no sample weights
    repeated.pop("metric weight", None)
    assert weighted.keys() == repeated.keys()
    for name, value in weighted.items():
        np.testing.assert_allclose(value, repeated[name], 1e-9, atol=1e-12)


# Initial values -----------------------------------------------------------------------------


def weight(model, seed=0):
    """The first weight that is drawn for a model."""
    return next(iter(nn.initial_values(model, seed).values()))


@pytest.mark.parametrize(
    ("init", "std"),  # for 784 inputs and 300 outputs
    [
        ("he", 0.0505076),
        ("xavier", 0.0357143),
        ("glorot", 0.0429537),
        ("lecun", 0.0357143),
        ("auto", 0.0357143),
        (0.01, 0.01),
        (nn.VarianceScaling(3.0, "mean"), 0.0743981),
        (nn.StandardDeviation(0.5), 0.5),
    ],
)
def test_normal_weights_have_the_papers_deviation(init, std):
    W = weight(A(784, 300, init))
    assert W.shape == (784, 300)
    assert abs(W.std() - std) < 4 * std / np.sqrt(2 * W.size)
    assert abs(W.mean()) < 4 * std / np.sqrt(W.size)
    within_one = 0.682689  # of a normal distribution, ±4 standard errors
    assert abs((abs(W) < std).mean() - within_one) < 4 * 0.4654 / np.sqrt(W.size)


@pytest.mark.parametrize(
    ("init", "std", "limit"),
    [
        ("he_uniform", 0.0505076, 0.0874818),
        ("xavier_uniform", 0.0357143, 0.0618590),
        ("glorot_uniform", 0.0429537, 0.0743981),
        ("lecun_uniform", 0.0357143, 0.0618590),
    ],
)
def test_uniform_weights_have_the_papers_deviation_and_limits(init, std, limit):
    W = weight(A(784, 300, init))
    assert abs(W.std() - std) < 4 * std / np.sqrt(2 * W.size)
    assert abs(W.mean()) < 4 * std / np.sqrt(W.size)
    assert 0.999 * limit < abs(W).max() <= 1.000001 * limit


def test_weights_are_drawn_from_the_seed_each_leaf_on_its_own():
    def model(width):
        return nn.Sequential(A(20, width), nn.ReLU(), nn.Residual(A(width, width)), A(30, 20))

    a, b = nn.initial_values(model(10)), nn.initial_values(model(11))
    last = [list(values.values())[4] for values in (a, b)]
    assert np.array_equal(*last)
    assert np.array_equal(weight(model(10), 3), weight(model(10), 3))
    assert not np.array_equal(weight(model(10), 3), weight(model(10), 4))
    square = nn.initial_values(nn.Sequential(A(9, 9), A(9, 9)))
    W, _, V, _ = square.values()
    assert not np.array_equal(W, V)


def test_everything_that_is_not_drawn_starts_as_documented():
    values = nn.initial_values(nn.Sequential(A(3, 2), nn.BatchNorm(2)))
    starts = {leaf.name: value.tolist() for leaf, value in values.items() if leaf.name != "W"}
    assert starts == {
        "b": [0, 0], "gamma": [1, 1], "beta": [0, 0],
        "running_mean": [0, 0], "running_rest": [0, 0], "running_variance": [1, 1],
        "running_rows": 0,
    }  # fmt: skip


UNITS = 200
HE, XAVIER = 0.1, 0.0707107  # for 200 inputs
norm, chain, residual = nn.BatchNorm(UNITS), nn.Sequential, nn.Residual


def square(init="auto"):
    return A(UNITS, UNITS, init)


@pytest.mark.parametrize(
    ("model", "stds"),
    [
        (square(), [XAVIER]),
        (chain(square(), nn.ReLU(), square()), [HE, XAVIER]),
        (chain(square(), nn.LeakyReLU(), square(), nn.Sigmoid()), [HE, XAVIER]),
        (chain(square(), nn.SiLU(), square(), nn.Tanh()), [HE, XAVIER]),
        (chain(square(), nn.GELU(), square(), nn.SELU()), [HE, XAVIER]),
        (chain(square(), nn.Tanh(), square(), nn.ReLU()), [XAVIER, HE]),
        (chain(square(), nn.Softmax()), [XAVIER]),
        (chain(square(), square(), nn.ReLU()), [XAVIER, HE]),
        (chain(square(), norm, nn.ReLU(), nn.Dropout(0.5), square(), norm), [HE, XAVIER]),
        (chain(square(), nn.Dropout(0.5), nn.Rescale(2.0), nn.ReLU()), [HE]),
        (chain(chain(square()), chain(norm, nn.ReLU()), chain(square())), [HE, XAVIER]),
        (chain(square(), chain(chain(nn.ReLU())), square()), [HE, XAVIER]),
        (chain(residual(chain(square(), nn.ReLU(), square())), nn.Tanh()), [HE, XAVIER]),
        (chain(residual(chain(square(), nn.Tanh(), square())), nn.ReLU(), square()),
         [XAVIER, HE, XAVIER]),
        (chain(residual(square()), residual(nn.ReLU())), [HE]),
        (chain(square(0.3), nn.ReLU(), square("he"), nn.Tanh(), square("xavier"), nn.ReLU()),
         [0.3, HE, XAVIER]),
        (multilayer(UNITS, [UNITS, UNITS], UNITS, activation="relu", batch_norm=True, dropout=0.1),
         [HE, HE, XAVIER]),
        (multilayer(UNITS, [UNITS, UNITS], UNITS, activation="tanh"), [XAVIER] * 3),
    ],
    ids=lambda value: re.sub(r"\W+", "-", repr(value)) if isinstance(value, nn.Layer) else "",
)  # fmt: skip
def test_auto_looks_at_the_activation_that_follows(model, stds):
    weights = [v for leaf, v in nn.initial_values(model).items() if leaf.name == "W"]
    for W, std in zip(weights, stds, strict=True):
        assert abs(W.std() - std) < 4 * std / np.sqrt(2 * W.size)


def test_auto_does_not_look_past_another_weight_however_that_one_is_drawn():
    """[auto, auto, ReLU] has Xavier, He: no activation follows the first. Nor does one here."""
    automatic, explicit = (
        weight(chain(square(), square(init), nn.ReLU())) for init in ("auto", "he")
    )
    assert np.array_equal(automatic, explicit)


# Limits -------------------------------------------------------------------------------------

NAMES = "auto, he, he_uniform, xavier, xavier_uniform, glorot, glorot_uniform, lecun, lecun_uniform"
NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: nn.Dropout(1.2), "Dropout: ratio is 1.2, not in [0, 1)"),
        (lambda: nn.Dropout(1), "Dropout: ratio is 1, not in [0, 1)"),
        (lambda: nn.Dropout(-0.1), "Dropout: ratio is -0.1, not in [0, 1)"),
        (lambda: nn.Dropout(NAN), "Dropout: ratio is nan, not in [0, 1)"),
        (lambda: nn.Dropout("x"), "Dropout: ratio is 'x', expected a number in [0, 1)"),
        (lambda: nn.Dropout(True), "Dropout: ratio is True, expected a number in [0, 1)"),
        (lambda: nn.Dropout(None), "Dropout: ratio is None, expected a number in [0, 1)"),
        (lambda: A(784, 0), "Affine: outputs is 0, not in [1, 2147483647]"),
        (lambda: A(-3, 5), "Affine: inputs is -3, not in [1, 2147483647]"),
        (lambda: A("x", 5), "Affine: inputs is 'x', expected a whole number in [1, 2147483647]"),
        (lambda: A(True, 5), "Affine: inputs is True, expected a whole number in [1, 2147483647]"),
        (lambda: A(2.0, 5), "Affine: inputs is 2.0, expected a whole number in [1, 2147483647]"),
        (lambda: A(NAN, 5), "Affine: inputs is nan, expected a whole number in [1, 2147483647]"),
        (lambda: A(2, 5, bias=1), "Affine: bias is 1, expected True or False"),
        (
            lambda: A(2, 5, "hee"),
            f"init is 'hee', expected a number, an initializer, or one of {NAMES}",
        ),
        (lambda: A(2, 5, -1.0), "init is -1.0, not in [0, inf)"),
        (lambda: A(2, 5, NAN), "init is nan, not in [0, inf)"),
        (
            lambda: A(2, 5, True),
            "init is True, expected a number in [0, inf)",
        ),
        (
            lambda: nn.StandardDeviation(-1.0),
            "StandardDeviation: value is -1.0, not in [0, inf)",
        ),
        (lambda: nn.VarianceScaling(0.0), "VarianceScaling: scale is 0.0, not in (0, inf)"),
        (
            lambda: nn.VarianceScaling(1.0, "outputs"),
            "VarianceScaling: fan is 'outputs', expected 'inputs' or 'mean'",
        ),
        (lambda: nn.BatchNorm(0), "BatchNorm: features is 0, not in [1, 2147483647]"),
        (lambda: nn.BatchNorm(2, 1.5), "BatchNorm: momentum is 1.5, not in [0, 1]"),
        (lambda: nn.BatchNorm(2, epsilon=0.0), "BatchNorm: epsilon is 0.0, not in (0, inf)"),
        (lambda: nn.BatchNorm(2, NAN), "BatchNorm: momentum is nan, not in [0, 1]"),
        (
            lambda: nn.LeakyReLU(float("inf")),
            "LeakyReLU: slope is inf, not in (-inf, inf)",
        ),
        (lambda: nn.Rescale(NAN), "Rescale: factor is nan, not in (-inf, inf)"),
        (lambda: nn.Huber(0), "Huber: delta is 0, not in (0, inf)"),
        (lambda: CE(1.0), "SoftmaxCrossEntropy: label_smoothing is 1.0, not in [0, 1)"),
        (
            lambda: CE(class_weight=(1, -1)),
            "class_weight is (1, -1), expected a number of 0 or more a class, in a list: [1, 9]",
        ),
        (
            lambda: BCE(class_weight=(1, 2, 3)),
            "class_weight has 3 weights, but there are 2 classes",
        ),
        (
            lambda: CE(class_weight=(1, 2)).row_weights(cr.batch(3), cr.batch(3)),
            "class_weight has 2 weights, but there are 3 classes",
        ),
        (
            lambda: nn.Sequential(nn.ReLU(), 3),
            "Sequential: layer 1 is 3, expected a Layer",
        ),
        (
            lambda: nn.Sequential(nn.ReLU),
            "Sequential: layer 0 is the class ReLU, expected ReLU()",
        ),
        (lambda: nn.Residual("x"), "Residual: body is 'x', expected a Layer"),
        (
            lambda: multilayer(2, [3], 1, activation="rely"),
            "activation is 'rely', expected relu or leaky_relu or sigmoid or tanh or silu or gelu "
            "or selu",
        ),
        (
            lambda: nn.Huber().probabilities(cr.batch(2)),
            "probabilities: Huber() gives the outputs no such meaning",
        ),
    ],
)
def test_wrong_hyperparameters_are_refused_with_what_was_expected(make, error):
    with pytest.raises(cr.InputError, match=message(error)):
        make()


def test_numbers_of_numpy_are_numbers():
    assert A(np.int64(3), np.int32(2)).W.shape == (3, 2)
    assert nn.Dropout(np.float32(0.5)).ratio == 0.5


def test_a_batch_norm_that_is_used_twice_follows_both():
    layer, x, context = nn.BatchNorm(2), cr.batch(2), training()
    layer(layer(x, context) * 10.0, context)
    X = 5.0 + 3.0 * rows(50, 2)
    leaves = list(context.updates)
    values = {
        leaf: np.broadcast_to(leaf.attrs["initial"], leaf.shape) for leaf in layer.leaves().values()
    }
    found = dict(zip(leaves, evaluate(context.updates.values(), values | {x: X}), strict=True))
    z = 10.0 * (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 1e-5)
    weights = np.repeat([0.9**0.5, 1.0], 50)
    both = np.concatenate([X, z])
    mean = np.average(both, axis=0, weights=weights)
    np.testing.assert_allclose(found[layer.running_mean] + found[layer.running_rest], mean, 1e-9)
    variance = np.average((both - mean) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(found[layer.running_variance], variance, 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_square_of_a_large_mean_is_no_part_of_the_first_batch(dtype):
    """(3e19)² is infinite in float32, and counts (1 − a) = 0 times."""
    X = 3e19 * (1 + 1e-4 * rows(100, 2))
    found = follow(nn.BatchNorm(2), [X], dtype)
    np.testing.assert_allclose(found["running_variance"], X.var(axis=0), 1e-2)


def test_fields_that_need_a_name_come_last():
    class Pinball(nn.Loss):
        share: float

    assert repr(Pinball(0.3)) == "Pinball(0.3)"
    assert repr(Pinball(0.3, normalize="batch")) == "Pinball(0.3, normalize='batch')"
    with pytest.raises(cr.InputError, match=r"expected Pinball\(share, normalize='data'\)"):
        Pinball()
